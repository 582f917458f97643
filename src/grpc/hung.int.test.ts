// The front while a neighbour hangs, refuses, or has gone silent; and a client whose front has.

import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { Client, Connection } from '@temporalio/client'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTcpProxy, type TcpProxy } from '../../test/support/tcp_proxy.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import { testServers } from '../../test/support/servers.ts'
import { CALL_WITHIN_MS, until } from '../../test/support/until.ts'
import { DomainError } from '../domain/failure.ts'
import { POOL_WAIT_MS } from '../db/connection/session.ts'
import { temporalOptions } from '../main/temporal_connection.ts'
import { createClient, TransportError, type HoldfastClient } from './client.ts'

/** Of a database or an engine, for this test. */
const ANSWER_WITHIN_MS = 400
/** The client's four tries, each of which may wait a second for a connection, on a slow machine. Below the deadline. */
const ENDS_WITHIN_MS = 40_000
const DEADLINE_MS = 60_000
/** A ping must be answered by a machine that is busy, too. */
const KEEPALIVE = { everyMs: 300, withinMs: 1_000 }

let database: TestDatabase
let toDatabase: TcpProxy
let toEngine: TcpProxy
let toFront: TcpProxy
let connection: Connection
let front: TestFront
let product: TestProduct
let client: HoldfastClient
beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 100)
  product = await putProduct(database, { onHand: 1_000n })
  const { postgres, temporalAddress } = testServers()
  toDatabase = await createTcpProxy(`${postgres.host}:${postgres.port}`)
  toEngine = await createTcpProxy(temporalAddress)
  connection = Connection.lazy(temporalOptions(toEngine.address, KEEPALIVE))
  front = await createTestFront(
    { urlOf: (role) => toDatabase.urlOf(database.urlOf(role)) },
    {
      engine: new Client({ connection, namespace: 'none' }),
      answerWithinMs: ANSWER_WITHIN_MS,
      poolWaitMs: POOL_WAIT_MS,
      engineWithinMs: ANSWER_WITHIN_MS,
    },
  )
  toFront = await createTcpProxy(front.address)
  client = createClient({
    deadlineMs: CALL_WITHIN_MS,
    address: toFront.address,
    token: () => front.tokenOf(customer(1)),
    keepalive: KEEPALIVE,
  })
})
afterEach(() => {
  for (const proxy of [toDatabase, toEngine, toFront]) proxy.restore()
})
afterAll(async () => {
  client.close()
  await front.stop()
  await connection.close()
  for (const proxy of [toDatabase, toEngine, toFront]) await proxy.close()
  await database.drop()
})

const create = () =>
  client.order.createOrder(
    {
      idempotencyKey: randomUUID(),
      userId: 1n,
      lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }],
      asset: 'ETH',
      shippingAddress: 'Quay 1',
    },
    { deadlineMs: DEADLINE_MS },
  )
const cancel = (orderId: string) =>
  client.order.cancelOrder({ idempotencyKey: randomUUID(), orderId }, { deadlineMs: DEADLINE_MS })

/** How a call failed, well before its deadline. */
async function failureOf(call: Promise<unknown>): Promise<unknown> {
  const startedAt = performance.now()
  const error = await call.then(
    () => 'nothing failed',
    (reason: unknown) => reason,
  )
  expect(performance.now() - startedAt).toBeLessThan(ENDS_WITHIN_MS)
  return error instanceof DomainError ? error.reason : error
}

describe.each(['hang', 'cut'] as const)('while the database is away (%s)', (away) => {
  const calls: readonly [string, (orderId: string) => Promise<unknown>][] = [
    ['GetOrder', (orderId) => client.order.getOrder({ orderId }, { deadlineMs: DEADLINE_MS })],
    ['ListOrders', () => client.order.listOrders({}, { deadlineMs: DEADLINE_MS })],
    ['CreateOrder', create],
    ['CancelOrder', cancel],
  ]
  test.each(calls)('%s is UNAVAILABLE in time, and works when it is back', async (name, call) => {
    const { orderId } = await until(create)
    toDatabase[away]()
    expect(await failureOf(call(orderId))).toBe('DATABASE_UNAVAILABLE')
    toDatabase.restore()
    // Here no engine knows the order: a command that gets as far has passed the database.
    if (name === 'CancelOrder') await until(async () => (await failureOf(call(orderId))) === 'ENGINE_UNAVAILABLE')
    else await until(() => call(orderId))
  })
})

describe.each(['hang', 'cut'] as const)('while the engine is away (%s)', (away) => {
  test('a command is UNAVAILABLE in time, whatever the caller would wait', async () => {
    const { orderId } = await until(create)
    toEngine[away]()
    expect(await failureOf(cancel(orderId))).toBe('ENGINE_UNAVAILABLE')
  })
})

describe('a connection that goes silent while new ones pass', () => {
  test('to the engine is replaced', async () => {
    const ask = () => connection.withDeadline(Date.now() + 2_000, () => connection.workflowService.getSystemInfo({}))
    await until(ask)
    const before = toEngine.connectionCount()
    toEngine.silence()
    await until(ask)
    expect(toEngine.connectionCount()).toBeGreaterThan(before)
  })

  test('to the front ends a watch, which goes on by the next one', async () => {
    const { orderId } = await until(create)
    const watch = client.order.watchOrder({ orderId })[Symbol.asyncIterator]()
    expect((await watch.next()).value?.state?.orderId).toBe(orderId)
    toFront.silence()
    await expect(watch.next()).rejects.toBeInstanceOf(TransportError)
    await expect(client.order.getOrder({ orderId })).resolves.toMatchObject({ order: { state: { orderId } } })
  })
})
