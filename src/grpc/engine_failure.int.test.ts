// A command whose engine fails in each way, as its caller sees it. The engine is a stand-in that throws what Temporal's
// client throws.

import { randomUUID } from 'node:crypto'
import { Metadata, status } from '@grpc/grpc-js'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { ServiceError, type Client } from '@temporalio/client'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, failureOf, type TestFront } from '../../test/support/front.ts'
import { startOptionsOf } from '../relay/start.ts'
import { createCommander } from './command.ts'

let database: TestDatabase
let plain: TestFront
let front: TestFront
let orderId: string
let thrown: () => Error = () => new Error('not set')

const now = <Result>(_: unknown, act: () => Result): Result => act()
const fail = (): Promise<never> => Promise.reject(thrown())
const engine = {
  withDeadline: now,
  withAbortSignal: now,
  workflow: { executeUpdateWithStart: fail, getHandle: () => ({ executeUpdate: fail }) },
} as unknown as Client

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 1)
  const { productId, unitPrice } = await putProduct(database)
  plain = await createTestFront(database)
  front = await createTestFront(database, {
    deps: { command: createCommander({ database: plain.database, client: engine, startOptionsOf }) },
  })
  const lines = [{ productId, quantity: 1, expectedUnitPrice: unitPrice }]
  const request = { idempotencyKey: randomUUID(), userId: 7n, lines, asset: 'ETH', shippingAddress: 'Quay 1' }
  orderId = (await front.as(customer(7)).order.createOrder(request)).orderId
})
afterAll(async () => {
  await front.stop()
  await plain.stop()
  await database.drop()
})

const CODES = Object.values(status).filter((code): code is status => typeof code === 'number' && code !== status.OK)
const bare = (code: status): Error =>
  Object.assign(new Error(`${code} CANARY`), { code, details: 'CANARY', metadata: new Metadata() })
const cancel = () => front.as(customer(7)).order.cancelOrder({ idempotencyKey: randomUUID(), orderId })

describe.each(CODES.map((code) => [status[code], code] as const))('an engine that answers %s', (_, code) => {
  test.each([
    ['bare', () => bare(code)],
    ['wrapped', () => new ServiceError('CANARY', { cause: bare(code) })],
  ])('%s, is unavailable, with a time to try again and without its text', async (_how, make) => {
    thrown = make
    const error = await failureOf(cancel())
    expect(error).toMatchObject({ reason: 'ENGINE_UNAVAILABLE', retryAfterMs: 1_000 })
    expect(error.message).not.toContain('CANARY')
    expect(front.logLines().join('')).not.toContain('CANARY')
  })
})
