// The outbox of a source: observations that are not delivered yet. A row is written in the transaction that changes its
// output, and deleted once the api has stored it.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Observation } from '../../domain/chain.ts'
import { TRANSFER_STATES, type Asset } from '../../domain/payment.ts'
import type { Database } from '../connection/pool.ts'

/** A refused report waits 1, 2, 4 … s, at most ten minutes. It is retried without end. */
const MAX_REFUSAL_WAIT_S = 600
/** Refused this often, a report no longer holds back the later ones of its output. */
const ISOLATING_REFUSALS = 5

/** Adds an observation of each output that `changed`, a common table of the same statement, returns. */
export const reportChanges = sql.fragment`
  insert into chain_report (network, tx_id, output_index, seq, state, block_height, block_hash, first_seen_at)
  select network, tx_id, output_index, seq, state, block_height, block_hash, first_seen_at from changed`

/** An observation that waits in the outbox. */
export type OutboxEntry = Observation & { reportNo: bigint }

const OUTBOX_ROW = z
  .object({
    reportNo: z.bigint(),
    network: z.string(),
    asset: z.string().transform((asset) => asset as Asset),
    txId: z.string(),
    outputIndex: z.number(),
    address: z.string(),
    amount: z.string().transform(BigInt),
    seq: z.number(),
    state: z.enum(TRANSFER_STATES),
    height: z.bigint().transform(Number),
    hash: z.string(),
    firstSeenAt: z.date(),
  })
  .transform(({ height, hash, ...rest }): OutboxEntry => ({ ...rest, block: { height, hash } }))
const NOTHING = z.unknown()

/** The oldest reports that may be sent now; within an output in the order of seq. */
export async function findDueReports(
  database: Database,
  network: string,
  limit: number,
): Promise<readonly OutboxEntry[]> {
  return database.sql.any(sql.type(OUTBOX_ROW)`
    select r.report_no as "reportNo", r.network, o.asset, r.tx_id as "txId", r.output_index as "outputIndex",
      o.address, o.amount, r.seq, r.state, r.block_height as height, r.block_hash as hash, r.first_seen_at as "firstSeenAt"
    from chain_report r join chain_output o using (network, tx_id, output_index)
    where r.network = ${network} and r.next_at <= clock_timestamp()
      and not exists (
        select from chain_report e
        where (e.network, e.tx_id, e.output_index) = (r.network, r.tx_id, r.output_index) and e.seq < r.seq
          and e.next_at > clock_timestamp() and e.refusals < ${ISOLATING_REFUSALS})
    order by r.report_no limit ${limit}`)
}

/** Deletes reports that are delivered. */
export async function deleteReports(database: Database, reportNos: readonly bigint[]): Promise<void> {
  await database.sql.query(sql.type(NOTHING)`
    delete from chain_report where report_no = any (${sql.array([...reportNos], 'int8')})`)
}

/**
 * Keeps a refused report as a dead letter with the reason: it is delayed, twice as long each time, and is not deleted. A
 * refusal that is final isolates it at once.
 */
export async function postponeReport(
  database: Database,
  reportNo: bigint,
  { reason, isFinal }: { reason: string; isFinal: boolean },
): Promise<void> {
  await database.sql.query(sql.type(NOTHING)`
    update chain_report
    set refusals = greatest(refusals + 1, ${isFinal ? ISOLATING_REFUSALS : 0}), refusal_reason = ${reason},
      next_at = clock_timestamp() + least(power(2, least(refusals, 30)), ${MAX_REFUSAL_WAIT_S}) * interval '1 second'
    where report_no = ${reportNo}`)
}

const DEAD_LETTER = z.object({
  network: z.string(),
  source: z.string(),
  txId: z.string(),
  outputIndex: z.number(),
  seq: z.number(),
  state: z.string(),
  refusals: z.number(),
  reason: z.string().nullable(),
})

const LISTED_DEAD_LETTERS = 100

/** Reports that were refused so often that an operator must look, the oldest first. */
export const listDeadReports = (database: Database): Promise<readonly z.output<typeof DEAD_LETTER>[]> =>
  database.sql.any(sql.type(DEAD_LETTER)`
    select network, source, tx_id as "txId", output_index as "outputIndex", seq, state, refusals, refusal_reason as reason
    from chain_report where refusals >= ${ISOLATING_REFUSALS} order by report_no limit ${LISTED_DEAD_LETTERS}`)

/** How many reports wait, and how many of them were refused so often that an operator must look. */
export async function countReports(database: Database, network: string): Promise<{ waiting: number; refused: number }> {
  return database.sql.one(sql.type(z.object({ waiting: z.number(), refused: z.number() }))`
    select count(*)::int as waiting, (count(*) filter (where refusals >= ${ISOLATING_REFUSALS}))::int as refused
    from chain_report where network = ${network}`)
}
