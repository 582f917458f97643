// An order that is paid before its workflow runs: the workflow begins with the money, and misses nothing of its life.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { buildLine } from '../../test/support/builder.ts'
import { FAULTS, withFault } from '../../test/support/activity_fault.ts'
import { recordHistory } from '../../test/support/history.ts'
import {
  buildCommand,
  buildObservation,
  createTestShop,
  forgetHold,
  SHIP,
  type TestShop,
} from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { recordReport } from '../db/payment.ts'
import { deliverUpdate, orderWorkflowId, shipUpdate } from './message.ts'

let shop: TestShop
/** Starts nothing by itself: only news does. */
let worker: TestWorker
beforeAll(async () => {
  shop = await createTestShop()
  worker = await createTestWorker(shop.test, { relays: ['wake'] })
  await worker.run()
})
afterAll(async () => {
  await worker.stop()
  await shop.close()
})

const handleOf = ({ orderId }: AcceptedOrder) => worker.client.workflow.getHandle(orderWorkflowId(orderId))
const pay = (order: AcceptedOrder) => recordReport(shop.api, 'w1', [buildObservation(order)])
const reach = (order: AcceptedOrder, status: string) => until(async () => (await shop.state(order)).status === status)
const ask = (order: AcceptedOrder, update: typeof shipUpdate, method: string) =>
  handleOf(order).executeUpdate(update, { args: [buildCommand({ ...SHIP, method })] })
async function deliver(order: AcceptedOrder): Promise<void> {
  expect(await ask(order, shipUpdate, 'MarkShipped')).toMatchObject({ ok: true })
  expect(await ask(order, deliverUpdate, 'MarkDelivered')).toMatchObject({ ok: true })
  expect(await handleOf(order).result()).toEqual({ status: 'delivered', cancelReason: null })
}
/** The steps of a run, in order: each a marker in its history. */
async function stepsOf(order: AcceptedOrder): Promise<unknown[]> {
  const { events } = await handleOf(order).fetchHistory()
  const data = (events ?? []).flatMap(({ markerRecordedEventAttributes: marker }) => marker?.details?.['data'] ?? [])
  return data.map(({ payloads }) => JSON.parse(Buffer.from(payloads?.[0]?.data ?? []).toString()).activity_type)
}
test('it is assessed in its first step, with no signal, no timer and no reservation of its own', async () => {
  const order = await shop.order()
  await pay(order)
  await reach(order, 'processing')
  await deliver(order)
  expect(await stepsOf(order)).toEqual(['assessPayments', 'runCommand', 'runCommand'])
  const { events = [] } = await handleOf(order).fetchHistory()
  expect(events?.filter((event) => event.workflowExecutionSignaledEventAttributes)).toEqual([])
  expect(events?.filter((event) => event.timerStartedEventAttributes)).toEqual([])
  expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
  await recordHistory(handleOf(order), 'prepaid')
})

test('with too little it waits for the rest as any other', async () => {
  const order = await shop.order()
  const part = buildObservation(order, { amount: order.amountDue / 2n })
  await recordReport(shop.api, 'w1', [part])
  await until(async () => (await shop.state(order)).paymentState === 'partial')
  await recordReport(shop.api, 'w1', [buildObservation(order, { amount: order.amountDue - part.amount })])
  await reach(order, 'processing')
  await deliver(order)
})

test.each(FAULTS)('it is delivered once although its first step %s', async (fault) => {
  const gone = { isWrong: false }
  await worker.run(withFault('assessPayments', fault, gone))
  const order = await shop.order()
  await pay(order)
  await reach(order, 'processing')
  await deliver(order)
  expect(gone.isWrong).toBe(true)
  expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
  await worker.run()
})

test('that never held stock it holds it first', async () => {
  const order = await shop.order()
  await forgetHold(shop, order)
  await pay(order)
  await reach(order, 'processing')
  expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 2n })
  await deliver(order)
  expect((await stepsOf(order)).slice(0, 3)).toEqual(['assessPayments', 'reserveStock', 'assessPayments'])
})

test('that never held stock and can get none it ends, and the money is owed back', async () => {
  const { productId } = await shop.product({ onHand: 2n })
  const order = await shop.order({ lines: [buildLine({ productId, quantity: 2 })] })
  await forgetHold(shop, order)
  await shop.order({ lines: [buildLine({ productId, quantity: 2 })] })
  await pay(order)
  await reach(order, 'cancelled')
  expect(await shop.state(order)).toMatchObject({ cancelReason: 'out_of_stock', reservation: 'none' })
  await until(async () => (await shop.query('select from refund_due where order_id = $1', [order.orderId])).length > 0)
  expect(await shop.stock(order)).toEqual({ onHand: 2n, reserved: 2n })
})
