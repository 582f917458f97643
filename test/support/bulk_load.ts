// A bulk loader: fills a database with years of trade in about a minute. It inserts rows in time order without triggers
// or indexes, and builds every index once at the end. Table checks hold; the sums of the stock ledger do not.

import { createHash } from 'node:crypto'
import pg from 'pg'

export type BulkSize = {
  products: number
  orders: number
  /** Reservations per order; 1 by default. */
  holdsPerOrder?: number
}

/** One order every 30 seconds. The newest wait for payment, those before them for shipping. */
const OPEN_SHARE = 100
const ORDERS_PER_CUSTOMER = 10
/** Keys and transfers cost most to insert; a tenth of them shows the same plans. */
const KEY_SHARE = 10
/** Rows waiting for a relay: few, however long the shop has traded. */
const BACKLOG = 1_000
const EPOCH = '00000000-0000-8000-8000-000000000001'
const MAINTENANCE_MEMORY = '256MB'

const md5 = (text: string): string => createHash('md5').update(text).digest('hex')

/** The order with this number, from 1 (the oldest) up. Ids are spread like random ones. */
export function bulkOrder(number: number) {
  const [, ...parts] = /^(.{8})(.{4})(.{4})(.{4})(.{12})$/.exec(md5(`order ${number}`)) ?? []
  return {
    orderId: parts.join('-'),
    userId: BigInt(Math.ceil(number / ORDERS_PER_CUSTOMER)),
    network: 'ethereum',
    asset: 'ETH' as const,
    address: `0x${md5(`address ${number}`)}${md5(String(number)).slice(0, 8)}`,
    amountDue: 6_250_000_000_000_000n,
  }
}

/** The transaction that pays it, where one does. */
export const bulkTxId = (number: number): string => `0x${md5(`tx ${number}`)}${md5(String(number))}`

const ORDER_ID = `md5('order ' || n)::uuid`
const ADDRESS = `'0x' || md5('address ' || n) || substr(md5(n::text), 1, 8)`
const TX_ID = `'0x' || md5('tx ' || n) || md5(n::text)`

/** Insert statements per table, in two independent lanes that run in parallel. */
const LANES = ({ products, orders, holdsPerOrder = 1 }: BulkSize): readonly (readonly string[])[] => {
  const open = Math.ceil(orders / OPEN_SHARE)
  const keys = Math.ceil(orders / KEY_SHARE)
  const backlog = Math.min(BACKLOG, open)
  const each = (count: number): string => `generate_series(1, ${count}) n`
  const status = `case when n > ${orders - open} then 'pending' when n > ${orders - 2 * open} then 'processing'
    when n % 10 = 0 then 'cancelled' when n % 10 = 1 then 'shipped' else 'delivered' end`
  const created = `now() - (${orders} - n) * interval '30 seconds'`
  const product = `'sku-' || 1 + n % ${products}`
  return [
    [
      `insert into customer (user_id) select n from ${each(Math.ceil(orders / ORDERS_PER_CUSTOMER))}`,
      `insert into customer_key (user_id, ring_version, wrapped_key)
       select n, 1, decode(repeat('00', 60), 'hex') from ${each(Math.ceil(orders / ORDERS_PER_CUSTOMER))}`,
      `insert into orders (order_id, user_id, status, payment_state, cancel_reason, currency, total, address_sealed, version, created_at, updated_at)
       select ${ORDER_ID}, ceil(n / ${ORDERS_PER_CUSTOMER}.0), status,
         case status when 'pending' then 'awaiting' when 'cancelled' then 'expired' else 'paid' end,
         case status when 'cancelled' then 'expired' end, 'EUR', 12.50, decode(repeat('00', 64), 'hex'), 3, ${created}, ${created}
       from ${each(orders)}, lateral (select ${status}) s (status)`,
      `insert into invoice (order_id, network, asset, address, amount_due, rate, expires_at, grace, confirm_within, created_at)
       select ${ORDER_ID}, 'ethereum', 'ETH', ${ADDRESS}, 6250000000000000, 2000, ${created} + interval '1 hour', '1 minute', '1 hour', ${created}
       from ${each(orders)}`,
      `insert into idempotency (actor, method, key, request_hash, order_id, created_at)
       select 'user:' || ceil(n / ${ORDERS_PER_CUSTOMER}.0), 'CreateOrder', md5('key ' || n)::uuid, decode(repeat('00', 32), 'hex'), ${ORDER_ID}, ${created}
       from ${each(orders)}`,
      `insert into payment_report (source, report_id, network, asset, tx_id, output_index, seq, state, address, amount,
         block_height, block_hash, first_seen_at, order_id, received_at, is_assessed)
       select 'w1', md5('report ' || n) || md5(n::text), 'ethereum', 'ETH', ${TX_ID}, 0, 1, 'final', ${ADDRESS}, 6250000000000000,
         n, '0xab', ${created}, ${ORDER_ID}, ${created}, true
       from generate_series(${orders - open - keys}, ${orders - open}) n where n % 10 <> 0`,
      `insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
       select 'ethereum', ${TX_ID}, 0, ${ORDER_ID}, 'ETH', 6250000000000000, 'final', true, ${created}
       from generate_series(${orders - open - keys}, ${orders - open}) n where n % 10 <> 0`,
      `insert into ledger_posting (order_id, network, asset, cause, received, customer_due, refund_due, refunded, fees, written_off, posted_at)
       select ${ORDER_ID}, 'ethereum', 'ETH', 'payment', 6250000000000000, -6250000000000000, 0, 0, 0, 0, ${created}
       from generate_series(${orders - open - keys}, ${orders - open}) n where n % 10 <> 0`,
    ],
    [
      `insert into product (product_id, name, unit_price, currency, is_active)
       select 'sku-' || n, 'Product ' || n, 12.50, 'EUR', n % 10 <> 0 from ${each(products)}`,
      `insert into stock (product_id, on_hand, reserved) select 'sku-' || n, 1000000, 1000 from ${each(products)}`,
      `insert into order_line (order_id, line_no, product_id, product_version, name, quantity, unit_price)
       select ${ORDER_ID}, 1, ${product}, 1, 'Product', 1, 12.50 from ${each(orders)}`,
      `insert into reservation (order_id, product_id, hold_no, quantity, state, expires_at)
       select ${ORDER_ID}, ${product}, hold_no, 1,
         case status when 'pending' then 'held' when 'processing' then 'committed' when 'cancelled' then 'expired' else 'consumed' end,
         ${created} + interval '1 hour'
       from ${each(orders)}, generate_series(1, ${holdsPerOrder}) hold_no, lateral (select ${status}) s (status)`,
      `insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor, created_at)
       select ${product}, ${ORDER_ID}, 1, 'reserve', 0, 1, 'system', ${created} from ${each(orders)}`,
      `insert into notification (order_id, order_version, channel, status, payment_state, next_at, delivered_at, changed_at, created_at)
       select ${ORDER_ID}, 1, 'log', 'pending', 'awaiting', ${created}, case when n <= ${orders - backlog} then ${created} end,
         ${created}, ${created}
       from ${each(orders)}`,
      `insert into workflow_start (order_id, quote_ends_at, created_at)
       select ${ORDER_ID}, ${created} + interval '1 hour', ${created} from ${each(orders)} where n > ${orders - backlog}`,
      `insert into order_wake (order_id, next_at) select ${ORDER_ID}, now() - interval '1 minute'
       from ${each(orders)} where n > ${orders - backlog}`,
      `insert into key_retire (order_id, network, address, done_at)
       select ${ORDER_ID}, 'ethereum', ${ADDRESS}, case when n > ${backlog} then now() end
       from ${each(orders - 2 * open)} where n % 10 <> 1`,
      `insert into master_key (version, fingerprint) values (1, decode(repeat('00', 32), 'hex'))`,
      `insert into key_epoch (epoch_id, master_version, salt, iterations, key_limit, key_count)
       values ('${EPOCH}', 1, decode(repeat('00', 32), 'hex'), 100000, 1000, 1)`,
      `insert into payment_key (key_id, network, asset, address, format_version, envelope_version, epoch_id,
         master_version, salt, wrap_nonce, wrap_tag, wrapped_key, nonce, tag, ciphertext)
       select md5('id ' || n)::uuid, 'ethereum', 'ETH', ${ADDRESS}, 1, 1, '${EPOCH}', 1, sha256(n::text::bytea),
         substr(zeros, 1, 12), substr(zeros, 1, 16), zeros, substr(zeros, 1, 12), substr(zeros, 1, 16), zeros
       from ${each(keys)}, decode(repeat('00', 32), 'hex') zeros`,
      `insert into address_pool (network, address, asset, key_id, leased_by, leased_at)
       select 'ethereum', ${ADDRESS}, 'ETH', md5('id ' || n)::uuid, leased_by, case when leased_by <> '' then now() end
       from ${each(keys)}, lateral (select case when n <= ${keys - backlog} then 'api' end) l (leased_by)`,
      `insert into chain_status (network, start_height, settled_height, scanned_height, tip_height, caught_up_at)
       values ('ethereum', 1, ${orders}, ${orders}, ${orders}, now() - interval '30 minutes')`,
      `insert into chain_block (network, height, hash) select 'ethereum', ${orders} - n, md5(n::text) from ${each(BACKLOG)}`,
      `insert into chain_output (network, tx_id, output_index, asset, address, amount, state, seq, block_height, block_hash, first_seen_at)
       select 'ethereum', ${TX_ID}, 0, 'ETH', ${ADDRESS}, 6250000000000000, 'final', 1, n, '0xab', ${created} from ${each(keys)}`,
    ],
  ]
}

/** Fills an empty, migrated database. @param url the superuser's, with the schema in its search path */
export async function loadBulk(url: string, size: BulkSize): Promise<void> {
  const lanes = LANES(size)
  const tables = lanes.flat().map((text) => /insert into (\w+)/.exec(text)?.[1] ?? '')
  // An invalid index is neither used nor updated until REINDEX rebuilds it.
  await withClient(url, (client) =>
    client.query(
      `update pg_index set indisvalid = false, indisready = false
       where indrelid = any (select ('holdfast.' || name)::regclass from unnest($1::text[]) name)`,
      [tables],
    ),
  )
  await Promise.all(
    lanes.map((statements) =>
      withClient(url, async (client) => {
        await client.query(`set session_replication_role = replica`)
        await client.query(`set synchronous_commit = off`)
        for (const text of statements) await client.query(text)
      }),
    ),
  )
  await Promise.all(
    lanes.map((statements) =>
      withClient(url, async (client) => {
        await client.query(`set maintenance_work_mem = '${MAINTENANCE_MEMORY}'`)
        await client.query('set max_parallel_maintenance_workers = 0')
        for (const text of statements) {
          const table = /insert into (\w+)/.exec(text)?.[1]
          await client.query(`reindex table ${table}`)
          await client.query(`vacuum (analyze) ${table}`)
        }
      }),
    ),
  )
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, options: '-c search_path=holdfast,pg_catalog' })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
