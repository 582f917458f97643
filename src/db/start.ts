// Workflows that are still to be started. A claim is a lease, committed before Temporal is called; only the holder of a
// lease may settle its row (design rules 12 to 14).

import type { Asset } from '../domain/payment.ts'
import { statement, type Database } from './connection/pool.ts'

/** Longer than any call a relay makes; after it another process takes the row over. */
export const RELAY_LEASE = "interval '15 seconds'"
export type StartRow = { orderId: string; generation: number; asset: Asset; attempts: number; expiresAt: Date }

// What is due is asked by statement_timestamp(): clock_timestamp() may change from row to row, so no index can be
// searched by it, and every claim would read the whole backlog.

/** A relay's row that is due, not dead, and leased by no relay. */
export const IS_FREE = `dead_reason is null and next_at <= statement_timestamp()
  and (claimed_until is null or claimed_until < statement_timestamp())`

/** Deletes started rows of the relay $1, as a part of its next claim. */
// Race: a report that makes the very row urgent holds it, and waits for another that this statement has claimed. So the
// row is passed over: it is claimed once more when its lease is over, and found started.
export const settleStarts = (orderIds: string): string => `delete from workflow_start where order_id in (
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
     ${settleStarts('$4')}
   )
   update workflow_start s
   set claimed_by = $1, claimed_until = clock_timestamp() + ${RELAY_LEASE}, attempts = s.attempts + 1
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

const DELETE_STARTS = statement('relay_delete_starts', settleStarts('$2'))
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
