// The queue of the payer: approved refunds without a payout, in a fair order. One that must wait is looked at again
// later and later (exponential back-off), so that it hides no other.

import type { FeeBearer } from '../domain/refund.ts'
import { statement, type Database } from './connection/pool.ts'

type Runner = Pick<Database, 'run'>

export type PayableRefund = {
  refundId: string
  amount: bigint
  destination: string
  feeBearer: FeeBearer
  /** A payout of it failed, and an operator released it. */
  isAgain: boolean
}

const PAYABLE = statement(
  'payout_payable',
  `select r.refund_id as "refundId", r.amount, r.destination, r.fee_bearer as "feeBearer",
     exists (select from payout p where p.refund_id = r.refund_id) as "isAgain"
   from refund r left join payout_wait w on w.refund_id = r.refund_id
   where r.network = $1 and r.asset = 'ETH' and r.token is null and (r.status = 'approved' or r.status = 'paying')
     and not exists (select from payout p where p.refund_id = r.refund_id and not p.is_released)
     and (w.next_try_at is null or w.next_try_at <= clock_timestamp())
   order by coalesce(w.next_try_at, r.updated_at), r.refund_id limit $2`,
)
/**
 * Refunds that are approved and have no payout, or only failed ones that an operator released, and whose turn it is. Those
 * that have waited longest for it come first.
 */
export async function findPayableRefunds(database: Runner, network: string, limit: number): Promise<PayableRefund[]> {
  const rows = await database.run<PayableRefund & { amount: string }>(PAYABLE, [network, limit])
  return rows.map((row) => ({ ...row, amount: BigInt(row.amount) }))
}

export type Retry = {
  /** Before the second look; each later time is twice as long. */
  firstMs: number
  mostMs: number
}
/** Two to this power of the first time is longer than any `mostMs`. */
const MAX_DOUBLINGS = 20

const WAIT = statement(
  'payout_wait',
  `with before as (select reason from payout_wait where refund_id = $1)
   insert into payout_wait as w (refund_id, reason, next_try_at)
   values ($1, $2, clock_timestamp() + make_interval(secs => $3))
   on conflict (refund_id) do update set
     reason = excluded.reason, tries = least(w.tries, 1000000) + 1,
     since = case when w.reason = excluded.reason then w.since else excluded.since end,
     next_try_at = clock_timestamp() + make_interval(secs => least($4, $3 * 2 ^ least(w.tries, $5)))
   returning not exists (select from before b where b.reason = w.reason) as "isNews"`,
)
/** Notes that a refund gets no payout now. @returns whether it waits for this reason for the first time */
export async function postponePayout(
  database: Runner,
  refundId: string,
  reason: string,
  { firstMs, mostMs }: Retry,
): Promise<boolean> {
  const values = [refundId, reason, firstMs / 1_000, mostMs / 1_000, MAX_DOUBLINGS]
  return (await database.run<{ isNews: boolean }>(WAIT, values))[0]?.isNews ?? false
}

const FORGET = statement('payout_wait_forget', 'delete from payout_wait where refund_id = $1')
/** It has its payout. */
export const forgetPostponed = async (database: Runner, refundId: string): Promise<void> =>
  void (await database.run(FORGET, [refundId]))

const WAITING = statement(
  'payout_waiting',
  `select w.reason, count(*)::int as waiting from payout_wait w join refund r on r.refund_id = w.refund_id
   where r.network = $1 and (r.status = 'approved' or r.status = 'paying')
     and not exists (select from payout p where p.refund_id = r.refund_id and not p.is_released)
   group by w.reason`,
)
/** How many refunds wait, by reason. */
export const countPostponed = (database: Runner, network: string): Promise<{ reason: string; waiting: number }[]> =>
  database.run(WAITING, [network])
