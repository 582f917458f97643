// Queue of wakes: running orders that must look at their payments again. Rows are leased as starts are. A row stays
// until an assessment has seen the report, so a lost signal is sent again (design rules 12 to 14).

import type { OrderStatus } from '../domain/order.ts'
import type { Asset } from '../domain/payment.ts'
import { statement, type Database } from './connection/pool.ts'
import { IS_FREE, RELAY_LEASE, settleStarts } from './start.ts'

/** A signal may be lost or its workflow task fail; the row stays until an assessment has seen it. */
const RESEND_AFTER = "interval '30 seconds'"
/** Half a minute more each time, up to ten minutes: a run that waits for an operator must not accumulate signals. */
const MAX_RESEND_STEPS = 20

export type WakeRow = {
  orderId: string
  wantedSeq: bigint
  attempts: number
  status: OrderStatus
  asset: Asset
  expiresAt: Date
  /** Set if the order's workflow is not started yet: this relay also has that lease, and starts it with the report. */
  startGeneration: number | null
}

// A wake of an order whose start is leased by another relay waits: the order can be woken once it runs. The starts that
// this statement settles have led to a run.
const CLAIM_WAKES = statement(
  'relay_claim_wakes',
  `with due as (
     select order_id from order_wake w where ${IS_FREE} and not exists (
       select from workflow_start s where s.order_id = w.order_id and s.claimed_until >= statement_timestamp()
         and s.order_id <> all ($3))
     order by next_at limit $2 for update skip locked
   ), claimed as (
     update order_wake w
     set claimed_by = $1, claimed_until = clock_timestamp() + ${RELAY_LEASE}, attempts = w.attempts + 1
     from due where w.order_id = due.order_id
     returning w.order_id, w.wanted_seq, w.attempts
   ), unstarted as (
     select s.order_id from workflow_start s join orders o using (order_id)
     where s.order_id in (select order_id from due) and not is_terminal(o.status) and ${IS_FREE}
     for update of s skip locked
   ), starting as (
     update workflow_start s
     set claimed_by = $1, claimed_until = clock_timestamp() + ${RELAY_LEASE}, attempts = s.attempts + 1
     from unstarted u where s.order_id = u.order_id
     returning s.order_id, s.generation
   ), settled as (
     ${settleStarts('$3')}
   )
   select c.order_id as "orderId", c.wanted_seq as "wantedSeq", c.attempts, o.status, i.asset,
     i.expires_at + i.grace as "expiresAt", s.generation as "startGeneration"
   from claimed c join orders o using (order_id) join invoice i using (order_id) left join starting s using (order_id)`,
)
/** @param started orders claimed before whose workflows are running now: their starts are settled */
export const claimWakes = (
  database: Pick<Database, 'run'>,
  holder: string,
  limit: number,
  started: readonly string[] = [],
): Promise<WakeRow[]> => database.run<WakeRow>(CLAIM_WAKES, [holder, limit, started])

// The row stays until an assessment has seen it. If none does, the signal is sent again with a growing delay.
const MARK_WAKES_SENT = statement(
  'relay_wakes_sent',
  `update order_wake set claimed_by = null, claimed_until = null, next_at = clock_timestamp() + ${RESEND_AFTER} * least(attempts, ${MAX_RESEND_STEPS})
   where order_id = any ($2) and claimed_by = $1`,
)
export const markWakesSent = async (
  database: Pick<Database, 'run'>,
  holder: string,
  orderIds: readonly string[],
): Promise<void> => void (await database.run(MARK_WAKES_SENT, [holder, orderIds]))

const DEFER_WAKE = statement(
  'relay_defer_wake',
  `update order_wake set claimed_by = null, claimed_until = null, next_at = clock_timestamp() + make_interval(secs => $3), dead_reason = $4
   where order_id = $2 and claimed_by = $1`,
)
export const deferWake = async (
  database: Pick<Database, 'run'>,
  holder: string,
  orderId: string,
  delayMs: number,
  deadReason: string | null,
): Promise<void> => void (await database.run(DEFER_WAKE, [holder, orderId, delayMs / 1_000, deadReason]))
