import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import http2 from 'node:http2'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import { CALL_WITHIN_MS, until } from '../../test/support/until.ts'
import { callRaw } from '../../test/support/raw_call.ts'
import type { DomainError } from '../domain/failure.ts'
import { createClient, ServingStatus } from './client.ts'
import { HealthService } from './gen/grpc/health/v1/health.ts'
import { OrderServiceService } from './gen/holdfast/v1/order.ts'
import { METHODS, PUBLIC_SERVICES, type Method } from './method.ts'

let database: TestDatabase
let front: TestFront

beforeAll(async () => {
  database = await createTestDatabase()
  front = await createTestFront(database)
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

const LIST = OrderServiceService.listOrders
const EMPTY = Buffer.alloc(0)
const guarded = METHODS.filter(({ path }) => path !== HealthService.check.path)
const publicPaths = new Set(
  Object.values(PUBLIC_SERVICES).flatMap((service) => Object.values<Method>(service).map(({ path }) => path)),
)
const portOf = (method: Method): string => (publicPaths.has(method.path) ? front.address : front.adminAddress)
const bearer = async (userId = 7): Promise<[string, string]> => [
  'authorization',
  `Bearer ${await front.tokenOf(customer(userId))}`,
]

describe('a call without a valid token', () => {
  test.each(guarded.map((method) => [method.path, method] as const))('%s is UNAUTHENTICATED', async (path, method) => {
    const good = await front.tokenOf(customer(7))
    const tokens: [string, string][][] = [
      [],
      [['authorization', '']],
      [['authorization', 'Bearer x.y.z']],
      [['authorization', `Bearer ${good.slice(0, -2)}`]],
      [['authorization', `Basic ${good}`]],
      [['authorization', `Bearer ${good}, Bearer ${good}`]],
    ]
    for (const headers of tokens) {
      const answer = await callRaw(portOf(method), path, Buffer.from('not a message'), headers)
      expect(answer).toMatchObject({
        code: 'UNAUTHENTICATED',
        message: 'The call carries no valid access token.',
        detail: { reason: 'CREDENTIALS_INVALID' },
      })
    }
  })
})

describe('a body that is not its message', () => {
  test('is INVALID_ARGUMENT, not our fault', async () => {
    const answer = await callRaw(front.address, LIST.path, Buffer.from([0xff, 0xff, 0xff]), [await bearer()])
    expect(answer).toMatchObject({
      code: 'INVALID_ARGUMENT',
      detail: { reason: 'FIELD_INVALID', violations: [{ field: '' }] },
    })
  })

  test('names the wrong fields and never what they held', async () => {
    const request = { orderId: 'SENTINEL-42', includeShippingAddress: false }
    const body = OrderServiceService.getOrder.requestSerialize(request)
    const answer = await callRaw(front.address, OrderServiceService.getOrder.path, body, [await bearer()])
    expect(answer).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'order_id: must be a UUID in lower case',
      detail: { violations: [{ field: 'order_id', description: 'must be a UUID in lower case' }] },
    })
  })

  test('beyond 64 KiB is RESOURCE_EXHAUSTED', async () => {
    const answer = await callRaw(front.address, LIST.path, Buffer.alloc(70_000), [await bearer()])
    expect(answer.code).toBe('RESOURCE_EXHAUSTED')
  })

  test('of many empty lines is refused without harm', async () => {
    const lines = Buffer.from(Array.from({ length: 30_000 }, () => [0x1a, 0x00]).flat())
    const answer = await callRaw(front.address, OrderServiceService.createOrder.path, lines, [await bearer()])
    expect(answer.code).toBe('INVALID_ARGUMENT')
    expect(answer.detail.violations.length).toBeLessThanOrEqual(20)
  })
})

test('metadata beyond 8 KiB is RESOURCE_EXHAUSTED before the token counts', async () => {
  const answer = await callRaw(front.address, LIST.path, EMPTY, [['x-padding', 'p'.repeat(9_000)]])
  expect(answer).toMatchObject({
    code: 'RESOURCE_EXHAUSTED',
    detail: { reason: 'MESSAGE_TOO_LARGE', metadata: { limit_bytes: '8192' } },
  })
})

test('metadata under a name that a copy in an object loses is counted too', async () => {
  const session = http2.connect(`http://${front.address}`)
  const common = { ':method': 'POST', ':path': LIST.path, 'content-type': 'application/grpc' }
  const stream = session.request(Object.fromEntries([...Object.entries(common), ['__proto__', 'p'.repeat(9_000)]]))
  stream.resume().end()
  const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  session.destroy()
  // RESOURCE_EXHAUSTED
  expect(answer['grpc-status']).toBe('8')
})

test('every call has a request id, the caller’s own where it is harmless', async () => {
  const given = await callRaw(front.address, LIST.path, EMPTY, [await bearer(), ['x-request-id', 'trace-1']])
  expect(given.headers.get('x-request-id')).toEqual(['trace-1'])
  const evil = await callRaw(front.address, LIST.path, EMPTY, [await bearer(), ['x-request-id', 'a b"}']])
  expect(String(evil.headers.get('x-request-id')[0])).toMatch(/^[0-9a-f-]{36}$/)
})

test('an unexpected failure is INTERNAL with an incident id that is also in the log', async () => {
  const broken = await createTestFront(database, {
    deps: {
      orderIdOf: () => {
        throw new Error('secret detail of the driver')
      },
    },
  })
  const request = {
    idempotencyKey: randomUUID(),
    userId: 7n,
    lines: [{ productId: 'tea', quantity: 1, expectedUnitPrice: '1' }],
    asset: 'ETH',
    shippingAddress: 'Quay 1',
  }
  const error = (await broken
    .as(customer(7))
    .order.createOrder(request)
    .catch((failure: unknown) => failure)) as DomainError
  expect(error).toMatchObject({ reason: 'INTERNAL', message: 'Something went wrong on our side.' })
  const line = broken.logLines().find((each) => each.includes(error.metadata['incident_id'] ?? 'none'))
  expect(JSON.parse(line ?? '{}')).toMatchObject({
    level: 50,
    code: 'INTERNAL',
    reason: 'INTERNAL',
    err: { name: 'Error' },
  })
  expect(broken.logLines().join('')).not.toContain('secret detail')
  await broken.stop()
})

test('a handler that outlives its deadline is answered for in time', async () => {
  const slow = await createTestFront(database, { deps: { isBacklogFull: () => new Promise(() => undefined) } })
  const request = {
    idempotencyKey: randomUUID(),
    userId: 7n,
    lines: [{ productId: 'tea', quantity: 1, expectedUnitPrice: '1' }],
    asset: 'ETH',
    shippingAddress: 'Quay 1',
  }
  const error = await slow
    .as(customer(7))
    .order.createOrder(request, { deadlineMs: 200 })
    .catch((failure: unknown) => failure)
  expect(`${(error as { code?: string }).code ?? ''}${(error as { reason?: string }).reason ?? ''}`).toMatch(
    /DEADLINE_EXCEEDED/,
  )
  await slow.stop()
})

test('calls are counted by method and code, and logged in one line each', async () => {
  await callRaw(front.address, LIST.path, EMPTY, [await bearer(9_001)])
  await callRaw(front.address, LIST.path, EMPTY)
  const text = await front.registry.metrics()
  expect(text).toMatch(/grpc_server_handled_total\{[^}]*grpc_method="ListOrders",grpc_code="OK"[^}]*\} [1-9]/)
  expect(text).toMatch(/grpc_server_handled_total\{[^}]*grpc_code="UNAUTHENTICATED"[^}]*\} [1-9]/)
  expect(text).toMatch(/holdfast_grpc_calls_in_flight\{process="api"\} 0/)
  const lines = front.logLines().filter((line) => line.includes('user:9001'))
  expect(lines).toHaveLength(1)
  expect(JSON.parse(lines[0] ?? '{}')).toMatchObject({
    method: LIST.path,
    code: 'OK',
    actor: 'user:9001',
    roles: ['customer'],
  })
})

describe('health', () => {
  test('is told without a token, by service, on both ports', async () => {
    for (const [address, service] of [
      [front.address, ''],
      [front.address, 'holdfast.v1.OrderService'],
      [front.adminAddress, 'holdfast.v1.StockAdminService'],
    ] as const) {
      const client = createClient({ deadlineMs: CALL_WITHIN_MS, address, token: () => '' })
      expect(await client.health.check({ service })).toEqual({ status: ServingStatus.SERVING })
      client.close()
    }
    const client = createClient({ deadlineMs: CALL_WITHIN_MS, address: front.address, token: () => '' })
    await expect(client.health.check({ service: 'holdfast.v1.StockAdminService' })).rejects.toMatchObject({
      reason: 'NOT_FOUND',
    })
    client.close()
  })

  test('lists every service to those who may ask', async () => {
    const { statuses } = await front.as(admin).health.list({})
    const names = Object.values(PUBLIC_SERVICES).map((service) => Object.values<Method>(service)[0]?.path.split('/')[1])
    expect(new Set(Object.keys(statuses))).toEqual(new Set(['', ...names]))
  })

  test('follows the truth, and a stop says so before it closes anything', async () => {
    let isReady = false
    const other = await createTestFront(database, { deps: { isReady: async () => isReady } })
    const told: ServingStatus[] = []
    const watching = (async () => {
      for await (const { status } of other.as(admin).health.watch({})) told.push(status)
    })().catch((error: unknown) => error)
    await until(() => told.length === 1)
    isReady = true
    await until(() => told.length === 2)
    await other.stopServing()
    expect(told).toEqual([ServingStatus.NOT_SERVING, ServingStatus.SERVING])
    expect(await watching).toMatchObject({ reason: 'SHUTTING_DOWN' })
    await other.stop()
  })
})
