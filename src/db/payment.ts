// The inbox of payment reports, and the assessment of what they mean for an order. A report is a fact and carries no
// authority. Only an assessment writes payments. It also moves payment_state, as does end_orders for an order that is
// cancelled or expires. Both hold the order's row lock.

import { decisionOf } from '../domain/assessment.ts'
import type { Actor } from '../domain/audit.ts'
import type { ReportedObservation } from '../domain/chain.ts'
import type { Fence } from '../domain/command.ts'
import { DomainError } from '../domain/failure.ts'
import { withAccepted, type LatePolicy } from '../domain/late.ts'
import type { OrderState } from '../domain/order.ts'
import { actorText } from './audit/actor.ts'
import { assessedOrderOf, assessReplacement, decideLateMoney, endAssessment, type AssessedRow } from './late.ts'
import { assertEntered, getOrderState, stateOf, withStepReached, type StepOutcome } from './order.ts'
import { retrying, sqlStateOf, statement, type Database } from './connection/pool.ts'
import { errorDetailOf, REPORT_CONFLICT_STATE, SOURCE_RETIRED_STATE } from './connection/sqlstate.ts'

const RECORD = statement('report_record', 'select record_report($1, $2::jsonb, $3) as fresh')

/**
 * Stores the observations of a verified report in the inbox, extends holds that were paid in time and wakes the orders'
 * workflows: one transaction. An observation that is stored already changes nothing.
 * @returns how many observations were new
 * @throws {DomainError} REPORT_CONFLICT when another fact is stored under the seq of an observation: nothing is stored;
 *   PERMISSION_DENIED when the source is retired
 */
export async function recordReport(
  database: Pick<Database, 'run'>,
  source: string,
  observations: readonly ReportedObservation[],
  call: { deadline?: number; origin?: Omit<Actor, 'actor' | 'role'> } = {},
): Promise<number> {
  const by: Actor = { actor: `watcher:${source}`, role: 'watcher', ...call.origin }
  const rows = JSON.stringify(observations.map(rowOf))
  const values = [source, rows, actorText(by)]
  try {
    const [row] = await retrying(() => database.run<{ fresh: number }>(RECORD, values), call.deadline)
    return row?.fresh ?? 0
  } catch (error) {
    const state = sqlStateOf(error)
    if (state === SOURCE_RETIRED_STATE)
      throw new DomainError('PERMISSION_DENIED', 'This source is retired: it reports no more.', { cause: error })
    if (state !== REPORT_CONFLICT_STATE) throw error
    throw conflictOf(observations[Number(errorDetailOf(error))], error)
  }
}

const conflictOf = (observation: ReportedObservation | undefined, cause: unknown): DomainError => {
  const seq = observation?.seq.toString()
  return new DomainError('REPORT_CONFLICT', 'Another fact was reported under this sequence number.', {
    metadata: seq === undefined ? {} : { seq },
    cause,
  })
}

const rowOf = (observation: ReportedObservation) => ({
  report_id: observation.reportId,
  network: observation.network,
  asset: observation.asset,
  tx_id: observation.txId,
  output_index: observation.outputIndex,
  seq: observation.seq,
  state: observation.state,
  address: observation.address,
  amount: observation.amount.toString(),
  block_height: observation.block?.height ?? null,
  block_hash: observation.block?.hash ?? null,
  first_seen_at: observation.firstSeenAt.toISOString(),
})

type Begun = AssessedRow & {
  outcome: StepOutcome
  /** How many outputs have new observations; 0: there is nothing to decide. */
  outputs: number
  has_wrong_asset: boolean
  has_early: boolean
  is_suspended: boolean
}

// Order lock, fence and credit; then, in the same transaction, what it means and the order's state.
const BEGIN = statement('assess_begin', 'select * from begin_assessment($1, $2, $3)')

/**
 * Assesses the new observations in an order's inbox and updates its payments and status: confirming, paid (the order
 * moves to processing and its holds are committed), at risk, or late money of a closed order. One call assesses at most
 * 500 outputs: while `hasUnassessed` is true, call it again.
 * @throws {DomainError} STALE_RUN, NOT_FOUND
 */
export const assessPayments = (database: Pick<Database, 'transaction'>, fence: Fence): Promise<OrderState> =>
  assessInbox(database, fence.orderId, fence.generation, fence.step)

/**
 * The same for an order that has ended, called by its aftercare. An open order is assessed by its own workflow. Late
 * money of an expired order is decided on here, once: it pays a replacement order, or it is owed back. The replacement's
 * payment state follows the money of the order that it replaces, also when that money is lost later.
 */
export const assessLatePayments = (
  database: Pick<Database, 'transaction'>,
  orderId: string,
  policy?: LatePolicy,
): Promise<OrderState> => assessInbox(database, orderId, null, null, policy)

const assessInbox = (
  database: Pick<Database, 'transaction'>,
  orderId: string,
  generation: number | null,
  step: number | null,
  policy?: LatePolicy,
): Promise<OrderState> =>
  database.transaction(async (tx) => {
    const [begun] = await tx.run<Begun>(BEGIN, [orderId, generation, step])
    assertEntered(begun?.outcome)
    if (begun?.outcome === 'repeated') return withStepReached(tx, orderId, await getOrderState(tx, orderId))
    if (begun === undefined || begun.outputs === 0) return getOrderState(tx, orderId)
    const isSuspended = begun.is_suspended
    const mayDecide = begun.is_undecided && !isSuspended && policy !== undefined
    const isAccepted = mayDecide && (await decideLateMoney(tx, orderId, policy))
    const [hasWrongAsset, hasEarly] = [begun.has_wrong_asset, begun.has_early]
    const found = { ...assessedOrderOf(begun), hasWrongAsset, hasEarly, isSuspended }
    const decision = decisionOf(isAccepted ? withAccepted(found) : found)
    const state = stateOf(await endAssessment(tx, { orderId, generation, step }, decision))
    if (begun.replacement_id !== null) await assessReplacement(tx, begun.replacement_id)
    return state
  })
