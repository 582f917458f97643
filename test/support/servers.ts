// The servers of one test run: its own Postgres and Temporal, on free ports, in a temporary folder.
// test/run.ts starts them once for all stages; a jest run started manually starts its own.

import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import pg from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { findServerAccount } from '../../src/servers/account.ts'
import { prepareNamespaces } from '../../src/servers/namespace.ts'
import { freePorts } from '../../src/servers/port.ts'
import { removePostgres, startPostgres, type Postgres } from '../../src/servers/postgres.ts'
import { maxConnectionsFor, startTemporal, TEMPORAL_PORTS } from '../../src/servers/temporal.ts'
import { createMemoryDir } from './memory_disk.ts'
import { hashOfSources } from './source.ts'

const run = promisify(execFile)

/** Three test files at a time, each with a few processes' worth of pools. */
const APPLICATION_CONNECTIONS = 225
const PASSWORD_BYTES = 18
const VARIABLE = 'HOLDFAST_TEST_SERVERS'
const SETUP = fileURLToPath(new URL('../../tools/setup.mjs', import.meta.url))

export const DATABASE_ROLES = [
  'app_api',
  'app_worker',
  'app_keys',
  'watcher',
  'audit_sealer',
  'auditor',
  'analytics',
] as const
export type DatabaseRole = (typeof DATABASE_ROLES)[number]

export type TestServers = {
  postgres: { host: string; port: number; user: string; password: string }
  /** A migrated database that nothing connects to: test databases are copies of it. */
  template: string
  /** Which migrations are in it (`migrationsHash`). */
  templateHash: string
  /** Keeps test databases in memory; absent where the machine has no room for them. */
  tablespace?: string
  /** For what is made once in a run and read by every process of it; goes with the servers. */
  cacheDir: string
  /** The roles' passwords; roles belong to the whole cluster. */
  passwords: Readonly<Record<DatabaseRole, string>>
  temporalAddress: string
}

/** The servers of the present run, for tests. Throws outside of one. */
export function testServers(): TestServers {
  const text = process.env[VARIABLE]
  if (text === undefined) throw new Error('no servers are running: name the test *.int.test.ts, or put it in test/e2e')
  return JSON.parse(text) as TestServers
}

export const areServersRunning = (): boolean => VARIABLE in process.env

/** Starts the servers and makes them known to this process and its children. Returns what stops them. */
export async function startTestServers(): Promise<() => Promise<void>> {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-test-'))
  const stops: (() => Promise<void>)[] = [() => rm(dataDir, { recursive: true, force: true })]
  const stopAll = async (): Promise<void> => {
    for (const stop of stops.toReversed()) await stop()
    delete process.env[VARIABLE]
  }
  try {
    const [port = 0] = await freePorts(1)
    const maxConnections = maxConnectionsFor(APPLICATION_CONNECTIONS)
    stops.push(() => removePostgres(dataDir))
    const memory = await createMemoryDir(await findServerAccount())
    if (memory !== undefined) stops.push(memory.remove)
    const postgres = await startPostgres({ dataDir, port, maxConnections })
    stops.push(postgres.stop)
    const passwords = await prepareTemplate(postgres, memory?.path)
    const temporal = await connectTemporal(dataDir, postgres)
    stops.push(temporal.stop)
    const { host, user, password } = postgres
    const servers: TestServers = {
      postgres: { host, port, user, password },
      template: TEMPLATE,
      templateHash: migrationsHash(),
      ...(memory !== undefined && { tablespace: MEMORY }),
      cacheDir: dataDir,
      passwords,
      temporalAddress: temporal.address,
    }
    process.env[VARIABLE] = JSON.stringify(servers)
    return stopAll
  } catch (error) {
    await stopAll()
    throw error
  }
}

const TEMPLATE = 'holdfast_template'
const MEMORY = 'test_memory'

/** Tells one set of migrations from another: servers may outlive a change of the files. */
export const migrationsHash = (): string => hashOfSources('migrations/*.sql')

async function prepareTemplate(postgres: Postgres, memoryDir?: string): Promise<TestServers['passwords']> {
  const passwords = Object.fromEntries(
    DATABASE_ROLES.map((role) => [role, randomBytes(PASSWORD_BYTES).toString('base64url')]),
  ) as Record<DatabaseRole, string>
  const client = new pg.Client({ connectionString: postgres.urlOf('postgres') })
  await client.connect()
  try {
    // A power cut may cost these servers their data, a kill of any process may not: what tests prove stays the same.
    for (const setting of ['fsync', 'full_page_writes']) await client.query(`alter system set ${setting} = off`)
    await client.query('select pg_reload_conf()')
    if (memoryDir !== undefined) await client.query(`create tablespace ${MEMORY} location '${memoryDir}'`)
    await client.query(`create database ${TEMPLATE}`)
    await migrate(postgres.urlOf(TEMPLATE))
    for (const role of DATABASE_ROLES) await client.query(`alter role ${role} login password '${passwords[role]}'`)
  } finally {
    await client.end()
  }
  return passwords
}

/** The server at TEMPORAL_ADDRESS where one is named, else our own. */
async function connectTemporal(dataDir: string, postgres: Postgres) {
  const address = process.env['TEMPORAL_ADDRESS']
  if (address !== undefined) {
    await prepareNamespaces(address)
    return { address, stop: async () => undefined }
  }
  return startTemporal({
    dataDir,
    postgres,
    serverBinary: process.env['HOLDFAST_TEMPORAL_SERVER'] ?? (await findTool('temporal-server')),
    sqlToolBinary: process.env['HOLDFAST_TEMPORAL_SQL_TOOL'] ?? (await findTool('temporal-sql-tool')),
    ports: await freePorts(TEMPORAL_PORTS),
  })
}

/** The path of a tool, as tools/setup.mjs would set it; for a jest run started manually. */
export async function findTool(name: string): Promise<string> {
  const { stdout } = await run(process.execPath, [SETUP, 'tool', name])
  return stdout.trim()
}
