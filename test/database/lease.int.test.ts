// Leases of starts and wakes end when what they were for has ended, and not by their time alone: the money of an order
// would wait for them.

import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { buildObservation, createTestShop, type TestShop } from '../support/shop.ts'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { recordReport } from '../../src/db/payment.ts'
import { claimStarts, deleteStarts, releaseStarts } from '../../src/db/start.ts'
import { claimWakes } from '../../src/db/wake.ts'

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
beforeEach(() => shop.query('delete from workflow_start; delete from order_wake'))
afterAll(() => shop.close())

const ids = (rows: readonly { orderId: string }[]): string[] => rows.map(({ orderId }) => orderId)
const pay = (order: AcceptedOrder) => recordReport(shop.api, 'w1', [buildObservation(order, { amount: 1n })])

test('starts are settled while a report of their order is being stored, so that its wake need not wait for their lease', async () => {
  const order = await shop.order()
  await claimStarts(shop.worker, 'relay-1', 1)
  await shop.api.transaction(async (tx) => {
    await recordReport(tx, 'w1', [buildObservation(order, { amount: 1n })])
    await deleteStarts(shop.worker, 'relay-1', [order.orderId])
    expect(await shop.query('select from workflow_start')).toEqual([])
  })
  expect(ids(await claimWakes(shop.worker, 'relay-1', 1))).toEqual([order.orderId])
})

test('starts that were not tried are given back by their holder', async () => {
  const orders = ids([await shop.order(), await shop.order()])
  const [mine] = ids(await claimStarts(shop.worker, 'relay-1', 1))
  await claimStarts(shop.worker, 'relay-2', 1)
  await releaseStarts(shop.worker, 'relay-1', orders)
  expect(ids(await claimStarts(shop.worker, 'relay-3', 2))).toEqual([mine])
})

test('wakes of an order whose start they settle are claimed by the same statement', async () => {
  const order = await shop.order()
  await claimStarts(shop.worker, 'a', 1)
  await pay(order)
  expect(await claimWakes(shop.worker, 'a', 1, [order.orderId])).toMatchObject([{ startGeneration: null }])
  expect(await shop.query('select from workflow_start')).toEqual([])
})

test('wakes of an order that ends are free for its aftercare, whoever was asking its run', async () => {
  const { order, run } = await shop.orderIn('pending')
  await shop.query('delete from workflow_start')
  await pay(order)
  expect(await claimWakes(shop.worker, 'a', 1)).toHaveLength(1)
  await shop.ask('cancel', run.next())
  expect(await claimWakes(shop.worker, 'b', 1)).toMatchObject([{ orderId: order.orderId, status: 'cancelled' }])
})
