// An order and what its watchers said last: nothing ships before it is looked at, and an order that ended by itself
// leaves no run behind.

import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { buildCommand, buildObservation, createTestShop, nextOf, SHIP, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { recordReport } from '../db/payment.ts'
import { orderWorkflowId, shipUpdate } from './message.ts'

let shop: TestShop
let worker: TestWorker | undefined
beforeAll(async () => {
  shop = await createTestShop()
  await shop.catchUp()
})
afterEach(async () => {
  await worker?.stop()
  worker = undefined
})
afterAll(() => shop.close())

async function work(relays?: Parameters<typeof createTestWorker>[1]): Promise<TestWorker> {
  worker = await createTestWorker(shop.test, relays)
  await worker.run()
  return worker
}
const reach = (order: AcceptedOrder, status: string) => until(async () => (await shop.state(order)).status === status)
const shipping = () => ({
  args: [buildCommand({ ...SHIP, method: 'MarkShipped' })] as [ReturnType<typeof buildCommand>],
})

test('an order with news of its payment is shipped once that is assessed, and not when the money is gone', async () => {
  // News is recorded, and no relay tells the workflow.
  const { client } = await work({ relays: ['start'] })
  const [good, bad] = [await shop.order(), await shop.order()]
  const paid = [good, bad].map((order) => buildObservation(order))
  for (const order of [good, bad])
    await until(
      async () => (await shop.query('select from orders where order_id = $1 and step > 0', [order.orderId]))[0],
    )
  for (const fact of paid) await recordReport(shop.api, 'w1', [fact])
  const handles = [good, bad].map(({ orderId }) => client.workflow.getHandle(orderWorkflowId(orderId)))
  for (const handle of handles) await handle.signal('orderChanged')
  for (const order of [good, bad]) await reach(order, 'processing')
  await recordReport(shop.api, 'w1', [buildObservation(good, { amount: 1n, state: 'seen' })])
  await recordReport(
    shop.api,
    'w1',
    paid.slice(1).map((fact) => nextOf(fact, { state: 'reorged' })),
  )
  const [shipped, refused] = await Promise.all(handles.map((handle) => handle.executeUpdate(shipUpdate, shipping())))
  expect(shipped).toMatchObject({ ok: true, state: { status: 'shipped' } })
  expect(refused).toMatchObject({ ok: false, reason: 'ORDER_ON_HOLD', state: { paymentState: 'at_risk' } })
})

test('an order whose payment is not final by its deadline ends as slow, and so does its run', async () => {
  const { client } = await work()
  const order = await shop.order({ windowMs: 1_000, graceMs: 0, confirmWithinMs: 1_000 })
  await recordReport(shop.api, 'w1', [buildObservation(order, { state: 'seen', firstSeenAt: order.createdAt })])
  await reach(order, 'cancelled')
  expect(await shop.state(order)).toMatchObject({ cancelReason: 'expired', paymentState: 'late_confirming' })
  expect(await client.workflow.getHandle(orderWorkflowId(order.orderId)).result()).toEqual({
    status: 'cancelled',
    cancelReason: 'expired',
  })
  await until(
    async () => (await shop.query('select from order_wake where order_id = $1', [order.orderId])).length === 0,
  )
})
