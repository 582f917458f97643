// Money, from what watchers say (inbox) to what it means for an order. Reports are facts and carry no authority;
// assessPayments is the only writer of payments and payment_state.

import {
  assess,
  RECOMPUTED_FLAGS,
  type Asset,
  type PaymentFlag,
  type PaymentState,
  type TransferState,
} from '../domain/payment.ts'
import type { Actor } from '../domain/audit.ts'
import { isTerminal, type OrderHold, type OrderState, type OrderStatus } from '../domain/order.ts'
import type { Fence } from '../domain/command.ts'
import { actorText } from './audit.ts'
import { getOrderState, inStep, lockOrder } from './order.ts'
import { statement, type Database, type Tx } from './pool.ts'

/** One fact about one output, in the watcher's canonical form. */
export type Observation = {
  /** Hex SHA-256 of network, tx, output, state, block hash and seq. */
  reportId: string
  network: string
  asset: Asset
  txId: string
  outputIndex: number
  /** Counted by the watcher per output; the highest is the present view. */
  seq: number
  state: TransferState
  address: string
  amount: bigint
  blockHeight: bigint | undefined
  blockHash: string | undefined
  firstSeenAt: Date
}

// Race closed with expiry and assessment: both take the same order lock, in the same order of ids. The condition on the
// context is looked at before any row, so that it is set also where no order is found.
const LOCK_ORDERS_OF_ADDRESSES = statement(
  'report_lock_orders',
  `with context as materialized (select set_config('holdfast.actor', $3, true) as acting)
   select o.order_id from orders o
   where (select acting from context) is not null and o.order_id in (
     select i.order_id from invoice i
     join unnest($1::text[], $2::text[]) as a (network, address) on a.network = i.network and a.address = i.address)
   order by o.order_id for no key update of o`,
)

const INSERT_REPORTS = statement(
  'report_insert',
  `insert into payment_report (source, report_id, network, asset, tx_id, output_index, seq, state, address, amount,
     block_height, block_hash, first_seen_at, order_id)
   select $1, r.report_id, r.network, r.asset, r.tx_id, r.output_index, r.seq, r.state, r.address, r.amount,
     r.block_height, r.block_hash, r.first_seen_at, i.order_id
   from jsonb_to_recordset($2::jsonb) r (report_id text, network text, asset text, tx_id text, output_index int, seq int,
     state text, address text, amount numeric, block_height bigint, block_hash text, first_seen_at timestamptz)
   left join invoice i on i.network = r.network and i.address = r.address
   on conflict do nothing
   returning order_id`,
)

/** The present view of each output of the orders $1: final if any source has it final, else the newest of what was said. */
const PRESENT = `
  select distinct on (l.order_id, l.network, l.tx_id, l.output_index) l.*, i.amount_due, i.asset as asset_due, i.confirm_within,
    l.asset = i.asset as is_right_asset, l.first_seen_at <= i.expires_at + i.grace as is_in_time
  from (
    select distinct on (p.order_id, p.source, p.network, p.tx_id, p.output_index) p.*
    from payment_report p where p.order_id = any ($1)
    order by p.order_id, p.source, p.network, p.tx_id, p.output_index, p.seq desc
  ) l join invoice i on i.order_id = l.order_id
  order by l.order_id, l.network, l.tx_id, l.output_index, (l.state = 'final') desc, l.report_no desc`

// Enough was seen in time: the hold lasts until the transfers had time to become final. And the workflows look again.
const EXTEND_AND_WAKE = statement(
  'report_extend_and_wake',
  `with present as (${PRESENT}), enough as (
     select order_id, confirm_within from present where state in ('seen', 'final') and is_right_asset and is_in_time
     group by order_id, confirm_within, amount_due having sum(amount) * 1000 >= amount_due * 999
   ), extended as (
     update reservation r set expires_at = greatest(r.expires_at, clock_timestamp() + e.confirm_within)
     from enough e where r.order_id = e.order_id and r.state = 'held'
   ), urgent as (
     update workflow_start set urgency = 0 where order_id = any ($1) and urgency <> 0
   )
   select want_wake($1)`,
)

/**
 * Takes a verified report into the inbox, extends holds that were paid in time and asks the workflows to look again:
 * one transaction. Facts already known change nothing.
 * @returns how many facts were new
 */
export async function recordReport(
  database: Pick<Database, 'transaction'>,
  source: string,
  observations: readonly Observation[],
  call: { deadline?: number; origin?: Omit<Actor, 'actor' | 'role'> } = {},
): Promise<number> {
  const by: Actor = { actor: `watcher:${source}`, role: 'watcher', ...call.origin }
  return database.transaction(
    async (tx) => {
      const networks = observations.map((fact) => fact.network)
      const addresses = observations.map((fact) => fact.address)
      await tx.run(LOCK_ORDERS_OF_ADDRESSES, [networks, addresses, actorText(by)])
      const fresh = await tx.run<{ order_id: string | null }>(INSERT_REPORTS, [
        source,
        JSON.stringify(observations.map(rowOf)),
      ])
      const orderIds = [...new Set(fresh.flatMap((row) => row.order_id ?? []))].toSorted()
      if (orderIds.length > 0) await tx.run(EXTEND_AND_WAKE, [orderIds])
      return fresh.length
    },
    call.deadline === undefined ? {} : { deadline: call.deadline },
  )
}

const rowOf = (fact: Observation) => ({
  report_id: fact.reportId,
  network: fact.network,
  asset: fact.asset,
  tx_id: fact.txId,
  output_index: fact.outputIndex,
  seq: fact.seq,
  state: fact.state,
  address: fact.address,
  amount: fact.amount.toString(),
  block_height: fact.blockHeight?.toString() ?? null,
  block_hash: fact.blockHash ?? null,
  first_seen_at: fact.firstSeenAt.toISOString(),
})

type FactRow = {
  amount: string
  state: TransferState
  is_in_time: boolean
  is_right_asset: boolean
  is_ours: boolean
  amount_due: string
  asset_due: Asset
  flags: PaymentFlag[]
}

// Race: an output claimed for two orders, by a wrong report, while both are assessed. The primary key lets one order
// have it; only what is this order's own, from before or by this very statement, counts.
const CREDIT = statement(
  'assess_credit',
  `with present as (${PRESENT}), credited as (
     insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
     select network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at from present where is_right_asset
     on conflict (network, tx_id, output_index) do update set state = excluded.state, is_in_time = excluded.is_in_time
     where payment.order_id = excluded.order_id and (payment.state, payment.is_in_time) is distinct from (excluded.state, excluded.is_in_time)
     returning network, tx_id, output_index
   )
   select coalesce(y.amount, p.amount) as amount, p.state, p.is_in_time, p.is_right_asset,
     p.is_right_asset and coalesce(y.order_id = p.order_id, c.tx_id is not null) as is_ours, p.amount_due, p.asset_due, o.payment_flags as flags
   from present p join orders o using (order_id)
   left join payment y using (network, tx_id, output_index) left join credited c using (network, tx_id, output_index)`,
)

// Everything an assessment changes, in one statement; the order's row is locked. Parts that do not apply match no row.
// A status is only written where it moves: the database refuses a move to where the order already is.
const applying = (name: string, status: string) =>
  statement(
    name,
    `with moved as (
     update orders set payment_state = $2, payment_flags = $3, hold = $5${status}
     where order_id = $1 and (payment_state, payment_flags, status, hold) is distinct from ($2, $3::text[], $4, $5)
   ), committed as (
     update reservation set state = 'committed' where order_id = $1 and state = 'held' and $4 = 'processing'
   ), owed as (
     insert into refund_due (order_id, asset, amount) select $1, $6, $7::numeric
     where $7::numeric > 0 or exists (select from refund_due where order_id = $1)
     on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp()
   ), settled as (
     update payment_report set is_assessed = true where order_id = $1 and not is_assessed
   )
   delete from order_wake where order_id = $1`,
  )
const APPLY = applying('assess_apply', '')
const APPLY_AND_MOVE = applying('assess_apply_and_move', ', status = $4')

/**
 * Reads the whole inbox of an order and brings payments and status in line: confirming, paid (and so to processing
 * with its holds committed), at risk, or late money of a closed order.
 * @throws {DomainError} STALE_RUN, NOT_FOUND
 */
export async function assessPayments(database: Pick<Database, 'transaction'>, fence: Fence): Promise<OrderState> {
  const { state } = await inStep(database, fence, async (tx, order) => {
    if (!isTerminal(order.status)) await assessLocked(tx, fence.orderId, order)
    return undefined
  })
  return state
}

/** The same for an order that has ended, on behalf of its aftercare; an open order is its own workflow's. */
export async function assessLatePayments(
  database: Pick<Database, 'transaction'>,
  orderId: string,
): Promise<OrderState> {
  return database.transaction(async (tx) => {
    const order = await lockOrder(tx, orderId)
    if (isTerminal(order.status)) await assessLocked(tx, orderId, order)
    return getOrderState(tx, orderId)
  })
}

async function assessLocked(
  tx: Tx,
  orderId: string,
  order: { status: OrderStatus; payment_state: PaymentState; hold: OrderHold },
): Promise<void> {
  const facts = await tx.run<FactRow>(CREDIT, [[orderId]])
  const [first] = facts
  if (first === undefined) return
  const counted = facts.filter((fact) => fact.is_ours)
  const result = assess({
    status: order.status,
    paymentState: order.payment_state,
    due: BigInt(first.amount_due),
    transfers: counted.map((fact) => ({ amount: BigInt(fact.amount), state: fact.state, isInTime: fact.is_in_time })),
  })
  const flags = new Set(first.flags.filter((flag) => !RECOMPUTED_FLAGS.includes(flag)))
  for (const flag of result.flags) flags.add(flag)
  if (facts.some((fact) => !fact.is_right_asset)) flags.add('wrong_asset')
  const status = order.status === 'pending' && result.paymentState === 'paid' ? 'processing' : order.status
  await tx.run(status === order.status ? APPLY : APPLY_AND_MOVE, [
    orderId,
    result.paymentState,
    [...flags].toSorted(),
    status,
    holdOf(order.hold, status, result.paymentState),
    first.asset_due,
    result.refundDue.toString(),
  ])
}

/** Money that may go away again stops shipping; money that came back lets it go on. Other holds are people's. */
function holdOf(hold: OrderHold, status: OrderStatus, paymentState: PaymentState): OrderHold {
  if (status !== 'processing') return hold
  if (paymentState === 'at_risk' && hold === 'none') return 'payment'
  return paymentState === 'paid' && hold === 'payment' ? 'none' : hold
}
