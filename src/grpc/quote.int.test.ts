// Payment requests of a served API: signed at the creation of an order and at each reading of it.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, QUOTE_PAIR, type TestFront } from '../../test/support/front.ts'
import { loadPublicKeys } from '../keyvault/ed25519.ts'
import { isQuoteGenuine } from './client.ts'

const keys = loadPublicKeys('quote keys', QUOTE_PAIR.publicKey)
let database: TestDatabase
let front: TestFront

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 10)
  front = await createTestFront(database)
}, 60_000)
afterAll(async () => {
  await front.stop()
  await database.drop()
})

test('a client verifies the address and the amount of a new order, of its replay and of a later reading', async () => {
  const { productId, unitPrice } = await putProduct(database)
  const buyer = front.as(customer(7))
  const request = {
    idempotencyKey: randomUUID(),
    userId: 7n,
    lines: [{ productId, quantity: 1, expectedUnitPrice: unitPrice }],
    asset: 'ETH',
    shippingAddress: 'Canary Wharf 7',
  }
  const created = await buyer.order.createOrder(request)
  const { orderId, paymentRequest } = created
  expect(paymentRequest).toMatchObject({
    amountDecimal: '0.00625',
    uri: `ethereum:${paymentRequest?.address}@1?value=6250000000000000`,
  })
  if (paymentRequest === undefined) throw new Error('no payment request')
  expect(isQuoteGenuine(orderId, paymentRequest, keys)).toBe(true)
  expect(await buyer.order.createOrder(request)).toEqual(created)
  const { order } = await buyer.order.getOrder({ orderId })
  expect(order?.paymentRequest).toEqual(paymentRequest)
})
