// Queue of workflow starts. A claim is a lease, committed before Temporal is called; only the holder of a lease may
// settle its row (design rules 12 to 14).

import type { Asset } from '../domain/payment.ts'
import { statement, type Database } from './connection/pool.ts'

/** Longer than any call that a relay makes; after it another process may claim the row. */
export const RELAY_LEASE = "interval '15 seconds'"
export type StartRow = { orderId: string; generation: number; asset: Asset; attempts: number; expiresAt: Date }

// Due rows are found with statement_timestamp(). clock_timestamp() may change from row to row, so no index can be
// searched by it, and every claim would read the whole backlog.

/** The row is due, not dead, and not leased. */
export const IS_FREE = `dead_reason is null and next_at <= statement_timestamp()
  and (claimed_until is null or claimed_until < statement_timestamp())`

/** Deletes started rows of the relay $1, as a part of its next claim. */
// Race: a restart by an operator holds the row's lock and waits for another row that this statement has claimed. So the
// locked row is skipped: after its lease expires it is claimed again and found started. A report locks no leased start.
export const settleStarts = (orderIds: string): string => `delete from workflow_start where order_id in (
       select order_id from workflow_start where order_id = any (${orderIds}) and claimed_by = $1 for update skip locked)`

// Three classes, most urgent first: a caller waits; the quote is valid; the quote has expired (a limited share of the
// batch, so that a backlog of expired orders cannot block valid ones). SKIP LOCKED: relays never wait for each other.
// Race: another relay claims a row after this statement began. The conditions are in the clause that locks, so that
// they are evaluated again on the current row. The same statement settles the rows of this relay's last claim.
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

/** At most a fifth of a batch is for orders whose quote has expired (design rule 13). */
const OVER_SHARE = 5

/** @param started orders claimed before whose workflows are running now: their rows are deleted */
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

const RELEASE_STARTS = statement(
  'relay_release_starts',
  `update workflow_start set claimed_by = null, claimed_until = null where order_id = any ($2) and claimed_by = $1`,
)
/** Ends the leases of starts that were not tried. */
export const releaseStarts = async (
  database: Pick<Database, 'run'>,
  holder: string,
  orderIds: readonly string[],
): Promise<void> => void (await database.run(RELEASE_STARTS, [holder, orderIds]))

const DEFER_START = statement(
  'relay_defer_start',
  `update workflow_start set claimed_by = null, claimed_until = null, next_at = clock_timestamp() + make_interval(secs => $3), dead_reason = $4
   where order_id = $2 and claimed_by = $1`,
)
/** @param deadReason set to stop retries until an operator acts */
export const deferStart = async (
  database: Pick<Database, 'run'>,
  holder: string,
  orderId: string,
  delayMs: number,
  deadReason: string | null,
): Promise<void> => void (await database.run(DEFER_START, [holder, orderId, delayMs / 1_000, deadReason]))
