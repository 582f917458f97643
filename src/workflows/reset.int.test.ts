// A run that an operator resets counts its steps again from an earlier one, while the order has gone on.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { activityInfo } from '@temporalio/activity'
import { ApplicationFailure } from '@temporalio/common'
import { createTestFront, fulfilment, type TestFront } from '../../test/support/front.ts'
import { recordHistory } from '../../test/support/history.ts'
import { buildCommand, buildObservation, createTestShop, SHIP, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { recordReport } from '../db/payment.ts'
import type { CommandResult } from '../domain/command.ts'
import { orderStatus } from '../grpc/client.ts'
import { cancelUpdate, deliverUpdate, orderChanged, orderWorkflowId, shipUpdate } from './message.ts'

let shop: TestShop
let worker: TestWorker
let front: TestFront
beforeAll(async () => {
  shop = await createTestShop()
  worker = await createTestWorker(shop.test)
  await shop.catchUp()
  await worker.run()
  front = await createTestFront(shop.test, { engine: worker.client })
})
afterAll(async () => {
  await front.stop()
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

/** @param nth which of the finished workflow tasks the new run takes again, as «.at» counts */
async function reset(order: AcceptedOrder, nth = 0, runId?: string): Promise<void> {
  const run = worker.client.workflow.getHandle(
    orderWorkflowId(order.orderId),
    runId ?? (await handleOf(order).describe()).runId,
  )
  const finished = async () => {
    const { events } = await run.fetchHistory()
    return (events ?? []).filter(({ eventType }) => Number(eventType) === WORKFLOW_TASK_COMPLETED)
  }
  // A step is in the database before its task has finished.
  await until(async () => (await finished()).at(nth) !== undefined)
  await worker.client.workflowService.resetWorkflowExecution({
    namespace: worker.namespace,
    workflowExecution: { workflowId: run.workflowId, runId: (await run.describe()).runId },
    reason: 'test',
    requestId: randomUUID(),
    workflowTaskFinishEventId: (await finished()).at(nth)?.eventId ?? null,
  })
}

test.each([0, 1])(
  'an order that was reset to workflow task %s is shipped by the first attempt, and delivered',
  async (nth) => {
    const order = await paidOrder()
    await reset(order, nth)
    const { fulfilment: warehouse } = front.as(fulfilment)
    const request = { idempotencyKey: randomUUID(), orderId: order.orderId }
    const { status } = await warehouse.markShipped(request)
    expect(orderStatus.wordOf(status)).toBe('shipped')
    expect(await shop.state(order)).toMatchObject({ status: 'shipped', reservation: 'consumed' })
    expect((await warehouse.markShipped(request)).status).toBe(status)
    await warehouse.markDelivered({ ...request, idempotencyKey: randomUUID() })
    expect(await handleOf(order).result()).toEqual({ status: 'delivered', cancelReason: null })
    expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
  },
)

const setHold = ({ orderId }: AcceptedOrder, hold: 'none' | 'manual') =>
  shop.query('update orders set hold = $2 where order_id = $1', [orderId, hold])
const answerOf = (order: AcceptedOrder, updateId: string) =>
  handleOf(order).getUpdateHandle<CommandResult>(updateId).result()

test.each([0, 1, -1])(
  'a ship that was refused stays refused after a reset to task %s, until it is asked again',
  async (nth) => {
    const order = await paidOrder()
    await setHold(order, 'manual')
    const asked = buildCommand(SHIP)
    const first = await handleOf(order).executeUpdate(shipUpdate, { args: [asked], updateId: 'asked' })
    expect(first).toMatchObject({ ok: false, reason: 'ORDER_ON_HOLD' })
    await setHold(order, 'none')
    await reset(order, nth)
    expect(await answerOf(order, 'asked')).toMatchObject({ ok: false, reason: 'ENGINE_UNAVAILABLE' })
    expect(await shop.state(order)).toMatchObject({ status: 'processing', reservation: 'committed' })
    expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 2n })
    const again = await handleOf(order).executeUpdate(shipUpdate, { args: [asked], updateId: 'asked again' })
    expect(again).toMatchObject({ ok: true, state: { status: 'shipped' } })
    if (nth !== 0) return
    const deliver = buildCommand({ ...SHIP, method: 'MarkDelivered' })
    await handleOf(order).executeUpdate(deliverUpdate, { args: [deliver] })
    await handleOf(order).result()
    await recordHistory(handleOf(order), 'reset')
  },
)

test('after a reset, what was done has its answer and what was refused beside it is not done', async () => {
  const order = await paidOrder()
  // A delivery that is asked while a shipment is under way is not refused at once, but in its turn.
  const [entered, free] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  await worker.run((real) => ({
    runCommand: async (...args) => {
      if (activityInfo().isLocal) throw ApplicationFailure.retryable('not in the task')
      entered.resolve()
      await free.promise
      return real.runCommand(...args)
    },
  }))
  await setHold(order, 'manual')
  const ship = (updateId: string) => handleOf(order).executeUpdate(shipUpdate, { args: [buildCommand(SHIP)], updateId })
  const refused = ship('refused')
  await entered.promise
  const deliver = buildCommand({ ...SHIP, method: 'MarkDelivered' })
  const early = await handleOf(order).startUpdate(deliverUpdate, {
    args: [deliver],
    updateId: 'early',
    waitForStage: 'ACCEPTED',
  })
  free.resolve()
  expect(await refused).toMatchObject({ reason: 'ORDER_ON_HOLD' })
  expect(await early.result()).toMatchObject({ reason: 'ORDER_STATUS' })
  await setHold(order, 'none')
  await handleOf(order).signal(orderChanged)
  const done = await ship('done')
  expect(done).toMatchObject({ ok: true })
  await worker.run()

  await reset(order)
  expect(await answerOf(order, 'done')).toMatchObject({ ok: true, answer: (done as { answer: unknown }).answer })
  expect(await answerOf(order, 'refused')).toMatchObject({ ok: false })
  expect(await answerOf(order, 'early')).toMatchObject({ ok: false, reason: 'ENGINE_UNAVAILABLE' })
  expect(await shop.state(order)).toMatchObject({ status: 'shipped' })
  expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
})

test.each([0, -1])('a command without an answer takes effect by a repeat after a reset to task %s', async (nth) => {
  const order = await paidOrder()
  const entered = Promise.withResolvers<void>()
  await worker.run(() => ({
    runCommand: () => {
      entered.resolve()
      return Promise.reject(ApplicationFailure.retryable('the worker dies here'))
    },
  }))
  const { fulfilment: warehouse } = front.as(fulfilment)
  const request = { idempotencyKey: randomUUID(), orderId: order.orderId }
  const leaving = new AbortController()
  const call = warehouse.markShipped(request, { signal: leaving.signal })
  await entered.promise
  leaving.abort()
  await expect(call).rejects.toThrow()
  await worker.halt()
  await reset(order, nth)
  await worker.run()
  await warehouse.markShipped(request)
  expect(await shop.state(order)).toMatchObject({ status: 'shipped' })
  expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
})

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
    await until(async () => (await stepOf(order)) >= 1)
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

test('a reset of a run from before a restart ends the live run, and another restart brings the order back', async () => {
  const order = await paidOrder()
  const restart = () =>
    front.asAdmin().order.restartOrder({ idempotencyKey: randomUUID(), orderId: order.orderId, reason: 'test' })
  const generation = async () =>
    (await shop.query<{ generation: number }>('select generation from orders where order_id = $1', [order.orderId]))[0]
      ?.generation
  const { runId } = await handleOf(order).describe()
  await handleOf(order).terminate()
  await restart()
  await until(async () => (await generation()) === 2)
  const { runId: liveRunId } = await handleOf(order).describe()
  await reset(order, 0, runId)
  await expect(handleOf(order).result()).rejects.toMatchObject({ cause: { cause: { type: 'STALE_RUN' } } })
  const live = worker.client.workflow.getHandle(orderWorkflowId(order.orderId), liveRunId)
  expect((await live.describe()).status.name).toBe('TERMINATED')
  // Its earlier start is settled with the relay's next claim.
  await until(async () => (await shop.query('select from workflow_start')).length === 0)
  await restart()
  await front.as(fulfilment).fulfilment.markShipped({ idempotencyKey: randomUUID(), orderId: order.orderId })
  expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
})
