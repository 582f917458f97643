// One Postgres and one Temporal server for all systems of a run; each system has its own database and namespace.

import { join } from 'node:path'
import { Connection } from '@temporalio/client'
import pg from 'pg'
import { dropDatabase, ensureDatabase, grantLogins } from '../src/db/cluster.ts'
import { migrate } from '../src/db/migrate.ts'
import { prepareNamespaces } from '../src/servers/namespace.ts'
import { freePorts } from '../src/servers/port.ts'
import { removePostgres, startPostgres } from '../src/servers/postgres.ts'
import { passwordsOf, ensureSecrets, type SecretFiles } from '../src/servers/secret.ts'
import { maxConnectionsFor, startTemporal, TEMPORAL_PORTS } from '../src/servers/temporal.ts'
import { POOLS, PROCESS_ROLES, WATCHER_SOURCE, type ProcessRole } from '../src/servers/wiring.ts'

/** For all systems together, including those that run one after another. */
const APPLICATION_CONNECTIONS = 150
const RETENTION_HOURS = 24
/** Migrated once; each database of a run is a copy. */
const TEMPLATE = 'bench_template'
const POSTGRES_SETTINGS = ['server_version', 'fsync', 'synchronous_commit', 'shared_buffers', 'max_connections']

export type BenchServers = {
  /** Versions of the servers, and the settings that the figures depend on. */
  versions: Readonly<Record<string, string>>
  postgresPid: number
  temporalPid: number
  temporalAddress: string
  secrets: SecretFiles
  /** Superuser access outside of every measured database. */
  admin: pg.Client
  /** An empty, migrated database; an existing one of that name is dropped first. */
  createDatabase: (name: string) => Promise<BenchDatabase>
  createNamespace: (name: string) => Promise<void>
  stop: () => Promise<void>
}

export type BenchDatabase = {
  name: string
  /** The superuser's url, for work outside our roles. */
  url: string
  urlOf: (role: ProcessRole) => string
  /** Runs a query as the superuser. */
  query: <Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]) => Promise<Row[]>
}

/** @throws {Error} that names what is missing */
export async function startBenchServers(dataDir: string, log: (line: string) => void): Promise<BenchServers> {
  const serverBinary = process.env['HOLDFAST_TEMPORAL_SERVER']
  const sqlToolBinary = process.env['HOLDFAST_TEMPORAL_SQL_TOOL']
  if (serverBinary === undefined || sqlToolBinary === undefined)
    throw new Error('a benchmark runs its own Temporal server: unset TEMPORAL_ADDRESS and use `npm run bench`')
  const stops: (() => Promise<void>)[] = [() => removePostgres(dataDir)]
  const stop = async (): Promise<void> => {
    for (const end of stops.toReversed()) await end()
  }
  try {
    const [port = 0, ...ports] = await freePorts(1 + TEMPORAL_PORTS)
    const postgres = await startPostgres({ dataDir, port, maxConnections: maxConnectionsFor(APPLICATION_CONNECTIONS) })
    stops.push(postgres.stop)
    const temporal = await startTemporal({ serverBinary, sqlToolBinary, postgres, ports, dataDir })
    stops.push(temporal.stop)
    const admin = await connect(postgres.urlOf('postgres'))
    stops.push(() => admin.end())
    await admin.query('create extension if not exists pg_stat_statements')
    await migrate(await ensureDatabase(postgres.urlOf('postgres'), TEMPLATE))
    const passwords = passwordsOf(postgres.urlOf('postgres'), PROCESS_ROLES)
    log('Postgres and Temporal are ready')
    return {
      versions: await readVersions(admin, temporal.address),
      postgresPid: postgres.pid,
      temporalPid: temporal.pid,
      temporalAddress: temporal.address,
      secrets: await ensureSecrets(join(dataDir, 'secret'), WATCHER_SOURCE),
      admin,
      createDatabase: async (name) => {
        await dropDatabase(postgres.urlOf('postgres'), name).catch(() => undefined)
        await admin.query(`create database ${pg.escapeIdentifier(name)} template ${TEMPLATE}`)
        const url = postgres.urlOf(name)
        // Rights belong to a database and are not copied with it.
        await migrate(url)
        const logins = PROCESS_ROLES.map((role) => ({
          role,
          password: passwords[role],
          connectionLimit: 2 * POOLS[role],
        }))
        await grantLogins(url, logins)
        return databaseAt(url, name, passwords)
      },
      createNamespace: (name) => prepareNamespaces(temporal.address, { [name]: RETENTION_HOURS }),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

const databaseAt = (url: string, name: string, passwords: Readonly<Record<ProcessRole, string>>): BenchDatabase => ({
  name,
  url: withSearchPath(url),
  urlOf: (role) => {
    const own = new URL(url)
    own.username = role
    own.password = passwords[role]
    return own.href
  },
  query: async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) => {
    const client = await connect(withSearchPath(url))
    try {
      return (await client.query<Row>(text, [...values])).rows
    } finally {
      await client.end()
    }
  },
})

/** The actor of superuser writes: the audit requires one. */
const BY_HAND = JSON.stringify({ actor: 'system:bench', role: 'system' })

/** Our roles have the search path set, and name their actors. */
function withSearchPath(url: string): string {
  const own = new URL(url)
  own.searchParams.set('options', `-c search_path=holdfast,pg_catalog -c holdfast.actor=${BY_HAND}`)
  return own.href
}

async function readVersions(admin: pg.Client, temporalAddress: string): Promise<Record<string, string>> {
  const connection = await Connection.connect({ address: temporalAddress })
  try {
    const { serverVersion } = await connection.workflowService.getSystemInfo({})
    const { rows } = await admin.query<{ name: string; setting: string }>(
      'select name, setting from pg_settings where name = any ($1)',
      [POSTGRES_SETTINGS],
    )
    return {
      temporal: serverVersion,
      ...Object.fromEntries(rows.map(({ name, setting }) => [`postgres ${name}`, setting])),
    }
  } finally {
    await connection.close()
  }
}

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString })
  await client.connect()
  return client
}
