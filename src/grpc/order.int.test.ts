import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import {
  admin,
  auditor,
  createTestFront,
  customer,
  fulfilment,
  type TestFront,
  failureOf,
} from '../../test/support/front.ts'
import { count } from '../../test/support/scale.ts'
import { until } from '../../test/support/until.ts'
import { callRaw } from '../../test/support/raw_call.ts'
import { systemActor, type Actor } from '../domain/audit.ts'
import type { DomainError } from '../domain/failure.ts'
import { orderHold, orderStatus, paymentState } from './client.ts'
import { type CreateOrderRequest, OrderServiceService } from './gen/holdfast/v1/order.ts'

const STREET = 'Canary Wharf 7, 4711 Testville'
const CREATE = OrderServiceService.createOrder

let database: TestDatabase
let front: TestFront
let product: TestProduct

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 500)
  front = await createTestFront(database)
  product = await putProduct(database, { onHand: 10_000n })
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

const buildRequest = (userId: number, overrides: Partial<CreateOrderRequest> = {}): CreateOrderRequest => ({
  idempotencyKey: randomUUID(),
  userId: BigInt(userId),
  lines: [{ productId: product.productId, quantity: 2, expectedUnitPrice: product.unitPrice }],
  asset: 'ETH',
  shippingAddress: STREET,
  ...overrides,
})
const create = (userId: number, overrides: Partial<CreateOrderRequest> = {}) =>
  front.as(customer(userId)).order.createOrder(buildRequest(userId, overrides))
const ADMIN: Actor = { actor: 'user:1', role: 'admin' }
const payAsSystem = (orderId: string) =>
  database.writeAs(
    'app_worker',
    systemActor('worker'),
    `update orders set status = 'processing', payment_state = 'paid' where order_id = $1`,
    [orderId],
  )
const shipAsAdmin = (orderId: string) =>
  database.writeAs('app_worker', ADMIN, `update orders set status = 'shipped' where order_id = $1`, [orderId])
const cancelAsAdmin = (orderId: string) =>
  database.writeAs(
    'app_worker',
    ADMIN,
    `update orders set status = 'cancelled', cancel_reason = 'admin' where order_id = $1`,
    [orderId],
  )
const idOf = async (userId: number): Promise<string> => (await create(userId)).orderId

describe('CreateOrder', () => {
  test('answers with the whole agreement, without the engine', async () => {
    const order = await create(100)
    expect(order).toMatchObject({
      lines: [{ productId: product.productId, name: 'Lamp', quantity: 2, unitPrice: '12.50' }],
      total: '25.00',
      currency: 'EUR',
      paymentRequest: { network: 'ethereum', amount: { asset: 'ETH', units: '12500000000000000' }, rate: '2000.00' },
    })
    expect(order.orderId).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(order.paymentRequest?.expiresAt?.getTime()).toBeGreaterThan(Date.now())
  })

  test('sent many times at once is one order with byte-equal answers', async () => {
    const request = buildRequest(101)
    const body = CREATE.requestSerialize(request)
    const token = await front.tokenOf(customer(101))
    const answers = await Promise.all(
      Array.from({ length: 50 }, () =>
        callRaw(front.address, CREATE.path, body, [['authorization', `Bearer ${token}`]]),
      ),
    )
    expect(new Set(answers.map(({ body: bytes, message }) => bytes?.toString('hex') ?? message)).size).toBe(1)
    expect(answers.filter(({ headers }) => headers.get('idempotency-hit')[0] === 'true')).toHaveLength(49)
    const [{ orders } = { orders: 0n }] = await database.query<{ orders: bigint }>(
      'select count(*) as orders from orders where user_id = 101',
    )
    expect(orders).toBe(1n)
  })

  test('with the key of another request is refused, and nothing is stored', async () => {
    const first = buildRequest(102)
    await front.as(customer(102)).order.createOrder(first)
    const error = await failureOf(
      front.as(customer(102)).order.createOrder({ ...first, shippingAddress: 'Elsewhere 1' }),
    )
    expect(error).toMatchObject({ reason: 'IDEMPOTENCY_KEY_REUSED', kind: 'invalid' })
    const { orders } = await front.as(customer(102)).order.listOrders({})
    expect(orders).toHaveLength(1)
  })

  test('tells who comes too late what is left', async () => {
    const last = await putProduct(database, { onHand: 10n })
    const lines = [{ productId: last.productId, quantity: 1, expectedUnitPrice: last.unitPrice }]
    const calls = count(60, 200)
    const results = await Promise.allSettled(Array.from({ length: calls }, (_, at) => create(1_000 + at, { lines })))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(10)
    const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as DomainError] : []))
    expect(new Set(failures.map(({ reason }) => reason))).toEqual(new Set(['OUT_OF_STOCK']))
    expect(failures[0]).toMatchObject({
      metadata: { product_id: last.productId, wanted: '1', available: '0' },
      violations: [{ field: last.productId, description: 'wanted 1, available 0' }],
    })
  })

  test('refuses a price that has changed and a product that is not sold', async () => {
    const changed = await failureOf(
      create(103, { lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: '1.00' }] }),
    )
    expect(changed).toMatchObject({
      reason: 'PRICE_CHANGED',
      metadata: { product_id: product.productId, unit_price: '12.50' },
    })
    const unknown = await failureOf(
      create(103, { lines: [{ productId: 'no-such', quantity: 1, expectedUnitPrice: '1.00' }] }),
    )
    expect(unknown).toMatchObject({ reason: 'PRODUCT_UNKNOWN', metadata: { product_id: 'no-such' } })
  })

  test('for somebody else is denied', async () => {
    expect((await failureOf(front.as(customer(104)).order.createOrder(buildRequest(105)))).reason).toBe(
      'PERMISSION_DENIED',
    )
  })

  test('in a coin the shop does not take, or has no price for, is refused', async () => {
    expect((await failureOf(create(106, { asset: 'BTC' }))).violations).toEqual([
      { field: 'asset', description: 'must be one of ETH' },
    ])
    front.setRate(undefined)
    const error = await failureOf(create(106))
    front.setRate(200_000n)
    expect(error).toMatchObject({ reason: 'RATE_UNAVAILABLE', metadata: { asset: 'ETH' }, retryAfterMs: 7_000 })
  })

  test('on a chain that cannot be seen is refused with the cause and when to try again; its answer of before is not', async () => {
    const idempotencyKey = randomUUID()
    const accepted = await create(106, { idempotencyKey })
    front.setBlindness('behind')
    const [refused, replayed] = [await failureOf(create(106)), await create(106, { idempotencyKey })]
    front.setBlindness(undefined)
    expect(refused).toMatchObject({ reason: 'ASSET_UNAVAILABLE', metadata: { asset: 'ETH', cause: 'behind' } })
    expect(refused.retryAfterMs).toBeGreaterThan(0)
    expect(replayed.orderId).toBe(accepted.orderId)
  })

  test('ignores a total that a client sends along', async () => {
    const request = buildRequest(107)
    const withTotal = Buffer.concat([
      CREATE.requestSerialize(request),
      Buffer.from([0x9a, 0x06, 4]),
      Buffer.from('0.01'),
    ])
    const token = await front.tokenOf(customer(107))
    const answer = await callRaw(front.address, CREATE.path, withTotal, [['authorization', `Bearer ${token}`]])
    expect(CREATE.responseDeserialize(answer.body ?? Buffer.alloc(0)).total).toBe('25.00')
  })

  test('takes a total beyond what a double counts exactly', async () => {
    const dear = await putProduct(database, { unitPrice: '90000000000.01', onHand: 20n })
    const order = await create(108, {
      lines: [{ productId: dear.productId, quantity: 11, expectedUnitPrice: dear.unitPrice }],
    })
    expect(order.total).toBe('990000000000.11')
  })
})

describe('reading an order', () => {
  test('shows its owner everything but the address, unless asked', async () => {
    const created = await create(200)
    const { order } = await front.as(customer(200)).order.getOrder({ orderId: created.orderId })
    expect(order).toMatchObject({
      state: {
        orderId: created.orderId,
        status: orderStatus.codeOf('pending'),
        paymentState: paymentState.codeOf('awaiting'),
        hold: orderHold.codeOf('none'),
        version: 1n,
      },
      userId: 200n,
      total: '25.00',
      paymentRequest: created.paymentRequest,
      received: { asset: 'ETH', units: '0' },
      createdAt: created.createdAt,
    })
    expect(order?.shippingAddress).toBeUndefined()
  })

  test('opens the address for its owner and for admins, and leaves a line each time', async () => {
    const orderId = await idOf(201)
    for (const caller of [customer(201), admin]) {
      const { order } = await front.as(caller).order.getOrder({ orderId, includeShippingAddress: true })
      expect(order?.shippingAddress).toBe(STREET)
    }
    const lines = front.logLines().filter((line) => line.includes('pii_access') && line.includes(orderId))
    expect(lines).toHaveLength(2)
    expect(JSON.parse(lines[1] ?? '{}')).toMatchObject({ actor: 'user:1', customer: '201', field: 'shipping_address' })
  })

  test('never opens the address for an auditor', async () => {
    const orderId = await idOf(202)
    expect((await front.as(auditor).order.getOrder({ orderId })).order?.userId).toBe(202n)
    const error = await failureOf(front.as(auditor).order.getOrder({ orderId, includeShippingAddress: true }))
    expect(error.reason).toBe('PERMISSION_DENIED')
  })

  test('shows fulfilment paid orders only, and nothing about money', async () => {
    const orderId = await idOf(203)
    expect((await failureOf(front.as(fulfilment).order.getOrder({ orderId }))).reason).toBe('PERMISSION_DENIED')
    await payAsSystem(orderId)
    const { order } = await front.as(fulfilment).order.getOrder({ orderId, includeShippingAddress: true })
    expect(order).toMatchObject({
      shippingAddress: STREET,
      paymentRequest: undefined,
      received: undefined,
      paymentFlags: [],
    })
    const { orders } = await front.as(fulfilment).fulfilment.listOrdersToShip({})
    expect(orders.map((each) => each.orderId)).toContain(orderId)
    expect(orders.find((each) => each.orderId === orderId)).toMatchObject({ version: 2n, lines: [{ quantity: 2 }] })
  })

  test('of somebody else and reading none at all are the same answer to the byte', async () => {
    const foreign = await idOf(204)
    const token = await front.tokenOf(customer(205))
    const answers = await Promise.all(
      [foreign, randomUUID()].flatMap((orderId) =>
        [OrderServiceService.getOrder, OrderServiceService.cancelOrder].map(async ({ path, requestSerialize }) => {
          const request = {
            orderId,
            idempotencyKey: randomUUID(),
            includeShippingAddress: false,
            expectedVersion: undefined,
          }
          const { code, message, detail } = await callRaw(front.address, path, requestSerialize(request), [
            ['authorization', `Bearer ${token}`],
          ])
          return JSON.stringify({ code, message, detail })
        }),
      ),
    )
    expect(new Set(answers)).toEqual(
      new Set([
        '{"code":"PERMISSION_DENIED","message":"This is not allowed.","detail":{"reason":"PERMISSION_DENIED","metadata":{},"violations":[],"quota":[]}}',
      ]),
    )
  })

  test('that does not exist is NOT_FOUND to an admin', async () => {
    expect((await failureOf(front.as(admin).order.getOrder({ orderId: randomUUID() }))).reason).toBe('NOT_FOUND')
  })
})

describe('ListOrders', () => {
  test('holds only the caller’s own orders, newest first, page by page', async () => {
    const ids: string[] = []
    for (let at = 0; at < 5; at += 1) ids.unshift(await idOf(300))
    await idOf(301)
    const me = front.as(customer(300)).order
    const first = await me.listOrders({ limit: 2 })
    const second = await me.listOrders({ limit: 2, cursor: first.nextCursor })
    const third = await me.listOrders({ limit: 2, cursor: second.nextCursor })
    expect([first, second, third].flatMap(({ orders }) => orders.map(({ state }) => state?.orderId))).toEqual(ids)
    expect(third.nextCursor).toBe('')
    expect((await me.listOrders({ limit: 2, offset: 3 })).orders.map(({ state }) => state?.orderId)).toEqual(
      ids.slice(3),
    )
  })

  test('refuses a cursor that was made for somebody else', async () => {
    await idOf(302)
    await idOf(303)
    await idOf(303)
    const theirs = await front.as(customer(303)).order.listOrders({ limit: 1 })
    const error = await failureOf(front.as(customer(302)).order.listOrders({ cursor: theirs.nextCursor }))
    expect(error.violations.map(({ field }) => field)).toEqual(['cursor'])
  })

  test('keeps to its filters, and a cursor to the filters it was made for', async () => {
    const [older, newer] = [await idOf(304), await idOf(304)]
    await cancelAsAdmin(older)
    const everyone = front.as(admin).order
    const cancelled = await everyone.listOrders({ userId: 304n, status: orderStatus.codeOf('cancelled') })
    expect(cancelled.orders.map(({ state }) => state?.orderId)).toEqual([older])
    const { orders } = await everyone.listOrders({
      userId: 304n,
      createdBefore: new Date(Date.now() + 60_000),
      status: orderStatus.codeOf('pending'),
    })
    expect(orders.map(({ state }) => state?.orderId)).toEqual([newer])
    const { nextCursor } = await everyone.listOrders({ userId: 304n, limit: 1 })
    expect((await failureOf(everyone.listOrders({ cursor: nextCursor }))).violations[0]?.field).toBe('cursor')
  })

  test('of another customer is denied to a customer', async () => {
    expect((await failureOf(front.as(customer(305)).order.listOrders({ userId: 306n }))).reason).toBe(
      'PERMISSION_DENIED',
    )
  })
})

describe('UpdateShippingAddress', () => {
  test('replaces the address once per key and moves the version', async () => {
    const orderId = await idOf(400)
    const me = front.as(customer(400)).order
    const request = { idempotencyKey: randomUUID(), orderId, shippingAddress: 'New <b>Street</b> 1' }
    const first = await me.updateShippingAddress(request)
    expect(first).toEqual({ orderId, status: orderStatus.codeOf('pending'), version: 2n })
    expect(await me.updateShippingAddress(request)).toEqual(first)
    const { order } = await me.getOrder({ orderId, includeShippingAddress: true })
    expect(order).toMatchObject({ shippingAddress: 'New Street 1', state: { version: 2n } })
  })

  test('is refused at another version, after shipping, and for somebody else’s order', async () => {
    const orderId = await idOf(401)
    const me = front.as(customer(401)).order
    const change = (expectedVersion?: bigint) => ({
      idempotencyKey: randomUUID(),
      orderId,
      shippingAddress: 'New Street 1',
      expectedVersion,
    })
    const late = await failureOf(me.updateShippingAddress(change(9n)))
    expect(late).toMatchObject({ reason: 'VERSION_MISMATCH', metadata: { version: '1' } })
    expect((await failureOf(front.as(customer(402)).order.updateShippingAddress(change()))).reason).toBe(
      'PERMISSION_DENIED',
    )
    await payAsSystem(orderId)
    await shipAsAdmin(orderId)
    expect(await failureOf(me.updateShippingAddress(change()))).toMatchObject({
      reason: 'ORDER_STATUS',
      metadata: { status: 'shipped' },
    })
  })
})

describe('WatchOrder', () => {
  test('sends the present state, then each change, and ends with the last', async () => {
    const orderId = await idOf(500)
    const seen: (string | undefined)[] = []
    const watching = (async () => {
      for await (const { state } of front.as(customer(500)).order.watchOrder({ orderId }))
        seen.push(orderStatus.wordOf(state?.status ?? 0))
    })()
    await until(() => seen.length === 1)
    await cancelAsAdmin(orderId)
    await watching
    expect(seen).toEqual(['pending', 'cancelled'])
  })

  test('resumes after the version a caller has; one that never was counts like none', async () => {
    const orderId = await idOf(501)
    await cancelAsAdmin(orderId)
    const me = front.as(customer(501)).order
    const after = async (afterVersion: bigint) => {
      const versions: (bigint | undefined)[] = []
      for await (const { state } of me.watchOrder({ orderId, afterVersion })) versions.push(state?.version)
      return versions
    }
    expect([await after(1n), await after(2n), await after(9n)]).toEqual([[2n], [], [2n]])
  })

  test('of somebody else’s order is denied', async () => {
    const orderId = await idOf(502)
    const next = front.as(customer(503)).order.watchOrder({ orderId })[Symbol.asyncIterator]().next()
    expect((await failureOf(next)).reason).toBe('PERMISSION_DENIED')
  })
})

test('no log line holds an address of a customer or a token', async () => {
  const token = await front.tokenOf(customer(600))
  await callRaw(front.address, OrderServiceService.listOrders.path, Buffer.alloc(0), [
    ['authorization', `Bearer ${token}`],
  ])
  await create(600)
  const text = front.logLines().join('')
  expect(text).not.toContain('Canary')
  expect(text).not.toContain('New Street')
  expect(text).not.toMatch(/eyJ/)
})
