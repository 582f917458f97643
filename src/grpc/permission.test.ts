import { describe, expect, test } from '@jest/globals'
import { ROLES, type Principal, type Role } from '../domain/access.ts'
import { ORDER_STATUSES, type OrderStatus } from '../domain/order.ts'
import { ADMIN_SERVICES, METHODS, PUBLIC_SERVICES, type Method, type MethodPath } from './method.ts'
import { ORDER_PARTS, orderScopeOf, orderUnreachable, PERMISSIONS, seesPart, type Access } from './permission.ts'
import { SCHEMAS } from './schema.ts'

const GET: MethodPath = '/holdfast.v1.OrderService/GetOrder'
const CANCEL: MethodPath = '/holdfast.v1.OrderService/CancelOrder'
const SHIP: MethodPath = '/holdfast.v1.FulfilmentService/MarkShipped'
const HEALTH = '/grpc.health.v1.Health/'

const buildPrincipal = (roles: readonly Role[], userId: bigint | undefined = 7n): Principal => ({
  subject: String(userId),
  userId,
  roles,
  tokenId: 'token-1',
})
const buildAccess = (path: string, roles: readonly Role[]): Access => ({
  principal: buildPrincipal(roles),
  record: { path },
})

/** The methods of services that only the admin port serves. */
const adminMethods: readonly Method[] = Object.values(ADMIN_SERVICES)
  .flatMap((service) => Object.values<Method>(service))
  .filter(({ path }) => !path.startsWith(HEALTH))

describe('the permission table', () => {
  test('has a row for every method of every service, and for nothing else', () => {
    expect(Object.keys(PERMISSIONS).toSorted()).toEqual(METHODS.map(({ path }) => path).toSorted())
  })

  test('leaves exactly one method open to all: the health check', () => {
    const open = Object.entries(PERMISSIONS).filter(([, permission]) => permission === 'anonymous')
    expect(open.map(([path]) => path)).toEqual([`${HEALTH}Check`])
  })

  test('gives methods of the admin port to admins, and reads of the audit and of money to auditors too', () => {
    const rolesOf = ({ path }: Method) => {
      const permission = PERMISSIONS[path as MethodPath]
      return permission === 'anonymous' ? ROLES : Object.keys(permission.roles)
    }
    for (const method of adminMethods)
      expect([method.path, rolesOf(method)]).toEqual([
        method.path,
        /AuditService|ListRefundQueue|PaymentAdminService/.test(method.path) ? ['admin', 'auditor'] : ['admin'],
      ])
  })

  test('keeps the admin services off the public port', () => {
    const onPublicPort = new Set(
      Object.values(PUBLIC_SERVICES).flatMap((service) => Object.values<Method>(service).map(({ path }) => path)),
    )
    expect(adminMethods.filter(({ path }) => onPublicPort.has(path))).toEqual([])
  })

  test('says of every request that names an order or a customer whose object it is', () => {
    const namesOrder = (path: MethodPath): boolean => 'orderId' in shapeOf(SCHEMAS[path])
    for (const [path, permission] of Object.entries(PERMISSIONS) as [MethodPath, (typeof PERMISSIONS)[MethodPath]][]) {
      const object = permission === 'anonymous' ? 'none' : permission.object
      expect([path, object === 'order']).toEqual([path, namesOrder(path)])
    }
  })

  test('lets machines reach no order', () => {
    for (const path of METHODS.map((method) => method.path)) {
      for (const role of ['service', 'watcher'] as const) {
        const machine = { ...buildPrincipal([role]), userId: undefined }
        expect(orderScopeOf({ principal: machine, record: { path } })).toEqual({ ownerId: null, statuses: [] })
      }
    }
  })
})

const shapeOf = (schema: object): object => ('shape' in schema ? (schema.shape as object) : {})

describe('the scope of orders', () => {
  test.each<[Role[], { ownerId: bigint | null; statuses: readonly OrderStatus[] }]>([
    [['customer'], { ownerId: 7n, statuses: [] }],
    [['fulfilment'], { ownerId: null, statuses: ['processing', 'shipped'] }],
    [['customer', 'fulfilment'], { ownerId: 7n, statuses: ['processing', 'shipped'] }],
    [['auditor'], { ownerId: null, statuses: ORDER_STATUSES }],
    [['admin'], { ownerId: null, statuses: ORDER_STATUSES }],
    [['service'], { ownerId: null, statuses: [] }],
  ])('%j reads no more than it needs', (roles, scope) => {
    expect(orderScopeOf(buildAccess(GET, roles))).toEqual(scope)
  })

  test('a customer writes their own orders only, an auditor none', () => {
    expect(orderScopeOf(buildAccess(CANCEL, ['customer']))).toEqual({ ownerId: 7n, statuses: [] })
    expect(orderScopeOf(buildAccess(CANCEL, ['customer', 'auditor']))).toEqual({ ownerId: 7n, statuses: [] })
    expect(orderScopeOf(buildAccess(CANCEL, ['auditor']))).toEqual({ ownerId: null, statuses: [] })
  })

  test('fulfilment changes the orders that it sees, and its own purchases like all others', () => {
    const scope = { ownerId: null, statuses: ['processing', 'shipped'] }
    expect(orderScopeOf(buildAccess(SHIP, ['fulfilment']))).toEqual(scope)
    expect(orderScopeOf(buildAccess(SHIP, ['fulfilment', 'customer']))).toEqual(scope)
  })

  test.each(['/holdfast.v1.OrderService/DeleteEverything', '__proto__', 'constructor', `${HEALTH}Check`])(
    'is empty for %s',
    (path) => {
      expect(orderScopeOf(buildAccess(path, ['admin', 'customer']))).toEqual({ ownerId: null, statuses: [] })
    },
  )

  test('only calls that reach every order are told that one does not exist', () => {
    const reasonOf = (path: MethodPath, roles: Role[]) => orderUnreachable(buildAccess(path, roles)).reason
    expect(reasonOf(GET, ['admin'])).toBe('NOT_FOUND')
    expect(reasonOf(GET, ['auditor'])).toBe('NOT_FOUND')
    expect(reasonOf(GET, ['customer'])).toBe('PERMISSION_DENIED')
    expect(reasonOf(GET, ['fulfilment'])).toBe('PERMISSION_DENIED')
    // The auditor's right is to read: by a command it must not tell a foreign order from a missing one either.
    expect(reasonOf(CANCEL, ['customer', 'auditor'])).toBe('PERMISSION_DENIED')
  })
})

describe('the parts of an order', () => {
  const own = { userId: 7n, status: 'pending' } as const
  const foreign = (status: OrderStatus) => ({ userId: 8n, status })
  const sees = (roles: Role[], order: { userId: bigint; status: OrderStatus }) =>
    (Object.keys(ORDER_PARTS) as (keyof typeof ORDER_PARTS)[]).filter((part) =>
      seesPart(buildPrincipal(roles), part, order),
    )

  test('are all seen by the owner and by an admin', () => {
    expect(sees(['customer'], own)).toEqual(['shippingAddress', 'payment', 'refundDestinations'])
    expect(sees(['admin'], foreign('pending'))).toEqual(['shippingAddress', 'payment', 'refundDestinations'])
    expect(sees(['customer'], foreign('processing'))).toEqual([])
  })

  test('are the payment for an auditor, and the address of what it ships for fulfilment', () => {
    expect(sees(['auditor'], foreign('processing'))).toEqual(['payment'])
    expect(sees(['fulfilment'], foreign('processing'))).toEqual(['shippingAddress'])
    expect(sees(['fulfilment'], foreign('delivered'))).toEqual([])
  })

  test('are not more for a role because another role of the caller reads the order', () => {
    expect(sees(['fulfilment', 'auditor'], foreign('pending'))).toEqual(['payment'])
  })
})
