// What the world is told of an order, and by which channels.

import type { CancelReason, OrderStatus } from './order.ts'
import type { PaymentState } from './payment.ts'

/** Kept equal to the check on notification_channel by a test. */
export const CHANNELS = ['log', 'webhook'] as const
export type ChannelName = (typeof CHANNELS)[number]

/**
 * All that a channel is ever given: the facts of one change, as they were written with it. No name, address, amount or
 * key is among them, so none can reach a log or a receiver; who needs more asks by the order's id, with a token.
 */
export type StatusChange = {
  orderId: string
  /** The order's version after the change. What comes late by it is old. */
  version: bigint
  status: OrderStatus
  paymentState: PaymentState
  cancelReason: CancelReason | null
  /** An instant in UTC, by ISO 8601. */
  changedAt: string
}

/** The same for every try, and another for every change and channel: by it a receiver knows what it has had before. */
export const messageIdOf = ({ orderId, version }: StatusChange, channel: ChannelName): string =>
  `${channel}_${orderId}_${version}`
