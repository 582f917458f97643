// Converts domain types to proto messages. schema.ts is the other direction.

import type { AcceptedLine, AcceptedOrder } from '../db/accept/accept.ts'
import type { ProductView } from '../db/catalogue.ts'
import type { OrderSnapshot, OrderSummary, OrderToShip, OrderView } from '../db/read.ts'
import type { StockView } from '../db/stock.ts'
import { formatFiat } from '../domain/money.ts'
import type { Asset } from '../domain/payment.ts'
import type { Product } from './gen/holdfast/v1/catalog.ts'
import { CancelReason, type Amount, type OrderLine, type OrderState } from './gen/holdfast/v1/common.ts'
import type { OrderToShip as OrderToShipMessage } from './gen/holdfast/v1/fulfilment.ts'
import type { CreateOrderResponse, Order, OrderSummary as OrderSummaryMessage } from './gen/holdfast/v1/order.ts'
import type { ProductStock } from './gen/holdfast/v1/stock.ts'
import type { CommandAnswer } from '../domain/command.ts'
import { cancelReason, orderHold, orderStatus, paymentFlag, paymentState } from './enum.ts'
import { paymentRequestMessage, type Quoting } from './quote.ts'

const lineMessage = (line: AcceptedLine): OrderLine => ({
  productId: line.productId,
  name: line.name,
  quantity: line.quantity,
  unitPrice: formatFiat(line.unitPriceMinor),
})

const amountMessage = (asset: Asset, units: bigint): Amount => ({ asset, units: units.toString() })

export const createOrderResponse = (
  order: AcceptedOrder,
  quoting: Quoting,
  payUrl: string | undefined,
): CreateOrderResponse => ({
  orderId: order.orderId,
  lines: order.lines.map(lineMessage),
  total: formatFiat(order.totalMinor),
  currency: order.currency,
  paymentRequest: { ...paymentRequestMessage(order, quoting), payUrl },
  createdAt: order.createdAt,
})

export const stateMessage = (order: Omit<OrderSnapshot, 'updatedAt'>): OrderState => ({
  orderId: order.orderId,
  status: orderStatus.codeOf(order.status),
  paymentState: paymentState.codeOf(order.paymentState),
  hold: orderHold.codeOf(order.hold),
  cancelReason:
    order.cancelReason === null ? CancelReason.CANCEL_REASON_UNSPECIFIED : cancelReason.codeOf(order.cancelReason),
  version: order.version,
})

/**
 * @param quoting undefined for fulfilment, which ships goods and must not see payment data (requirement C-24)
 * @param payUrl for the owner only
 */
export const orderMessage = (
  order: OrderView,
  quoting: Quoting | undefined,
  shippingAddress: string | undefined,
  payUrl: string | undefined,
): Order => ({
  state: stateMessage(order),
  userId: order.userId,
  lines: order.lines.map(lineMessage),
  total: formatFiat(order.totalMinor),
  currency: order.currency,
  paymentRequest: quoting && { ...paymentRequestMessage(order, quoting), payUrl },
  received: quoting && amountMessage(order.asset, order.received),
  paymentFlags: quoting === undefined ? [] : order.paymentFlags.map(paymentFlag.codeOf),
  shippingAddress,
  createdAt: order.createdAt,
  updatedAt: order.updatedAt,
  replacesOrderId: order.replacesOrderId ?? undefined,
  replacedByOrderId: order.replacedByOrderId ?? undefined,
})

export const summaryMessage = (order: OrderSummary): OrderSummaryMessage => ({
  state: stateMessage(order),
  userId: order.userId,
  total: formatFiat(order.totalMinor),
  currency: order.currency,
  createdAt: order.createdAt,
  updatedAt: order.updatedAt,
})

export const toShipMessage = (order: OrderToShip): OrderToShipMessage => ({
  orderId: order.orderId,
  version: order.version,
  lines: order.lines.map(lineMessage),
  createdAt: order.createdAt,
})

export const commandMessage = (orderId: string, answer: CommandAnswer) => ({
  orderId,
  status: orderStatus.codeOf(answer.status),
  version: BigInt(answer.version),
})

export const productMessage = (product: ProductView): Product => ({
  productId: product.productId,
  name: product.name,
  unitPrice: product.unitPrice,
  currency: product.currency,
  isActive: product.isActive,
  version: BigInt(product.version),
  updatedAt: new Date(product.updatedAt),
})

export function stockMessage(stock: StockView): ProductStock {
  const onHand = BigInt(stock.onHand)
  const reserved = BigInt(stock.reserved)
  return { productId: stock.productId, onHand, reserved, available: onHand - reserved, version: BigInt(stock.version) }
}
