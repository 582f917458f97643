// Guards of the audit: no role can write without an actor, change or delete entries, exclude a table, or purge entries
// younger than seven years or never sealed.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { putAddresses } from '../../../test/support/address.ts'
import { bodyOf, entriesOf, lastOf } from '../../../test/support/audit.ts'
import { buildLine, buildRateOrigin } from '../../../test/support/builder.ts'
import { createTestSealer, type TestSealer } from '../../../test/support/sealing.ts'
import { DATABASE_ROLES, type DatabaseRole } from '../../../test/support/servers.ts'
import { buildObservation, createTestShop, type TestShop } from '../../../test/support/shop.ts'
import type { Actor } from '../../domain/audit.ts'
import { assessPayments, recordReport } from '../payment.ts'
import { statement } from '../connection/pool.ts'

const DENIED = '42501'
const ANONYMOUS = 'HF006'
const NOT_REWRITTEN = 'HF007'
const TOO_YOUNG = 'HF008'
const NOT_EMPTIED = 'HF009'
const NOT_SEALED = 'HF012'

let shop: TestShop
const sessions = new Map<DatabaseRole | 'superuser', pg.Client>()

beforeAll(async () => {
  shop = await createTestShop()
  await shop.orderIn('delivered')
  const { order, run } = await shop.orderIn('processing')
  await recordReport(shop.api, 'w1', [buildObservation(order)])
  await assessPayments(shop.worker, run.next())
  await shop.query(
    `insert into customer_key (user_id, ring_version, wrapped_key) select user_id, 1, '\\x${'ab'.repeat(60)}' from customer limit 1`,
  )
  await shop.query(`insert into order_restart (order_id, generation, reason) values ($1, 2, 'lost')`, [order.orderId])
  await shop.query(`select require_sources('ETH', 2, 0, 'two watchers')`)
  await shop.query(`insert into chain_suspension (network) values ('ethereum')`)
  await shop.query(`insert into late_decision (order_id, refusal) values ($1, 'policy')`, [order.orderId])
  await shop.query(
    `insert into chain_operation (network, operation, height, reason) values ('ethereum', 'rewind', 1, 'lost')`,
  )
  await shop.query(`select bind_source('watcher', 'watcher-1'), retire_source('w9', 'renamed')`)
  await shop.query(`insert into own_account values ('ethereum', '0xab', 'gas'); select change_account(7, 'disable')`)
  await shop.order({ rateOrigin: buildRateOrigin() })
  await putAddresses(shop.test, 1)
  await shop.test.forge(
    `insert into refund_approval (refund_id, version, approver, order_id) select refund_id, 1, 'user:8', order_id from refund`,
  )
  await shop.test.forge(
    `with sender as (insert into payout_sender (network, sender, chain_id, next_nonce) values ('ethereum', '0x${'1a'.repeat(20)}', 1, 1)
       returning network, sender), sent as (
       insert into payout (refund_id, order_id, network, sender, chain_id, nonce, destination, amount, fee_bearer)
       select r.refund_id, r.order_id, s.network, s.sender, 1, 0, '0x${'2b'.repeat(20)}', 1, 'shop' from refund r, sender s limit 1
       returning payout_id, order_id)
     insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee)
     select payout_id, 1, order_id, 'pay', 1, 21000, 1, 0 from sent`,
  )
  for (const role of [...DATABASE_ROLES, 'superuser'] as const) {
    const url = role === 'superuser' ? shop.test.url : shop.test.urlOf(role)
    const session = new pg.Client({ connectionString: url, options: '-c search_path=holdfast' })
    await session.connect()
    sessions.set(role, session)
  }
})
afterAll(async () => {
  for (const session of sessions.values()) await session.end()
  await shop.close()
})

/** The result of statements as this role, always rolled back: `done` or the SQLSTATE of the first that fails. */
async function outcome(role: DatabaseRole | 'superuser', ...texts: string[]): Promise<string> {
  const session = sessions.get(role)
  if (session === undefined) throw new Error(`no session of ${role}`)
  await session.query('begin')
  try {
    for (const text of texts) await session.query(text)
    return 'done'
  } catch (error) {
    return (error as { code: string }).code
  } finally {
    await session.query('rollback')
  }
}

const auditedTables = async (): Promise<string[]> =>
  (
    await shop.query<{ name: string }>('select table_name as name from audit_scope where kind is not null order by 1')
  ).map(({ name }) => name)
/** References, and what keeps a history as it is, are tested elsewhere and would fail first. */
const freeOf = async (table: string): Promise<string[]> =>
  (
    await shop.query<{ text: string }>(
      `select format('alter table %s drop constraint %I', conrelid::regclass, conname) as text from pg_constraint
       where contype = 'f' and confrelid = $1::regclass
       union all
       select format('alter table %s disable trigger %I', tgrelid::regclass, tgname) from pg_trigger
       where tgrelid = $1::regclass and tgfoid = 'refuse_rewriting'::regproc`,
      [table],
    )
  ).map(({ text }) => text)

const AS_NOBODY = `select set_config('holdfast.actor', '', true)`
const actingAs = (by: unknown): string => `select set_config('holdfast.actor', '${JSON.stringify(by)}', true)`

describe('a write by nobody', () => {
  test('is refused by every audited table, also to the superuser', async () => {
    for (const table of await auditedTables()) {
      const remove = `delete from ${table} where ctid = (select ctid from ${table} limit 1)`
      const free = await freeOf(table)
      expect([table, await outcome('superuser', ...free, AS_NOBODY, remove)]).toEqual([table, ANONYMOUS])
      expect([table, await outcome('superuser', ...free, remove)]).toEqual([table, 'done'])
    }
  })

  const WRITES: readonly [DatabaseRole, string][] = [
    ['app_api', 'insert into customer (user_id) values (1)'],
    ['app_api', `update product set name = 'Other'`],
    ['app_api', 'update stock set on_hand = on_hand + 1'],
    ['app_api', `update reservation set expires_at = expires_at + interval '1 s'`],
    ['app_api', `update orders set address_sealed = address_sealed || '\\x00'`],
    ['app_worker', `update orders set hold = 'manual'`],
    ['app_worker', `update reservation set state = 'released' where state in ('held', 'committed')`],
    ['app_worker', 'update payment_report set is_assessed = not is_assessed'],
    ['app_worker', 'update payment set is_in_time = not is_in_time'],
    ['app_keys', `update key_epoch set last_used_at = last_used_at + interval '1 s'`],
    ['app_keys', `update payment_key set tier = 'retired'`],
  ]
  test.each(WRITES)('is refused to %s: %s', async (role, text) => {
    expect(await outcome(role, text)).toBe(ANONYMOUS)
    expect(await outcome(role, actingAs({ actor: 'system:test', role: 'system' }), text)).toBe('done')
  })

  test.each([
    {},
    { actor: 'user:7' },
    { role: 'admin' },
    { actor: 'somebody', role: 'admin' },
    { actor: 'user:0', role: 'customer' },
    { actor: 'user:7', role: 'system' },
    { actor: 'system:worker', role: 'admin' },
    { actor: 'watcher:', role: 'watcher' },
    { actor: 'user:7', role: 'owner' },
    ['user:7', 'admin'],
  ])('is one by an actor that names nobody: %j', async (by) => {
    expect(
      await outcome('app_api', actingAs(by), `update product set name = 'Other'`, 'set constraints all immediate'),
    ).toBe(ANONYMOUS)
  })

  test('is one of an order that a batch says nothing about', async () => {
    const [order] = await shop.query<{ id: string }>('select order_id as id from orders limit 1')
    const batch = `select set_config('holdfast.actors', '{"another": {"actor": "user:7", "role": "customer"}}', true)`
    const text = `update orders set address_sealed = address_sealed || '\\x00' where order_id = '${order?.id}'`
    expect(await outcome('app_api', actingAs({ actor: 'system:accept', role: 'system' }), batch, text)).toBe(ANONYMOUS)
  })
})

describe('what is kept', () => {
  const REWRITES = [
    `update audit_entry set actor = 'user:1'`,
    'update audit_entry set hash = hash',
    'delete from audit_entry',
    'truncate audit_entry',
    'delete from audit_entry_default',
    'truncate audit_entry_default',
    'delete from stock_movement',
    'truncate stock_movement cascade',
  ]
  test.each(REWRITES)('is not rewritten by anybody: %s', async (text) => {
    for (const role of DATABASE_ROLES) expect([role, await outcome(role, text)]).toEqual([role, DENIED])
    // This partition is empty: there is no row to speak for, and none to lose.
    const isOfNoRow = text === 'delete from audit_entry_default'
    expect(await outcome('superuser', text)).toBe(isOfNoRow ? 'done' : NOT_REWRITTEN)
  })

  test('is no table that somebody empties', async () => {
    for (const table of await auditedTables())
      expect([table, await outcome('superuser', `truncate ${table} cascade`)]).toEqual([table, NOT_EMPTIED])
  })

  test.each([
    `insert into audit_entry (at, txid, kind, actor, body, hash) values (now(), '1', 'order', 'user:1', '{}', sha256(''))`,
    'drop table audit_entry_default',
    'alter table audit_entry detach partition audit_entry_default',
    'delete from audit_pending',
    `update audit_pending set changes = ''`,
    'truncate audit_pending',
    'alter table audit_pending disable trigger all',
    'alter table orders disable trigger orders_audit_update',
    'drop trigger orders_audit_update on orders',
    `select audit_watch('orders', 'order', 'order_id', '{status}')`,
    'update audit_scope set ignored = columns',
    'create or replace function holdfast.audit_orders() returns trigger language plpgsql as $$ begin return null; end $$',
    'delete from audit_head',
    `update audit_head set hash = sha256('')`,
  ])('is not lost by a trick of a role: %s', async (text) => {
    for (const role of DATABASE_ROLES) expect([role, await outcome(role, text)]).toEqual([role, DENIED])
  })

  test('names who acted when the row changed, whatever a session says by the time of the commit', async () => {
    const { productId } = await shop.product()
    const by: Actor = { actor: 'user:4', role: 'admin' }
    const rename = statement('audit_guard_rename', `update product set name = 'Other' where product_id = $1`)
    await shop.api.transaction(async (tx) => {
      await tx.run(statement('audit_guard_act', actingAs(by)))
      await tx.run(rename, [productId])
      await tx.run(statement('audit_guard_forget', AS_NOBODY))
    })
    expect((await lastOf(shop.test, 'product', productId)).by).toEqual(by)
  })

  test('is kept at once where a session asks for that, and misses nothing after', async () => {
    const { productId } = await shop.product()
    const price = (amount: number) =>
      statement(`audit_guard_price_${amount}`, `update product set unit_price = ${amount} where product_id = $1`)
    await shop.api.transaction(async (tx) => {
      await tx.run(statement('audit_guard_act_as', actingAs({ actor: 'user:4', role: 'admin' })))
      await tx.run(price(1), [productId])
      await tx.run(statement('audit_guard_now', 'set constraints all immediate'))
      await tx.run(price(2), [productId])
    })
    const [, ...entries] = (await entriesOf(shop.test, 'product', productId)).map(bodyOf)
    expect(entries.map(({ changes }) => changes)).toMatchObject([
      [{ new: { unit_price: '1.00' } }],
      [{ new: { unit_price: '2.00' } }],
    ])
  })

  test('of two transactions that change an order at once, though neither locked it, is two links of its chain', async () => {
    const lines = [await shop.product(), await shop.product()].map(({ productId }) => buildLine({ productId }))
    const { orderId } = await shop.order({ lines })
    const extend = statement(
      'audit_guard_extend',
      `update reservation set expires_at = expires_at + interval '1 s' where order_id = $1 and product_id = $2`,
    )
    const ROUNDS = 20
    for (let round = 0; round < ROUNDS; round += 1)
      await Promise.all(
        lines.map(({ productId }, at) =>
          shop.api.transaction(async (tx) => {
            await tx.run(statement(`audit_guard_actor_${at}`, actingAs({ actor: `user:${at + 1}`, role: 'admin' })))
            await tx.run(extend, [orderId, productId])
          }),
        ),
      )
    const entries = await entriesOf(shop.test, 'order', orderId)
    expect(entries.map(({ seq }) => Number(seq))).toEqual(Array.from({ length: 1 + 2 * ROUNDS }, (_, at) => at + 1))
    for (const [at, { prevHash }] of entries.entries()) expect(prevHash).toEqual(entries[at - 1]?.hash ?? null)
  })

  test('is empty of what is still to be kept, outside of transactions', async () => {
    expect(await shop.query('select from audit_pending')).toEqual([])
  })
})

describe('the scope', () => {
  const UNDECIDED = `
    select c.relname as name from pg_class c
    where c.relnamespace = 'holdfast'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'schema_version'
      and c.relname !~ '^audit_entry_\\d' and not exists (select from audit_scope s where s.table_name = c.relname)`
  /** Columns that are neither audited nor listed as excluded. */
  const FORGOTTEN = `
    select c.relname || '.' || a.attname as name from audit_scope s join pg_class c on c.oid = s.table_name::regclass
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where s.kind is not null and quote_ident(a.attname) <> all (s.columns || s.ignored)`
  /** Triggers that are missing or not always enabled. */
  const UNWATCHED = `
    select s.table_name || ' ' || op as name from audit_scope s, unnest('{insert,update,delete,truncate}'::text[]) op
    where s.kind is not null and not exists (
      select from pg_trigger t where t.tgrelid = s.table_name::regclass and t.tgname = s.table_name || '_audit_' || op and t.tgenabled = 'O')`

  test('decides on every table and column, and one that it forgets is found out', async () => {
    for (const question of [UNDECIDED, FORGOTTEN, UNWATCHED]) expect(await shop.query(question)).toEqual([])
    const session = sessions.get('superuser') as pg.Client
    await session.query(`begin; create table careless (n integer); alter table product add column careless text;
      drop trigger product_audit_delete on product`)
    const found = []
    for (const question of [UNDECIDED, FORGOTTEN, UNWATCHED]) found.push((await session.query(question)).rows)
    await session.query('rollback')
    expect(found).toEqual([[{ name: 'careless' }], [{ name: 'product.careless' }], [{ name: 'product delete' }]])
  })

  test('leaves out what is written here, each for a reason of its own', async () => {
    const rows = await shop.query<{ name: string }>(
      'select table_name as name from audit_scope where reason is not null order by 1',
    )
    expect(rows.map(({ name }) => name).join(' ')).toBe(
      [
        'address_pool asset_rate audit_checkpoint audit_entry audit_entry_default audit_head audit_pending audit_scope audit_tile',
        'chain_balance chain_block chain_output chain_report chain_status chain_sweep consistency_run duty hold_aside idempotency ignored_transfer inconsistency key_retire ledger_posting',
        'notification notification_channel order_wake payout_sender payout_wait quota_window security_event source_doubt stock_movement suspended_order workflow_start',
      ].join(' '),
    )
    expect(await auditedTables()).toHaveLength(32)
  })
})

describe('after seven years', () => {
  const months = () =>
    aged.query<{ name: string }>(
      `select inhrelid::regclass::text as name from pg_inherits where inhparent = 'audit_entry'::regclass order by 1`,
    )
  const purge = (before: string) => aged.query<{ name: string }>(`select audit_purge(${before}) as name`)

  /** As if a product had been created on that day and not changed since. */
  async function dated(day: string): Promise<string> {
    const { productId } = await aged.product()
    await aged.test.forge(
      `with moved as (delete from audit_entry where kind = 'product' and aggregate_id = $1 returning *)
       insert into audit_entry (at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash)
       select $2::timestamptz, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash from moved`,
      [productId, day],
    )
    return productId
  }

  /** A shop for each test: a purge or a missing partition must not affect the next test. */
  let aged: TestShop
  let sealing: TestSealer
  let kept: string
  let gone: string
  beforeEach(async () => {
    aged = await createTestShop()
    sealing = await createTestSealer(aged.test)
    await aged.query(`select audit_make_partitions('2016-01-15', 3)`)
    kept = await dated('2016-02-01T00:00:00Z')
    gone = await dated('2016-01-31T23:59:59Z')
    await sealOn('2016-02-10')
  })
  afterEach(async () => {
    await sealing.close()
    await aged.close()
  })

  /** Seals all entries, as if it were that day. */
  async function sealOn(day: string): Promise<void> {
    sealing.deps.now = () => Date.parse(day)
    await sealing.seal()
  }

  test('whole months go, no younger ones, and a chain goes on from what it was', async () => {
    await expect(purge(`clock_timestamp() - interval '7 years' + interval '1 minute'`)).rejects.toMatchObject({
      code: TOO_YOUNG,
    })
    const before = await months()
    expect(await purge(`'2016-02-29T00:00:00Z'`)).toEqual([{ name: 'audit_entry_2016_01' }])
    expect(await months()).toEqual(before.filter(({ name }) => name !== 'audit_entry_2016_01'))
    expect(await entriesOf(aged.test, 'product', gone)).toEqual([])
    expect(await entriesOf(aged.test, 'product', kept)).toHaveLength(1)
    await aged.query(`update product set name = 'Other' where product_id = any ($1)`, [[gone, kept]])
    expect(await lastOf(aged.test, 'product', gone)).toMatchObject({ seq: '2' })
    expect(await lastOf(aged.test, 'product', kept)).toMatchObject({ seq: '2' })
    expect(await purge(`'2016-02-29T00:00:00Z'`)).toEqual([])
  })

  test('a month stays while an entry of it is under no checkpoint, or under one that is too young', async () => {
    await expect(purge(`'2016-02-09T23:59:59Z'`)).rejects.toMatchObject({
      code: NOT_SEALED,
      message: 'audit: audit_entry_2016_01 has entries that no checkpoint of that age covers',
    })
    await dated('2016-01-15T00:00:00Z')
    await expect(purge(`'2016-02-29T00:00:00Z'`)).rejects.toMatchObject({ code: NOT_SEALED })
    expect(await entriesOf(aged.test, 'product', gone)).toHaveLength(1)
    await sealOn('2016-02-11')
    expect(await purge(`'2016-02-29T00:00:00Z'`)).toEqual([{ name: 'audit_entry_2016_01' }])
  })

  test('an entry that came after a restore is not taken for a sealed one, whatever its transaction', async () => {
    const late = await dated('2016-01-15T00:00:00Z')
    await aged.test.forge(`update audit_entry set txid = '3' where kind = 'product' and aggregate_id = $1`, [late])
    await expect(purge(`'2016-02-29T00:00:00Z'`)).rejects.toMatchObject({ code: NOT_SEALED })
    await aged.test.forge(`delete from audit_entry where kind = 'product' and aggregate_id = $1`, [late])
    expect(await purge(`'2016-02-29T00:00:00Z'`)).toEqual([{ name: 'audit_entry_2016_01' }])
  })

  test('entries of months without a partition go like others, and what is left is guarded as before', async () => {
    const old = await dated('2014-05-05T00:00:00Z')
    const young = await dated('2099-01-01T00:00:00Z')
    await expect(purge(`'2014-06-30T00:00:00Z'`)).rejects.toMatchObject({ code: NOT_SEALED })
    await sealOn('2014-06-01')
    expect(await purge(`'2014-06-30T00:00:00Z'`)).toEqual([{ name: 'audit_entry_default' }])
    expect(await entriesOf(aged.test, 'product', old)).toEqual([])
    expect(await entriesOf(aged.test, 'product', young)).toHaveLength(1)
    await aged.query(`update product set name = 'Other' where product_id = $1`, [old])
    expect(await lastOf(aged.test, 'product', old)).toMatchObject({ seq: '2' })
    await expect(aged.query('delete from audit_entry_default')).rejects.toMatchObject({ code: NOT_REWRITTEN })
  })

  test('nobody but the sealer may ask for it', async () => {
    const text = `select audit_purge('2001-01-01')`
    for (const role of DATABASE_ROLES)
      expect([role, await outcome(role, text)]).toEqual([role, role === 'audit_sealer' ? 'done' : DENIED])
  })

  test('a month that has rows without a partition keeps them where they are', async () => {
    await dated('2014-05-05T00:00:00Z')
    const [made] = await aged.query<{ n: number }>(`select audit_make_partitions('2014-04-01', 3) as n`)
    expect(made?.n).toBe(2)
  })
})
