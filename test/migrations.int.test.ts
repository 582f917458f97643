// What every table owes from its birth, asked of Postgres itself: names on its rules, an explicit end for every
// reference, a range for every number, and rights that no process exceeds.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { migrate, newestMigration } from '../src/db/migrate.ts'
import { quoteDue } from '../src/domain/money.ts'
import { ORDER_STATUSES, TRANSITIONS } from '../src/domain/order.ts'
import { ASSET_POLICY, ASSETS } from '../src/domain/payment.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from './support/database.ts'
import { DATABASE_ROLES } from './support/servers.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(async () => {
  await database.drop()
})

const column = async (text: string): Promise<unknown[]> =>
  (await database.query<{ value: unknown }>(text)).map(({ value }) => value)

const TABLES = `select c.oid, c.relname::text as name from pg_class c
  where c.relnamespace = 'holdfast'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'schema_version'`

/** Each finds what breaks a rule that every table keeps, as `table` or as `table.name`. */
const OFFENDERS = {
  'has a primary key': `select name as value from (${TABLES}) t
    where not exists (select from pg_constraint where conrelid = t.oid and contype = 'p')`,
  'says what it is for': `select name as value from (${TABLES}) t where obj_description(oid) is null`,
  'names its constraints itself, so that an error says which rule was broken': `
    select t.name || '.' || conname as value from pg_constraint join (${TABLES}) t on t.oid = conrelid
    where contype in ('c', 'f', 'u', 'p') and conname ~ '_(check|fkey|key|pkey)[0-9]*$'`,
  'refuses to lose what refers to it': `
    select t.name || '.' || conname as value from pg_constraint join (${TABLES}) t on t.oid = conrelid
    where contype = 'f' and confdeltype <> 'r'`,
  'has a range for every amount and count': `
    select t.name || '.' || a.attname as value
    from (${TABLES}) t join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
    where a.atttypid in ('numeric'::regtype, 'bigint'::regtype, 'integer'::regtype, 'smallint'::regtype)
      and a.attidentity = '' and not exists (
        select from pg_constraint k where k.conrelid = t.oid and k.contype in ('c', 'f') and a.attnum = any (k.conkey))`,
} as const

describe('every table', () => {
  test.each(Object.entries(OFFENDERS))('%s', async (_rule, offenders) => {
    expect(await column(offenders)).toEqual([])
  })

  test('would be found out, were it to break these rules', async () => {
    await database.query('create table careless (n integer, ref text references product)')
    const found = await Promise.all(Object.values(OFFENDERS).map(column))
    await database.query('drop table careless')
    const reference = 'careless.careless_ref_fkey'
    expect(found).toEqual([['careless'], ['careless'], [reference], [reference], ['careless.n']])
  })
})

describe('rights', () => {
  test('belong to roles that own nothing and can make nothing', async () => {
    const unsafe = `select r.rolname::text as value from pg_roles r
      where r.rolname = any ('{${DATABASE_ROLES.join(',')}}') and (r.rolsuper or r.rolcreaterole or r.rolcreatedb
        or has_schema_privilege(r.oid, 'holdfast', 'create') or has_schema_privilege(r.oid, 'public', 'create'))`
    expect(await column(unsafe)).toEqual([])
  })

  test('leave the move of a status to the worker', async () => {
    const movers = `select r.rolname::text as value from pg_roles r where r.rolname = any ('{${DATABASE_ROLES.join(',')}}')
      and has_column_privilege(r.oid, 'orders', 'status', 'update')`
    expect(await column(movers)).toEqual(['app_worker'])
  })

  test('let no process delete or empty what must be kept', async () => {
    const removers = `select r.rolname || ' ' || t.name as value from pg_roles r cross join (${TABLES}) t
      where r.rolname = any ('{${DATABASE_ROLES.join(',')}}')
        and t.name in ('orders', 'order_line', 'invoice', 'reservation', 'stock', 'stock_movement', 'product', 'customer',
          'payment', 'payment_report', 'refund_due', 'payment_key', 'address_pool')
        and (has_table_privilege(r.oid, t.oid, 'delete') or has_table_privilege(r.oid, t.oid, 'truncate'))`
    expect(await column(removers)).toEqual([])
  })

  test('show sealed payment keys to the keys process alone', async () => {
    const readers = `select r.rolname::text as value from pg_roles r where r.rolname = any ('{${DATABASE_ROLES.join(',')}}')
      and (has_table_privilege(r.oid, 'payment_key', 'select') or has_any_column_privilege(r.oid, 'payment_key', 'select'))`
    expect(await column(readers)).toEqual(['app_keys'])
  })

  test('come with time limits', async () => {
    const limits = `select r.rolname || ' ' || limit_name as value from pg_roles r
      cross join unnest(array['statement_timeout=2s', 'lock_timeout=1s', 'idle_in_transaction_session_timeout=5s', 'transaction_timeout=5s']) as limit_name
      where r.rolname = any ('{${DATABASE_ROLES.join(',')}}') and not limit_name = any (coalesce(r.rolconfig, '{}'))`
    expect(await column(limits)).toEqual([])
  })
})

describe('what code and database both say', () => {
  test('is the same table of moves', async () => {
    const moves = `select from_status || ' ' || to_status || ' ' || role as value from order_transition order by 1`
    const expected = TRANSITIONS.flatMap(({ from, to, roles }) => roles.map((role) => `${from} ${to} ${role}`))
    expect(await column(moves)).toEqual(expected.toSorted())
    expect(expected).toHaveLength(11)
  })

  test('is the same list of statuses', async () => {
    const [rule = ''] = (await column(
      `select pg_get_constraintdef(oid) as value from pg_constraint where conname = 'orders_status'`,
    )) as string[]
    expect([...rule.matchAll(/'(\w+)'/g)].map(([, status]) => status)).toEqual([...ORDER_STATUSES])
  })

  test('are the same decimals of each coin', async () => {
    const known = await database.query(`select currency, decimals from currency where kind = 'coin' order by currency`)
    const expected = ASSETS.toSorted().map((asset) => ({ currency: asset, decimals: ASSET_POLICY[asset].decimals }))
    expect(known).toEqual(expected)
  })

  test('is the same amount due, to the base unit', async () => {
    const cases = [1n, 99n, 1_250n, 333_333n, 99_999_999_999_999n].flatMap((total) =>
      [1n, 7n, 200_000n, 9_999_999n].flatMap((rate) =>
        ASSETS.map((asset) => ({ total, rate, decimals: ASSET_POLICY[asset].decimals })),
      ),
    )
    const rows = await database.query<{ due: string }>(
      `select quote_due(total::numeric / 100, rate::numeric / 100, decimals::smallint)::text as due
       from jsonb_to_recordset($1) as c (n int, total text, rate text, decimals int) order by n`,
      [
        JSON.stringify(
          cases.map(({ total, rate, decimals }, n) => ({ n, total: `${total}`, rate: `${rate}`, decimals })),
        ),
      ],
    )
    expect(rows.map(({ due }) => BigInt(due))).toEqual(
      cases.map(({ total, rate, decimals }) => quoteDue(total, rate, decimals)),
    )
  })
})

describe('migrating', () => {
  test('two runners at once leave one schema', async () => {
    const empty = await createEmptyDatabase()
    try {
      const results = await Promise.all([migrate(empty.url), migrate(empty.url)])
      const newest = await newestMigration()
      expect(results.map(({ version }) => version)).toEqual([newest, newest])
      expect(new Set(results.map(({ applied }) => applied.length))).toEqual(new Set([0, newest]))
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
})
