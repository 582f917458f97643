// A repeated attempt gets its answer also while no new order can be taken.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type TestFront } from '../../test/support/front.ts'

let database: TestDatabase
let front: TestFront

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 1)
  front = await createTestFront(database)
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

test('with the address pool empty a new order is told to come back, and a repeated one is answered as before', async () => {
  const { productId, unitPrice } = await putProduct(database)
  const lines = [{ productId, quantity: 1, expectedUnitPrice: unitPrice }]
  const request = { idempotencyKey: randomUUID(), userId: 7n, lines, asset: 'ETH', shippingAddress: 'Canary Wharf 7' }
  const { order } = front.as(customer(7))
  const first = await order.createOrder(request)
  await expect(order.createOrder({ ...request, idempotencyKey: randomUUID() })).rejects.toMatchObject({
    reason: 'ADDRESS_POOL_EMPTY',
  })
  expect(await order.createOrder(request)).toEqual(first)
  await expect(order.createOrder({ ...request, shippingAddress: 'Elsewhere 1' })).rejects.toMatchObject({
    reason: 'IDEMPOTENCY_KEY_REUSED',
  })
})
