// The order's life on a real Temporal server and a real Postgres: each ending, and each step failing and losing its answer.

import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { WorkflowUpdateFailedError } from '@temporalio/client'
import { ApplicationFailure } from '@temporalio/common'
import { recordReport } from '../db/payment.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { FAULTS, withFault } from '../../test/support/activity_fault.ts'
import { recordHistory } from '../../test/support/history.ts'
import { buildCommand, buildObservation, createTestShop, nextOf, SHIP, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import {
  cancelUpdate,
  deliverUpdate,
  OPERATOR_ATTRIBUTE,
  orderChanged,
  orderWorkflowId,
  retryCompensationUpdate,
  shipUpdate,
  skipCompensationUpdate,
} from './message.ts'

let shop: TestShop
let worker: TestWorker

beforeAll(async () => {
  shop = await createTestShop()
  worker = await createTestWorker(shop.test)
  await shop.catchUp()
  await worker.run()
})

/** A worker other than the plain one, for one test. */
let isPlain = true
const runWith = async (...how: Parameters<TestWorker['run']>): Promise<void> => {
  isPlain = false
  await worker.run(...how)
}
afterEach(async () => {
  if (!isPlain) await worker.run()
  isPlain = true
})

afterAll(async () => {
  await worker.stop()
  await shop.close()
})

const handleOf = (order: AcceptedOrder) => worker.client.workflow.getHandle(orderWorkflowId(order.orderId))
const reach = (order: AcceptedOrder, status: string) => until(async () => (await shop.state(order)).status === status)
const started = (order: AcceptedOrder) => until(() => handleOf(order).describe())
/** Its workflow waits for what comes: an order paid before would begin with its payment (news.int.test.ts). */
const waiting = (order: AcceptedOrder) =>
  until(async () => {
    const [row] = await shop.query<{ step: number; starts: number }>(
      `select step, (select count(*)::int from workflow_start where order_id = $1) as starts from orders where order_id = $1`,
      [order.orderId],
    )
    return row !== undefined && row.step > 0 && row.starts === 0
  })
/** Waits for the end of the workflow; its start may still be on the way. */
async function resultOf(order: AcceptedOrder) {
  await started(order)
  return handleOf(order).result()
}
const pay = (order: AcceptedOrder) => recordReport(shop.api, 'w1', [buildObservation(order)])
const ship = (order: AcceptedOrder) => handleOf(order).executeUpdate(shipUpdate, { args: [buildCommand(SHIP)] })
const deliver = (order: AcceptedOrder) =>
  handleOf(order).executeUpdate(deliverUpdate, { args: [buildCommand({ ...SHIP, method: 'MarkDelivered' })] })
/** temporal.api.enums.v1.EventType */
const WORKFLOW_TASK_COMPLETED = 7
const UNTOUCHED = { onHand: 10n, reserved: 0n }
const SOLD = { onHand: 8n, reserved: 0n }

test('an order that is paid, shipped and delivered ends with its units off the shelf, within 40 events', async () => {
  const order = await shop.order()
  await waiting(order)
  const seen = buildObservation(order, { state: 'seen' })
  await recordReport(shop.api, 'w1', [seen])
  await until(
    async () =>
      (await shop.query(`select from orders where order_id = $1 and payment_state = 'confirming'`, [order.orderId]))[0],
  )
  await recordReport(shop.api, 'w1', [nextOf(seen, { state: 'final' })])
  await reach(order, 'processing')
  expect(await ship(order)).toMatchObject({ ok: true, state: { status: 'shipped', reservation: 'consumed' } })
  expect(await deliver(order)).toMatchObject({ ok: true, state: { status: 'delivered' } })
  expect(await handleOf(order).result()).toEqual({ status: 'delivered', cancelReason: null })
  expect(await shop.stock(order)).toEqual(SOLD)
  const { events } = await handleOf(order).fetchHistory()
  expect(events?.length).toBeLessThanOrEqual(40)
  await recordHistory(handleOf(order), 'delivered')
})

test('an order nobody pays expires and gives its stock back', async () => {
  const order = await shop.order({ windowMs: 300, graceMs: 1 })
  expect(await resultOf(order)).toEqual({ status: 'cancelled', cancelReason: 'expired' })
  expect(await shop.stock(order)).toEqual(UNTOUCHED)
  await recordHistory(handleOf(order), 'expired')
})

test('an order its owner cancels gives its stock back, and names the owner as the reason', async () => {
  const order = await shop.order()
  await started(order)
  const result = await handleOf(order).executeUpdate(cancelUpdate, { args: [buildCommand()] })
  expect(result).toMatchObject({
    ok: true,
    state: { status: 'cancelled', cancelReason: 'customer', reservation: 'released' },
  })
  expect(await handleOf(order).result()).toEqual({ status: 'cancelled', cancelReason: 'customer' })
  expect(await shop.stock(order)).toEqual(UNTOUCHED)
  await recordHistory(handleOf(order), 'cancelled')
})

test('a command that does not fit the status is refused by the validator and leaves no trace', async () => {
  const order = await shop.order()
  await waiting(order)
  await until(async () =>
    (await handleOf(order).fetchHistory()).events?.some((event) => Number(event.eventType) === WORKFLOW_TASK_COMPLETED),
  )
  const before = (await handleOf(order).fetchHistory()).events?.length
  const refused = await ship(order).catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(WorkflowUpdateFailedError)
  expect((refused as WorkflowUpdateFailedError).cause).toMatchObject({ type: 'ORDER_STATUS' })
  expect((await handleOf(order).fetchHistory()).events?.length).toBe(before)
})

test('the same command twice under one key has one effect and succeeds twice', async () => {
  const order = await shop.order()
  await pay(order)
  await reach(order, 'processing')
  const asked = buildCommand(SHIP)
  // The front gives one attempt one update id, however often it is sent.
  const send = () => handleOf(order).executeUpdate(shipUpdate, { args: [asked], updateId: asked.key })
  const answers = [...(await Promise.all([send(), send()])), await send()]
  expect(answers[0]).toMatchObject({ ok: true, state: { status: 'shipped', version: 3 } })
  for (const answer of answers) expect(answer).toEqual(answers[0])
  expect(await shop.stock(order)).toEqual(SOLD)
})

test('an order paid in its window while every worker is stopped is never given away', async () => {
  await worker.halt()
  // Long enough for the report to come in its time, on any machine.
  const order = await shop.order({ windowMs: 5_000, graceMs: 1 })
  await recordReport(shop.api, 'w1', [buildObservation(order, { firstSeenAt: order.createdAt })])
  // The relay's sweeper runs on: it must leave the order alone long after its window.
  await until(
    async () =>
      (
        await shop.query(
          `select from invoice where order_id = $1 and expires_at < clock_timestamp() - interval '1 s'`,
          [order.orderId],
        )
      )[0],
  )
  expect(await shop.state(order)).toMatchObject({ status: 'pending' })
  await worker.run()
  await reach(order, 'processing')
})

test('an order whose window passes with every worker stopped gives its stock back on time', async () => {
  await worker.halt()
  const order = await shop.order({ windowMs: 300, graceMs: 1 })
  await reach(order, 'cancelled')
  expect(await shop.stock(order)).toEqual(UNTOUCHED)
  await worker.run()
  expect(await resultOf(order)).toEqual({ status: 'cancelled', cancelReason: 'expired' })
})

test('news of money reaches a running order as one update that says nothing, and as no signal', async () => {
  const order = await shop.order()
  await waiting(order)
  await pay(order)
  await reach(order, 'processing')
  const { events = [] } = await until(async () => {
    const history = await handleOf(order).fetchHistory()
    return history.events?.some((event) => event.workflowExecutionUpdateCompletedEventAttributes) ? history : undefined
  })
  const updates = events?.flatMap((event) => event.workflowExecutionUpdateAcceptedEventAttributes ?? []) ?? []
  expect(updates.map(({ acceptedRequest }) => acceptedRequest?.input)).toMatchObject([{ name: 'look' }])
  expect(updates[0]?.acceptedRequest?.input?.args?.payloads ?? []).toEqual([])
  expect(events?.filter((event) => event.workflowExecutionSignaledEventAttributes)).toEqual([])
  expect(await shop.query('select from order_wake where order_id = $1', [order.orderId])).toEqual([])
})

test('a signal nobody had a reason to send changes nothing', async () => {
  const order = await shop.order()
  await started(order)
  for (let sent = 0; sent < 5; sent += 1) await handleOf(order).signal(orderChanged)
  await handleOf(order).executeUpdate(cancelUpdate, { args: [buildCommand()] })
  expect(await handleOf(order).result()).toEqual({ status: 'cancelled', cancelReason: 'customer' })
})

test('a cancellation asked for in Temporal cancels as an admin would', async () => {
  const order = await shop.order()
  await started(order)
  await handleOf(order).cancel()
  expect(await handleOf(order).result()).toEqual({ status: 'cancelled', cancelReason: 'admin' })
})

test('a cancellation asked for in Temporal after shipping is ignored', async () => {
  const order = await shop.order()
  await pay(order)
  await reach(order, 'processing')
  await ship(order)
  await handleOf(order).cancel()
  expect(await deliver(order)).toMatchObject({ ok: true })
  expect(await handleOf(order).result()).toEqual({ status: 'delivered', cancelReason: null })
})

test('money that comes after the end is stored, visible and owed back, and the order stays ended', async () => {
  const order = await shop.order({ windowMs: 200, graceMs: 1 })
  await resultOf(order)
  await recordReport(shop.api, 'w1', [buildObservation(order)])
  await until(
    async () =>
      (
        await shop.query(`select from refund_due where order_id = $1 and amount = $2`, [order.orderId, order.amountDue])
      )[0],
  )
  const [row] = await shop.query(`select status, payment_state, payment_flags from orders where order_id = $1`, [
    order.orderId,
  ])
  expect(row).toEqual({ status: 'cancelled', payment_state: 'unresolved', payment_flags: ['late'] })
})

test('a run that a later one has replaced is refused for good', async () => {
  const order = await shop.order()
  await started(order)
  await until(
    async () => (await shop.query(`select from orders where order_id = $1 and generation = 1`, [order.orderId]))[0],
  )
  await shop.query(`update orders set generation = 2, step = 0 where order_id = $1`, [order.orderId])
  await handleOf(order).signal(orderChanged)
  await expect(handleOf(order).result()).rejects.toMatchObject({ cause: { cause: { type: 'STALE_RUN' } } })
  expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 2n })
})

const STEPS = ['reserveStock', 'assessPayments', 'runCommand'] as const
test.each(STEPS.flatMap((name) => FAULTS.map((fault) => ({ name, fault }))))(
  'an order is delivered once although $name $fault',
  async ({ name, fault }) => {
    const gone = { isWrong: false }
    await runWith(withFault(name, fault, gone))
    const order = await shop.order()
    await waiting(order)
    await pay(order)
    await reach(order, 'processing')
    expect(await ship(order)).toMatchObject({ ok: true })
    expect(await deliver(order)).toMatchObject({ ok: true })
    expect(gone.isWrong).toBe(true)
    expect(await handleOf(order).result()).toEqual({ status: 'delivered', cancelReason: null })
    expect(await shop.stock(order)).toEqual(SOLD)
  },
)

test.each(FAULTS)('an order expires once although expireOrder %s', async (fault) => {
  await runWith(withFault('expireOrder', fault))
  const order = await shop.order({ windowMs: 200, graceMs: 1 })
  expect(await resultOf(order)).toEqual({ status: 'cancelled', cancelReason: 'expired' })
  expect(await shop.stock(order)).toEqual(UNTOUCHED)
})

test('an undo step that cannot finish waits for an operator, who retries it', async () => {
  let isBroken = true
  await runWith((real) => ({
    reserveStock: async () => {
      throw ApplicationFailure.nonRetryable('injected', 'NOT_FOUND')
    },
    releaseStock: async (fence) => {
      if (isBroken) throw ApplicationFailure.nonRetryable('injected', 'NOT_FOUND')
      return real.releaseStock(fence)
    },
  }))
  const order = await shop.order()
  await started(order)
  await until(async () => (await handleOf(order).describe()).typedSearchAttributes.get(OPERATOR_ATTRIBUTE) === true)
  expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 2n })
  isBroken = false
  await handleOf(order).executeUpdate(retryCompensationUpdate, { args: [{ operator: 'ann', reason: 'mended' }] })
  await expect(handleOf(order).result()).rejects.toMatchObject({ cause: { cause: { type: 'NOT_FOUND' } } })
  expect(await shop.stock(order)).toEqual(UNTOUCHED)
  await recordHistory(handleOf(order), 'parked')
})

test('an undo step that an operator skips is left undone', async () => {
  const refuse = async (): Promise<never> => {
    throw ApplicationFailure.nonRetryable('injected', 'NOT_FOUND')
  }
  await runWith(() => ({ reserveStock: refuse, releaseStock: refuse }))
  const order = await shop.order()
  await started(order)
  await until(async () => (await handleOf(order).describe()).typedSearchAttributes.get(OPERATOR_ATTRIBUTE) === true)
  await handleOf(order).executeUpdate(skipCompensationUpdate, { args: [{ operator: 'ann', reason: 'done by hand' }] })
  await expect(handleOf(order).result()).rejects.toMatchObject({ cause: { cause: { type: 'NOT_FOUND' } } })
  expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 2n })
})

test('an order is delivered, and another expires, by a worker that replays each of them at every task', async () => {
  await runWith(undefined, { maxCachedWorkflows: 0 })
  const [paid, unpaid] = [await shop.order(), await shop.order({ windowMs: 300, graceMs: 1 })]
  await pay(paid)
  await reach(paid, 'processing')
  expect(await ship(paid)).toMatchObject({ ok: true })
  expect(await deliver(paid)).toMatchObject({ ok: true })
  expect(await handleOf(paid).result()).toEqual({ status: 'delivered', cancelReason: null })
  expect(await resultOf(unpaid)).toEqual({ status: 'cancelled', cancelReason: 'expired' })
})
