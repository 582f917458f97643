// A test database per test file, copied from the migrated template.

import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { openDatabase, type Database, type DatabaseOptions } from '../../src/db/connection/pool.ts'
import { migrate } from '../../src/db/migrate.ts'
import { systemActor, type Actor } from '../../src/domain/audit.ts'
import { migrationsHash, testServers, type DatabaseRole } from './servers.ts'
import { readSource } from './source.ts'

export type TestDatabase = {
  name: string
  /** The superuser's. */
  url: string
  /** For connecting as a process does, under its role's rights and limits. */
  urlOf: (role: DatabaseRole) => string
  /** Reads and prepares data as the superuser, without any role's limits; rows by column name. */
  query: <Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]) => Promise<Row[]>
  /** Runs a write that only an application role may do, in the name of an actor. */
  writeAs: (role: DatabaseRole, by: Actor, text: string, values?: readonly unknown[]) => Promise<void>
  /** Rewrites rows as only a superuser can: past every trigger, so that nothing is audited or refused. */
  forge: (text: string, values?: readonly unknown[]) => Promise<void>
  /** Ends every session on it and removes it. */
  drop: () => Promise<void>
}

/** A new session takes a busy machine longer than production lets a call wait. */
const PATIENT_MS = 30_000

/** A process's pools, which wait long for a session unless a test is about that. */
export const openTestDatabase = (options: DatabaseOptions): Promise<Database> =>
  openDatabase({ poolWaitMs: PATIENT_MS, ...options })

/** The actor or source that a process sets when it opens its database; processes that act only for callers set none. */
export const actingAs = (role: DatabaseRole): { actor?: Actor; source?: string } => ({
  ...(role === 'watcher' && { source: 'watcher-1' }),
  ...((role === 'app_worker' || role === 'app_keys') && { actor: systemActor(role.replace('app_', '')) }),
})

const BY_HAND = systemActor('test')

/** Numbers and amounts arrive as they do in src/db: int8 as bigint, numeric as text. */
const types = new pg.TypeOverrides()
types.setTypeParser(pg.types.builtins.INT8, BigInt)

/**
 * A migrated database. Use it in `beforeAll`, and `drop` in `afterAll`. Takes less than a tenth of a second.
 * HOLDFAST_TEST_MUTATION: SQL that takes a guard out of it (test/controls.ts).
 */
export async function createTestDatabase(): Promise<TestDatabase> {
  const { template, templateHash } = testServers()
  const database = await createDatabase(template)
  // What belongs to the database and not to its content is never copied: rights to connect, roles' search paths.
  if (templateHash === migrationsHash()) await runOnce(database.url, readSource('migrations/role.sql'))
  else await migrate(database.url)
  const mutation = process.env['HOLDFAST_TEST_MUTATION'] ?? ''
  if (mutation !== '') await runOnce(database.url, `set search_path = holdfast; ${mutation}`)
  return database
}

/** An empty database, for tests of the migrations. */
export const createEmptyDatabase = (): Promise<TestDatabase> => createDatabase('template0')

async function createDatabase(template: string): Promise<TestDatabase> {
  const { postgres, passwords, tablespace } = testServers()
  const name = `test_${randomBytes(6).toString('hex')}`
  const urlFor = (user: string, password: string, database: string): string =>
    `postgresql://${user}:${password}@${postgres.host}:${postgres.port}/${database}`
  const adminUrl = urlFor(postgres.user, postgres.password, 'postgres')
  const url = urlFor(postgres.user, postgres.password, name)
  const place = tablespace === undefined ? '' : `tablespace ${tablespace}`
  await runOnce(adminUrl, `create database ${name} template ${template} ${place}`)
  // A superuser session needs an actor too. Application roles get no such default: they must name their actor.
  await runOnce(
    adminUrl,
    `alter role ${postgres.user} in database ${name} set holdfast.actor = '${JSON.stringify(BY_HAND)}'`,
  )
  const pool = new pg.Pool({ connectionString: url, max: 2, types, options: '-c search_path=holdfast,pg_catalog' })
  // Tests end sessions and whole servers; the pool makes new ones on next use.
  pool.on('error', () => undefined)
  return {
    name,
    url,
    urlOf: (role) => urlFor(role, passwords[role], name),
    query: async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) =>
      (await pool.query<Row>(text, values.length === 0 ? undefined : [...values])).rows,
    writeAs: (role, by, text, values = []) =>
      within(pool, async (client) => {
        await client.query(`set local role ${role}`)
        await client.query(`select set_config('holdfast.actor', $1, true)`, [JSON.stringify(by)])
        if (role === 'watcher') await client.query(`select set_config('holdfast.source', 'watcher-1', true)`)
        await client.query(text, [...values])
      }),
    forge: (text, values = []) =>
      within(pool, async (client) => {
        await client.query('set local session_replication_role = replica')
        await client.query(text, [...values])
      }),
    drop: async () => {
      await pool.end()
      await runOnce(adminUrl, `drop database ${name} with (force)`)
    },
  }
}

async function within(pool: pg.Pool, work: (client: pg.PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('begin')
    await work(client)
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
}

async function runOnce(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}
