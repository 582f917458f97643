// How often the published client repeats a call that is refused as UNAVAILABLE.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, failureOf, type TestFront } from '../../test/support/front.ts'

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

/** The attempts that arrived at the front for one call of the client. */
async function attemptsOf(reason: string): Promise<number> {
  const { productId, unitPrice } = await putProduct(database)
  const started = async (): Promise<number> => {
    const metric = await front.registry.getSingleMetric('grpc_server_started_total')?.get()
    return metric?.values.reduce((sum, { value }) => sum + value, 0) ?? Number.NaN
  }
  const before = await started()
  const call = front.as(customer(7)).order.createOrder({
    idempotencyKey: randomUUID(),
    userId: 7n,
    lines: [{ productId, quantity: 1, expectedUnitPrice: unitPrice }],
    asset: 'ETH',
    shippingAddress: 'Quay 1',
  })
  expect(await failureOf(call)).toMatchObject({ reason })
  return (await started()) - before
}

test('a call is sent once where the advised wait is longer than the retries of the client', async () => {
  front.setBlindness('behind')
  expect(await attemptsOf('ASSET_UNAVAILABLE')).toBe(1)
})

test('a call that may succeed at once is sent four times', async () => {
  front.setBlindness(undefined)
  // The keys process refills the pool within a second.
  expect(await attemptsOf('ADDRESS_POOL_EMPTY')).toBe(4)
})
