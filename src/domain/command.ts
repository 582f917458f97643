// Commands: what people ask of an order, and why it may refuse.

import type { Actor } from './audit.ts'
import type { FailureReason } from './failure.ts'
import { mayMove, statusAfter, type ActorRole, type Command, type OrderState, type OrderStatus } from './order.ts'
import type { PaymentState } from './payment.ts'

/** Who writes: the run (generation) and the step it has counted to. */
export type Fence = { orderId: string; generation: number; step: number }

/** What a person or service asked, as the front checked it. */
export type CommandInput = {
  actor: string
  role: ActorRole
  method: string
  /** Idempotency key, a UUID. */
  key: string
  /** Keyed hash of the canonical request, hex. */
  requestHash: string
  /** Refuse unless the order is at this version. */
  expectedVersion?: number
  /** The call and the token that asked, for the audit: ids only, since a workflow's history keeps them. */
  requestId?: string
  tokenId?: string
  /** Set by a run that was reset, for a command that the engine gave it once more: it is looked up and not carried out. */
  isReapplied?: true
}

/** Who acts when a command is carried out. */
export const actorOfCommand = ({ actor, role, requestHash, requestId, tokenId }: CommandInput): Actor => ({
  actor,
  role,
  requestHash,
  ...(requestId !== undefined && { requestId }),
  ...(tokenId !== undefined && { tokenId }),
})

/** The answer of a command that took effect. It is bound to the key and returned to every repeat. */
export type CommandAnswer = { status: OrderStatus; version: number }

/** A refusal is an answer, not an error: it carries the state that caused it. */
export type CommandResult =
  | { ok: true; state: OrderState; answer: CommandAnswer }
  | { ok: false; reason: FailureReason; message: string; state: OrderState }

export type Refusal = { reason: FailureReason; message: string }

export const KEY_REUSED: Refusal = {
  reason: 'IDEMPOTENCY_KEY_REUSED',
  message: 'This idempotency key was used for another request.',
}
export const KEY_IN_PROGRESS: Refusal = {
  reason: 'IDEMPOTENCY_KEY_IN_PROGRESS',
  message: 'Another call with this key is still running.',
}

/** What may leave the shop. A part that two people gave back as goodwill stops no shipping; money on its way back does. */
const MAY_SHIP: readonly PaymentState[] = ['paid', 'partially_refunded']

type Standing = Pick<OrderState, 'status' | 'paymentState' | 'hold' | 'version'>

/**
 * Why an order in this state does not carry out a command, or undefined where it does. The workflow asks before a step,
 * runCommand after one, and the api once the workflow has ended. `command_order` refuses the same in SQL, under the row
 * lock (decision 26).
 */
export function refusalOf(
  command: Command,
  input: Pick<CommandInput, 'role' | 'expectedVersion'>,
  order: Standing & Partial<Pick<OrderState, 'hasUnassessed'>>,
): Refusal | undefined {
  const target = statusAfter(order.status, command)
  if (isOtherVersion(input, order)) return VERSION_MISMATCH
  if (target === undefined || !mayMove(order.status, target, input.role)) {
    return { reason: 'ORDER_STATUS', message: `An order that is ${order.status} cannot do this.` }
  }
  if (command === 'ship' && (order.hold !== 'none' || !MAY_SHIP.includes(order.paymentState))) {
    return { reason: 'ORDER_ON_HOLD', message: 'The order is on hold or its payment is not settled.' }
  }
  // The inbox may already hold that the money is gone. Its workflow assesses it first and then ships.
  if (command === 'ship' && order.hasUnassessed === true) {
    return { reason: 'ENGINE_UNAVAILABLE', message: 'News of its payment is still being assessed; try again.' }
  }
  return undefined
}

/** Why an order does not take another delivery address, if so: it has left the shop, or has changed since it was read. */
export function addressRefusalOf(
  input: Pick<CommandInput, 'expectedVersion'>,
  order: Pick<OrderState, 'status' | 'version'>,
): Refusal | undefined {
  if (isOtherVersion(input, order)) return VERSION_MISMATCH
  if (order.status === 'pending' || order.status === 'processing') return undefined
  return { reason: 'ORDER_STATUS', message: `The address of an order that is ${order.status} cannot change.` }
}

const VERSION_MISMATCH: Refusal = {
  reason: 'VERSION_MISMATCH',
  message: 'The order has changed since it was read.',
}

const isOtherVersion = (
  { expectedVersion }: Pick<CommandInput, 'expectedVersion'>,
  { version }: Pick<OrderState, 'version'>,
): boolean => expectedVersion !== undefined && expectedVersion !== version
