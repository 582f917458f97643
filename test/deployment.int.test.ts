// First start of a deployment on its own Postgres: the scripts that docker-compose.yml runs, without a superuser after
// the first of them, and then each process's login.

import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import { parse } from 'yaml'
import { migrate, newestMigration } from '../src/db/migrate.ts'
import { freePorts } from '../src/servers/port.ts'
import { removePostgres, startPostgres, type Postgres } from '../src/servers/postgres.ts'
import { findTool } from './support/servers.ts'
import { readSource } from './support/source.ts'

const MAX_CONNECTIONS = 20
const START_WITHIN_MS = 300_000

let dataDir: string
let postgres: Postgres
/** What the first run of scripts and migrations created. */
let migrated: Awaited<ReturnType<typeof migrate>>
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-deployment-'))
  const [port = 0] = await freePorts(1)
  postgres = await startPostgres({ dataDir, port, maxConnections: MAX_CONNECTIONS })
  await runScript('ops/postgres/init.sql', postgres.urlOf('postgres'))
  migrated = await migrate(urlAs('holdfast_migrator'))
  await runScript('ops/postgres/login.sql', urlAs('holdfast_migrator'))
}, START_WITHIN_MS)
afterAll(async () => {
  await postgres?.stop()
  await removePostgres(dataDir)
  await rm(dataDir, { recursive: true })
})

/** Replaces the mounted secrets: the file's name serves as the password. */
const urlAs = (role: string, database = 'holdfast'): string =>
  `postgresql://${role}:${role.replace(/^holdfast_/, '')}_password@127.0.0.1:${postgres.port}/${database}`

/** Runs a script as psql does: sets variables from files, then quotes them where they are used. */
async function runScript(path: string, url: string): Promise<void> {
  const statements = readSource(path)
    .replace(/^\\set (\w+) `cat \/run\/secrets\/\1`$/gm, '')
    .replace(/:'(\w+)'/g, "'$1'")
    .replace(/^--.*$/gm, '')
    .split(';')
    .filter((text) => text.trim() !== '')
  await query(url, ...statements)
}

async function query(url: string, ...texts: string[]): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    let rows: unknown[] = []
    for (const text of texts) rows = (await client.query<object>(text)).rows
    return rows
  } finally {
    await client.end()
  }
}

test('a deployment is made by roles that are no superusers, and its processes can log in and nobody else can', async () => {
  expect(migrated.version).toBe(await newestMigration())
  for (const role of ['app_api', 'app_worker', 'app_keys', 'watcher', 'audit_sealer', 'auditor']) {
    expect(
      await query(urlAs(role), 'select current_user as role, max(version)::int as version from schema_version'),
    ).toEqual([{ role, version: await newestMigration() }])
  }
  await expect(query(urlAs('temporal'), 'select 1')).rejects.toThrow('permission denied for database "holdfast"')
  expect(
    await query(
      urlAs('temporal', 'postgres'),
      `select rolname::text as role from pg_roles where rolsuper or (rolcanlogin and rolname not in
         ('holdfast_migrator', 'temporal', 'app_api', 'app_worker', 'app_keys', 'watcher', 'audit_sealer', 'auditor'))`,
    ),
  ).toEqual([{ role: postgres.user }])
})

// Users with their own Temporal server may lack its tools.
const testWithTools = process.env['TEMPORAL_ADDRESS'] === undefined ? test : test.skip

testWithTools(
  'the schema of Temporal is made by its own role, and making it again changes nothing',
  async () => {
    const tool = process.env['HOLDFAST_TEMPORAL_SQL_TOOL'] ?? (await findTool('temporal-sql-tool'))
    const script = readSource('ops/temporal/schema.sh')
      .replace('$(cat /run/secrets/temporal_password)', 'temporal_password')
      .replaceAll('temporal-sql-tool', tool)
    const { services } = parse(readSource('docker-compose.yml'), { merge: true }) as {
      services: Record<'temporal-schema', { environment: Record<string, string> }>
    }
    const env = { ...services['temporal-schema'].environment, SQL_HOST: '127.0.0.1', SQL_PORT: String(postgres.port) }
    const make = () => promisify(execFile)('/bin/sh', ['-c', script], { env })
    await make()
    await make()
    for (const database of ['temporal', 'temporal_visibility']) {
      expect(await query(urlAs('temporal', database), 'select count(*)::int as versions from schema_version')).toEqual([
        { versions: 1 },
      ])
    }
  },
  START_WITHIN_MS,
)

test('a second run of a deployment changes nothing', async () => {
  expect((await migrate(urlAs('holdfast_migrator'))).applied).toEqual([])
  await runScript('ops/postgres/login.sql', urlAs('holdfast_migrator'))
})
