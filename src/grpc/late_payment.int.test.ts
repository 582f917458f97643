// A late payment from end to end: the order expires, its money comes, aftercare makes the linked order, the relay starts
// its workflow, and the callers of the API find, read and ship it.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestFront, customer, fulfilment, type TestFront } from '../../test/support/front.ts'
import { createTestShop, buildObservation, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import { saveAssetRates } from '../db/asset_rate.ts'
import { assessLatePayments, recordReport } from '../db/payment.ts'
import { ASSET_POLICY } from '../domain/payment.ts'
import { OrderStatus } from './gen/holdfast/v1/common.ts'

const WITHIN_MS = 60_000
jest.setTimeout(2 * WITHIN_MS)

const POLICY = { accepts: true, withinMs: 3_600_000, driftBps: 200, rateAgeMs: 3_600_000 }
const ADDRESS = 'Canary Wharf 7'

let shop: TestShop
let worker: TestWorker
let front: TestFront
beforeAll(async () => {
  shop = await createTestShop()
  await shop.catchUp()
  await putAddresses(shop.test, 2)
  await saveAssetRates(shop.api, 'EUR', [{ asset: 'ETH', rateMinor: 200_000n }])
  worker = await createTestWorker(shop.test)
  await worker.run(() => ({ assessLatePayments: (orderId) => assessLatePayments(worker.database, orderId, POLICY) }))
  const policy = { ...ASSET_POLICY.ETH, graceMs: 0 }
  const selling = {
    currency: 'EUR',
    windowMs: 500,
    offers: new Map([['ETH', { network: 'ethereum', policy }]] as const),
    rateOf: () => ({ rateMinor: 200_000n }),
    refundFeeBearer: 'shop' as const,
    stepUpTotalMinor: 100_000n,
  }
  front = await createTestFront(shop.test, { engine: worker.client, deps: { shop: selling } })
})
afterAll(async () => {
  await front.stop()
  await worker.stop()
  await shop.close()
})

test('the customer finds the order that a late payment bought, and fulfilment ships it to the same address', async () => {
  const me = front.as(customer(7)).order
  const { productId, unitPrice } = await putProduct(shop.test)
  const lines = [{ productId, quantity: 1, expectedUnitPrice: unitPrice }]
  const asked = { idempotencyKey: randomUUID(), userId: 7n, lines, asset: 'ETH', shippingAddress: ADDRESS }
  const { orderId, paymentRequest } = await me.createOrder(asked)
  const read = async (id: string) => (await me.getOrder({ orderId: id, includeShippingAddress: true })).order
  await until(async () => (await read(orderId))?.state?.status === OrderStatus.ORDER_STATUS_CANCELLED, {
    withinMs: WITHIN_MS,
  })
  const quote = {
    network: 'ethereum',
    asset: 'ETH' as const,
    address: (paymentRequest?.address ?? '').toLowerCase(),
    amountDue: BigInt(paymentRequest?.amount?.units ?? 0),
  }
  // The api leases addresses ahead of its orders.
  await putAddresses(shop.test, 1)
  await recordReport(shop.api, 'w1', [buildObservation(quote)])
  const replacementId = await until(async () => (await read(orderId))?.replacedByOrderId, { withinMs: WITHIN_MS })
  expect(await read(replacementId)).toMatchObject({
    state: { status: OrderStatus.ORDER_STATUS_PROCESSING },
    replacesOrderId: orderId,
    received: paymentRequest?.amount,
    shippingAddress: ADDRESS,
  })
  await front.as(fulfilment).fulfilment.markShipped({ orderId: replacementId, idempotencyKey: randomUUID() })
  expect((await read(replacementId))?.state?.status).toBe(OrderStatus.ORDER_STATUS_SHIPPED)
  expect(await read(orderId)).toMatchObject({ state: { status: OrderStatus.ORDER_STATUS_CANCELLED } })
})

test('a new address of the replacement is sealed for the replacement', async () => {
  const me = front.as(customer(8)).order
  const { productId, unitPrice } = await putProduct(shop.test)
  const lines = [{ productId, quantity: 1, expectedUnitPrice: unitPrice }]
  const asked = { idempotencyKey: randomUUID(), userId: 8n, lines, asset: 'ETH', shippingAddress: ADDRESS }
  const { orderId, paymentRequest } = await me.createOrder(asked)
  await until(
    async () => (await me.getOrder({ orderId })).order?.state?.status === OrderStatus.ORDER_STATUS_CANCELLED,
    { withinMs: WITHIN_MS },
  )
  const address = (paymentRequest?.address ?? '').toLowerCase()
  const amountDue = BigInt(paymentRequest?.amount?.units ?? 0)
  // The api leases addresses ahead of its orders.
  await putAddresses(shop.test, 1)
  await recordReport(shop.api, 'w1', [buildObservation({ network: 'ethereum', asset: 'ETH', address, amountDue })])
  const replacementId = await until(async () => (await me.getOrder({ orderId })).order?.replacedByOrderId, {
    withinMs: WITHIN_MS,
  })
  const change = { orderId: replacementId, idempotencyKey: randomUUID(), shippingAddress: 'Elm Street 1' }
  await me.updateShippingAddress(change)
  const { order } = await me.getOrder({ orderId: replacementId, includeShippingAddress: true })
  expect(order?.shippingAddress).toBe('Elm Street 1')
})
