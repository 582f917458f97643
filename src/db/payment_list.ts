// The list of transfers that were credited to orders. Its filters are many and any of them may match almost nothing, so
// that a page walks a bounded part of one index instead of searching until it is full.

import { sql } from 'slonik'
import { z } from 'zod'
import { ASSETS, PAYMENT_FLAGS, PAYMENT_STATES, TRANSFER_STATES } from '../domain/payment.ts'
import type { Asset, PaymentFlag, PaymentState, TransferState } from '../domain/payment.ts'
import type { Database } from './connection/pool.ts'

/** Transfers that one page reads: some ten milliseconds. A list of ten million has a thousand such parts. */
export const MAX_WALKED = 10_000

export type TransferFilter = {
  orderId?: string | undefined
  /** In canonical form. */
  address?: string | undefined
  txId?: string | undefined
  state?: TransferState | undefined
  paymentState?: PaymentState | undefined
  /** All of them. */
  flags?: readonly PaymentFlag[]
  asset?: Asset | undefined
  firstSeenFrom?: Date | undefined
  firstSeenBefore?: Date | undefined
}

/** A place in the list: the key of a transfer. */
export type TransferPlace = { network: string; txId: string; outputIndex: number }
export type TransferPage = { limit: number; isOldestFirst: boolean; after: TransferPlace | undefined }

export const UNITS = z.string().transform(BigInt)
export const TIME = z.string().transform((text) => new Date(text))
export const TRANSFER = z.object({
  network: z.string(),
  txId: z.string(),
  outputIndex: z.int(),
  orderId: z.string(),
  address: z.string(),
  asset: z.enum(ASSETS),
  amount: UNITS,
  state: z.enum(TRANSFER_STATES),
  isInTime: z.boolean(),
  firstSeenAt: TIME,
  updatedAt: TIME,
  blockHeight: z.int().nullable(),
  blockHash: z.string().nullable(),
  /** What as many sources as its money needs have read. Null: in no block, or no watcher follows the chain. */
  confirmations: z.int().nullable(),
  paymentState: z.enum(PAYMENT_STATES),
  paymentFlags: z.array(z.enum(PAYMENT_FLAGS)),
})
export type TransferView = z.output<typeof TRANSFER>

/** Largest number of confirmations that is told. */
const MAX_CONFIRMATIONS = sql.fragment`1000000`

/** TRANSFER as jsonb, of a row `f` of payment. */
export const transferJson = sql.fragment`(
  select jsonb_build_object(
    'network', f.network, 'txId', f.tx_id, 'outputIndex', f.output_index, 'orderId', f.order_id, 'address', i.address,
    'asset', f.asset, 'amount', f.amount::text, 'state', f.state, 'isInTime', f.is_in_time,
    'firstSeenAt', f.first_seen_at, 'updatedAt', f.updated_at, 'blockHeight', b.block_height, 'blockHash', b.block_hash,
    'confirmations', case when c.height >= b.block_height
      then least(c.height - b.block_height + 1, ${MAX_CONFIRMATIONS}) end,
    'paymentState', o.payment_state, 'paymentFlags', o.payment_flags)
  from orders o
  join invoice i on i.order_id = o.order_id
  cross join lateral (
    select min(a.scanned_height) as height from (
      select x.scanned_height from active_source x where x.network = f.network
      order by x.scanned_height desc limit required_sources(f.order_id, f.amount)) a
  ) c
  left join lateral (
    select r.block_height, r.block_hash from payment_report r
    where r.order_id = f.order_id and r.network = f.network and r.tx_id = f.tx_id and r.output_index = f.output_index
    order by r.report_no desc limit 1
  ) b on true
  where o.order_id = f.order_id)`

const PAGE = z.object({
  transfers: z.array(TRANSFER),
  reached: z.object({ network: z.string(), txId: z.string(), outputIndex: z.int() }).nullable(),
})

/**
 * Transfers that match, by the time of their first sighting, which never changes. `reached` is where the walk ended
 * before it found all that were asked for; null: the list has no more, or there are as many as were asked for.
 */
export async function listTransfers(
  database: Pick<Database, 'sql'>,
  filter: TransferFilter,
  { limit, isOldestFirst, after }: TransferPage,
): Promise<z.output<typeof PAGE>> {
  const order = isOldestFirst
    ? sql.fragment`p.first_seen_at, p.network, p.tx_id, p.output_index`
    : sql.fragment`p.first_seen_at desc, p.network desc, p.tx_id desc, p.output_index desc`
  const walk = sql.literalValue(String(MAX_WALKED))
  const ends = all([endOf(filter, isOldestFirst)])
  return database.sql.one(sql.type(PAGE)`
    with walked as materialized (
      select p.* from payment p where ${walkedBy(filter, after, isOldestFirst)} order by ${order} limit ${walk}
    ), found as materialized (
      select p.* from walked p
      cross join lateral (
        select x.payment_state, x.payment_flags from orders x where x.order_id = p.order_id offset 0) o
      where ${ends} and ${foundBy(filter)} order by ${order} limit ${limit}
    )
    select (select coalesce(jsonb_agg(${transferJson} order by ${orderOfFound(isOldestFirst)}), '[]') from found f)
        as transfers,
      case when (select count(*) from found) < ${limit} then (
        select jsonb_build_object('network', p.network, 'txId', p.tx_id, 'outputIndex', p.output_index)
        from (select p.* from walked p order by ${order} offset ${walk}::int - 1 limit 1) p where ${ends}) end as reached`)
}

const orderOfFound = (isOldestFirst: boolean) =>
  isOldestFirst
    ? sql.fragment`f.first_seen_at, f.network, f.tx_id, f.output_index`
    : sql.fragment`f.first_seen_at desc, f.network desc, f.tx_id desc, f.output_index desc`

type Fragment = ReturnType<typeof sql.fragment>
const all = (conditions: readonly (Fragment | false)[]): Fragment => {
  const given = conditions.filter((condition) => condition !== false)
  return given.length === 0 ? sql.fragment`true` : sql.fragment`${sql.join(given, sql.fragment` and `)}`
}

const fromOf = ({ firstSeenFrom }: TransferFilter): Fragment | false =>
  firstSeenFrom !== undefined && sql.fragment`p.first_seen_at >= ${sql.timestamp(firstSeenFrom)}`
const beforeOf = ({ firstSeenBefore }: TransferFilter): Fragment | false =>
  firstSeenBefore !== undefined && sql.fragment`p.first_seen_at < ${sql.timestamp(firstSeenBefore)}`
/** Where the list begins, and where it ends. */
const startOf = (filter: TransferFilter, isOldestFirst: boolean) => (isOldestFirst ? fromOf : beforeOf)(filter)
const endOf = (filter: TransferFilter, isOldestFirst: boolean) => (isOldestFirst ? beforeOf : fromOf)(filter)

/**
 * Conditions that an index serves. The walk begins at the cursor, else at the list's start, and does not know the end:
 * of two bounds the planner assumes that little is between them, and would sort all of it instead of walking the index.
 */
function walkedBy(filter: TransferFilter, after: TransferPlace | undefined, isOldestFirst: boolean): Fragment {
  const { orderId, address, txId } = filter
  const beyond = isOldestFirst ? sql.fragment`>` : sql.fragment`<`
  return all([
    orderId !== undefined && sql.fragment`p.order_id = ${orderId}`,
    address !== undefined &&
      sql.fragment`p.order_id = any (array(select i.order_id from invoice i where i.address = ${address}))`,
    txId !== undefined && sql.fragment`p.tx_id = ${txId}`,
    after === undefined && startOf(filter, isOldestFirst),
    after !== undefined &&
      sql.fragment`(p.first_seen_at, p.network, p.tx_id, p.output_index) ${beyond} (
        select x.first_seen_at, x.network, x.tx_id, x.output_index from payment x
        where x.network = ${after.network} and x.tx_id = ${after.txId} and x.output_index = ${after.outputIndex})`,
  ])
}

/** Conditions that are compared with each transfer of the walk. */
const foundBy = ({ state, paymentState, flags = [], asset }: TransferFilter): Fragment =>
  all([
    state !== undefined && sql.fragment`p.state = ${state}`,
    asset !== undefined && sql.fragment`p.asset = ${asset}`,
    paymentState !== undefined && sql.fragment`o.payment_state = ${paymentState}`,
    flags.length > 0 && sql.fragment`o.payment_flags @> ${sql.array([...flags], 'text')}`,
  ])
