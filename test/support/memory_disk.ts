// A RAM disk (tmpfs) for the test databases. A database is about a thousand small files: a disk's file system spends
// ten times the CPU on them, and a run makes hundreds of databases.

import { chown, mkdtemp, readdir, rm, statfs } from 'node:fs/promises'
import { freemem } from 'node:os'
import { join } from 'node:path'
import type { Account } from '../../src/servers/child.ts'

/** Linux's own; other systems have none. */
const RAM_DISK = '/dev/shm'
const PREFIX = 'holdfast-test-'
/** Several times what the largest test database and its neighbours take. Containers often have a disk of 64 MB. */
const NEEDED_BYTES = 4 * 1024 ** 3

export type MemoryDir = { path: string; remove: () => Promise<void> }

/** @returns undefined where there is no RAM disk, or too little room on it or in memory */
export async function createMemoryDir(account: Account | undefined): Promise<MemoryDir | undefined> {
  const free = await statfs(RAM_DISK).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  )
  if (Math.min(free, freemem()) < NEEDED_BYTES) return undefined
  await removeAbandoned()
  const path = await mkdtemp(join(RAM_DISK, `${PREFIX}${process.pid}-`))
  if (account !== undefined) await chown(path, account.uid, account.gid)
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

/** What a killed run has left would take memory for ever. */
async function removeAbandoned(): Promise<void> {
  for (const name of await readdir(RAM_DISK)) {
    const pid = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1] ?? process.pid)
    if (!isAlive(pid)) await rm(join(RAM_DISK, name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
