// A migrated database has what migrations/function says, rights included: every file is run on it, and nothing changes.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import { createTestDatabase, type TestDatabase } from './support/database.ts'
import { presentOf, readFunctions, readMigrations } from './support/function.ts'
import { canonicalOf } from './support/sql.ts'

/** Made by the audit's generators, one for each table or kind: they have no file. */
const GENERATED = `
  select 'audit_' || table_name as name from audit_scope where kind is not null
  union all select 'audit_append_' || kind from audit_scope where kind is not null`

/** Each with what Postgres says of it, and who may use it. */
const OBJECTS = `
  select 'function ' || p.proname as object, pg_get_functiondef(p.oid) as text,
    p.proowner::regrole::text || ' ' || coalesce(p.proacl::text, '') as rights
  from pg_proc p where p.pronamespace = 'holdfast'::regnamespace and p.proname not in (${GENERATED})
  union all
  select 'view ' || c.relname, pg_get_viewdef(c.oid), c.relowner::regrole::text || ' ' || coalesce(c.relacl::text, '')
  from pg_class c where c.relnamespace = 'holdfast'::regnamespace and c.relkind = 'v'
  union all
  select 'trigger ' || t.tgrelid::regclass || '.' || t.tgname, pg_get_triggerdef(t.oid), t.tgenabled::text
  from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid
  where c.relnamespace = 'holdfast'::regnamespace and not t.tgisinternal and t.tgparentid = 0
    and p.proname not in (${GENERATED}) and t.tgname not like '%\\_audit\\_truncate'
    and c.relname !~ '^audit_entry_2'`

/** The last call of a generator for each table, as it stands in the migrations. */
const generatorCalls = (): string[] => {
  const texts = readMigrations().map(({ text }) => text)
  const calls = texts.flatMap((text) => [
    ...text.matchAll(/(?:select|perform) ((audit_watch|audit_root)\(\s*'(\w+)',[^;]*\));/g),
  ])
  return [...new Map(calls.map(([, call = '', name, table]) => [`${name} ${table}`, call])).values()]
}

type Row = { object: string; text: string; rights: string }

let database: TestDatabase
let client: pg.Client
beforeAll(async () => {
  database = await createTestDatabase()
  client = new pg.Client({ connectionString: database.url })
  await client.connect()
})
afterAll(async () => {
  await client.end()
  await database.drop()
})

const AS_MIGRATION = `begin; set local role holdfast_owner; set local search_path = holdfast, pg_catalog`

const look = async (): Promise<Row[]> => {
  const { rows } = await client.query<Row>(`${OBJECTS} order by 1`)
  return rows.map((row) => ({ ...row, text: canonicalOf(row.text) }))
}

test('running every file of migrations/function on a migrated database changes nothing', async () => {
  await client.query(AS_MIGRATION)
  const before = await look()
  const present = presentOf(readMigrations())
  expect(before.map(({ object }) => object).toSorted()).toEqual([...present.keys()].toSorted())
  for (const { text } of readFunctions()) await client.query(text)
  expect(await look()).toEqual(before)
  await client.query('rollback')
})

test("the audit's generators write the functions that the migrations left", async () => {
  await client.query(AS_MIGRATION)
  const generated = async () => {
    const { rows } = await client.query<{ name: string; text: string }>(
      `select proname as name, pg_get_functiondef(oid) as text from pg_proc
       where pronamespace = 'holdfast'::regnamespace and proname in (${GENERATED}) order by 1`,
    )
    return rows.map(({ name, text }) => ({ name, text: canonicalOf(text) }))
  }
  const before = await generated()
  const calls = generatorCalls()
  expect(calls).toHaveLength(before.length)
  for (const call of calls) await client.query(`select ${call}`)
  expect(await generated()).toEqual(before)
  await client.query('rollback')
})
