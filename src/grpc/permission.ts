// The permission table (role-based access control with ownership): which roles may call an RPC, and which objects each
// of them reaches through it. The guard, the owner predicates of SQL statements, docs/permissions.md and the generated
// test matrix read this one table. What it does not allow is denied.

import type { OrderScope } from '../db/read.ts'
import type { Principal, Role } from '../domain/access.ts'
import { DomainError } from '../domain/failure.ts'
import { ORDER_STATUSES, type OrderStatus } from '../domain/order.ts'
import type { MethodPath } from './method.ts'

/**
 * Which objects a role reaches.
 * any: every object of the shop; only these callers may learn that an object does not exist.
 * own: the objects whose owner is the caller.
 * shipping: orders that fulfilment works on, from paid until delivered (requirement C-24).
 */
export type Reach = 'any' | 'own' | 'shipping'

/**
 * What an RPC acts on, and so whose it is.
 * order: the order that `order_id` names; it belongs to its customer.
 * orders: all orders in a list.
 * customer: the customer that `user_id` names.
 * source: reports; they belong to the source that signs them.
 * shop: data of the shop, which belong to no caller.
 */
export type PermissionObject = 'order' | 'orders' | 'customer' | 'source' | 'shop'

export type Reaches = Readonly<Partial<Record<Role, Reach>>>
export type Permission = { readonly object: PermissionObject; readonly roles: Reaches }

/** Not the watcher: it only reports. */
const EVERYONE: Reaches = { customer: 'any', fulfilment: 'any', admin: 'any', auditor: 'any', service: 'any' }

/** A method without an entry does not compile; an entry without a role allows no caller. */
export const PERMISSIONS: Readonly<Record<MethodPath, Permission | 'anonymous'>> = {
  '/grpc.health.v1.Health/Check': 'anonymous',
  '/grpc.health.v1.Health/List': { object: 'shop', roles: { admin: 'any', service: 'any' } },
  '/grpc.health.v1.Health/Watch': { object: 'shop', roles: { admin: 'any', service: 'any' } },
  '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo': { object: 'shop', roles: { admin: 'any' } },
  '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo': { object: 'shop', roles: { admin: 'any' } },

  '/holdfast.v1.OrderService/CreateOrder': { object: 'customer', roles: { customer: 'own' } },
  '/holdfast.v1.OrderService/GetOrder': {
    object: 'order',
    roles: { customer: 'own', fulfilment: 'shipping', admin: 'any', auditor: 'any' },
  },
  '/holdfast.v1.OrderService/ListOrders': {
    object: 'orders',
    roles: { customer: 'own', admin: 'any', auditor: 'any' },
  },
  '/holdfast.v1.OrderService/CancelOrder': { object: 'order', roles: { customer: 'own', admin: 'any' } },
  '/holdfast.v1.OrderService/UpdateShippingAddress': { object: 'order', roles: { customer: 'own', admin: 'any' } },
  '/holdfast.v1.OrderService/WatchOrder': {
    object: 'order',
    roles: { customer: 'own', admin: 'any', auditor: 'any' },
  },

  '/holdfast.v1.FulfilmentService/MarkShipped': { object: 'order', roles: { fulfilment: 'shipping', admin: 'any' } },
  '/holdfast.v1.FulfilmentService/MarkDelivered': { object: 'order', roles: { fulfilment: 'shipping', admin: 'any' } },
  '/holdfast.v1.FulfilmentService/ListOrdersToShip': {
    object: 'orders',
    roles: { fulfilment: 'shipping', admin: 'any' },
  },

  '/holdfast.v1.PaymentService/ReportPayments': { object: 'source', roles: { watcher: 'own' } },
  '/holdfast.v1.RefundService/ListRefunds': {
    object: 'order',
    roles: { customer: 'own', admin: 'any', auditor: 'any' },
  },
  '/holdfast.v1.RefundService/SetRefundAddress': { object: 'order', roles: { customer: 'own' } },
  '/holdfast.v1.StockService/GetAvailability': { object: 'shop', roles: EVERYONE },
  '/holdfast.v1.CatalogService/GetProduct': { object: 'shop', roles: EVERYONE },
  '/holdfast.v1.CatalogService/ListProducts': { object: 'shop', roles: EVERYONE },

  '/holdfast.v1.StockAdminService/AdjustStock': { object: 'shop', roles: { admin: 'any' } },
  '/holdfast.v1.CatalogAdminService/PutProduct': { object: 'shop', roles: { admin: 'any' } },
  '/holdfast.v1.AuditService/GetOrderHistory': { object: 'order', roles: { admin: 'any', auditor: 'any' } },
  '/holdfast.v1.NotificationAdminService/ListDeadNotifications': { object: 'shop', roles: { admin: 'any' } },
  '/holdfast.v1.NotificationAdminService/ReplayNotifications': { object: 'shop', roles: { admin: 'any' } },
  '/holdfast.v1.OrderAdminService/RestartOrder': { object: 'order', roles: { admin: 'any' } },
  '/holdfast.v1.OrderAdminService/RehydrateOrders': { object: 'orders', roles: { admin: 'any' } },
  '/holdfast.v1.PaymentAdminService/ListPayments': { object: 'orders', roles: { admin: 'any', auditor: 'any' } },
  '/holdfast.v1.PaymentAdminService/GetPaymentDossier': { object: 'order', roles: { admin: 'any', auditor: 'any' } },
  '/holdfast.v1.RefundAdminService/RequestRefund': { object: 'order', roles: { admin: 'any' } },
  '/holdfast.v1.RefundAdminService/ApproveRefund': { object: 'order', roles: { admin: 'any' } },
  '/holdfast.v1.RefundAdminService/RejectRefund': { object: 'order', roles: { admin: 'any' } },
  '/holdfast.v1.RefundAdminService/ListRefundQueue': { object: 'orders', roles: { admin: 'any', auditor: 'any' } },
}

/** Parts of an order, and of its dossier, with a narrower permission than the order itself. */
export const ORDER_PARTS = {
  shippingAddress: { customer: 'own', fulfilment: 'shipping', admin: 'any' },
  payment: { customer: 'own', admin: 'any', auditor: 'any' },
  refundDestinations: { customer: 'own', admin: 'any' },
} as const satisfies Readonly<Record<string, Reaches>>

/** The statuses of the reach `shipping`. */
export const SHIPPING_STATUSES: readonly OrderStatus[] = ['processing', 'shipped']

/** The row of a method; undefined for a path that is no method. */
export const findPermission = (path: string): Permission | 'anonymous' | undefined =>
  Object.hasOwn(PERMISSIONS, path) ? PERMISSIONS[path as MethodPath] : undefined

/** Has the caller one of the roles that may call the method? */
export const mayCall = (principal: Principal, { roles }: Permission): boolean => reachesOf(principal, roles).size > 0

/** The caller and the method of a call: what decides which objects it reaches. */
export type Access = { readonly principal: Principal; readonly record: { readonly path: string } }

/** Does the call reach the orders of every customer? */
export const reachesAllOrders = (access: Access): boolean => orderReachesOf(access).has('any')

/** The orders that the call reaches, for the predicate of its SQL statement. */
export function orderScopeOf(access: Access): OrderScope {
  const reaches = orderReachesOf(access)
  return {
    ownerId: reaches.has('own') ? (access.principal.userId ?? null) : null,
    statuses: statusesOf(reaches),
  }
}

function statusesOf(reaches: ReadonlySet<Reach>): readonly OrderStatus[] {
  if (reaches.has('any')) return ORDER_STATUSES
  return reaches.has('shipping') ? SHIPPING_STATUSES : []
}

/** May the caller see this part of an order that is in its scope? */
export function seesPart(
  principal: Principal,
  part: keyof typeof ORDER_PARTS,
  order: { userId: bigint; status: OrderStatus },
): boolean {
  const reaches = reachesOf(principal, ORDER_PARTS[part])
  return (
    reaches.has('any') ||
    (reaches.has('own') && order.userId === principal.userId) ||
    (reaches.has('shipping') && SHIPPING_STATUSES.includes(order.status))
  )
}

/** The same text in all cases: a caller without the right learns nothing, not even that an order exists. */
export const permissionDenied = (): DomainError => new DomainError('PERMISSION_DENIED', 'This is not allowed.')

/**
 * The error for an order that does not exist or is outside the call's scope. Only a call that reaches every order may
 * learn which of the two it is.
 */
export const orderUnreachable = (access: Access): DomainError =>
  reachesAllOrders(access) ? new DomainError('NOT_FOUND', 'There is no such order.') : permissionDenied()

/** Nothing by a method that acts on something else. */
function orderReachesOf({ principal, record }: Access): ReadonlySet<Reach> {
  const permission = findPermission(record.path)
  if (permission === undefined || permission === 'anonymous') return new Set()
  const isAboutOrders = permission.object === 'order' || permission.object === 'orders'
  return isAboutOrders ? reachesOf(principal, permission.roles) : new Set()
}

function reachesOf(principal: Principal, roles: Reaches): ReadonlySet<Reach> {
  const granted = new Set<Reach>()
  for (const role of principal.roles) {
    const reach = roles[role]
    if (reach !== undefined) granted.add(reach)
  }
  return granted
}
