// A RAM disk (tmpfs) for the test databases. A database is about a thousand small files: a disk's file system spends
// twenty times the CPU on them, and a run makes hundreds of databases.

import { access, chown, mkdtemp, rm, statfs } from 'node:fs/promises'
import { freemem } from 'node:os'
import { join } from 'node:path'
import type { Account } from '../../src/servers/child.ts'

/** Linux's own; other systems have none. */
const RAM_DISK = '/dev/shm'
/** Several times what the largest test database and its neighbours take. Containers often have a disk of 64 MB. */
const NEEDED_BYTES = 4 * 1024 ** 3

export type MemoryDir = { path: string; remove: () => Promise<void> }

/** @returns undefined where there is no RAM disk, or too little room on it or in memory */
export async function createMemoryDir(account: Account | undefined): Promise<MemoryDir | undefined> {
  if (!(await hasRoom(RAM_DISK))) return undefined
  const path = await mkdtemp(join(RAM_DISK, 'holdfast-test-'))
  if (account !== undefined) await chown(path, account.uid, account.gid)
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

async function hasRoom(path: string): Promise<boolean> {
  const free = await access(path)
    .then(() => statfs(path))
    .then(({ bavail, bsize }) => bavail * bsize)
    .catch(() => 0)
  return Math.min(free, freemem()) >= NEEDED_BYTES
}
