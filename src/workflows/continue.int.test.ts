// Orders that are told more than one run of a workflow can bear.

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { COUNT_WITHIN_MS, count } from '../../test/support/scale.ts'
import { buildCommand, buildObservation, createTestShop, SHIP, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { recordReport } from '../db/payment.ts'
import {
  aftercareWorkflowId,
  cancelUpdate,
  deliverUpdate,
  lookUpdate,
  ORDER_TASK_QUEUE,
  orderChanged,
  orderWorkflowId,
  shipUpdate,
  STATUS_ATTRIBUTE,
} from './message.ts'

/** What policy.ts allows a run, and what one workflow task may add before the run notices. */
const MAX_LOOKS = 32
const MAX_EVENTS = 1_000
const SLACK_EVENTS = 100

let shop: TestShop
let worker: TestWorker
beforeAll(async () => {
  shop = await createTestShop()
  worker = await createTestWorker(shop.test)
  await worker.run()
})
afterAll(async () => {
  await worker.stop()
  await shop.close()
})

const handleOf = ({ orderId }: AcceptedOrder) => worker.client.workflow.getHandle(orderWorkflowId(orderId))
const reach = (order: AcceptedOrder, status: string) => until(async () => (await shop.state(order)).status === status)
const pay = (order: AcceptedOrder) => recordReport(shop.api, 'w1', [buildObservation(order)])
const stepOf = async ({ orderId }: AcceptedOrder): Promise<number> =>
  (await shop.query<{ step: number }>('select step from orders where order_id = $1', [orderId]))[0]?.step ?? 0

async function runningOrder(): Promise<AcceptedOrder> {
  const order = await shop.order()
  await until(async () => (await stepOf(order)) > 0)
  return order
}

async function deliver(order: AcceptedOrder): Promise<void> {
  expect(await handleOf(order).executeUpdate(shipUpdate, { args: [buildCommand(SHIP)] })).toMatchObject({ ok: true })
  const asked = buildCommand({ ...SHIP, method: 'MarkDelivered' })
  expect(await handleOf(order).executeUpdate(deliverUpdate, { args: [asked] })).toMatchObject({ ok: true })
  expect(await handleOf(order).result()).toEqual({ status: 'delivered', cancelReason: null })
  expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
}

const eventsOf = async ({ orderId }: AcceptedOrder, runId: string) =>
  (await worker.client.workflow.getHandle(orderWorkflowId(orderId), runId).fetchHistory()).events ?? []
type Events = Awaited<ReturnType<typeof eventsOf>>

/** Each run of an order, from the newest back to the first: its events. */
async function runsOf(order: AcceptedOrder): Promise<Events[]> {
  const runs: Events[] = []
  let runId = (await handleOf(order).describe()).runId
  while (runId !== '') {
    const events = await eventsOf(order, runId)
    runs.push(events)
    runId = events[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId ?? ''
  }
  return runs
}

test(
  'a paid order that has looked many times is shipped, by runs of a bounded length with few looks by update',
  async () => {
    const order = await runningOrder()
    await pay(order)
    await reach(order, 'processing')
    for (let look = 0; look < count(250, 2_500); look += 1) {
      await shop.query('select request_wake(array[$1::uuid])', [order.orderId])
      await until(
        async () => (await shop.query('select from order_wake where order_id = $1', [order.orderId])).length === 0,
      )
    }
    const shown = await handleOf(order).describe()
    expect(shown.status.name).toBe('RUNNING')
    expect(shown.typedSearchAttributes.get(STATUS_ATTRIBUTE)).toBe('processing')
    await deliver(order)
    const runs = await runsOf(order)
    expect(runs.length).toBeGreaterThanOrEqual(count(2, 12))
    for (const events of runs) {
      expect(events.length).toBeLessThan(MAX_EVENTS + SLACK_EVENTS)
      const looks = events.filter((event) => event.workflowExecutionUpdateAcceptedEventAttributes)
      expect(looks.length).toBeLessThanOrEqual(MAX_LOOKS + 2)
    }
  },
  COUNT_WITHIN_MS,
)

test('a look beyond those that a run takes by update is refused without a trace', async () => {
  const order = await runningOrder()
  for (let look = 0; look < MAX_LOOKS; look += 1) await handleOf(order).executeUpdate(lookUpdate)
  await until(async () => (await stepOf(order)) > MAX_LOOKS)
  const { historyLength } = await handleOf(order).describe()
  await expect(handleOf(order).executeUpdate(lookUpdate)).rejects.toThrow()
  expect((await handleOf(order).describe()).historyLength).toBe(historyLength)
})

test('commands that meet a run as it continues are all answered, also by a worker that replays it at every task', async () => {
  await worker.run(undefined, { maxCachedWorkflows: 0 })
  const order = await runningOrder()
  const refused = () =>
    handleOf(order)
      .executeUpdate(cancelUpdate, { args: [buildCommand({ expectedVersion: 99 })] })
      .catch((error: { cause: { type: string } }) => ({ ok: false, reason: error.cause.type }))
  const answers = []
  while ((await runsOf(order)).length < 3) {
    const signals = Array.from({ length: 100 }, () => handleOf(order).signal(orderChanged))
    answers.push(...(await Promise.all([refused(), refused(), refused()])))
    await Promise.all(signals)
  }
  expect(new Set(answers.map((answer) => JSON.stringify({ ...answer, state: undefined, message: undefined })))).toEqual(
    new Set([JSON.stringify({ ok: false, reason: 'VERSION_MISMATCH' })]),
  )
  await pay(order)
  await reach(order, 'processing')
  await deliver(order)
  await worker.run()
})

test('an unpaid order whose run continued expires on time', async () => {
  await shop.catchUp()
  await worker.halt()
  const order = await shop.order()
  await until(() => handleOf(order).describe())
  await Promise.all(Array.from({ length: MAX_EVENTS }, () => handleOf(order).signal(orderChanged)))
  // From now on, however long all that took.
  await shop.query(
    `with ended as (
       update invoice set expires_at = clock_timestamp() + interval '10 seconds', grace = interval '0.5 seconds'
       where order_id = $1 returning order_id, expires_at + grace as ends_at)
     update reservation r set expires_at = e.ends_at from ended e where r.order_id = e.order_id`,
    [order.orderId],
  )
  await worker.run()
  await reach(order, 'cancelled')
  expect(await handleOf(order).result()).toEqual({ status: 'cancelled', cancelReason: 'expired' })
  expect((await runsOf(order)).length).toBeGreaterThan(1)
})

test('aftercare that is told a thousand times looks in a run of its own', async () => {
  const order = await runningOrder()
  await handleOf(order).executeUpdate(cancelUpdate, { args: [buildCommand()] })
  await handleOf(order).result()
  await worker.halt()
  const workflowId = aftercareWorkflowId(order.orderId)
  const tell = () =>
    worker.client.workflow.signalWithStart('aftercare', {
      ...{ workflowId, taskQueue: ORDER_TASK_QUEUE, args: [{ orderId: order.orderId }], signal: orderChanged },
    })
  const { signaledRunId } = await tell()
  await Promise.all(Array.from({ length: MAX_EVENTS }, tell))
  await recordReport(shop.api, 'w1', [buildObservation(order, { reportId: randomBytes(32).toString('hex') })])
  await worker.run()
  await worker.client.workflow.getHandle(workflowId).result()
  await until(async () => !(await shop.state(order)).hasUnassessed)
  expect((await worker.client.workflow.getHandle(workflowId, signaledRunId).describe()).status.name).toBe(
    'CONTINUED_AS_NEW',
  )
})
