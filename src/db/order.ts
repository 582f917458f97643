// The steps of an order's life. Each is one transaction that takes the order's row lock first, checks the run's
// fence, changes status, holds and stock together, and answers with the order's whole state. Two files beside this one
// move a status too: payment.ts when an order is paid, sweep.ts when it expires.

import { z } from 'zod'
import type { Actor } from '../domain/audit.ts'
import {
  actorOfCommand,
  addressRefusalOf,
  KEY_REUSED,
  refusalOf,
  type CommandAnswer,
  type CommandInput,
  type CommandResult,
  type Fence,
} from '../domain/command.ts'
import { DomainError } from '../domain/failure.ts'
import {
  type CancelReason,
  type Command,
  type OrderHold,
  type OrderState,
  type OrderStatus,
  type ReservationState,
} from '../domain/order.ts'
import type { PaymentState } from '../domain/payment.ts'
import { actorText } from './audit/actor.ts'
import { findAnswer } from './idempotency.ts'
import { retrying, statement, type Database, type Tx } from './connection/pool.ts'

const STATE = statement('order_state', 'select * from order_state($1)')

export type StateRow = {
  status: OrderStatus
  payment_state: PaymentState
  hold: OrderHold
  cancel_reason: CancelReason | null
  version: bigint
  reservation: ReservationState | 'none'
  expires_in_ms: number
  has_unassessed: boolean
}

/** @throws {DomainError} NOT_FOUND */
export const getOrderState = async (tx: Pick<Tx, 'run'>, orderId: string): Promise<OrderState> =>
  stateOf(await tx.run<StateRow>(STATE, [orderId]))

/** @throws {DomainError} NOT_FOUND */
export function stateOf([row]: StateRow[]): OrderState {
  if (row === undefined) throw notFound()
  return {
    status: row.status,
    paymentState: row.payment_state,
    hold: row.hold,
    cancelReason: row.cancel_reason,
    reservation: row.reservation,
    version: Number(row.version),
    expiresInMs: row.expires_in_ms,
    hasUnassessed: row.has_unassessed,
  }
}

const notFound = (): DomainError => new DomainError('NOT_FOUND', 'No such order.')
const keyReused = (): DomainError => new DomainError(KEY_REUSED.reason, KEY_REUSED.message)

/** What the functions in migrations say of a step: `repeated` did nothing, since it was done before. */
export type StepOutcome =
  'entered' | 'done' | 'repeated' | 'refused' | 'NOT_FOUND' | 'STALE_RUN' | 'IDEMPOTENCY_KEY_REUSED'

/** @throws {DomainError} NOT_FOUND, STALE_RUN, IDEMPOTENCY_KEY_REUSED */
export function assertEntered(outcome: StepOutcome | undefined): void {
  if (outcome === undefined || outcome === 'NOT_FOUND') throw notFound()
  if (outcome === 'STALE_RUN') throw new DomainError('STALE_RUN', 'A later run owns this order.')
  if (outcome === 'IDEMPOTENCY_KEY_REUSED') throw keyReused()
}

// Read after the answer: a step that another attempt takes meanwhile is one more to pass.
const REACHED = statement('order_step_reached', 'select step from orders where order_id = $1')

/**
 * Adds to the answer of a step that was taken before how far the order is. A run that was reset counts its steps from an
 * earlier one: it goes on from there, and does again what it wanted (design rule 5).
 */
export async function withStepReached(tx: Pick<Tx, 'run'>, orderId: string, state: OrderState): Promise<OrderState> {
  const [row] = await tx.run<{ step: number }>(REACHED, [orderId])
  if (row === undefined) throw notFound()
  return { ...state, stepReached: row.step }
}

// One call, one transaction: order lock, fence, effect, state (step_order and command_order in migrations/function).
const STEP = statement('order_step', 'select * from step_order($1, $2, $3, $4)')
const COMMAND = statement('order_command', 'select * from command_order($1, $2, $3, $4, $5::jsonb, $6)')

/** @throws {DomainError} STALE_RUN, NOT_FOUND */
async function takeStep(database: OrderPath, { orderId, generation, step }: Fence, what: string): Promise<OrderState> {
  const rows = await retrying(() =>
    database.run<StateRow & { outcome: StepOutcome }>(STEP, [orderId, generation, step, what]),
  )
  const outcome = rows[0]?.outcome
  assertEntered(outcome)
  const state = stateOf(rows)
  return outcome === 'repeated' ? withStepReached(database, orderId, state) : state
}

type OrderPath = Pick<Database, 'run'>

/**
 * Takes the generation for a run and says how the order stands. It confirms the hold taken with the order; it takes
 * stock for an order that never held any, and never again for one that did.
 */
export const reserveStock = (database: OrderPath, fence: Fence): Promise<OrderState> =>
  takeStep(database, fence, 'reserve')

/** Expires the order by the one rule (expire_orders in migrations). The returned state shows the result. */
export const expireOrder = (database: OrderPath, fence: Fence): Promise<OrderState> =>
  takeStep(database, fence, 'expire')

/** Undo of reserveStock: an order that still holds stock ends as out of stock; one that holds none is left alone. */
export const releaseStock = (database: OrderPath, fence: Fence): Promise<OrderState> =>
  takeStep(database, fence, 'release')

/**
 * Runs what a person asked, once per key. Only what succeeded is bound to the key: a refusal tells how things stood.
 * @throws {DomainError} STALE_RUN, NOT_FOUND, IDEMPOTENCY_KEY_REUSED
 */
export async function runCommand(
  database: OrderPath,
  { orderId, generation, step }: Fence,
  command: Command,
  input: CommandInput,
): Promise<CommandResult> {
  type Row = StateRow & { outcome: StepOutcome; answer: CommandAnswer | null }
  const values = [orderId, generation, step, command, JSON.stringify(input), actorText(actorOfCommand(input))]
  const rows = await retrying(() => database.run<Row>(COMMAND, values))
  assertEntered(rows[0]?.outcome)
  const state = stateOf(rows)
  const answer = rows[0]?.answer ?? undefined
  if (answer !== undefined) return { ok: true, state, answer }
  // By now the cause of a refusal may be gone, and then the command may be asked again.
  const refusal = refusalOf(command, input, state) ?? NOT_DONE
  if (rows[0]?.outcome !== 'repeated') return { ok: false, ...refusal, state }
  return { ok: false, ...refusal, state: await withStepReached(database, orderId, state) }
}

const NOT_DONE = { reason: 'ENGINE_UNAVAILABLE', message: 'The order could not do this a moment ago.' } as const

const ANY_ANSWER = z.unknown()

// Race: two changes at once, or a change and a command. The row lock gives them an order.
const LOCK = statement(
  'order_lock',
  `select status, version, set_config('holdfast.actor', $2, true) as acting from orders where order_id = $1 for update`,
)
// With the order as the change left it. A key that is taken here was taken by another request meanwhile.
const SAVE_ANSWER = statement(
  'order_save_answer',
  `insert into idempotency (actor, method, key, request_hash, order_id, response)
   select $1, $2, $3, $4, order_id, jsonb_build_object('status', status, 'version', version) from orders where order_id = $5
   on conflict do nothing returning key`,
)

/** True when an earlier call with this key has done it. Throws IDEMPOTENCY_KEY_REUSED. */
const wasDone = async (tx: Tx, { actor, method, key, requestHash }: CommandInput): Promise<boolean> =>
  (await findAnswer(tx, { actor, method, key, requestHash: Buffer.from(requestHash, 'hex') }, ANY_ANSWER)) !== undefined

async function saveAnswer(tx: Tx, orderId: string, { actor, method, key, requestHash }: CommandInput): Promise<void> {
  const saved = await tx.run(SAVE_ANSWER, [actor, method, key, Buffer.from(requestHash, 'hex'), orderId])
  if (saved.length === 0) throw keyReused()
}

const CHANGE_ADDRESS = statement(
  'order_change_address',
  'update orders set address_sealed = $2 where order_id = $1 returning version',
)

/**
 * Replaces the sealed delivery address of an order that has not shipped, once per key. The workflow has no part in
 * it: what it never sees cannot reach a history.
 * @throws {DomainError} NOT_FOUND, ORDER_STATUS, VERSION_MISMATCH, IDEMPOTENCY_KEY_REUSED
 */
export async function changeAddress(
  database: Pick<Database, 'transaction'>,
  orderId: string,
  addressSealed: Buffer,
  input: CommandInput,
  by: Actor = actorOfCommand(input),
): Promise<OrderState> {
  return database.transaction(async (tx) => {
    const [order] = await tx.run<{ status: OrderStatus; version: bigint }>(LOCK, [orderId, actorText(by)])
    if (order === undefined) throw notFound()
    if (await wasDone(tx, input)) return getOrderState(tx, orderId)
    const refusal = addressRefusalOf(input, { status: order.status, version: Number(order.version) })
    if (refusal !== undefined) {
      const { status, version } = order
      const metadata = refusal.reason === 'ORDER_STATUS' ? { status } : { version: version.toString() }
      throw new DomainError(refusal.reason, refusal.message, { metadata })
    }
    await tx.run(CHANGE_ADDRESS, [orderId, addressSealed])
    await saveAnswer(tx, orderId, input)
    return getOrderState(tx, orderId)
  })
}
