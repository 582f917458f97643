// A valid request for every RPC, about a given order, customer or source: what the permission matrix is generated from.
// A new RPC does not compile without an entry.

import { randomBytes, randomUUID } from 'node:crypto'
import { HealthService } from '../../src/grpc/gen/grpc/health/v1/health.ts'
import { ServerReflectionService } from '../../src/grpc/gen/grpc/reflection/v1/reflection.ts'
import { ServerReflectionService as AlphaReflectionService } from '../../src/grpc/gen/grpc/reflection/v1alpha/reflection.ts'
import { AuditServiceService } from '../../src/grpc/gen/holdfast/v1/audit.ts'
import { CatalogServiceService } from '../../src/grpc/gen/holdfast/v1/catalog.ts'
import { CatalogAdminServiceService } from '../../src/grpc/gen/holdfast/v1/catalog_admin.ts'
import { OrderStatus } from '../../src/grpc/gen/holdfast/v1/common.ts'
import { FulfilmentServiceService } from '../../src/grpc/gen/holdfast/v1/fulfilment.ts'
import { NotificationAdminServiceService } from '../../src/grpc/gen/holdfast/v1/notification_admin.ts'
import { OrderServiceService } from '../../src/grpc/gen/holdfast/v1/order.ts'
import { OrderAdminServiceService } from '../../src/grpc/gen/holdfast/v1/order_admin.ts'
import { PaymentServiceService } from '../../src/grpc/gen/holdfast/v1/payment.ts'
import { PaymentAdminServiceService } from '../../src/grpc/gen/holdfast/v1/payment_admin.ts'
import { FeeBearer, RefundServiceService, RefundStatus } from '../../src/grpc/gen/holdfast/v1/refund.ts'
import { RefundAdminServiceService } from '../../src/grpc/gen/holdfast/v1/refund_admin.ts'
import { StockServiceService } from '../../src/grpc/gen/holdfast/v1/stock.ts'
import { StockAdminServiceService } from '../../src/grpc/gen/holdfast/v1/stock_admin.ts'
import type { Method, MethodPath, RequestOf } from '../../src/grpc/method.ts'
import { packReport } from '../../src/grpc/report.ts'
import type { TestProduct } from './builder.ts'
import type { TestFront } from './front.ts'

/** Whose object a request is about, or that of no one. */
export type PermissionTarget = { orderId: string; userId: bigint; source: string }

export type PermissionFixture = { product: TestProduct; sign: TestFront['sign'] }

export type PermissionCase = {
  method: Method
  bodyOf: (target: PermissionTarget, fixture: PermissionFixture) => Buffer
  /** The status or reason of a call that the table allows, for an object that exists. */
  allowed: string
}

const caseOf = <M extends Method>(
  method: M,
  requestOf: (target: PermissionTarget, fixture: PermissionFixture) => RequestOf<M>,
  allowed = 'OK',
): PermissionCase => ({
  method,
  bodyOf: (target, fixture) => method.requestSerialize(requestOf(target, fixture) as never),
  allowed,
})

/** The matrix has no Temporal: a command that was allowed is sent to it, and not answered. */
const SENT = 'ENGINE_UNAVAILABLE'

const key = () => ({ idempotencyKey: randomUUID() })
const command = ({ orderId }: PermissionTarget) => ({ ...key(), orderId, expectedVersion: undefined })
const firstPage = { limit: 1, offset: undefined, cursor: '' }

function reportOf({ source }: PermissionTarget, { sign }: PermissionFixture) {
  const { report } = packReport({ source, confirmations: 12 }, [
    {
      network: 'ethereum',
      asset: 'ETH',
      txId: `0x${randomBytes(32).toString('hex')}`,
      outputIndex: 0,
      seq: 1,
      state: 'seen',
      address: `0x${randomBytes(20).toString('hex')}`,
      amount: 1n,
      block: undefined,
      firstSeenAt: new Date(),
    },
  ])
  const signed = { id: randomUUID(), timestampS: BigInt(Math.floor(Date.now() / 1_000)), report }
  return { ...signed, signatures: sign(signed) }
}

const listServices = { host: '', messageRequest: { $case: 'listServices', value: '' } } as const

export const PERMISSION_CASES = {
  '/grpc.health.v1.Health/Check': caseOf(HealthService.check, () => ({ service: '' })),
  '/grpc.health.v1.Health/Watch': caseOf(HealthService.watch, () => ({ service: '' })),
  '/grpc.health.v1.Health/List': caseOf(HealthService.list, () => ({})),
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': caseOf(
    ServerReflectionService.serverReflectionInfo,
    () => listServices,
  ),
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': caseOf(
    AlphaReflectionService.serverReflectionInfo,
    () => listServices,
  ),

  '/holdfast.v1.OrderService/CreateOrder': caseOf(OrderServiceService.createOrder, ({ userId }, { product }) => ({
    ...key(),
    userId,
    lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }],
    asset: 'ETH',
    shippingAddress: 'Quay 1',
  })),
  '/holdfast.v1.OrderService/GetOrder': caseOf(OrderServiceService.getOrder, ({ orderId }) => ({
    orderId,
    includeShippingAddress: false,
  })),
  '/holdfast.v1.OrderService/ListOrders': caseOf(OrderServiceService.listOrders, ({ userId }) => ({
    ...firstPage,
    userId,
    status: OrderStatus.ORDER_STATUS_UNSPECIFIED,
    createdFrom: undefined,
    createdBefore: undefined,
  })),
  '/holdfast.v1.OrderService/CancelOrder': caseOf(OrderServiceService.cancelOrder, command, SENT),
  '/holdfast.v1.OrderService/UpdateShippingAddress': caseOf(OrderServiceService.updateShippingAddress, (target) => ({
    ...command(target),
    shippingAddress: 'Quay 2',
  })),
  '/holdfast.v1.OrderService/WatchOrder': caseOf(OrderServiceService.watchOrder, ({ orderId }) => ({
    orderId,
    afterVersion: undefined,
  })),

  '/holdfast.v1.FulfilmentService/MarkShipped': caseOf(FulfilmentServiceService.markShipped, command, SENT),
  '/holdfast.v1.FulfilmentService/MarkDelivered': caseOf(FulfilmentServiceService.markDelivered, command, SENT),
  '/holdfast.v1.FulfilmentService/ListOrdersToShip': caseOf(FulfilmentServiceService.listOrdersToShip, () => firstPage),

  '/holdfast.v1.PaymentService/ReportPayments': caseOf(PaymentServiceService.reportPayments, reportOf),
  '/holdfast.v1.StockService/GetAvailability': caseOf(StockServiceService.getAvailability, (_target, { product }) => ({
    productIds: [product.productId],
  })),
  '/holdfast.v1.CatalogService/GetProduct': caseOf(CatalogServiceService.getProduct, (_target, { product }) => ({
    productId: product.productId,
  })),
  '/holdfast.v1.CatalogService/ListProducts': caseOf(CatalogServiceService.listProducts, () => firstPage),

  '/holdfast.v1.StockAdminService/AdjustStock': caseOf(
    StockAdminServiceService.adjustStock,
    (_target, { product }) => ({
      ...key(),
      productId: product.productId,
      change: { $case: 'delta' as const, value: 1n },
      reason: 'recount',
      expectedVersion: undefined,
    }),
  ),
  '/holdfast.v1.CatalogAdminService/PutProduct': caseOf(CatalogAdminServiceService.putProduct, () => ({
    ...key(),
    productId: `tea-${randomUUID()}`,
    name: 'Tea',
    unitPrice: '3.50',
    isActive: true,
    expectedVersion: undefined,
  })),
  '/holdfast.v1.AuditService/GetOrderHistory': caseOf(AuditServiceService.getOrderHistory, ({ orderId }) => ({
    orderId,
    limit: 1,
    cursor: '',
  })),
  '/holdfast.v1.NotificationAdminService/ListDeadNotifications': caseOf(
    NotificationAdminServiceService.listDeadNotifications,
    () => ({ limit: 1, cursor: '' }),
  ),
  '/holdfast.v1.NotificationAdminService/ReplayNotifications': caseOf(
    NotificationAdminServiceService.replayNotifications,
    () => ({ ...key(), notificationIds: [], all: true }),
  ),
  '/holdfast.v1.OrderAdminService/RestartOrder': caseOf(
    OrderAdminServiceService.restartOrder,
    ({ orderId }) => ({ ...key(), orderId, reason: 'lost' }),
    'WORKFLOW_RUNNING',
  ),
  '/holdfast.v1.OrderAdminService/RehydrateOrders': caseOf(OrderAdminServiceService.rehydrateOrders, () => ({
    ...key(),
    reason: 'lost',
    limit: 1,
    cursor: '',
  })),
  '/holdfast.v1.PaymentAdminService/ListPayments': caseOf(PaymentAdminServiceService.listPayments, () => ({
    ...{ filter: undefined, oldestFirst: false, limit: 1, cursor: '' },
  })),
  '/holdfast.v1.PaymentAdminService/GetPaymentDossier': caseOf(
    PaymentAdminServiceService.getPaymentDossier,
    ({ orderId }) => ({ orderId, includeDestinations: false }),
  ),
  '/holdfast.v1.RefundService/ListRefunds': caseOf(RefundServiceService.listRefunds, ({ orderId }) => ({ orderId })),
  '/holdfast.v1.RefundService/SetRefundAddress': caseOf(
    RefundServiceService.setRefundAddress,
    ({ orderId }) => ({
      ...{ ...key(), orderId, refundId: randomUUID(), confirm: false },
      address: '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed',
    }),
    'NOT_FOUND',
  ),
  '/holdfast.v1.RefundAdminService/RequestRefund': caseOf(
    RefundAdminServiceService.requestRefund,
    ({ orderId }) => ({
      ...{ ...key(), orderId, feeBearer: FeeBearer.FEE_BEARER_SHOP, reason: 'a scratch' },
      amount: { $case: 'units' as const, value: (10n ** 77n).toString() },
    }),
    'REFUND_TOO_LARGE',
  ),
  '/holdfast.v1.RefundAdminService/ApproveRefund': caseOf(
    RefundAdminServiceService.approveRefund,
    ({ orderId }) => ({ ...key(), orderId, refundId: randomUUID(), version: 1n }),
    'NOT_FOUND',
  ),
  '/holdfast.v1.RefundAdminService/RejectRefund': caseOf(
    RefundAdminServiceService.rejectRefund,
    ({ orderId }) => ({ ...key(), orderId, refundId: randomUUID(), version: undefined, reason: 'none' }),
    'NOT_FOUND',
  ),
  '/holdfast.v1.RefundAdminService/ListRefundQueue': caseOf(RefundAdminServiceService.listRefundQueue, () => ({
    status: RefundStatus.REFUND_STATUS_UNSPECIFIED,
    limit: 1,
    cursor: '',
  })),
} as const satisfies Readonly<Record<MethodPath, PermissionCase>>
