// Hashes of requests: what the audit keeps of them, and what tells a repeat from another request under the same key.
// Each is an HMAC, so that no reader of the audit can confirm a guess of what was asked.

import { createHash } from 'node:crypto'
import type { Call, CallRecord } from './call.ts'
import type { MethodPath } from './method.ts'

/**
 * The key that a method's requests are hashed under. `customer`: they have personal data, and their hash must end with
 * the customer's key. `server`: they have none.
 */
export const REQUEST_HASH_KEYS: Readonly<Record<MethodPath, 'customer' | 'server'>> = {
  '/grpc.health.v1.Health/Check': 'server',
  '/grpc.health.v1.Health/List': 'server',
  '/grpc.health.v1.Health/Watch': 'server',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': 'server',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': 'server',
  '/holdfast.v1.OrderService/CreateOrder': 'customer',
  '/holdfast.v1.OrderService/GetOrder': 'server',
  '/holdfast.v1.OrderService/ListOrders': 'server',
  '/holdfast.v1.OrderService/CancelOrder': 'server',
  '/holdfast.v1.OrderService/UpdateShippingAddress': 'customer',
  '/holdfast.v1.OrderService/WatchOrder': 'server',
  '/holdfast.v1.FulfilmentService/MarkShipped': 'server',
  '/holdfast.v1.FulfilmentService/MarkDelivered': 'server',
  '/holdfast.v1.FulfilmentService/ListOrdersToShip': 'server',
  '/holdfast.v1.PaymentService/ReportPayments': 'server',
  '/holdfast.v1.StockService/GetAvailability': 'server',
  '/holdfast.v1.CatalogService/GetProduct': 'server',
  '/holdfast.v1.CatalogService/ListProducts': 'server',
  '/holdfast.v1.StockAdminService/AdjustStock': 'server',
  '/holdfast.v1.CatalogAdminService/PutProduct': 'server',
  '/holdfast.v1.AuditService/GetOrderHistory': 'server',
  '/holdfast.v1.NotificationAdminService/ListDeadNotifications': 'server',
  '/holdfast.v1.NotificationAdminService/ReplayNotifications': 'server',
  '/holdfast.v1.OrderAdminService/RestartOrder': 'server',
  '/holdfast.v1.OrderAdminService/RehydrateOrders': 'server',
  '/holdfast.v1.PaymentAdminService/ListPayments': 'server',
  '/holdfast.v1.PaymentAdminService/GetPaymentDossier': 'server',
  '/holdfast.v1.RefundService/ListRefunds': 'server',
  '/holdfast.v1.RefundService/SetRefundAddress': 'server',
  '/holdfast.v1.RefundAdminService/RequestRefund': 'server',
  '/holdfast.v1.RefundAdminService/ApproveRefund': 'server',
  '/holdfast.v1.RefundAdminService/RejectRefund': 'server',
  '/holdfast.v1.RefundAdminService/ListRefundQueue': 'server',
}

/** The hash under the server's secret. Throws where the request must be hashed under its customer's key. */
export function serverHashOf({ path, hashRequest }: CallRecord, request: Buffer): Buffer {
  if (REQUEST_HASH_KEYS[path] !== 'server') throw new Error(`${path} must be hashed under its customer's key`)
  return hashRequest(path, request)
}

export type PersonalHash = (userId: bigint, path: string, request: Buffer) => Promise<Buffer>

/** The hash under the customer's key. The customer must have one: seal something first. */
export const personalHashOf = (
  hashRequest: PersonalHash,
  userId: bigint,
  call: Pick<Call, 'record' | 'requestBytes'>,
): Promise<Buffer> => hashRequest(userId, call.record.path, call.requestBytes())

/**
 * The plain SHA-256 that earlier builds stored. It is only compared with rows of theirs, which are deleted after 30 days,
 * and never stored or sent to another service.
 */
export const formerHashOf = (call: Pick<Call, 'requestBytes'>): Buffer =>
  createHash('sha256').update(call.requestBytes()).digest()
