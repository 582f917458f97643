// A real Postgres on the loopback address, as durable as in production (fsync on): measurements and kills here must
// show what happens there.

import { execFile } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { access, chown, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { retry } from '../repeat.ts'
import { findServerAccount, privateDir, removePrivateDir } from './account.ts'
import { findPostgres } from './binary.ts'
import type { Account, Child } from './child.ts'
import { StartError, spawnChild } from './child.ts'
import { assertPortFree } from './port.ts'

const run = promisify(execFile)

const ADMIN = 'holdfast_admin'
const DIR_NAME = 'postgres'
const PASSWORD_BYTES = 24

/** Crash recovery included. */
const POSTGRES_READY_WITHIN_MS = 60_000
const POSTGRES_STOP_WITHIN_MS = 20_000
/** How long an earlier server on the same data may take to end. */
const TAKE_OVER_WITHIN_MS = 15_000
const TAKE_OVER_BACK_OFF = { fromMs: 250, toMs: 250 }

export type PostgresOptions = {
  readonly dataDir: string
  readonly port: number
  readonly maxConnections: number
}

export type Postgres = Child & {
  readonly host: string
  readonly port: number
  /** The superuser, for migrations, Temporal's schema and tests. Processes connect under their own roles. */
  readonly user: string
  readonly password: string
  readonly urlOf: (database: string) => string
}

/**
 * Starts Postgres on the data in `dataDir/postgres`, which the first start creates. After a crash Postgres recovers. An
 * earlier server that is still ending there is waited for.
 * @throws {Error} when the port is taken or another server uses the data
 * @throws {StartError} when it does not come up, with the end of its log
 */
export async function startPostgres({ dataDir, port, maxConnections }: PostgresOptions): Promise<Postgres> {
  await assertPortFree(port, 'Postgres')
  const account = await findServerAccount()
  const native = await findPostgres(account)
  const home = await privateDir(dataDir, DIR_NAME, account)
  const password = await ensureCluster(native, home, account)
  const start = async () =>
    spawnChild({
      name: 'postgres',
      command: join(native, 'bin', 'postgres'),
      args: [
        '-D',
        join(home, 'data'),
        ...Object.entries(settingsOf(port, maxConnections)).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ],
      env: { LC_ALL: 'C', TZ: 'UTC' },
      cwd: home,
      logFile: join(dataDir, 'log', 'postgres.log'),
      isReady: (pid) => isAccepting(home, pid),
      readyWithinMs: POSTGRES_READY_WITHIN_MS,
      stopWithinMs: POSTGRES_STOP_WITHIN_MS,
      stopSignal: 'SIGINT', // the fast shutdown: sessions are ended, not waited for
      account,
    })
  const child = await startOnceFree(start)
  const urlOf = (database: string) => `postgresql://${ADMIN}:${password}@127.0.0.1:${port}/${database}`
  return { ...child, host: '127.0.0.1', port, user: ADMIN, password, urlOf }
}

/** Removes the data of a stopped Postgres. */
export async function removePostgres(dataDir: string): Promise<void> {
  await removePrivateDir(dataDir, DIR_NAME)
}

function settingsOf(port: number, maxConnections: number): Record<string, string> {
  return {
    listen_addresses: '127.0.0.1',
    port: String(port),
    // No socket file: in a deep folder its path would exceed the limit of 107 bytes.
    unix_socket_directories: '',
    max_connections: String(maxConnections),
    shared_buffers: '512MB',
    max_wal_size: '4GB', // a benchmark should not measure checkpoints that a larger machine would not make
    shared_preload_libraries: 'pg_stat_statements',
    'pg_stat_statements.max': '10000',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_line_prefix: '%m [%p] %q%u@%d ',
  }
}

/** Creates the cluster on the first start. @returns the superuser's password */
async function ensureCluster(native: string, home: string, account: Account | undefined): Promise<string> {
  const password = await ensurePassword(join(home, 'password'), account)
  const data = join(home, 'data')
  if (await exists(data)) return password
  for (const name of await readdir(home)) {
    if (name.startsWith('data.')) await rm(join(home, name), { recursive: true }) // left by an interrupted start
  }
  // Created beside its place and renamed: an interrupted start leaves no incomplete cluster.
  const draft = `${data}.${randomUUID()}`
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  await run(
    join(native, 'bin', 'initdb'),
    ['-D', draft, '-U', ADMIN, `--pwfile=${join(home, 'password')}`, '--auth=scram-sha-256', ...locale],
    { env: { LC_ALL: 'C', TZ: 'UTC' }, cwd: home, ...account },
  )
  await rename(draft, data)
  return password
}

async function ensurePassword(file: string, account: Account | undefined): Promise<string> {
  if (!(await exists(file))) {
    const draft = `${file}.${randomUUID()}`
    await writeFile(draft, randomBytes(PASSWORD_BYTES).toString('hex'), { mode: 0o600 })
    if (account !== undefined) await chown(draft, account.uid, account.gid)
    await rename(draft, file)
  }
  return readFile(file, 'utf8')
}

const isDataHeld = (error: unknown): boolean =>
  error instanceof StartError && /postmaster\.pid|shared memory block/.test(error.message)

/**
 * Retries while an earlier server on the data is ending: after a kill -9 its sessions live on for a moment, with its
 * shared memory and lock file, and Postgres rightly refuses to start.
 */
function startOnceFree(start: () => Promise<Child>): Promise<Child> {
  const deadline = performance.now() + TAKE_OVER_WITHIN_MS
  return retry(start, {
    isTransient: (error) => isDataHeld(error) && performance.now() <= deadline,
    backOff: TAKE_OVER_BACK_OFF,
  })
}

/** The status that Postgres keeps in its lock file, which pg_ctl reads too. */
async function isAccepting(home: string, pid: number): Promise<boolean> {
  const lines = (await readFile(join(home, 'data', 'postmaster.pid'), 'utf8')).split('\n')
  return Number(lines[0]) === pid && lines[7]?.trim() === 'ready'
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
