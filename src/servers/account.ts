// Postgres refuses to run as root. In a process of root (most containers) it runs under an unprivileged account, which
// must be able to reach everything that it reads and writes.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, chown, mkdir, readFile, realpath, rm, stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Account } from './child.ts'

const run = promisify(execFile)

/** The first one that exists is used; no account is created. */
const ACCOUNT_NAMES = ['postgres', 'nobody']

/** Root's folder for files that the account cannot reach in their usual place. Only root can write there. */
const SHELTER = '/var/lib/holdfast'

const GROUP_SEARCH_MODE = 0o010
const OTHERS_SEARCH_MODE = 0o001

/** The account for Postgres; undefined when this process is not root, and Postgres runs under its account. */
export async function findServerAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const entries = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  for (const name of ACCOUNT_NAMES) {
    const [, , uid, gid] = entries.find(([found]) => found === name) ?? []
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Error(
    `Postgres does not run as root, and this machine has no account named ${ACCOUNT_NAMES.join(' or ')} for it: ` +
      'start this as another user, or set DATABASE_URL to an existing Postgres',
  )
}

/** Whether the account can enter the folder, or run the file. */
export async function canReach(path: string, account: Account): Promise<boolean> {
  // Tested by the system, under that account: file modes alone would miss access lists and mounts.
  const asked = run('/bin/sh', ['-c', 'test -x "$0"', path], { ...account, cwd: '/' })
  return asked.then(
    () => true,
    () => false,
  )
}

/** A folder of root that every account can reach, created when missing. */
export async function shelterDir(name: string): Promise<string> {
  const dir = join(SHELTER, name)
  await mkdir(dir, { recursive: true, mode: 0o755 })
  return dir
}

/**
 * The folder for a server's files, which only its account can open. It is `parent/name`. Where a folder above shuts the
 * account out (a home with mode 0700), `parent/name` is a link into SHELTER.
 * @param parent a folder for this use alone, such as the data directory of a stack
 * @returns the folder's real path
 */
export async function privateDir(parent: string, name: string, account: Account | undefined): Promise<string> {
  const dir = join(parent, name)
  await mkdir(parent, { recursive: true })
  if (account === undefined || (await letThrough(parent, account))) {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    if (account !== undefined) await chown(dir, account.uid, account.gid)
    return realpath(dir)
  }
  const shelter = await shelterDir(`${name}-${createHash('sha256').update(dir).digest('hex').slice(0, 16)}`)
  await chown(shelter, account.uid, account.gid)
  await chmod(shelter, 0o700)
  await symlink(shelter, dir).catch(async (error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    if ((await realpath(dir)) === shelter) return
    // Starting on an empty folder instead would look as if all data were lost.
    throw new Error(`${dir} holds data that the account of Postgres can no longer reach: open the folders above it`)
  })
  return shelter
}

/** Removes the folder of privateDir and its link. */
export async function removePrivateDir(parent: string, name: string): Promise<void> {
  const dir = join(parent, name)
  const target = await realpath(dir).catch(() => dir)
  await rm(target, { recursive: true, force: true })
  await rm(dir, { recursive: true, force: true })
}

/** Lets the account pass through `dir` to its own files. @returns false when a folder above shuts it out */
async function letThrough(dir: string, account: Account): Promise<boolean> {
  if (await canReach(dir, account)) return true
  const { mode } = await stat(dir)
  if ((mode & OTHERS_SEARCH_MODE) !== 0) return false
  await chown(dir, 0, account.gid)
  await chmod(dir, (mode & 0o7777) | GROUP_SEARCH_MODE)
  return canReach(dir, account)
}
