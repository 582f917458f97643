// Applies migrations/ to a database: forward only, checksummed, in one transaction, one runner at a time.

import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import Postgrator from 'postgrator'
import type { Actor } from '../domain/audit.ts'
import { assertServerVersion, sessionConfig } from './connection/session.ts'

const MIGRATIONS_DIR = fileURLToPath(new URL('../../migrations/', import.meta.url))
/** Any number, the same in every process: concurrent runners wait for each other. */
const ADVISORY_LOCK = 7_043_211

/** The audit actor of changes to rules. */
const MIGRATION: Actor = { actor: 'migration:holdfast', role: 'migration' }
/** The audit's partitions are created at least this many months ahead of the newest deployment. */
const AUDIT_MONTHS_AHEAD = 3

export type MigrateResult = { version: number; applied: readonly string[] }

/**
 * Migrates the database behind `url` to the newest version. The role in `url` must be able to create roles, or they
 * must exist. Throws if an applied migration was edited since or has no file, or if the server is too old.
 * @param upTo stops at this version: a test fills an older database
 */
export async function migrate(url: string, upTo?: number): Promise<MigrateResult> {
  const client = new pg.Client(sessionConfig({ url, applicationName: 'holdfast-migrate' }))
  await client.connect()
  try {
    await assertServerVersion((text) => client.query(text))
    await client.query('begin')
    await client.query('select pg_advisory_xact_lock($1)', [ADVISORY_LOCK])
    await client.query(await readFile(`${MIGRATIONS_DIR}role.sql`, 'utf8'))
    await client.query('set local role holdfast_owner')
    await client.query('set local search_path = holdfast, pg_catalog')
    await client.query(`select set_config('holdfast.actor', $1, true)`, [JSON.stringify(MIGRATION)])
    const runner = new Postgrator({
      migrationPattern: `${MIGRATIONS_DIR}*.do.*.sql`,
      driver: 'pg',
      schemaTable: 'holdfast.schema_version',
      execQuery: (query) => client.query(query),
    })
    await assertEachHasFile(client, runner)
    const applied = await runner.migrate(upTo?.toString())
    const version = await runner.getDatabaseVersion()
    await client.query('select audit_make_partitions(current_date, $1)', [AUDIT_MONTHS_AHEAD])
    await client.query('commit')
    return { version, applied: applied.map((migration) => `${migration.version} ${migration.name}`) }
  } finally {
    await client.end()
  }
}

/**
 * Throws if a migration of the database has no file: such a database was made before 0001 to 0022 were squashed. A
 * version above all files belongs to a newer build.
 */
async function assertEachHasFile(client: pg.Client, runner: Postgrator): Promise<void> {
  if ((await runner.getDatabaseVersion()) === 0) return
  const files = (await runner.getMigrations()).map(({ version, name }) => `${version} ${name}`)
  const { rows } = await client.query<{ migration: string }>(
    `select version || ' ' || name as migration from schema_version
     where version between 1 and $1 and version || ' ' || name <> all ($2) order by version limit 1`,
    [await runner.getMaxVersion(), files],
  )
  const [unknown] = rows
  if (unknown === undefined) return
  throw new Error(
    `the database has the migration "${unknown.migration}", which has no file: it was made before the migrations ` +
      'were squashed (docs/decisions/0025) and cannot be migrated. Use a new, empty database: for npm start, stop ' +
      'the stack and run `npm start -- --fresh`; for Compose, `docker compose down --volumes`',
  )
}

/** The newest version among the files: a database must have it for this build to serve. */
export async function newestMigration(): Promise<number> {
  const runner = new Postgrator({
    migrationPattern: `${MIGRATIONS_DIR}*.do.*.sql`,
    driver: 'pg',
    execQuery: async () => ({ rows: [] }),
  })
  return runner.getMaxVersion()
}
