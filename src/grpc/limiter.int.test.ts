// The limits of the front, from outside: who is refused, with what words, and who is not.

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, failureOf, watcher, type TestFront } from '../../test/support/front.ts'
import { callRaw, createRawClient } from '../../test/support/raw_call.ts'
import { framed } from '../../test/support/raw_http2.ts'
import { CALL_WITHIN_MS, until } from '../../test/support/until.ts'
import { DomainError } from '../domain/failure.ts'
import { DEFAULT_BUDGETS } from '../domain/limit.ts'
import { createClient, ServingStatus } from './client.ts'
import { HealthService } from './gen/grpc/health/v1/health.ts'
import { OrderServiceService } from './gen/holdfast/v1/order.ts'
import { PaymentServiceService } from './gen/holdfast/v1/payment.ts'

let database: TestDatabase
let product: TestProduct
beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 900)
  product = await putProduct(database, { onHand: 1_000n })
})
afterAll(() => database.drop())

const open: TestFront[] = []
async function frontOf(budgets: Partial<typeof DEFAULT_BUDGETS> = {}): Promise<TestFront> {
  const front = await createTestFront(database, { budgets: { ...DEFAULT_BUDGETS, ...budgets } })
  open.push(front)
  return front
}
afterAll(async () => {
  for (const front of open) await front.stop()
})

const LIST = OrderServiceService.listOrders.path
const EMPTY = Buffer.alloc(0)
const bearerOf = async (front: TestFront, userId: number): Promise<readonly [string, string]> => [
  'authorization',
  `Bearer ${await front.tokenOf(customer(userId))}`,
]
const orderOf = (userId: bigint) => ({
  idempotencyKey: randomUUID(),
  userId,
  lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }],
  asset: 'ETH',
  shippingAddress: 'Quay 1',
})
const countOf = (values: readonly string[]): Record<string, number> =>
  Object.fromEntries([...new Set(values)].map((value) => [value, values.filter((each) => each === value).length]))

test('a thousand lists at once by one customer harm neither the probe nor another customer’s order', async () => {
  const front = await frontOf()
  const token = await front.tokenOf(customer(1))
  const greedy = Array.from({ length: 5 }, () =>
    createClient({ deadlineMs: CALL_WITHIN_MS, address: front.address, token: () => token }),
  )
  const probe = createClient({ deadlineMs: CALL_WITHIN_MS, address: front.address, token: () => '' })
  const other = front.as(customer(2))
  // Clients and server share this process: a session must not have to be opened while the clients keep it busy.
  await Promise.all([probe.health.check({}), other.order.createOrder(orderOf(2n))])
  const health: ServingStatus[] = []
  let isOver = false
  const probing = (async () => {
    while (!isOver) health.push((await probe.health.check({})).status)
  })()
  const reasonOf = (call: Promise<unknown> | undefined): Promise<string> =>
    (call ?? Promise.reject(new Error('no client'))).then(
      () => 'OK',
      (error: { reason?: string }) => String(error.reason),
    )
  const lists = Promise.all(
    Array.from({ length: 1_000 }, (_, at) => reasonOf(greedy[at % greedy.length]?.order.listOrders({}))),
  )
  const orders = []
  for (let at = 0; at < 10; at += 1) orders.push((await other.order.createOrder(orderOf(2n))).orderId)
  const codes = countOf(await lists)
  isOver = true
  await probing
  for (const client of [probe, ...greedy]) client.close()
  expect(new Set(orders).size).toBe(10)
  expect(new Set(health)).toEqual(new Set([ServingStatus.SERVING]))
  // Those that were admitted are answered, and the others are refused for a reason of theirs.
  expect(codes['OK']).toBeGreaterThan(0)
  expect(codes['OK']).toBeLessThan(500)
  expect(Object.keys(codes).filter((code) => !/^OK$|RATE_LIMITED|TOO_MANY_CALLS|OVERLOADED/.test(code))).toEqual([])
})

/** Begins a call whose end the test decides. */
function begin(session: ClientHttp2Session, path: string, headers: Record<string, string> = {}): ClientHttp2Stream {
  const fixed = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' }
  const stream = session.request({ ...fixed, ...headers })
  stream.on('error', () => undefined)
  stream.end(framed(EMPTY))
  return stream
}

test('calls whose answers are never read take no places of others', async () => {
  const front = await frontOf({ health: { user: 10_000, address: 10_000, atOnce: 10_000 } })
  const sessions = Array.from({ length: 15 }, () =>
    connect(`http://${front.address}`, { settings: { initialWindowSize: 0 } }),
  )
  await Promise.all(sessions.map((session) => once(session, 'remoteSettings')))
  const answered = sessions.flatMap((session) =>
    Array.from({ length: 90 }, () => once(begin(session, '/grpc.health.v1.Health/Check'), 'response')),
  )
  await Promise.all(answered)
  expect((await callRaw(front.address, LIST, EMPTY, [await bearerOf(front, 8)])).code).toBe('OK')
  for (const session of sessions) session.destroy()
})

test('reports without a valid token are limited by address, and those with one are not', async () => {
  const front = await frontOf({ report: { user: 10_000, address: 10_000, atOnce: 1_000 } })
  const client = createRawClient(front.address)
  const path = PaymentServiceService.reportPayments.path
  const report = async (header: readonly [string, string]): Promise<string> =>
    (await client.call(path, EMPTY, [header])).code
  const valid: readonly [string, string] = ['authorization', `Bearer ${await front.tokenOf(watcher)}`]
  const good = []
  for (let at = 0; at < 700; at += 1) good.push(await report(valid))
  const bad = await Promise.all(Array.from({ length: 700 }, () => report(['authorization', 'Bearer none'])))
  client.close()
  expect(countOf(good)).toEqual({ INVALID_ARGUMENT: 700 })
  expect(countOf(bad)['RESOURCE_EXHAUSTED']).toBeGreaterThan(50)
})

describe('a rate limit', () => {
  test('answers RESOURCE_EXHAUSTED with when to come back and which limit it is, counts it, and spares others', async () => {
    const front = await frontOf({ list: { user: 3, address: 100, atOnce: 100 } })
    const header = await bearerOf(front, 3)
    const answers = []
    for (let at = 0; at < 5; at += 1) answers.push(await callRaw(front.address, LIST, EMPTY, [header]))
    expect(answers.map(({ code }) => code)).toEqual(['OK', 'OK', 'OK', 'RESOURCE_EXHAUSTED', 'RESOURCE_EXHAUSTED'])
    expect(answers[3]?.detail).toMatchObject({
      reason: 'RATE_LIMITED',
      metadata: { class: 'list' },
      quota: [{ subject: 'user', description: '3 calls in 60 s' }],
      retryAfterMs: expect.any(Number),
    })
    expect(answers[3]?.detail.retryAfterMs).toBeLessThanOrEqual(22_000)
    expect((await callRaw(front.address, LIST, EMPTY, [await bearerOf(front, 4)])).code).toBe('OK')
    expect(await front.registry.metrics()).toMatch(
      /holdfast_grpc_limited_total\{[^}]*class="list",limit="user"[^}]*\} 2/,
    )
  })

  test('sends those that it refuses together back at different times', async () => {
    const front = await frontOf({ list: { user: 1, address: 100, atOnce: 100 } })
    const header = await bearerOf(front, 5)
    const answers = await Promise.all(Array.from({ length: 12 }, () => callRaw(front.address, LIST, EMPTY, [header])))
    const waits = answers.flatMap(({ detail }) => detail.retryAfterMs ?? [])
    expect(waits).toHaveLength(11)
    // The bucket regains its only token within a minute; the spread is a tenth of that.
    expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(500)
  })

  test('of an address counts before the token is checked', async () => {
    const front = await frontOf({ list: { user: 3, address: 4, atOnce: 100 } })
    const answers = []
    for (let at = 0; at < 6; at += 1) answers.push(await callRaw(front.address, LIST, EMPTY))
    expect(countOf(answers.map(({ code }) => code))).toEqual({ UNAUTHENTICATED: 4, RESOURCE_EXHAUSTED: 2 })
    expect(answers.at(-1)?.detail.quota).toEqual([{ subject: 'address', description: '4 calls in 60 s' }])
  })

  test('of an address does not hold for a trusted proxy that names no client: it stands for many', async () => {
    const narrow = { user: 100, address: 2, atOnce: 100 }
    const budgets = { ...DEFAULT_BUDGETS, order: narrow, list: narrow }
    const front = await createTestFront(database, { budgets, trustedProxies: ['127.0.0.0/8'] })
    open.push(front)
    const clients = Array.from({ length: 5 }, (_, at) => ({ userId: BigInt(20 + at), as: front.as(customer(20 + at)) }))
    for (const { userId, as } of clients) {
      await expect(as.order.createOrder(orderOf(userId))).resolves.toHaveProperty('orderId')
      await expect(as.order.listOrders({})).resolves.toMatchObject({ orders: [{}] })
    }
    const named = async (userId: number) =>
      callRaw(front.address, LIST, EMPTY, [await bearerOf(front, userId), ['x-forwarded-for', '192.0.2.7']])
    const answers = [await named(20), await named(21), await named(22)]
    expect(answers.map(({ code }) => code)).toEqual(['OK', 'OK', 'RESOURCE_EXHAUSTED'])
  })

  test('of new orders holds for two api processes together', async () => {
    const order = { user: 4, address: 1_000, atOnce: 100 }
    const clients = [(await frontOf({ order })).as(customer(5)), (await frontOf({ order })).as(customer(5))]
    const answers = await Promise.all(
      Array.from({ length: 12 }, async (_, at) =>
        clients[at % 2]?.order.createOrder(orderOf(5n)).then(
          () => 'accepted',
          (error: { reason: string }) => error.reason,
        ),
      ),
    )
    expect(countOf(answers.map(String))).toEqual({ accepted: 4, RATE_LIMITED: 8 })
  })

  test('of a payment source with a budget of its own leaves other sources of its address theirs', async () => {
    const front = await createTestFront(database, {
      budgets: { ...DEFAULT_BUDGETS, report: { user: 2, address: 2, atOnce: 8 } },
      deps: { verifyReport: () => undefined, reportBudgetOf: (source) => (source === 'wide-1' ? 5 : undefined) },
    })
    open.push(front)
    const report = async (subject: string): Promise<string> => {
      const failure = await failureOf(front.as({ role: 'watcher', subject }).payment.reportPayments({}))
      return failure.reason
    }
    const wide = []
    for (let at = 0; at < 6; at += 1) wide.push(await report('wide-1'))
    expect(countOf(wide)).toEqual({ FIELD_INVALID: 5, RATE_LIMITED: 1 })
    const others = [await report('other-1'), await report('other-2'), await report('other-2')]
    expect(others).toEqual(['FIELD_INVALID', 'FIELD_INVALID', 'RATE_LIMITED'])
  })

  test('of new orders says when its window has room, not when a bucket has', async () => {
    const front = await frontOf({ order: { user: 3, address: 100, atOnce: 100 } })
    const client = front.as(customer(30))
    const startedAt = performance.now()
    for (let at = 0; at < 3; at += 1) await client.order.createOrder(orderOf(30n))
    const { reason, retryAfterMs } = await failureOf(client.order.createOrder(orderOf(30n)))
    expect(reason).toBe('RATE_LIMITED')
    // A bucket would have room after 20 s.
    expect((retryAfterMs ?? 0) + performance.now() - startedAt).toBeGreaterThan(50_000)
  })

  test('of new orders is not circumvented while the database cannot count: the call is refused', async () => {
    const front = await createTestFront(database, { deps: { takeQuota: () => Promise.reject(new Error('away')) } })
    open.push(front)
    await expect(front.as(customer(6)).order.createOrder(orderOf(6n))).rejects.toMatchObject({ reason: 'INTERNAL' })
    await expect(front.as(customer(6)).order.listOrders({})).resolves.toMatchObject({ orders: [] })
  })
})

test('streams per user are limited, and one that ends makes room', async () => {
  const front = await frontOf({ watch: { user: 100, address: 100, atOnce: 2 } })
  const client = front.as(customer(7))
  const { orderId } = await client.order.createOrder(orderOf(7n))
  const endings = [new AbortController(), new AbortController()]
  for (const { signal } of endings)
    await client.order.watchOrder({ orderId }, { signal })[Symbol.asyncIterator]().next()
  const watch = () => client.order.watchOrder({ orderId })[Symbol.asyncIterator]().next()
  await expect(watch()).rejects.toMatchObject({ reason: 'TOO_MANY_STREAMS', metadata: { limit: '2' } })
  endings[0]?.abort()
  await until(async () => (await watch()).done === false)
})

test('a caller that goes away while its token is checked keeps no place', async () => {
  let checking = 0
  const front = await createTestFront(database, {
    budgets: { ...DEFAULT_BUDGETS, list: { user: 100, address: 100, atOnce: 1 } },
    deps: {
      accounts: {
        assertActive: async () => {
          checking += 1
          await delay(100)
          checking -= 1
        },
        follow: () => () => undefined,
      },
    },
  })
  open.push(front)
  const [name, token] = await bearerOf(front, 8)
  const session = connect(`http://${front.address}`)
  const gone = session.request({ ':method': 'POST', ':path': LIST, 'content-type': 'application/grpc', [name]: token })
  gone.on('error', () => undefined)
  await until(() => checking === 1)
  session.destroy()
  await until(() => checking === 0)
  expect((await callRaw(front.address, LIST, EMPTY, [[name, token]])).code).toBe('OK')
})

describe('calls whose request never comes', () => {
  const CHECK = HealthService.check.path
  const SESSIONS = 12
  const CALLS_PER_SESSION = 99

  async function flood(front: TestFront, path: string, headers: Record<string, string>): Promise<() => void> {
    const sessions = Array.from({ length: SESSIONS }, () => connect(`http://${front.address}`))
    const streams = sessions.flatMap((session) =>
      Array.from({ length: CALLS_PER_SESSION }, () =>
        session.request({
          ...{ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', 'grpc-timeout': '50S' },
          ...headers,
        }),
      ),
    )
    for (const each of [...sessions, ...streams]) each.on('error', () => undefined)
    await Promise.all(sessions.map((session) => new Promise((resolve) => session.ping((error) => resolve(error)))))
    return () => {
      for (const session of sessions) session.destroy()
    }
  }

  test('by nobody in particular take no place of a customer, and those of their address for a second', async () => {
    const front = await frontOf()
    const end = await flood(front, CHECK, {})
    expect((await callRaw(front.address, LIST, EMPTY, [await bearerOf(front, 9)])).code).toBe('OK')
    const full = /^holdfast_grpc_limited_total\{[^}]*class="health",limit="in_flight"[^}]*\} [1-9]/m
    await until(async () => full.test(await front.registry.metrics()))
    await until(async () => (await callRaw(front.address, CHECK, EMPTY)).code === 'OK')
    end()
  })

  test('by a customer are no work after a second', async () => {
    const wide = { user: 10_000, address: 10_000, atOnce: 10_000 }
    const front = await frontOf({ read: wide })
    const [name, token] = await bearerOf(front, 10)
    const end = await flood(front, OrderServiceService.getOrder.path, { [name]: token })
    const header = await bearerOf(front, 11)
    await until(async () => (await callRaw(front.address, LIST, EMPTY, [header])).code === 'OK')
    end()
  })
})

test('a machine, which stands for many people, has the budget of an address', async () => {
  const front = await frontOf({ list: { user: 1, address: 4, atOnce: 8 } })
  const client = front.as({ role: 'service', subject: 'storefront' })
  for (let call = 0; call < 4; call += 1) await client.catalog.listProducts({})
  expect((await failureOf(client.catalog.listProducts({}))).reason).toBe('RATE_LIMITED')
})

test('a machine has as many times more calls at once as its budget is wider than a person’s', async () => {
  const front = await frontOf({ read: { user: 100, address: 1_000, atOnce: 2 } })
  const { productId } = product
  const codesOf = (client: ReturnType<TestFront['as']>) =>
    Promise.all(
      Array.from({ length: 20 }, () =>
        client.catalog.getProduct({ productId }).then(
          () => 'OK',
          (error: unknown) => (error instanceof DomainError ? error.reason : String(error)),
        ),
      ),
    )
  expect(countOf(await codesOf(front.as({ role: 'service', subject: 'storefront' })))).toEqual({ OK: 20 })
  expect(countOf(await codesOf(front.as(customer(12))))).toMatchObject({ TOO_MANY_CALLS: expect.any(Number) })
})
