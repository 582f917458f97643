// What must still be told to Temporal and to others. A claim is a lease, committed before the call goes out; only
// the holder of a lease may settle its row (design rules 12 to 14).

import { sql } from 'slonik'
import { z } from 'zod'
import type { Asset } from '../domain/payment.ts'
import type { OrderStatus } from '../domain/order.ts'
import { statement, type Database } from './pool.ts'

/** Longer than any call a relay makes; after it another process takes the row over. */
const LEASE = "interval '15 seconds'"
/** A signal may be lost on the way or its workflow task fail; the row stays until an assessment has seen it. */
const RESEND_AFTER = "interval '30 seconds'"
/** Half a minute more each time, up to ten minutes: a run that waits for a person must not fill up with signals. */
const MAX_RESEND_STEPS = 20

export type StartRow = { orderId: string; generation: number; asset: Asset; attempts: number; expiresAt: Date }

// What is due is asked by statement_timestamp(): clock_timestamp() may change from row to row, so no index can be
// searched by it, and every claim would read the whole backlog.

/** Alive, due and in nobody's hands. */
const IS_FREE = `dead_reason is null and next_at <= statement_timestamp()
  and (claimed_until is null or claimed_until < statement_timestamp())`

// Race: a report that makes the very row urgent holds it, and waits for another that this statement has claimed. So the
// row is passed over: it is claimed once more when its lease is over, and found started.
const settle = (orderIds: string): string => `delete from workflow_start where order_id in (
       select order_id from workflow_start where order_id = any (${orderIds}) and claimed_by = $1 for update skip locked)`

// Three classes, most urgent first: someone waits; the quote still runs; the quote is over (a part of the batch, so
// that a backlog of dead orders cannot keep live ones from starting). SKIP LOCKED: relays never wait for each other.
// Race: a row that another relay claimed since this statement began. The conditions stand where the lock is taken, so
// that they are asked again of the row as it is then. What the last claim of this relay has led to is settled on the way.
const CLAIM_STARTS = statement(
  'relay_claim_starts',
  `with live as (
     select order_id from workflow_start
     where ${IS_FREE} and order_id <> all ($4) and (urgency = 0 or quote_ends_at > statement_timestamp())
     order by urgency, quote_ends_at limit $2 for update skip locked
   ), over as (
     select order_id from workflow_start
     where ${IS_FREE} and order_id <> all ($4) and urgency = 1 and quote_ends_at <= statement_timestamp()
     order by quote_ends_at limit $3 for update skip locked
   ), settled as (
     ${settle('$4')}
   )
   update workflow_start s
   set claimed_by = $1, claimed_until = clock_timestamp() + ${LEASE}, attempts = s.attempts + 1
   from (select order_id from live union all select order_id from over) c, invoice i
   where s.order_id = c.order_id and i.order_id = s.order_id
   returning s.order_id as "orderId", s.generation, i.asset, s.attempts, i.expires_at + i.grace as "expiresAt"`,
)

/** A fifth of a batch at most goes to orders whose quote is over (design rule 13). */
const OVER_SHARE = 5

/** @param started orders claimed before whose workflows run by now: their rows go */
export const claimStarts = (
  database: Pick<Database, 'run'>,
  holder: string,
  limit: number,
  started: readonly string[] = [],
): Promise<StartRow[]> =>
  database.run<StartRow>(CLAIM_STARTS, [holder, limit, Math.max(1, Math.floor(limit / OVER_SHARE)), started])

const DELETE_STARTS = statement('relay_delete_starts', settle('$2'))
export const deleteStarts = async (
  database: Pick<Database, 'run'>,
  holder: string,
  orderIds: readonly string[],
): Promise<void> => void (await database.run(DELETE_STARTS, [holder, orderIds]))

const DEFER_START = statement(
  'relay_defer_start',
  `update workflow_start set claimed_by = null, claimed_until = null, next_at = clock_timestamp() + make_interval(secs => $3), dead_reason = $4
   where order_id = $2 and claimed_by = $1`,
)
/** @param deadReason set to stop trying until a person looks */
export const deferStart = async (
  database: Pick<Database, 'run'>,
  holder: string,
  orderId: string,
  delayMs: number,
  deadReason: string | null,
): Promise<void> => void (await database.run(DEFER_START, [holder, orderId, delayMs / 1_000, deadReason]))

export type WakeRow = {
  orderId: string
  wantedSeq: bigint
  attempts: number
  status: OrderStatus
  asset: Asset
  expiresAt: Date
  /** Set where the order's workflow is still to be started: this relay has that lease too, and starts it with the news. */
  startGeneration: number | null
}

// An order that another relay is about to start waits for that: it may be told as soon as it runs.
const CLAIM_WAKES = statement(
  'relay_claim_wakes',
  `with due as (
     select order_id from order_wake w where ${IS_FREE} and not exists (
       select from workflow_start s where s.order_id = w.order_id and s.claimed_until >= statement_timestamp())
     order by next_at limit $2 for update skip locked
   ), claimed as (
     update order_wake w
     set claimed_by = $1, claimed_until = clock_timestamp() + ${LEASE}, attempts = w.attempts + 1
     from due where w.order_id = due.order_id
     returning w.order_id, w.wanted_seq, w.attempts
   ), unstarted as (
     select s.order_id from workflow_start s join orders o using (order_id)
     where s.order_id in (select order_id from due) and o.status not in ('delivered', 'cancelled') and ${IS_FREE}
     for update of s skip locked
   ), starting as (
     update workflow_start s
     set claimed_by = $1, claimed_until = clock_timestamp() + ${LEASE}, attempts = s.attempts + 1
     from unstarted u where s.order_id = u.order_id
     returning s.order_id, s.generation
   ), settled as (
     ${settle('$3')}
   )
   select c.order_id as "orderId", c.wanted_seq as "wantedSeq", c.attempts, o.status, i.asset,
     i.expires_at + i.grace as "expiresAt", s.generation as "startGeneration"
   from claimed c join orders o using (order_id) join invoice i using (order_id) left join starting s using (order_id)`,
)
/** @param started orders claimed before whose workflows run by now: their starts are settled */
export const claimWakes = (
  database: Pick<Database, 'run'>,
  holder: string,
  limit: number,
  started: readonly string[] = [],
): Promise<WakeRow[]> => database.run<WakeRow>(CLAIM_WAKES, [holder, limit, started])

// The row stays: it goes when an assessment has seen it. If none does, the signal is sent again, ever more rarely.
const WAKES_SENT = statement(
  'relay_wakes_sent',
  `update order_wake set claimed_by = null, claimed_until = null, next_at = clock_timestamp() + ${RESEND_AFTER} * least(attempts, ${MAX_RESEND_STEPS})
   where order_id = any ($2) and claimed_by = $1`,
)
export const wakesSent = async (
  database: Pick<Database, 'run'>,
  holder: string,
  orderIds: readonly string[],
): Promise<void> => void (await database.run(WAKES_SENT, [holder, orderIds]))

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

const STALE_DUTIES = statement(
  'duty_stale',
  'select duty from duty where succeeded_at is null or succeeded_at < clock_timestamp() - make_interval(secs => $1)',
)
/** Duties that have not succeeded for so long, by name. */
export async function findStaleDuties(database: Pick<Database, 'run'>, olderThanMs: number): Promise<string[]> {
  const rows = await database.run<{ duty: string }>(STALE_DUTIES, [olderThanMs / 1_000])
  return rows.map(({ duty }) => duty)
}

const HOLD_DUTY = statement(
  'duty_hold',
  `update duty set holder = $2, held_until = clock_timestamp() + make_interval(secs => $3), started_at = clock_timestamp()
   where duty = $1 and (holder = $2 or held_until is null or held_until < clock_timestamp()) returning duty`,
)
/** Takes or keeps the lease of a duty; false while another process has it. */
export async function holdDuty(
  database: Pick<Database, 'run'>,
  duty: string,
  holder: string,
  leaseMs: number,
): Promise<boolean> {
  const rows = await database.run(HOLD_DUTY, [duty, holder, leaseMs / 1_000])
  return rows.length > 0
}

const RELEASE_DUTY = statement('duty_release', 'update duty set held_until = null where duty = $1 and holder = $2')
/** Lets go of a duty before its lease is over: the next process need not wait for it. */
export const releaseDuty = async (database: Pick<Database, 'run'>, duty: string, holder: string): Promise<void> =>
  void (await database.run(RELEASE_DUTY, [duty, holder]))

const DUTY_DONE = statement(
  'duty_done',
  `update duty set succeeded_at = case when $3 then clock_timestamp() else succeeded_at end,
     failures = case when $3 then 0 else failures + 1 end, items = items + $4
   where duty = $1 and holder = $2`,
)
export const dutyDone = async (
  database: Pick<Database, 'run'>,
  duty: string,
  holder: string,
  isSuccess: boolean,
  items: number,
): Promise<void> => void (await database.run(DUTY_DONE, [duty, holder, isSuccess, items]))

const BACKLOG = z.object({
  starts: z.bigint(),
  oldestStartS: z.number(),
  deadStarts: z.bigint(),
  wakes: z.bigint(),
  oldestWakeS: z.number(),
  deadWakes: z.bigint(),
  notifications: z.bigint(),
  oldestNotificationS: z.number(),
  deadNotifications: z.bigint(),
})
export type Backlog = z.output<typeof BACKLOG>

/** What waits to be told, and for how long: for metrics and for the cap on new orders. */
export const findBacklog = (database: Pick<Database, 'sql'>): Promise<Backlog> =>
  database.sql.one(sql.type(BACKLOG)`
    select
      (select count(*) from workflow_start) as starts,
      (select coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 from workflow_start) as "oldestStartS",
      (select count(*) from workflow_start where dead_reason is not null) as "deadStarts",
      (select count(*) from order_wake) as wakes,
      (select coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 from order_wake) as "oldestWakeS",
      (select count(*) from order_wake where dead_reason is not null) as "deadWakes",
      n.rows as notifications, n.oldest_s as "oldestNotificationS",
      (select count(*) from notification where dead_at is not null) as "deadNotifications"
    from (
      select count(*) as rows, coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as oldest_s
      from notification where delivered_at is null and dead_at is null
    ) n`)
