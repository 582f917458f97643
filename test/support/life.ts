// What an order may live through: one of every possible history.

import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { reserveStock } from '../../src/db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../src/db/payment.ts'
import { buildObservation, runOf, type TestShop } from './shop.ts'

const half = (order: AcceptedOrder) => buildObservation(order, { amount: order.amountDue / 2n, state: 'seen' })
const report = (shop: TestShop, order: AcceptedOrder, fact = buildObservation(order)) =>
  recordReport(shop.api, 'w1', [fact])

/** Every possible history of an order. */
const LIVES: readonly ((shop: TestShop, order: AcceptedOrder) => Promise<unknown>)[] = [
  async () => undefined,
  async (shop, order) => report(shop, order),
  async (shop, order) => {
    await report(shop, order, half(order))
    await assessPayments(shop.worker, runOf(order).next())
  },
  async (shop, order) => {
    await report(shop, order, buildObservation(order, { state: 'seen' }))
    await assessPayments(shop.worker, runOf(order).next())
  },
  async (shop, order) => {
    await report(shop, order, buildObservation(order, { amount: order.amountDue + 5n }))
    await assessPayments(shop.worker, runOf(order).next())
  },
  async (shop, order) => {
    const run = await paid(shop, order)
    await shop.ask('ship', run.next())
  },
  async (shop, order) => {
    const run = await paid(shop, order)
    await shop.ask('ship', run.next())
    await shop.ask('deliver', run.next())
  },
  async (shop, order) => shop.ask('cancel', runOf(order).next()),
  async (shop, order) => {
    const run = await paid(shop, order)
    await shop.ask('cancel', run.next())
  },
  async (shop, order) => {
    await shop.ask('cancel', runOf(order).next())
    await report(shop, order)
    await assessLatePayments(shop.worker, order.orderId)
  },
]

async function paid(shop: TestShop, order: AcceptedOrder): Promise<ReturnType<typeof runOf>> {
  const run = runOf(order)
  await reserveStock(shop.worker, run.next())
  await report(shop, order)
  await assessPayments(shop.worker, run.next())
  return run
}

/** Takes the order through the history of this number. */
export async function live(shop: TestShop, order: AcceptedOrder, no: number): Promise<void> {
  await LIVES[no % LIVES.length]?.(shop, order)
}
