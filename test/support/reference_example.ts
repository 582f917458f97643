// An example request of every RPC of holdfast.v1, in protobuf's JSON: what docs/api/ shows. test/reference.test.ts parses each
// with the descriptor and with the rules of its request. A new RPC does not compile without an entry.

import type { JsonObject } from '@bufbuild/protobuf'
import type { MethodPath } from '../../src/grpc/method.ts'
import { packReport } from '../../src/grpc/report.ts'

type ReferencePath = Extract<MethodPath, `/holdfast.${string}`>

const KEY = '7d0f3c52-4b60-4a9e-8c7e-1c1d6f5b9a01'
const ORDER = '0b5c7c1e-6d5e-4a57-9d0e-2f2f1f0c8a11'
const REFUND = '3f1c9f1a-8a35-4a1b-9d2f-6f0f7c1f2b42'

const command = { idempotency_key: KEY, order_id: ORDER, expected_version: '3' }
const firstPage = { limit: 20 }

const { report } = packReport({ source: 'watcher-1', confirmations: 12 }, [
  {
    network: 'ethereum',
    asset: 'ETH',
    txId: `0x${'1f'.repeat(32)}`,
    outputIndex: 0,
    seq: 1,
    state: 'seen',
    address: `0x${'2e'.repeat(20)}`,
    amount: 1_500_000_000_000_000_000n,
    block: undefined,
    firstSeenAt: new Date('2026-01-02T03:04:05Z'),
  },
])

export const REFERENCE_EXAMPLES: Readonly<Record<ReferencePath, JsonObject>> = {
  '/holdfast.v1.OrderService/CreateOrder': {
    idempotency_key: KEY,
    user_id: '42',
    lines: [{ product_id: 'tea-1', quantity: 2, expected_unit_price: '12.50' }],
    asset: 'ETH',
    shipping_address: 'Ada Example\nQuay 1\n9000 Ghent',
  },
  '/holdfast.v1.OrderService/GetOrder': { order_id: ORDER },
  '/holdfast.v1.OrderService/ListOrders': { ...firstPage, status: 'ORDER_STATUS_PENDING' },
  '/holdfast.v1.OrderService/CancelOrder': command,
  '/holdfast.v1.OrderService/UpdateShippingAddress': { ...command, shipping_address: 'Quay 2\n9000 Ghent' },
  '/holdfast.v1.OrderService/WatchOrder': { order_id: ORDER, after_version: '3' },
  '/holdfast.v1.FulfilmentService/MarkShipped': command,
  '/holdfast.v1.FulfilmentService/MarkDelivered': command,
  '/holdfast.v1.FulfilmentService/ListOrdersToShip': firstPage,
  '/holdfast.v1.PaymentService/ReportPayments': {
    id: KEY,
    timestamp_s: '1767323045',
    report: report.toString('base64'),
    signatures: [`v1,${Buffer.alloc(32, 7).toString('base64')}`],
  },
  '/holdfast.v1.RefundService/ListRefunds': { order_id: ORDER },
  '/holdfast.v1.RefundService/SetRefundAddress': {
    idempotency_key: KEY,
    order_id: ORDER,
    refund_id: REFUND,
    address: '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed',
    confirm: false,
  },
  '/holdfast.v1.StockService/GetAvailability': { product_ids: ['tea-1', 'tea-2'] },
  '/holdfast.v1.CatalogService/GetProduct': { product_id: 'tea-1' },
  '/holdfast.v1.CatalogService/ListProducts': firstPage,
  '/holdfast.v1.StockAdminService/AdjustStock': {
    idempotency_key: KEY,
    product_id: 'tea-1',
    delta: '40',
    reason: 'delivery 4711',
  },
  '/holdfast.v1.CatalogAdminService/PutProduct': {
    idempotency_key: KEY,
    product_id: 'tea-1',
    name: 'Green tea, 100 g',
    unit_price: '12.50',
    is_active: true,
  },
  '/holdfast.v1.AuditService/GetOrderHistory': { order_id: ORDER, ...firstPage },
  '/holdfast.v1.NotificationAdminService/ListDeadNotifications': firstPage,
  '/holdfast.v1.NotificationAdminService/ReplayNotifications': { idempotency_key: KEY, notification_ids: ['17', '18'] },
  '/holdfast.v1.OrderAdminService/RestartOrder': {
    idempotency_key: KEY,
    order_id: ORDER,
    reason: 'run was terminated',
  },
  '/holdfast.v1.OrderAdminService/RehydrateOrders': { idempotency_key: KEY, reason: 'engine restored', limit: 100 },
  '/holdfast.v1.PaymentAdminService/ListPayments': { filter: { order_id: ORDER }, oldest_first: true, ...firstPage },
  '/holdfast.v1.PaymentAdminService/GetPaymentDossier': { order_id: ORDER },
  '/holdfast.v1.RefundAdminService/RequestRefund': {
    idempotency_key: KEY,
    order_id: ORDER,
    fiat: { amount: '5.00', basis: 'RATE_BASIS_ORDER' },
    fee_bearer: 'FEE_BEARER_SHOP',
    reason: 'one cup was broken',
  },
  '/holdfast.v1.RefundAdminService/ApproveRefund': {
    idempotency_key: KEY,
    order_id: ORDER,
    refund_id: REFUND,
    version: '2',
  },
  '/holdfast.v1.RefundAdminService/RejectRefund': {
    idempotency_key: KEY,
    order_id: ORDER,
    refund_id: REFUND,
    version: '2',
    reason: 'the goods came back used',
  },
  '/holdfast.v1.RefundAdminService/ListRefundQueue': { status: 'REFUND_STATUS_AWAITING_APPROVAL', ...firstPage },
}
