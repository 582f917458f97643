// A run that an operator resets counts its steps again from an earlier one, while the order has gone on.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { buildCommand, buildObservation, createTestShop, SHIP, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { AcceptedOrder } from '../db/accept.ts'
import { recordReport } from '../db/payment.ts'
import { cancelUpdate, deliverUpdate, orderWorkflowId, shipUpdate } from './message.ts'

let shop: TestShop
let worker: TestWorker
beforeAll(async () => {
  shop = await createTestShop()
  worker = await createTestWorker(shop.test)
  await shop.catchUp()
  await worker.run()
}, 60_000)
afterAll(async () => {
  await worker.stop()
  await shop.close()
})

const handleOf = ({ orderId }: AcceptedOrder) => worker.client.workflow.getHandle(orderWorkflowId(orderId))
const reach = (order: AcceptedOrder, status: string) => until(async () => (await shop.state(order)).status === status)
const stepOf = async ({ orderId }: AcceptedOrder): Promise<number> =>
  (await shop.query<{ step: number }>('select step from orders where order_id = $1', [orderId]))[0]?.step ?? 0

/** Paid in two reports, so that the order is at its third step. */
async function paidOrder(): Promise<AcceptedOrder> {
  const order = await shop.order()
  await until(async () => (await stepOf(order)) === 1)
  const seen = buildObservation(order, { state: 'seen' })
  await recordReport(shop.api, 'w1', [seen])
  await until(async () => (await shop.state(order)).paymentState === 'confirming')
  await recordReport(shop.api, 'w1', [buildObservation(order, { txId: seen.txId, seq: 2, state: 'final' })])
  await reach(order, 'processing')
  return order
}

/** temporal.api.enums.v1.EventType */
const WORKFLOW_TASK_COMPLETED = 7

/** @param nth which of the finished workflow tasks the new run begins after */
async function reset(order: AcceptedOrder, nth = 0): Promise<void> {
  const { runId } = await handleOf(order).describe()
  const { events } = await handleOf(order).fetchHistory()
  const finished = (events ?? []).filter(({ eventType }) => Number(eventType) === WORKFLOW_TASK_COMPLETED)
  await worker.client.workflowService.resetWorkflowExecution({
    namespace: worker.namespace,
    workflowExecution: { workflowId: orderWorkflowId(order.orderId), runId },
    reason: 'test',
    requestId: randomUUID(),
    workflowTaskFinishEventId: finished[nth]?.eventId ?? null,
  })
}

test.each([0, 1])(
  'an order that was reset to workflow task %s is shipped by the first attempt, and delivered',
  async (nth) => {
    const order = await paidOrder()
    await reset(order, nth)
    const asked = buildCommand(SHIP)
    const ask = () => handleOf(order).executeUpdate(shipUpdate, { args: [asked], updateId: 'one-attempt' })
    expect(await ask()).toMatchObject({ ok: true, state: { status: 'shipped', reservation: 'consumed' } })
    expect(await ask()).toMatchObject({ ok: true })
    const deliver = buildCommand({ ...SHIP, method: 'MarkDelivered' })
    expect(await handleOf(order).executeUpdate(deliverUpdate, { args: [deliver] })).toMatchObject({ ok: true })
    expect(await handleOf(order).result()).toEqual({ status: 'delivered', cancelReason: null })
    expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
  },
)

test('an order that was reset is cancelled by a cancellation asked for in Temporal', async () => {
  const order = await paidOrder()
  await reset(order)
  await handleOf(order).cancel()
  expect(await handleOf(order).result()).toEqual({ status: 'cancelled', cancelReason: 'admin' })
  expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 0n })
})

test('an order that was reset is told why it refuses a command', async () => {
  const order = await paidOrder()
  await reset(order)
  const early = buildCommand({ ...SHIP, method: 'MarkDelivered' })
  // By the validator, where the new run has its first answer already.
  const refused = await handleOf(order)
    .executeUpdate(deliverUpdate, { args: [early] })
    .catch((error: { cause: { type: string } }) => ({ reason: error.cause.type }))
  expect(refused).toMatchObject({ reason: 'ORDER_STATUS' })
})

test('an order that was reset before it was paid notices its payment, and another expires', async () => {
  const paid = await shop.order()
  const unpaid = await shop.order({ windowMs: 2_000, graceMs: 500 })
  for (const order of [paid, unpaid]) {
    await until(async () => (await stepOf(order)) === 1)
    // Steps that the new run does not know of.
    await shop.query('update orders set step = step + 3 where order_id = $1', [order.orderId])
    await reset(order)
  }
  await recordReport(shop.api, 'w1', [buildObservation(paid)])
  await reach(paid, 'processing')
  await reach(unpaid, 'cancelled')
  expect(await handleOf(unpaid).result()).toEqual({ status: 'cancelled', cancelReason: 'expired' })
})

test('a run that was reset although its order has ended ends at once', async () => {
  const order = await shop.order()
  await until(async () => (await stepOf(order)) === 1)
  await handleOf(order).executeUpdate(cancelUpdate, { args: [buildCommand()] })
  const outcome = await handleOf(order).result()
  await reset(order)
  expect(await handleOf(order).result()).toEqual(outcome)
  expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 0n })
})
