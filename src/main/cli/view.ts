// Converts API answers to plain values with the domain's words, for `--json` and for tables. Counts and versions stay
// far below 2^53; ids, money and times are strings.

import type {
  CreateOrderResponse,
  DeadNotification,
  Order,
  OrderSummary,
  Product,
  ProductStock,
  Refund,
} from '../../grpc/client.ts'
import { cancelReason, orderHold, orderStatus, paymentFlag, paymentState } from '../../grpc/client.ts'
import { feeBearer, rateBasis, refundKind, refundStatus } from '../../grpc/client.ts'

/** Shown for an enum value of a newer API. */
const UNKNOWN = 'unknown'

type State = NonNullable<Order['state']>
type Request = NonNullable<Order['paymentRequest']>

export type StateView = ReturnType<typeof stateView>
export type OrderOutput = ReturnType<typeof orderView>

export const stateView = (state: State) => ({
  orderId: state.orderId,
  status: orderStatus.wordOf(state.status) ?? UNKNOWN,
  paymentState: paymentState.wordOf(state.paymentState) ?? UNKNOWN,
  hold: orderHold.wordOf(state.hold) ?? UNKNOWN,
  cancelReason: cancelReason.wordOf(state.cancelReason) ?? null,
  version: Number(state.version),
})

export const orderView = (order: Order) => ({
  ...stateView(given(order.state)),
  userId: String(order.userId),
  lines: order.lines.map(lineView),
  total: order.total,
  currency: order.currency,
  payment: order.paymentRequest === undefined ? null : paymentView(order.paymentRequest),
  receivedUnits: order.received?.units ?? null,
  paymentFlags: order.paymentFlags.map((flag) => paymentFlag.wordOf(flag) ?? UNKNOWN),
  shippingAddress: order.shippingAddress ?? null,
  createdAt: timeOf(order.createdAt),
  updatedAt: timeOf(order.updatedAt),
})

export const createdView = (order: CreateOrderResponse) => ({
  orderId: order.orderId,
  lines: order.lines.map(lineView),
  total: order.total,
  currency: order.currency,
  payment: paymentView(given(order.paymentRequest)),
  createdAt: timeOf(order.createdAt),
})

export const summaryView = (order: OrderSummary) => ({
  ...stateView(given(order.state)),
  userId: String(order.userId),
  total: order.total,
  currency: order.currency,
  createdAt: timeOf(order.createdAt),
  updatedAt: timeOf(order.updatedAt),
})

/** The answer to a command. */
export const commandView = (answer: { orderId: string; status: State['status']; version: bigint }) => ({
  orderId: answer.orderId,
  status: orderStatus.wordOf(answer.status) ?? UNKNOWN,
  version: Number(answer.version),
})

export const stockView = (stock: ProductStock) => ({
  productId: stock.productId,
  onHand: Number(stock.onHand),
  reserved: Number(stock.reserved),
  available: Number(stock.available),
  version: Number(stock.version),
})

export const productView = (product: Product) => ({
  productId: product.productId,
  name: product.name,
  unitPrice: product.unitPrice,
  currency: product.currency,
  isActive: product.isActive,
  version: Number(product.version),
  updatedAt: timeOf(product.updatedAt),
})

export const deadNotificationView = (row: DeadNotification) => ({
  id: Number(row.notificationId),
  channel: row.channel,
  orderId: row.orderId,
  version: Number(row.version),
  status: orderStatus.wordOf(row.status) ?? UNKNOWN,
  attempts: row.attempts,
  reason: row.reason,
  deadAt: timeOf(row.deadAt),
})

export const refundView = (refund: Refund) => ({
  refundId: refund.refundId,
  orderId: refund.orderId,
  status: refundStatus.wordOf(refund.status) ?? UNKNOWN,
  kind: refundKind.wordOf(refund.kind) ?? UNKNOWN,
  asset: refund.amount?.asset ?? '',
  units: refund.amount?.units ?? '',
  fiat: refund.fiatAmount ?? null,
  rate: refund.rate === undefined ? null : `${refund.rate} (${rateBasis.wordOf(refund.rateBasis) ?? UNKNOWN})`,
  feeBearer: feeBearer.wordOf(refund.feeBearer) ?? UNKNOWN,
  destination: refund.destination,
  isConfirmed: refund.isDestinationConfirmed,
  approvals: refund.approvals,
  version: Number(refund.version),
  txId: refund.txId,
})

const lineView = ({ productId, name, quantity, unitPrice }: Order['lines'][number]) => ({
  productId,
  name,
  quantity,
  unitPrice,
})

const paymentView = (request: Request) => ({
  asset: request.amount?.asset ?? '',
  network: request.network,
  address: request.address,
  units: request.amount?.units ?? '',
  rate: request.rate,
  expiresAt: timeOf(request.expiresAt),
})

const timeOf = (time: Date | undefined): string => given(time).toISOString()

/** Protobuf allows every message to be absent; the API guarantees that these are present. */
export function given<T>(message: T | undefined): T {
  if (message === undefined) throw new Error('the answer lacks a part that the API guarantees')
  return message
}
