// Rules for every table, checked in Postgres's catalogue: keys, names, delete rules, comments, reasons for null.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { putAddresses } from './support/address.ts'
import { findSources, readSource } from './support/source.ts'
import { buildObservation, createTestShop, type TestShop } from './support/shop.ts'
import { recordReport } from '../src/db/payment.ts'

/** The migration runner's own table is excluded; a partition counts as its table. */
const OURS = `n.nspname = 'holdfast' and c.relname <> 'schema_version' and not c.relispartition`

/** Every foreign key by name: its columns and the table they refer to. All of them restrict deletion. */
const FOREIGN_KEYS = `
address_pool_key_fk: address_pool (key_id, network, asset, address) -> payment_key
asset_rate_asset_fk: asset_rate (asset) -> currency
asset_rate_currency_fk: asset_rate (currency) -> currency
chain_balance_status_fk: chain_balance (network, source) -> chain_status
chain_block_status_fk: chain_block (network, source) -> chain_status
chain_output_asset_fk: chain_output (asset) -> currency
chain_output_status_fk: chain_output (network, source) -> chain_status
chain_report_output_fk: chain_report (network, tx_id, output_index, source) -> chain_output
customer_key_customer_fk: customer_key (user_id) -> customer
hold_aside_order_fk: hold_aside (order_id) -> orders
idempotency_order_fk: idempotency (order_id) -> orders
invoice_asset_fk: invoice (asset) -> currency
invoice_order_fk: invoice (order_id) -> orders
invoice_rate_fk: invoice (rate_id, rate) -> quoted_rate
key_epoch_master_fk: key_epoch (master_version) -> master_key
key_retire_invoice_fk: key_retire (network, address) -> invoice
key_retire_order_fk: key_retire (order_id) -> orders
late_decision_order_fk: late_decision (order_id) -> orders
late_decision_replacement_fk: late_decision (replacement_id) -> orders
ledger_posting_asset_fk: ledger_posting (asset) -> currency
ledger_posting_order_fk: ledger_posting (order_id) -> orders
notification_order_fk: notification (order_id) -> orders
order_line_order_fk: order_line (order_id) -> orders
order_line_product_fk: order_line (product_id) -> product
order_wake_order_fk: order_wake (order_id) -> orders
order_restart_order_fk: order_restart (order_id) -> orders
orders_currency_fk: orders (currency) -> currency
orders_customer_fk: orders (user_id) -> customer
payment_asset_fk: payment (asset) -> currency
payment_key_asset_fk: payment_key (asset) -> currency
payment_key_epoch_fk: payment_key (epoch_id, master_version) -> key_epoch
payment_order_fk: payment (order_id) -> orders
payment_report_asset_fk: payment_report (asset) -> currency
payment_report_order_fk: payment_report (order_id) -> orders
payout_attempt_order_fk: payout_attempt (order_id) -> orders
payout_attempt_payout_fk: payout_attempt (payout_id) -> payout
payout_order_fk: payout (order_id) -> orders
payout_refund_fk: payout (refund_id) -> refund
payout_sender_fk: payout (network, sender) -> payout_sender
payout_wait_refund_fk: payout_wait (refund_id) -> refund
product_currency_fk: product (currency) -> currency
quoted_rate_asset_fk: quoted_rate (asset) -> currency
quoted_rate_currency_fk: quoted_rate (currency) -> currency
refund_approval_order_fk: refund_approval (order_id) -> orders
refund_approval_refund_fk: refund_approval (refund_id) -> refund
refund_asset_fk: refund (asset) -> currency
refund_due_asset_fk: refund_due (asset) -> currency
refund_due_order_fk: refund_due (order_id) -> orders
refund_order_fk: refund (order_id) -> orders
reservation_order_fk: reservation (order_id) -> orders
reservation_product_fk: reservation (product_id) -> product
source_doubt_order_fk: source_doubt (order_id) -> orders
source_rule_asset_fk: source_rule (asset) -> currency
stock_movement_order_fk: stock_movement (order_id) -> orders
stock_movement_product_fk: stock_movement (product_id) -> product
stock_product_fk: stock (product_id) -> product
suspended_order_order_fk: suspended_order (order_id) -> orders
workflow_start_order_fk: workflow_start (order_id) -> orders`
  .trim()
  .split('\n')
const keys = FOREIGN_KEYS.map((line) => {
  const [, name = '', child = '', columns = '', parent = ''] = /^(\w+): (\w+) \((.+)\) -> (\w+)$/.exec(line) ?? []
  return { name, child, columns: columns.split(', '), parent }
})

/** Unique and primary keys, by table and columns. */
const ONE_OF_EACH = `
account (user_id)
account (version)
address_pool (key_id)
address_pool (network, address)
address_pool (pool_no)
asset_rate (asset, currency)
audit_checkpoint (checkpoint_no)
audit_checkpoint (continues_no)
audit_entry (entry_id, at)
audit_head (kind, aggregate_id)
audit_pending (txid, change_no)
audit_scope (table_name)
audit_tile (level, tile_no)
chain_balance (network, address, source)
chain_block (network, hash, source)
chain_block (network, height, source)
chain_operation (operation_no)
chain_output (network, tx_id, output_index, source)
chain_report (network, tx_id, output_index, source, seq)
chain_report (report_no)
chain_status (network, source)
chain_suspension (suspension_no)
chain_sweep (network, source, tier)
consistency_run (run_no)
currency (currency)
customer (user_id)
customer_key (user_id)
duty (duty)
hold_aside (order_id)
idempotency (actor, method, key)
ignored_transfer (network, address, tx_id, output_index, kind, source)
inconsistency (check_name, subject)
invoice (network, address)
invoice (order_id)
key_epoch (epoch_id)
key_epoch (epoch_id, master_version)
key_epoch (salt)
key_retire (order_id)
late_decision (order_id)
late_decision (replacement_id)
ledger_posting (posting_no)
master_key (version)
notification (notification_id)
notification (order_id, order_version, channel)
notification_channel (channel)
order_line (order_id, line_no)
order_restart (order_id, restart_no)
order_transition (from_status, to_status, role)
order_wake (order_id)
orders (order_id)
own_account (network, address)
payment (network, tx_id, output_index)
payment_key (key_id)
payment_key (key_id, network, asset, address)
payment_key (network, address)
payment_key (salt)
payment_report (report_no)
payment_report (source, network, tx_id, output_index, seq)
payment_report (source, report_id)
payment_transition (from_state, to_state)
payout (network, sender, nonce)
payout (payout_id)
payout_attempt (payout_id, attempt)
payout_attempt (tx_id)
payout_sender (network, sender)
payout_wait (refund_id)
product (product_id)
quota_window (key)
quoted_rate (rate_id)
quoted_rate (rate_id, rate)
refund (refund_id)
refund_approval (refund_id, version, approver)
refund_due (order_id)
refund_transition (from_status, to_status)
reservation (order_id, product_id, hold_no)
retired_source (source)
security_event (event_no)
source_doubt (network, tx_id, output_index)
source_login (login)
source_rule (asset, since)
stock (product_id)
stock_movement (movement_id)
stock_movement (order_id, product_id, hold_no, kind)
suspended_order (order_id)
workflow_start (order_id)`
  .trim()
  .split('\n')

/** A value of each type that refers to nothing. */
const ORPHANS: Readonly<Record<string, string>> = {
  uuid: `'00000000-0000-8000-8000-000000000000'`,
  text: `'nobody'`,
  bigint: '987654321',
  integer: '987654321',
  'numeric(20,2)': '987654321',
}

let shop: TestShop
let session: pg.Client

beforeAll(async () => {
  shop = await createTestShop()
  // A row in every table.
  await putAddresses(shop.test, 1)
  await shop.orderIn('delivered')
  const { order } = await shop.orderIn('processing')
  await shop.ask('cancel', { orderId: order.orderId, generation: 1, step: 9 })
  await recordReport(shop.api, 'w1', [buildObservation(order)])
  await shop.catchUp()
  await shop.query(`
    select change_account(7, 'disable');
    insert into customer_key (user_id, ring_version, wrapped_key) select user_id, 1, '\\x${'ab'.repeat(60)}' from customer limit 1;
    insert into chain_balance (network, address, height, block_hash, balance, told, unexplained) values ('ethereum', '0xcd', 1, '0xab', 0, 0, 0);
    insert into hold_aside (order_id, reason, next_at) select order_id, 'P0001', now() from orders limit 1;
    insert into security_event (at, kind, peer, events) values (now(), 'calls', repeat('ab', 32), 1);
    select bind_source('watcher', 'watcher-1');
    insert into source_rule (asset, sources, above, reason) values ('ETH', 2, 0, 'two watchers');
    insert into source_doubt (network, tx_id, output_index, order_id, kind) values ('ethereum', '0x${'ab'.repeat(32)}', 0, '${order.orderId}', 'lone');
    insert into suspended_order (order_id, network) values ('${order.orderId}', 'ethereum');
    insert into asset_rate (asset, currency, rate) values ('ETH', 'EUR', 2000);
    insert into late_decision (order_id, replacement_id) select min(order_id::text)::uuid, max(order_id::text)::uuid from orders;
    insert into order_restart (order_id, generation, reason) values ('${order.orderId}', 2, 'lost');
    with made as (
      insert into quoted_rate (rate_id, asset, currency, rate, made_at, prices)
      select gen_random_uuid(), asset, 'EUR', rate, now(), '[{}]' from invoice limit 1 returning rate_id, rate
    ) update invoice i set rate_id = made.rate_id from made where made.rate = i.rate;
    insert into quota_window (key, second) values ('\\x${'ab'.repeat(32)}', 1);
    insert into chain_block (network, height, hash) values ('ethereum', 1, '0xab');
    insert into chain_sweep (network, source, tier) values ('ethereum', 'w1', 'recent');
    insert into own_account (network, address, note) values ('ethereum', '0x${'ab'.repeat(20)}', 'gas');
    insert into ignored_transfer (network, address, tx_id, output_index, kind, sender, amount, block_height, block_hash, first_seen_at)
      values ('ethereum', '0xcd', '0x${'ab'.repeat(32)}', 1, 'own_transfer', '0xef', 1, 1, '0xab', now());
    insert into chain_output (network, tx_id, output_index, asset, address, amount, state, seq, block_height, block_hash, first_seen_at)
      values ('ethereum', '0x${'ab'.repeat(32)}', 0, 'ETH', '0xcd', 1, 'seen', 1, 1, '0xab', now());
    insert into chain_report (network, tx_id, output_index, seq, state, block_height, block_hash, first_seen_at)
      values ('ethereum', '0x${'ab'.repeat(32)}', 0, 1, 'seen', 1, '0xab', now())`)
  await shop.test.forge(
    `insert into refund_approval (refund_id, version, approver, order_id) select refund_id, 1, 'user:8', order_id from refund`,
  )
  await shop.test.forge(
    `insert into payout_sender (network, sender, chain_id, next_nonce) values ('ethereum', '0x${'5e'.repeat(20)}', 1, 1)`,
  )
  await shop.test.forge(
    `insert into payout (refund_id, order_id, network, sender, chain_id, nonce, destination, amount, fee_bearer)
     select refund_id, order_id, 'ethereum', '0x${'5e'.repeat(20)}', 1, 0, '0x${'1f'.repeat(20)}', 1, 'shop'
     from refund order by refund_id limit 1`,
  )
  await shop.test.forge(
    `insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee, raw, tx_id)
     select payout_id, 1, order_id, 'pay', 1, 21000, 1, 1, '0x02', '0x${'ab'.repeat(32)}' from payout`,
  )
  await shop.test.forge(
    `insert into payout_wait (refund_id, reason, next_try_at) select refund_id, 'not_covered', now() from refund`,
  )
  session = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
  await session.connect()
})
afterAll(async () => {
  await session.end()
  await shop.close()
})

/** The result of statements as the superuser, always rolled back. */
async function outcome(...texts: string[]): Promise<{ code: string; constraint: string | undefined }> {
  await session.query('begin')
  try {
    for (const text of texts) await session.query(text)
    return { code: 'done', constraint: undefined }
  } catch (error) {
    const { code = 'none', constraint } = error as pg.DatabaseError
    return { code, constraint }
  } finally {
    await session.query('rollback')
  }
}

describe('every foreign key', () => {
  test('is in the list, restricts deletion and is enforced', async () => {
    const rows = await shop.query<{ line: string }>(
      `select f.conname || ': ' || c.relname || ' (' || (
           select string_agg(a.attname, ', ' order by k.at) from unnest(f.conkey) with ordinality k (num, at)
           join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.num) || ') -> ' || f.confrelid::regclass
         || case when f.confdeltype = 'r' and f.confupdtype = 'a' and f.convalidated and f.conenforced then '' else ' BROKEN' end as line
       from pg_constraint f join pg_class c on c.oid = f.conrelid join pg_namespace n on n.oid = c.relnamespace
       where f.contype = 'f' and ${OURS}`,
    )
    expect(rows.map(({ line }) => line).toSorted()).toEqual(FOREIGN_KEYS.toSorted())
  })

  test.each(keys)('$name refuses a row whose $parent is not there', async ({ name, child, columns }) => {
    const types = await shop.query<{ name: string; type: string }>(
      `select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped`,
      [child],
    )
    const orphans = columns.map((column) => {
      const type = types.find((one) => one.name === column)?.type ?? ''
      return `${column} = ${ORPHANS[type]}`
    })
    // A transaction id must have its asset's form; this one is valid for any unknown asset.
    if (name === 'payment_report_asset_fk') orphans.push(`tx_id = repeat('a', 64)`)
    const [{ n } = { n: 0n }] = await shop.query<{ n: bigint }>(`select count(*) as n from ${child}`)
    expect(n).toBeGreaterThan(0n)
    const found = await outcome(
      // Triggers of orders and leases would fail first, and so would keys that refer to this row.
      `alter table ${child} disable trigger user`,
      ...keys
        .filter((key) => key.parent === child)
        .map((key) => `alter table ${key.child} drop constraint ${key.name}`),
      'set constraints all immediate',
      `update ${child} set ${orphans.join(', ')} where ctid = (select ctid from ${child} order by ${columns.join(', ')} limit 1)`,
    )
    expect(found).toEqual({ code: '23503', constraint: name })
  })

  test.each([...new Set(keys.map(({ parent }) => parent))])(
    'keeps a row of %s that others refer to',
    async (parent) => {
      const referring = keys.filter((key) => key.parent === parent)
      for (const { child, columns } of referring) {
        // Key columns have the same names on both sides, with three exceptions.
        const other = (column: string) => {
          if (column === 'replacement_id') return 'order_id'
          return parent === 'currency' && column === 'asset' ? 'currency' : parent === 'master_key' ? 'version' : column
        }
        const same = columns.map((column) => `c.${column} = p.${other(column)}`).join(' and ')
        const { code, constraint } = await outcome(
          'set constraints all immediate',
          `delete from ${parent} p using ${child} c where ${same}`,
        )
        expect([child, code]).toEqual([child, '23001'])
        expect(referring.map(({ name }) => name)).toContain(constraint)
      }
    },
  )
})

describe('every table', () => {
  test('holds one row of each of these, and has no other rule of the kind', async () => {
    const rows = await shop.query<{ line: string }>(
      `select c.relname || ' ' || regexp_replace(pg_get_constraintdef(k.oid), '^[A-Z ]+', '') as line
       from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
       where k.contype in ('p', 'u') and ${OURS}`,
    )
    expect(rows.map(({ line }) => line).toSorted()).toEqual(ONE_OF_EACH.toSorted())
  })

  test('has a primary key and says what it is for', async () => {
    const bare = await shop.query(
      `select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind in ('r', 'p', 'v', 'm') and n.nspname = 'holdfast'
         and (coalesce(obj_description(c.oid, 'pg_class'), '') = ''
           or c.relkind in ('r', 'p') and not exists (select from pg_constraint k where k.conrelid = c.oid and k.contype = 'p'))`,
    )
    expect(bare).toEqual([])
  })

  test('has constraints that were given a name: the one an error shows', async () => {
    const rows = await shop.query<{ name: string }>(
      `select k.conname as name from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
       where k.contype not in ('n', 't') and ${OURS}`,
    )
    const migrations = findSources('migrations/*.do.*.sql').map(readSource).join('\n')
    const unnamed = rows.filter(({ name }) => !new RegExp(`\\bconstraint ${name}\\b`).test(migrations))
    expect(unnamed).toEqual([])
  })

  test('says of each column that may be null what null means', async () => {
    const rows = await shop.query<{ table: string; column: string }>(
      `select c.relname as table, a.attname as column from pg_attribute a
       join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
       where c.relkind = 'r' and a.attnum > 0 and not a.attisdropped and not a.attnotnull and ${OURS}`,
    )
    expect(rows.length).toBeGreaterThan(20)
    const migrations = findSources('migrations/*.do.*.sql').map(readSource).join('\n')
    const silent = rows.filter(({ table, column }) => {
      const definition =
        new RegExp(`^create (?:unlogged )?table ${table} \\(\\n(.*?)^\\)`, 'ms').exec(migrations)?.[1] ?? ''
      const added = [...migrations.matchAll(new RegExp(`^alter table ${table}\\n(.*?);$`, 'gms'))].map(
        ([, text]) => text,
      )
      const columns = [definition, ...added].join('\n').replaceAll('  add column ', '  ')
      // A column's text continues over more deeply indented lines, up to the next column.
      const text = new RegExp(`^  ${column} .*?(?=^  \\w|\\Z)`, 'ms').exec(`${columns}\n  end`)?.[0] ?? ''
      return !/-- null: \S/.test(text)
    })
    expect(silent).toEqual([])
  })
})

test('every function with rights of its own fixes where it looks for names', async () => {
  const rows = await shop.query(
    `select proname from pg_proc p where pronamespace = 'holdfast'::regnamespace and prosecdef
       and not coalesce(proconfig @> array['search_path=holdfast, pg_catalog'], false)`,
  )
  expect(rows).toEqual([])
})
