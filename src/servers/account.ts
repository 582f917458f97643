// Postgres refuses to run as root. Where we are root (most containers), it runs under an account
// without rights, and everything it reads and writes must be within that account's reach.

import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, chown, mkdir, readFile, realpath, rm, stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Account } from './child.ts'

const run = promisify(execFile)

/** The first that exists is used; no account is added to the machine. */
const ACCOUNT_NAMES = ['postgres', 'nobody']

/** Where root keeps for the account what it cannot reach in its proper place; no one else can write there. */
const SHELTER = '/var/lib/holdfast'

const GROUP_SEARCH_MODE = 0o010
const OTHERS_SEARCH_MODE = 0o001

/** The account for Postgres, or undefined when we are not root and it simply runs as us. */
export async function findServerAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const entries = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  for (const name of ACCOUNT_NAMES) {
    const [, , uid, gid] = entries.find(([found]) => found === name) ?? []
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Error(
    `Postgres does not run as root, and this machine has no account named ${ACCOUNT_NAMES.join(' or ')} for it: ` +
      'start this as another user, or set DATABASE_URL to a Postgres of your own',
  )
}

/** True when the account can enter the folder, or run the file. */
export async function canReach(path: string, account: Account): Promise<boolean> {
  // Asked of the system itself, under that account: modes alone would miss access lists and mounts.
  const asked = run('/bin/sh', ['-c', 'test -x "$0"', path], { ...account, cwd: '/' })
  return asked.then(
    () => true,
    () => false,
  )
}

/** A folder of root's that every account can reach, made when missing. */
export async function shelterDir(name: string): Promise<string> {
  const dir = join(SHELTER, name)
  await mkdir(dir, { recursive: true, mode: 0o755 })
  return dir
}

/**
 * The folder for a server's own files, open to its account alone. It is `parent/name`; but where a
 * folder above shuts the account out (a home with mode 0700), `parent/name` is a link to a shelter.
 * @param parent a folder that is ours alone, such as the data directory of a stack
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
    // A start on an empty folder instead would look as if all data had been lost.
    throw new Error(`${dir} holds data that the account of Postgres can no longer reach: open the folders above it`)
  })
  return shelter
}

/** Removes what privateDir made, wherever it is. */
export async function removePrivateDir(parent: string, name: string): Promise<void> {
  const dir = join(parent, name)
  const target = await realpath(dir).catch(() => dir)
  await rm(target, { recursive: true, force: true })
  await rm(dir, { recursive: true, force: true })
}

/** Lets the account pass through `dir` to what is its own; false when a folder above shuts it out. */
async function letThrough(dir: string, account: Account): Promise<boolean> {
  if (await canReach(dir, account)) return true
  const { mode } = await stat(dir)
  if ((mode & OTHERS_SEARCH_MODE) !== 0) return false
  await chown(dir, 0, account.gid)
  await chmod(dir, (mode & 0o7777) | GROUP_SEARCH_MODE)
  return canReach(dir, account)
}
