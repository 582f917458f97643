// Every RPC with each of its dependencies failing: the caller gets one of our own texts, and nothing of the failure.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type Caller, type TestFront } from '../../test/support/front.ts'
import { callRaw } from '../../test/support/raw_call.ts'
import { METHODS, PUBLIC_SERVICES, type Method, type MethodPath } from './method.ts'
import { findPermission } from './permission.ts'
import type { FrontDeps } from './server.ts'

const CANARY = 'CANARY7f3a'
const OUR_TEXTS = ['Something went wrong on our side.', 'The order cannot be changed at the moment; try again.']
const ORDER_ID = '0b5c7c1e-6d5e-4a57-9d0e-2f2f1f0c8a11'

let database: TestDatabase
let product: TestProduct
const fronts: TestFront[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 50)
  product = await putProduct(database, { onHand: 1_000n })
})
afterAll(async () => {
  for (const front of fronts) await front.stop()
  await database.drop()
})

const key = () => ({ idempotencyKey: randomUUID() })
const order = () => ({ ...key(), orderId: ORDER_ID })
const createOrder = () => ({
  ...{ ...key(), userId: 7n, asset: 'ETH', shippingAddress: 'Quay 1' },
  lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }],
})
/** Valid requests. Health and reflection read no dependency that may fail, and a report is refused for its signature. */
const REQUESTS: Readonly<Partial<Record<MethodPath, () => object>>> = {
  '/holdfast.v1.OrderService/CreateOrder': createOrder,
  '/holdfast.v1.OrderService/GetOrder': () => ({ orderId: ORDER_ID }),
  '/holdfast.v1.OrderService/ListOrders': () => ({}),
  '/holdfast.v1.OrderService/CancelOrder': order,
  '/holdfast.v1.OrderService/UpdateShippingAddress': () => ({ ...order(), shippingAddress: 'Quay 1' }),
  '/holdfast.v1.OrderService/WatchOrder': () => ({ orderId: ORDER_ID }),
  '/holdfast.v1.FulfilmentService/MarkShipped': order,
  '/holdfast.v1.FulfilmentService/MarkDelivered': order,
  '/holdfast.v1.FulfilmentService/ListOrdersToShip': () => ({}),
  '/holdfast.v1.PaymentService/ReportPayments': () => ({
    ...{ id: randomUUID(), timestampS: 1n, report: Buffer.of(1), signatures: ['v1,none'] },
  }),
  '/holdfast.v1.StockService/GetAvailability': () => ({ productIds: [`tea-${randomUUID()}`] }),
  '/holdfast.v1.CatalogService/GetProduct': () => ({ productId: `tea-${randomUUID()}` }),
  '/holdfast.v1.CatalogService/ListProducts': () => ({}),
  '/holdfast.v1.StockAdminService/AdjustStock': () => ({
    ...{ ...key(), productId: 'tea', change: { $case: 'delta', value: 1n }, reason: 'recount' },
  }),
  '/holdfast.v1.CatalogAdminService/PutProduct': () => ({
    ...{ ...key(), productId: 'tea', name: 'Tea', unitPrice: '1.00', isActive: true },
  }),
  '/holdfast.v1.AuditService/GetOrderHistory': () => ({ orderId: ORDER_ID }),
  '/holdfast.v1.NotificationAdminService/ListDeadNotifications': () => ({}),
  '/holdfast.v1.NotificationAdminService/ReplayNotifications': () => ({ ...key(), all: true }),
  '/holdfast.v1.OrderAdminService/RestartOrder': () => ({ ...order(), reason: 'lost' }),
  '/holdfast.v1.OrderAdminService/RehydrateOrders': () => ({ ...key(), reason: 'lost' }),
  '/holdfast.v1.PaymentAdminService/ListPayments': () => ({}),
  '/holdfast.v1.PaymentAdminService/GetPaymentDossier': () => ({ orderId: ORDER_ID }),
  '/holdfast.v1.RefundService/ListRefunds': () => ({ orderId: ORDER_ID }),
  '/holdfast.v1.RefundService/SetRefundAddress': () => ({
    ...{ ...key(), orderId: ORDER_ID, refundId: randomUUID(), address: '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed' },
  }),
  '/holdfast.v1.RefundAdminService/RequestRefund': () => ({
    ...{ ...key(), orderId: ORDER_ID, amount: { $case: 'everything', value: true }, reason: 'a scratch' },
  }),
  '/holdfast.v1.RefundAdminService/ApproveRefund': () => ({
    ...{ ...key(), orderId: ORDER_ID, refundId: randomUUID(), version: 1n },
  }),
  '/holdfast.v1.RefundAdminService/RejectRefund': () => ({
    ...{ ...key(), orderId: ORDER_ID, refundId: randomUUID(), reason: 'none' },
  }),
  '/holdfast.v1.RefundAdminService/ListRefundQueue': () => ({}),
}
/** Health and reflection depend on nothing that is broken here. */
const tested = METHODS.filter(({ path }) => !path.startsWith('/grpc.'))

/** Something that fails however it is used. */
function brokenBy(thrown: () => unknown): never {
  const broken: object = new Proxy(() => undefined, {
    get: (_, name) => (name === 'then' ? undefined : broken),
    apply: () => {
      throw thrown()
    },
  })
  return broken as never
}

function callerOf(path: string): Caller {
  const permission = findPermission(path)
  const [role] = typeof permission === 'object' ? (Object.keys(permission.roles) as Caller['role'][]) : []
  if (role === undefined) throw new Error(`no role may call ${path}`)
  return role === 'customer' ? customer(7) : { role, subject: role === 'watcher' ? 'watcher-1' : '7' }
}

async function callAs(front: TestFront, method: Method) {
  const isPublic = Object.values(PUBLIC_SERVICES).some((service) => Object.values<Method>(service).includes(method))
  const request = REQUESTS[method.path as MethodPath]?.()
  const empty = method.requestDeserialize(Buffer.alloc(0)) as object
  const body = method.requestSerialize({ ...empty, ...request } as never)
  const token = await front.tokenOf(callerOf(method.path))
  return callRaw(isPublic ? front.address : front.adminAddress, method.path, body, [
    ['authorization', `Bearer ${token}`],
  ])
}

async function startBroken(deps: Partial<FrontDeps>): Promise<TestFront> {
  const front = await createTestFront(database, { deps })
  fronts.push(front)
  return front
}

function expectOurs(answer: Awaited<ReturnType<typeof callAs>>, front: TestFront): void {
  expect(OUR_TEXTS).toContain(answer.message)
  expect(['INTERNAL', 'ENGINE_UNAVAILABLE']).toContain(answer.detail.reason)
  expect(JSON.stringify(answer)).not.toContain(CANARY)
  expect(front.logLines().join('')).not.toContain(CANARY)
}

const THROWN: readonly (readonly [string, () => unknown])[] = [
  ['an error', () => new Error(CANARY)],
  [
    'an error of the database',
    () => Object.assign(new pg.DatabaseError(CANARY, 1, 'error'), { code: '22P02', detail: CANARY }),
  ],
  ['a text', () => CANARY],
  ['a status of gRPC', () => ({ code: 5, details: CANARY, metadata: CANARY })],
]

describe.each(THROWN)('while every dependency throws %s', (_, thrown) => {
  let front: TestFront
  beforeAll(async () => {
    const names = ['database', 'acceptor', 'command', 'isRunning', 'watch', 'findBlindness', 'leaseAddress'] as const
    const others = ['orderIdOf', 'pii', 'isBacklogFull', 'verifyReport'] as const
    front = await startBroken(Object.fromEntries([...names, ...others].map((name) => [name, brokenBy(thrown)])))
  })

  test.each(tested.map((method) => [method.path, method] as const))(
    '%s answers in our words',
    async (_path, method) => {
      expectOurs(await callAs(front, method), front)
    },
  )
})

describe('CreateOrder', () => {
  test.each(['acceptor', 'findBlindness', 'leaseAddress', 'orderIdOf', 'pii', 'isBacklogFull'] as const)(
    'answers in our words while only %s fails',
    async (name) => {
      const front = await startBroken({ [name]: brokenBy(() => new Error(CANARY)) })
      expectOurs(await callAs(front, PUBLIC_SERVICES.order.createOrder), front)
    },
  )
})

test('every RPC of the shop has a request here', () => {
  expect(Object.keys(REQUESTS).toSorted()).toEqual(tested.map(({ path }) => path).toSorted())
})
