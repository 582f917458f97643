// The limit class of every method: which budget its calls use, and when they are shed. A method without a class does
// not compile.

import type { LimitClass } from '../domain/limit.ts'
import type { MethodPath } from './method.ts'

export const LIMIT_CLASS: Readonly<Record<MethodPath, LimitClass>> = {
  '/grpc.health.v1.Health/Check': 'health',
  '/grpc.health.v1.Health/List': 'health',
  '/grpc.health.v1.Health/Watch': 'watch',
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': 'admin',
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': 'admin',
  '/holdfast.v1.OrderService/CreateOrder': 'order',
  '/holdfast.v1.OrderService/GetOrder': 'read',
  '/holdfast.v1.OrderService/ListOrders': 'list',
  '/holdfast.v1.OrderService/CancelOrder': 'command',
  '/holdfast.v1.OrderService/UpdateShippingAddress': 'command',
  '/holdfast.v1.OrderService/WatchOrder': 'watch',
  '/holdfast.v1.FulfilmentService/MarkShipped': 'ship',
  '/holdfast.v1.FulfilmentService/MarkDelivered': 'ship',
  '/holdfast.v1.FulfilmentService/ListOrdersToShip': 'list',
  '/holdfast.v1.PaymentService/ReportPayments': 'report',
  '/holdfast.v1.StockService/GetAvailability': 'read',
  '/holdfast.v1.CatalogService/GetProduct': 'read',
  '/holdfast.v1.CatalogService/ListProducts': 'list',
  '/holdfast.v1.StockAdminService/AdjustStock': 'admin',
  '/holdfast.v1.CatalogAdminService/PutProduct': 'admin',
  '/holdfast.v1.AuditService/GetOrderHistory': 'list',
  '/holdfast.v1.NotificationAdminService/ListDeadNotifications': 'list',
  '/holdfast.v1.NotificationAdminService/ReplayNotifications': 'admin',
  '/holdfast.v1.OrderAdminService/RestartOrder': 'admin',
  '/holdfast.v1.OrderAdminService/RehydrateOrders': 'admin',
  '/holdfast.v1.PaymentAdminService/ListPayments': 'list',
  '/holdfast.v1.PaymentAdminService/GetPaymentDossier': 'list',
  '/holdfast.v1.RefundService/ListRefunds': 'list',
  '/holdfast.v1.RefundService/SetRefundAddress': 'command',
  '/holdfast.v1.RefundAdminService/RequestRefund': 'admin',
  '/holdfast.v1.RefundAdminService/ApproveRefund': 'admin',
  '/holdfast.v1.RefundAdminService/RejectRefund': 'admin',
  '/holdfast.v1.RefundAdminService/ListRefundQueue': 'list',
}

/** Shed last: probes keep the process in service, and money that was sent must be seen. */
export const ESSENTIAL: ReadonlySet<LimitClass> = new Set(['health', 'report'])
