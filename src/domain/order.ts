// An order's states. Three SQL functions apply a transition, each under the order's row lock: do_command (ship, deliver;
// called by command_order), end_assessment (paid) and end_orders (every way to cancelled). The database's own table `order_transition`
// is the second fence. Picture: docs/order-states.md.

import type { PaymentState } from './payment.ts'

export const ORDER_STATUSES = ['pending', 'processing', 'shipped', 'delivered', 'cancelled'] as const
/**
 * pending: holds stock, waits for payment; the system moves it on (paid, expired), or its owner cancels.
 * processing: paid; fulfilment ships it, or its owner or an admin cancels it.
 * shipped: with the carrier; fulfilment reports delivery. No way back.
 * delivered, cancelled: final.
 */
export type OrderStatus = (typeof ORDER_STATUSES)[number]

export const ACTOR_ROLES = ['customer', 'fulfilment', 'admin', 'system', 'watcher', 'service'] as const
export type ActorRole = (typeof ACTOR_ROLES)[number]

export type Transition = { from: OrderStatus; to: OrderStatus; roles: readonly ActorRole[] }

/** Every legal move and who may ask for it (requirements D-1): 5 pairs, 11 combinations with a role. */
export const TRANSITIONS: readonly Transition[] = [
  { from: 'pending', to: 'processing', roles: ['system'] },
  { from: 'pending', to: 'cancelled', roles: ['customer', 'admin', 'system'] },
  { from: 'processing', to: 'shipped', roles: ['fulfilment', 'admin'] },
  { from: 'processing', to: 'cancelled', roles: ['customer', 'admin', 'system'] },
  { from: 'shipped', to: 'delivered', roles: ['fulfilment', 'admin'] },
]

export const mayMove = (from: OrderStatus, to: OrderStatus, role: ActorRole): boolean =>
  TRANSITIONS.some((move) => move.from === from && move.to === to && move.roles.includes(role))

export const isTerminal = (status: OrderStatus): boolean => status === 'delivered' || status === 'cancelled'

export const CANCEL_REASONS = ['customer', 'admin', 'expired', 'underpaid', 'out_of_stock', 'fraud'] as const
export type CancelReason = (typeof CANCEL_REASONS)[number]

export const HOLDS = ['none', 'fraud', 'payment', 'manual'] as const
/** A stop on shipping, beside the status. Not the hold on stock, which is a reservation. */
export type OrderHold = (typeof HOLDS)[number]

export const RESERVATION_STATES = ['held', 'committed', 'consumed', 'released', 'expired'] as const
export type ReservationState = (typeof RESERVATION_STATES)[number]

/** The whole truth about an order as its workflow sees it; every step answers with it, never with a change. */
export type OrderState = {
  status: OrderStatus
  paymentState: PaymentState
  hold: OrderHold
  cancelReason: CancelReason | null
  /** `none`: the order never held stock. */
  reservation: ReservationState | 'none'
  version: number
  /** On the database's clock, until the quote and its grace are over; 0 when they are. */
  expiresInMs: number
  /** Reports wait in the inbox. */
  hasUnassessed: boolean
  /** Set when the order had taken this step before, so that nothing was done: the last step it has taken. */
  stepReached?: number
}

export const COMMANDS = ['cancel', 'ship', 'deliver'] as const
/** What people ask of an order. Each ends in one guarded transaction. */
export type Command = (typeof COMMANDS)[number]

export const EVENTS = ['paid', 'expired', ...COMMANDS] as const
export type OrderEvent = (typeof EVENTS)[number]

/**
 * What an event does to an order in a status: the status it moves to, `stays` where the event is
 * harmless (it came late or twice), `refused` where the asker must be told no.
 */
export const OUTCOMES: Readonly<Record<OrderStatus, Readonly<Record<OrderEvent, OrderStatus | 'stays' | 'refused'>>>> =
  {
    pending: { paid: 'processing', expired: 'cancelled', cancel: 'cancelled', ship: 'refused', deliver: 'refused' },
    processing: { paid: 'stays', expired: 'stays', cancel: 'cancelled', ship: 'shipped', deliver: 'refused' },
    shipped: { paid: 'stays', expired: 'stays', cancel: 'refused', ship: 'refused', deliver: 'delivered' },
    delivered: { paid: 'stays', expired: 'stays', cancel: 'refused', ship: 'refused', deliver: 'refused' },
    cancelled: { paid: 'stays', expired: 'stays', cancel: 'refused', ship: 'refused', deliver: 'refused' },
  }

/** The status of an order after an event; undefined where the event is refused. */
export function statusAfter(status: OrderStatus, event: OrderEvent): OrderStatus | undefined {
  const outcome = OUTCOMES[status][event]
  if (outcome === 'refused') return undefined
  return outcome === 'stays' ? status : outcome
}

/** How far along the way a status is; cancelled is past everything. */
const PROGRESS: Readonly<Record<OrderStatus, number>> = {
  pending: 0,
  processing: 1,
  shipped: 2,
  delivered: 3,
  cancelled: 4,
}

export const hasReached = (status: OrderStatus, goal: OrderStatus): boolean => PROGRESS[status] >= PROGRESS[goal]
