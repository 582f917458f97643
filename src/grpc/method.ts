// All services and methods, by port. Guard, validation and metrics are keyed by MethodPath, so that a new method does
// not compile until each of them has an entry for it.

import { HealthService } from './gen/grpc/health/v1/health.ts'
import { ServerReflectionService } from './gen/grpc/reflection/v1/reflection.ts'
import { ServerReflectionService as AlphaReflectionService } from './gen/grpc/reflection/v1alpha/reflection.ts'
import { AuditServiceService } from './gen/holdfast/v1/audit.ts'
import { CatalogServiceService } from './gen/holdfast/v1/catalog.ts'
import { CatalogAdminServiceService } from './gen/holdfast/v1/catalog_admin.ts'
import { FulfilmentServiceService } from './gen/holdfast/v1/fulfilment.ts'
import { NotificationAdminServiceService } from './gen/holdfast/v1/notification_admin.ts'
import { OrderAdminServiceService } from './gen/holdfast/v1/order_admin.ts'
import { OrderServiceService } from './gen/holdfast/v1/order.ts'
import { PaymentServiceService } from './gen/holdfast/v1/payment.ts'
import { PaymentAdminServiceService } from './gen/holdfast/v1/payment_admin.ts'
import { RefundServiceService } from './gen/holdfast/v1/refund.ts'
import { RefundAdminServiceService } from './gen/holdfast/v1/refund_admin.ts'
import { StockServiceService } from './gen/holdfast/v1/stock.ts'
import { StockAdminServiceService } from './gen/holdfast/v1/stock_admin.ts'

/** ts-proto's description of one method. */
export type Method = {
  path: string
  requestStream: boolean
  responseStream: boolean
  requestSerialize: (value: never) => Buffer
  requestDeserialize: (bytes: Buffer) => unknown
  responseSerialize: (value: never) => Buffer
  responseDeserialize: (bytes: Buffer) => unknown
}
export type RpcService = Readonly<Record<string, Method>>
export type RequestOf<M extends Method> = ReturnType<M['requestDeserialize']>
export type ResponseOf<M extends Method> = ReturnType<M['responseDeserialize']>

export const PUBLIC_SERVICES = {
  health: HealthService,
  order: OrderServiceService,
  fulfilment: FulfilmentServiceService,
  payment: PaymentServiceService,
  refund: RefundServiceService,
  stock: StockServiceService,
  catalog: CatalogServiceService,
} as const

export const ADMIN_SERVICES = {
  health: HealthService,
  stock: StockAdminServiceService,
  catalog: CatalogAdminServiceService,
  notification: NotificationAdminServiceService,
  order: OrderAdminServiceService,
  payment: PaymentAdminServiceService,
  refund: RefundAdminServiceService,
  audit: AuditServiceService,
  reflection: ServerReflectionService,
  alphaReflection: AlphaReflectionService,
} as const

type PathOf<Services> = {
  [Name in keyof Services]: {
    [M in keyof Services[Name]]: Services[Name][M] extends Method ? Services[Name][M]['path'] : never
  }[keyof Services[Name]]
}[keyof Services]

/** For example `/holdfast.v1.OrderService/CreateOrder`: every method served on either port. */
export type MethodPath = PathOf<typeof PUBLIC_SERVICES> | PathOf<typeof ADMIN_SERVICES>

export const METHODS: readonly Method[] = [
  ...new Set(
    [...Object.values(PUBLIC_SERVICES), ...Object.values(ADMIN_SERVICES)].flatMap((service: RpcService) =>
      Object.values(service),
    ),
  ),
]
