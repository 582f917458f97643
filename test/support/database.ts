// A database of its own for every test file, made as a copy of the migrated template.

import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { migrate } from '../../src/db/migrate.ts'
import { testServers, type DatabaseRole } from './servers.ts'

export type TestDatabase = {
  name: string
  /** The superuser's. */
  url: string
  /** For connecting as a process does, under its role's rights and limits. */
  urlOf: (role: DatabaseRole) => string
  /** Looks on and prepares as the superuser, without any role's limits; rows by column name. */
  query: <Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]) => Promise<Row[]>
  /** Ends every session on it and removes it. */
  drop: () => Promise<void>
}

/** Numbers and amounts arrive as they do in src/db: int8 as bigint, numeric as text. */
const types = new pg.TypeOverrides()
types.setTypeParser(pg.types.builtins.INT8, BigInt)

/** A migrated database. Use it in `beforeAll`, and `drop` in `afterAll`. Takes about a tenth of a second. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const database = await createDatabase(testServers().template)
  // What belongs to the database and not to its content is never copied: rights to connect, roles' search paths.
  await migrate(database.url)
  return database
}

/** One with nothing in it, for tests of the migrations themselves. */
export const createEmptyDatabase = (): Promise<TestDatabase> => createDatabase('template0')

async function createDatabase(template: string): Promise<TestDatabase> {
  const { postgres, passwords } = testServers()
  const name = `test_${randomBytes(6).toString('hex')}`
  const urlFor = (user: string, password: string, database: string): string =>
    `postgresql://${user}:${password}@${postgres.host}:${postgres.port}/${database}`
  const adminUrl = urlFor(postgres.user, postgres.password, 'postgres')
  const url = urlFor(postgres.user, postgres.password, name)
  await runOnce(adminUrl, `create database ${name} template ${template}`)
  const pool = new pg.Pool({ connectionString: url, max: 2, types, options: '-c search_path=holdfast,pg_catalog' })
  // Tests end sessions and whole servers; the pool makes new ones on next use.
  pool.on('error', () => undefined)
  return {
    name,
    url,
    urlOf: (role) => urlFor(role, passwords[role], name),
    query: async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) =>
      (await pool.query<Row>(text, values.length === 0 ? undefined : [...values])).rows,
    drop: async () => {
      await pool.end()
      await runOnce(adminUrl, `drop database ${name} with (force)`)
    },
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
