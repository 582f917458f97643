// The link to the payment page needs no sign-in: the API gives it to the order's owner alone.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, fulfilment, type TestFront } from '../../test/support/front.ts'

let database: TestDatabase
let front: TestFront
beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 20)
  front = await createTestFront(database, {
    deps: { payUrlOf: ({ orderId, createdAt }) => `https://pay.example/${orderId}/${createdAt.getTime()}` },
  })
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

const newOrder = async (key = randomUUID(), productId?: string) => {
  const product = productId ?? (await putProduct(database)).productId
  const request = {
    idempotencyKey: key,
    userId: 7n,
    lines: [{ productId: product, quantity: 1, expectedUnitPrice: '12.50' }],
    asset: 'ETH',
    shippingAddress: 'Sample Street 1',
  }
  return { product, answer: await front.as(customer(7)).order.createOrder(request) }
}

test('the owner gets the link with a new order, with a repeated call, and with each read: always the same', async () => {
  const key = randomUUID()
  const { product, answer } = await newOrder(key)
  const { orderId, createdAt, paymentRequest } = answer
  expect(paymentRequest?.payUrl).toBe(`https://pay.example/${orderId}/${createdAt?.getTime()}`)
  expect((await newOrder(key, product)).answer).toEqual(answer)
  const { order } = await front.as(customer(7)).order.getOrder({ orderId })
  expect(order?.paymentRequest).toEqual(paymentRequest)
})

test('an admin sees the payment without the link, and fulfilment sees neither', async () => {
  const { orderId } = (await newOrder()).answer
  const seen = async (caller: typeof admin) =>
    (await front.as(caller).order.getOrder({ orderId })).order?.paymentRequest
  expect(await seen(admin)).toMatchObject({ network: 'ethereum', payUrl: undefined })
  await database.forge(`update orders set status = 'processing', payment_state = 'paid' where order_id = $1`, [orderId])
  expect(await seen(fulfilment)).toBeUndefined()
})

test('a shop without a payment page gives no link', async () => {
  const plain = await createTestFront(database)
  const { orderId } = (await newOrder()).answer
  const { order } = await plain.as(customer(7)).order.getOrder({ orderId })
  expect(order?.paymentRequest).toMatchObject({ network: 'ethereum', payUrl: undefined })
  await plain.stop()
})
