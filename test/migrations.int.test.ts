// Result of the migrations: every number has a range, and tables of facts equal the code. Beside it,
// schema_rule.int.test.ts tests constraints and references, schema_right.int.test.ts the rights of every role.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { migrate, newestMigration } from '../src/db/migrate.ts'
import { isTerminal, ORDER_STATUSES } from '../src/domain/order.ts'
import { ASSET_POLICY, ASSETS, isEnough } from '../src/domain/payment.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from './support/database.ts'
import { DATABASE_ROLES } from './support/servers.ts'
import { findSources } from './support/source.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(async () => {
  await database.drop()
})

const column = async (text: string): Promise<unknown[]> =>
  (await database.query<{ value: unknown }>(text)).map(({ value }) => value)

const UNBOUNDED = `
  select c.relname || '.' || a.attname as value
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  where c.relnamespace = 'holdfast'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'schema_version'
    and a.atttypid in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype, 'smallint'::regtype)
    and a.attidentity = '' and not exists (
      select from pg_constraint k where k.conrelid = c.oid and k.contype in ('c', 'f') and a.attnum = any (k.conkey))`

test('every amount and count has a range, and one without would be found out', async () => {
  expect(await column(UNBOUNDED)).toEqual([])
  await database.query('create table careless (n integer)')
  expect(await column(UNBOUNDED)).toEqual(['careless.n'])
  await database.query('drop table careless')
})

/** Times that an application role may write, alone or with a row, and that no constraint requires to be finite. */
const ENDLESS = `
  select distinct c.relname || '.' || a.attname as value
  from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  cross join unnest($1::text[]) role
  where c.relnamespace = 'holdfast'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    and a.atttypid in ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
    and (has_column_privilege(role, c.oid, a.attnum, 'insert') or has_column_privilege(role, c.oid, a.attnum, 'update'))
    and not exists (
      select from pg_constraint k where k.conrelid = c.oid and k.contype = 'c' and a.attnum = any (k.conkey)
        and pg_get_constraintdef(k.oid) like '%isfinite(' || a.attname || ')%')
  order by 1`

test('every time that a role may write is finite, and one that may not be would be found out', async () => {
  const endless = async () =>
    (await database.query<{ value: string }>(ENDLESS, [DATABASE_ROLES])).map(({ value }) => value)
  expect(await endless()).toEqual([])
  await database.query('create table careless (n timestamptz); grant update (n) on careless to watcher')
  expect(await endless()).toEqual(['careless.n'])
  await database.query('drop table careless')
})

describe('what code and database both say', () => {
  test('is the same list of statuses', async () => {
    const [rule = ''] = (await column(
      `select pg_get_constraintdef(oid) as value from pg_constraint where conname = 'orders_status'`,
    )) as string[]
    expect([...rule.matchAll(/'(\w+)'/g)].map(([, status]) => status)).toEqual([...ORDER_STATUSES])
  })

  test('are the same statuses that end an order', async () => {
    const ends = await database.query<{ ends: boolean }>(
      'select is_terminal(status) as ends from unnest($1::text[]) with ordinality s (status, no) order by no',
      [ORDER_STATUSES],
    )
    expect(ends.map((row) => row.ends)).toEqual(ORDER_STATUSES.map(isTerminal))
  })

  test('is the same tolerance of a payment, to the base unit', async () => {
    const dues = [1n, 999n, 1_000n, 1_001n, 123_456_789n, 10n ** 18n + 1n, 10n ** 30n + 7n]
    const cases = dues.flatMap((due) => [due, due - due / 1000n - 1n, due - due / 1000n].map((sum) => ({ sum, due })))
    const enough = await database.query<{ enough: boolean }>(
      `select is_enough(sum, due) as enough
       from unnest($1::numeric[], $2::numeric[]) with ordinality c (sum, due, no) order by no`,
      [cases.map(({ sum }) => sum), cases.map(({ due }) => due)],
    )
    expect(enough.map((row) => row.enough)).toEqual(cases.map(({ sum, due }) => isEnough(sum, due)))
    expect(enough.slice(-2).map((row) => row.enough)).toEqual([false, true])
  })

  test('are the same decimals of each coin', async () => {
    const known = await database.query(`select currency, decimals from currency where kind = 'coin' order by currency`)
    const expected = ASSETS.toSorted().map((asset) => ({ currency: asset, decimals: ASSET_POLICY[asset].decimals }))
    expect(known).toEqual(expected)
  })
})

describe('migrating', () => {
  test('two runners at once leave one schema', async () => {
    const empty = await createEmptyDatabase()
    try {
      const results = await Promise.all([migrate(empty.url), migrate(empty.url)])
      const newest = await newestMigration()
      expect(results.map(({ version }) => version)).toEqual([newest, newest])
      const files = findSources('migrations/*.do.*.sql')
      expect(new Set(results.map(({ applied }) => applied.length))).toEqual(new Set([0, files.length]))
    } finally {
      await empty.drop()
    }
  })

  test('a file that was edited after it was applied is refused, and nothing is changed', async () => {
    const [applied] = await database.query<{ md5: string }>(`select md5 from schema_version where version = 1`)
    await database.query(`update schema_version set md5 = 'other' where version = 1`)
    await expect(migrate(database.url)).rejects.toThrow('MD5 checksum failed for migration [1]')
    await database.query(`update schema_version set md5 = $1 where version = 1`, [applied?.md5])
    expect((await migrate(database.url)).applied).toEqual([])
  })

  test.each([
    ['a number that no file has', '13 forget', `insert into schema_version (version, name) values (13, 'forget')`],
    ['another file of a number', '1 catalogue', `update schema_version set name = 'catalogue' where version = 1`],
  ])('a database made before the squash is refused by %s, with what to do', async (_, migration, text) => {
    const old = await createTestDatabase()
    const readVersions = () => old.query('select * from schema_version order by version')
    try {
      await old.query(text)
      const before = await readVersions()
      await expect(migrate(old.url)).rejects.toThrow(
        new RegExp(
          `"${migration}", .* squashed \\(docs/decisions/0025\\).*npm start -- --fresh.*docker compose down --volumes`,
        ),
      )
      expect(await readVersions()).toEqual(before)
    } finally {
      await old.drop()
    }
  })

  test('a database that a newer build has brought forward is left as it is', async () => {
    const newer = await createTestDatabase()
    try {
      await newer.query(`insert into schema_version (version, name) values (9999, 'next')`)
      await expect(migrate(newer.url)).resolves.toEqual({ version: 9999, applied: [] })
    } finally {
      await newer.drop()
    }
  })
})
