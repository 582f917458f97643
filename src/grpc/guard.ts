// Authentication and authorisation of calls, in this order, before the request body is read: a token proves who calls
// (UNAUTHENTICATED), then the role table decides (PERMISSION_DENIED). Which orders a caller may access is decided in
// SQL, with the order's row and the scope below.

import { ServerInterceptingCall, type Metadata, type ServerInterceptor } from '@grpc/grpc-js'
import type { OrderScope } from '../db/read.ts'
import { hasRole, type Principal, type Role } from '../domain/access.ts'
import { DomainError } from '../domain/failure.ts'
import { ORDER_STATUSES, type ActorRole, type OrderStatus } from '../domain/order.ts'
import { ANONYMOUS, recordOf } from './call.ts'
import type { MethodPath } from './method.ts'
import { statusOf } from './status.ts'

const MAX_METADATA_BYTES = 8_192
/** HPACK's overhead per header, in addition to its name and value. */
const HEADER_OVERHEAD_BYTES = 32
const MAX_AUTHORIZATION_BYTES = 4_096 + 'Bearer '.length
const BEARER = /^bearer ([A-Za-z0-9._~-]+)$/i

const EVERYONE: readonly Role[] = ['customer', 'fulfilment', 'admin', 'auditor', 'service']

/** Allowed roles per method. A method without an entry does not compile; an entry without a role allows no caller. */
export const ACCESS: Readonly<Record<MethodPath, readonly Role[] | 'anonymous'>> = {
  '/grpc.health.v1.Health/Check': 'anonymous',
  '/grpc.health.v1.Health/List': ['admin', 'service'],
  '/grpc.health.v1.Health/Watch': ['admin', 'service'],
  '/holdfast.v1.OrderService/CreateOrder': ['customer'],
  '/holdfast.v1.OrderService/GetOrder': ['customer', 'fulfilment', 'admin', 'auditor'],
  '/holdfast.v1.OrderService/ListOrders': ['customer', 'admin', 'auditor'],
  '/holdfast.v1.OrderService/CancelOrder': ['customer', 'admin'],
  '/holdfast.v1.OrderService/UpdateShippingAddress': ['customer', 'admin'],
  '/holdfast.v1.OrderService/WatchOrder': ['customer', 'admin', 'auditor'],
  '/holdfast.v1.FulfilmentService/MarkShipped': ['fulfilment', 'admin'],
  '/holdfast.v1.FulfilmentService/MarkDelivered': ['fulfilment', 'admin'],
  '/holdfast.v1.FulfilmentService/ListOrdersToShip': ['fulfilment', 'admin'],
  '/holdfast.v1.PaymentService/ReportPayments': ['watcher'],
  '/holdfast.v1.StockService/GetAvailability': EVERYONE,
  '/holdfast.v1.CatalogService/GetProduct': EVERYONE,
  '/holdfast.v1.CatalogService/ListProducts': EVERYONE,
  '/holdfast.v1.StockAdminService/AdjustStock': ['admin'],
  '/holdfast.v1.CatalogAdminService/PutProduct': ['admin'],
  '/holdfast.v1.AuditService/GetOrderHistory': ['admin', 'auditor'],
  '/holdfast.v1.NotificationAdminService/ListDeadNotifications': ['admin'],
  '/holdfast.v1.NotificationAdminService/ReplayNotifications': ['admin'],
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': ['admin'],
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': ['admin'],
  '/holdfast.v1.OrderAdminService/RestartOrder': ['admin'],
  '/holdfast.v1.OrderAdminService/RehydrateOrders': ['admin'],
}

export type TokenVerifier = (token: string) => Promise<Principal>

/** The same text in all cases: a caller without the right learns nothing, not even that an order exists. */
export const permissionDenied = (): DomainError => new DomainError('PERMISSION_DENIED', 'This is not allowed.')

export const createGuard =
  (verifyToken: TokenVerifier): ServerInterceptor =>
  (method, call) => {
    const receive = async (metadata: Metadata, pass: (metadata: Metadata) => void): Promise<void> => {
      const record = recordOf(metadata)
      try {
        record.principal = (await admit(verifyToken, method.path, metadata)) ?? ANONYMOUS
      } catch (error) {
        return call.sendStatus(statusOf(error, record))
      }
      // The library reads the body only now: nothing of it is parsed for a rejected caller.
      pass(metadata)
    }
    return new ServerInterceptingCall(call, {
      start: (next) => next({ onReceiveMetadata: (metadata, pass) => void receive(metadata, pass) }),
    })
  }

/**
 * Authenticates and authorises a call. Undefined for a method open to all. Throws MESSAGE_TOO_LARGE,
 * CREDENTIALS_INVALID, PERMISSION_DENIED.
 */
export async function admit(
  verifyToken: TokenVerifier,
  path: string,
  metadata: Metadata,
): Promise<Principal | undefined> {
  refuseLargeMetadata(metadata)
  const roles = Object.hasOwn(ACCESS, path) ? ACCESS[path as MethodPath] : []
  if (roles === 'anonymous') return undefined
  const principal = await verifyToken(tokenOf(metadata))
  if (!roles.some((role) => hasRole(principal, role))) throw permissionDenied()
  return principal
}

function refuseLargeMetadata(metadata: Metadata): void {
  let bytes = 0
  for (const [name, values] of Object.entries(metadata.toHttp2Headers())) {
    for (const value of [values].flat()) bytes += name.length + String(value).length + HEADER_OVERHEAD_BYTES
  }
  if (bytes > MAX_METADATA_BYTES)
    throw new DomainError('MESSAGE_TOO_LARGE', 'The metadata of this call is too large.', {
      metadata: { limit_bytes: String(MAX_METADATA_BYTES) },
    })
}

/** The token of exactly one `authorization: Bearer …`. Throws CREDENTIALS_INVALID. */
function tokenOf(metadata: Metadata): string {
  const [value, ...others] = metadata.get('authorization')
  const token =
    others.length === 0 && typeof value === 'string' && value.length <= MAX_AUTHORIZATION_BYTES
      ? BEARER.exec(value)?.[1]
      : undefined
  if (token === undefined) throw new DomainError('CREDENTIALS_INVALID', 'The call carries no valid access token.')
  return token
}

/** The statuses that fulfilment needs: from paid until delivered (requirement C-24). */
const FULFILMENT_STATUSES: readonly OrderStatus[] = ['processing', 'shipped']

export function readScopeOf(principal: Principal): OrderScope {
  const ownerId = hasRole(principal, 'customer') ? (principal.userId ?? null) : null
  if (seesEveryOrder(principal)) return { ownerId, statuses: ORDER_STATUSES }
  return { ownerId, statuses: hasRole(principal, 'fulfilment') ? FULFILMENT_STATUSES : [] }
}

/** Auditors read and never write. A role that may change orders of others may change all of them. */
export function writeScopeOf(principal: Principal, role: ActorRole): OrderScope {
  return role === 'customer'
    ? { ownerId: principal.userId ?? null, statuses: [] }
    : { ownerId: null, statuses: ORDER_STATUSES }
}

export const seesEveryOrder = (principal: Principal): boolean =>
  hasRole(principal, 'admin') || hasRole(principal, 'auditor')

/**
 * The error for an order that does not exist or is outside the caller's scope. Only callers who see every order may
 * learn which of the two it is.
 */
export const orderUnreachable = (principal: Principal): DomainError =>
  seesEveryOrder(principal) ? new DomainError('NOT_FOUND', 'There is no such order.') : permissionDenied()
