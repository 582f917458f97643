// Orders that lost their workflow, brought back by an operator's commands.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { bodyOf, entriesOf } from '../../../test/support/audit.ts'
import { admin, createTestFront, type TestFront } from '../../../test/support/front.ts'
import { buildCommand, buildObservation, createTestShop, SHIP, type TestShop } from '../../../test/support/shop.ts'
import { until } from '../../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../../test/support/worker.ts'
import { loadConfig } from '../../config.ts'
import type { AcceptedOrder } from '../../db/accept/accept.ts'
import { recordReport } from '../../db/payment.ts'
import { deliverUpdate, orderWorkflowId, shipUpdate } from '../../workflows/message.ts'
import { createProgram } from './program.ts'

let shop: TestShop
let worker: TestWorker
let front: TestFront
beforeAll(async () => {
  shop = await createTestShop()
  await open()
})
afterAll(async () => {
  await close()
  await shop.close()
})

/** A worker and a front on a namespace that knows no order. */
async function open(): Promise<void> {
  worker = await createTestWorker(shop.test)
  await worker.run()
  front = await createTestFront(shop.test, { engine: worker.client })
}
async function close(): Promise<void> {
  await front.stop()
  await worker.stop()
}

/** What a command prints. */
async function holdfast(...args: string[]): Promise<string> {
  const said: string[] = []
  const say = (text: string): void => void said.push(text)
  const shell = {
    config: loadConfig('cli', { HOLDFAST_TOKEN: await front.tokenOf(admin) }),
    write: say,
    complain: say,
    untilInterrupted: () => AbortSignal.any([]),
  }
  const door = ['--admin', front.adminAddress]
  await createProgram(shell).parseAsync([...args, ...door], { from: 'user' })
  return said.join('')
}
const restart = (order: AcceptedOrder, reason = 'terminated by mistake') =>
  holdfast('order', 'restart', order.orderId, '--reason', reason)

const handleOf = ({ orderId }: AcceptedOrder) => worker.client.workflow.getHandle(orderWorkflowId(orderId))
const reach = (order: AcceptedOrder, status: string) => until(async () => (await shop.state(order)).status === status)
const pay = (order: AcceptedOrder) => recordReport(shop.api, 'w1', [buildObservation(order)])
const fenceOf = async ({ orderId }: AcceptedOrder) =>
  (
    await shop.query<{ generation: number; step: number; starts: bigint }>(
      `select generation, step, (select count(*) from workflow_start s where s.order_id = o.order_id) as starts
       from orders o where order_id = $1`,
      [orderId],
    )
  )[0]
/** Its run waits for what comes. */
const waiting = (order: AcceptedOrder, generation = 1) =>
  until(async () => {
    const fence = await fenceOf(order)
    return fence?.generation === generation && fence.step > 0 && fence.starts === 0n
  })

async function runningOrder(): Promise<AcceptedOrder> {
  const order = await shop.order()
  await waiting(order)
  return order
}

async function deliver(order: AcceptedOrder): Promise<void> {
  expect(await handleOf(order).executeUpdate(shipUpdate, { args: [buildCommand(SHIP)] })).toMatchObject({ ok: true })
  const asked = buildCommand({ ...SHIP, method: 'MarkDelivered' })
  expect(await handleOf(order).executeUpdate(deliverUpdate, { args: [asked] })).toMatchObject({ ok: true })
  expect(await handleOf(order).result()).toEqual({ status: 'delivered', cancelReason: null })
  expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
}

test('an order whose workflow was terminated, and which was paid since, is restarted, goes on, and keeps the reason', async () => {
  const order = await runningOrder()
  await handleOf(order).terminate()
  await pay(order)
  // As after ten tries.
  await shop.query(
    `update order_wake set dead_reason = 'no workflow', claimed_by = null, attempts = 10 where order_id = $1`,
    [order.orderId],
  )
  expect(await restart(order)).toBe(`${order.orderId} is restarted, as generation 2\n`)
  await reach(order, 'processing')
  expect(await fenceOf(order)).toMatchObject({ generation: 2 })
  await deliver(order)
  const entry = (await entriesOf(shop.test, 'order', order.orderId))
    .map(bodyOf)
    .find(({ changes }) => JSON.stringify(changes).includes('order_restart'))
  expect(entry).toMatchObject({ by: { actor: 'user:1', role: 'admin', reason: 'terminated by mistake' } })
})

test('an order whose run is alive, that has ended or that does not exist is not restarted', async () => {
  const order = await runningOrder()
  await expect(restart(order)).rejects.toMatchObject({ reason: 'WORKFLOW_RUNNING' })
  expect(await fenceOf(order)).toMatchObject({ generation: 1, starts: 0n })
  await handleOf(order).terminate()
  await restart(order)
  await waiting(order, 2)
  await expect(restart(order)).rejects.toMatchObject({ reason: 'WORKFLOW_RUNNING' })
  await pay(order)
  await reach(order, 'processing')
  await deliver(order)
  await expect(restart(order)).rejects.toMatchObject({ reason: 'ORDER_STATUS', metadata: { status: 'delivered' } })
  const unknown = { ...order, orderId: '00000000-0000-8000-8000-000000000000' }
  await expect(restart(unknown)).rejects.toMatchObject({ reason: 'NOT_FOUND' })
})

test('an order that is restarted again and again goes on from each last run', async () => {
  const order = await runningOrder()
  for (const generation of [2, 3]) {
    await handleOf(order).terminate()
    await restart(order)
    await waiting(order, generation)
  }
  await pay(order)
  await reach(order, 'processing')
  await deliver(order)
})

test('an order that is open again after the database was restored is restarted although its last run ended well', async () => {
  const order = await runningOrder()
  await pay(order)
  await reach(order, 'processing')
  await worker.halt()
  // What the engine knows of a run that came to its end.
  await handleOf(order).terminate()
  await worker.client.workflow.start('aftercare', {
    ...{ workflowId: orderWorkflowId(order.orderId), taskQueue: 'orders', args: [{ orderId: order.orderId }] },
  })
  await worker.run()
  await handleOf(order).result()
  expect((await handleOf(order).describe()).status.name).toBe('COMPLETED')
  await restart(order)
  await waiting(order, 2)
  await deliver(order)
})

test('after Temporal lost everything, rehydrate starts all open orders once more, and no other', async () => {
  const pending = await runningOrder()
  const paid = await runningOrder()
  await pay(paid)
  await reach(paid, 'processing')
  const ended = await runningOrder()
  await pay(ended)
  await reach(ended, 'processing')
  await deliver(ended)
  await close()
  await open()
  const stillOpen = await shop.query<{ order_id: string }>(
    `select order_id from orders where status not in ('delivered', 'cancelled')`,
  )
  const { lookedAt, restarted } = JSON.parse(
    await holdfast('rehydrate', '--reason', 'Temporal was lost', '--json'),
  ) as {
    lookedAt: number
    restarted: string[]
  }
  expect(lookedAt).toBe(stillOpen.length)
  expect(restarted.toSorted()).toEqual(stillOpen.map(({ order_id }) => order_id).toSorted())
  await waiting(pending, 2)
  await pay(pending)
  for (const order of [pending, paid]) {
    await reach(order, 'processing')
    await waiting(order, 2)
    await deliver(order)
  }
  expect(await holdfast('rehydrate', '--reason', 'once more')).toMatch(/restarted +0\n/)
})

test('rehydrate has a wake that was given up tried again where the run is alive, and reads page after page', async () => {
  const orders = await Promise.all(Array.from({ length: 105 }, runningOrder))
  const [order] = orders
  if (order === undefined) throw new Error('no order')
  await handleOf(order).terminate()
  await shop.query(`insert into order_wake (order_id, dead_reason, attempts) values ($1, 'no workflow', 10)`, [
    orders[1]?.orderId,
  ])
  const answer = JSON.parse(await holdfast('rehydrate', '--reason', 'one of them', '--json')) as object
  expect(answer).toMatchObject({ restarted: [order.orderId] })
  await until(async () => (await shop.query('select from order_wake where dead_reason is not null')).length === 0)
  await waiting(order, 2)
})

test('while Temporal cannot say whether a run is alive, nothing is restarted', async () => {
  const order = await runningOrder()
  const lost = await createTestFront(shop.test)
  const client = lost.asAdmin()
  const call = { idempotencyKey: '11111111-1111-4111-8111-111111111111', reason: 'test' }
  await expect(client.order.restartOrder({ ...call, orderId: order.orderId })).rejects.toMatchObject({
    reason: 'ENGINE_UNAVAILABLE',
  })
  await expect(client.order.rehydrateOrders(call)).rejects.toMatchObject({ reason: 'ENGINE_UNAVAILABLE' })
  await lost.stop()
  expect(await fenceOf(order)).toMatchObject({ generation: 1, starts: 0n })
})
