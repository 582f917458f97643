// Commands that callers repeat under one key. Temporal keeps the answer of each update: a refusal that passes must not be
// answered from there for ever.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { ApplicationFailure } from '@temporalio/common'
import { admin, createTestFront, fulfilment, type TestFront } from '../../test/support/front.ts'
import { buildObservation, createTestShop, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { recordReport } from '../db/payment.ts'
import type { Command, OrderStatus } from '../domain/order.ts'
import { orderStatus } from './client.ts'

const TIMEOUT_MS = 300_000

let shop: TestShop
let worker: TestWorker
let front: TestFront
beforeAll(async () => {
  shop = await createTestShop()
  worker = await createTestWorker(shop.test)
  await worker.run()
  front = await createTestFront(shop.test, { engine: worker.client })
}, TIMEOUT_MS)
afterAll(async () => {
  await front.stop()
  await worker.stop()
  await shop.close()
}, TIMEOUT_MS)

async function paidOrder(): Promise<AcceptedOrder> {
  const order = await shop.order()
  await recordReport(shop.api, 'w1', [buildObservation(order)])
  await until(async () => (await shop.state(order)).status === 'processing')
  return order
}

type Options = { deadlineMs: number }
type Request = { idempotencyKey: string; orderId: string }
/** @returns the status the order has come to */
async function give(command: Command, request: Request, options?: Options): Promise<OrderStatus | undefined> {
  const { fulfilment: warehouse } = front.as(fulfilment)
  const answer = await {
    cancel: () => front.as(admin).order.cancelOrder(request, options),
    ship: () => warehouse.markShipped(request, options),
    deliver: () => warehouse.markDelivered(request, options),
  }[command]()
  return orderStatus.wordOf(answer.status)
}

async function orderFor(command: Command): Promise<Request> {
  const { orderId } = await paidOrder()
  if (command === 'deliver') await give('ship', { idempotencyKey: randomUUID(), orderId })
  return { idempotencyKey: randomUUID(), orderId }
}

/** The step refuses every command, for a reason that passes. */
async function whileRefusing(work: () => Promise<void>): Promise<void> {
  const [row] = await shop.query<{ def: string }>(`select pg_get_functiondef('is_command_legal'::regproc) as def`)
  const def = row?.def ?? ''
  const refusing = def.replace(`coalesce((p_input ->> 'isReapplied')::boolean, false)`, 'true')
  expect(refusing).not.toBe(def)
  await shop.query(refusing)
  await work()
  await shop.query(def)
}

const EACH: readonly { command: Command; status: OrderStatus }[] = [
  { command: 'cancel', status: 'cancelled' },
  { command: 'ship', status: 'shipped' },
  { command: 'deliver', status: 'delivered' },
]

test.each(EACH)(
  'a $command that was refused with «try again» is carried out when it is repeated under its key',
  async ({ command, status }) => {
    const request = await orderFor(command)
    await whileRefusing(async () => {
      await expect(give(command, request)).rejects.toMatchObject({ reason: 'ENGINE_UNAVAILABLE' })
      await expect(give(command, request)).rejects.toMatchObject({ reason: 'ENGINE_UNAVAILABLE' })
    })
    expect(await give(command, request)).toBe(status)
    expect(await give(command, request)).toBe(status)
  },
  TIMEOUT_MS,
)

test(
  'a command that failed inside the workflow is carried out when it is repeated under its key',
  async () => {
    const request = await orderFor('ship')
    await worker.run(() => ({ runCommand: () => Promise.reject(ApplicationFailure.nonRetryable('a bug', 'Bug')) }))
    await expect(give('ship', request)).rejects.toMatchObject({ reason: 'INTERNAL' })
    await worker.run()
    expect(await give('ship', request)).toBe('shipped')
  },
  TIMEOUT_MS,
)

test(
  'a command repeated under its key while no worker runs is carried out by the first call after that',
  async () => {
    const request = await orderFor('ship')
    await worker.halt()
    await expect(give('ship', request, { deadlineMs: 500 })).rejects.toThrow()
    await expect(give('ship', request, { deadlineMs: 500 })).rejects.toThrow()
    await worker.run()
    expect(await give('ship', request)).toBe('shipped')
  },
  TIMEOUT_MS,
)
