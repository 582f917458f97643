// Dust attack: thousands of worthless outputs to the address of one order. They go the way of all money: the inbox, the
// relay, the workflow and its assessments.

import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { findViolations } from '../../test/support/invariant.ts'
import { COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { buildCommand, buildObservation, createTestShop, SHIP, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { recordReport } from '../db/payment.ts'
import { findOrder } from '../db/read.ts'
import { ORDER_STATUSES } from '../domain/order.ts'
import { orderWorkflowId, shipUpdate } from './message.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const OUTPUTS = 10_000
const OUTPUTS_PER_REPORT = 100
/** At this length a run continues as new (policy.ts). */
const MAX_RUN_EVENTS = 1_000
const WITHIN_MS = 300_000

let shop: TestShop
let worker: TestWorker
beforeAll(async () => {
  shop = await createTestShop()
  worker = await createTestWorker(shop.test, { relays: ['start', 'wake'] })
})
afterAll(async () => {
  await worker.stop()
  await shop.close()
})

const handleOf = ({ orderId }: AcceptedOrder) => worker.client.workflow.getHandle(orderWorkflowId(orderId))
const reach = (order: AcceptedOrder, status: string) =>
  until(async () => (await shop.state(order)).status === status, { withinMs: WITHIN_MS })

/** One unit each, final, in time. */
async function dust(order: AcceptedOrder, outputs: number): Promise<void> {
  for (let sent = 0; sent < outputs; sent += OUTPUTS_PER_REPORT)
    await recordReport(
      shop.api,
      'w1',
      Array.from({ length: OUTPUTS_PER_REPORT }, () => buildObservation(order, { amount: 1n })),
    )
}
const outputsOf = async ({ orderId }: AcceptedOrder) => {
  const [row] = await shop.query<{ credited: bigint; unassessed: bigint }>(
    `select (select count(*) from payment where order_id = $1) as credited,
       (select count(*) from payment_report where order_id = $1 and not is_assessed) as unassessed`,
    [orderId],
  )
  return row
}

test('10,000 dust outputs, half of them while no worker runs, leave a short history and an order that one payment pays', async () => {
  const order = await shop.order()
  await dust(order, OUTPUTS / 2)
  await worker.run()
  await dust(order, OUTPUTS / 2)
  await until(async () => (await outputsOf(order))?.unassessed === 0n, { withinMs: WITHIN_MS })
  expect(await outputsOf(order)).toEqual({ credited: BigInt(OUTPUTS), unassessed: 0n })
  expect(await shop.state(order)).toMatchObject({ status: 'pending', paymentState: 'partial' })
  const { historyLength } = await handleOf(order).describe()
  expect(historyLength).toBeLessThanOrEqual(MAX_RUN_EVENTS)

  await recordReport(shop.api, 'w1', [buildObservation(order)])
  await reach(order, 'processing')
  expect(await shop.state(order)).toMatchObject({ paymentState: 'paid', hold: 'none' })
  const { events = [] } = await handleOf(order).fetchHistory()
  expect(events?.length).toBeLessThanOrEqual(MAX_RUN_EVENTS)
  const shipping = { args: [buildCommand({ ...SHIP, method: 'MarkShipped' })] as [ReturnType<typeof buildCommand>] }
  expect(await handleOf(order).executeUpdate(shipUpdate, shipping)).toMatchObject({ ok: true })

  const read = await findOrder(shop.api, order.orderId, { ownerId: null, statuses: ORDER_STATUSES })
  expect(read).toMatchObject({ status: 'shipped', received: order.amountDue + BigInt(OUTPUTS) })
  const [owed] = await shop.query('select from refund_due where order_id = $1 and amount > 0', [order.orderId])
  expect(owed).toBeUndefined()
  expect(await findViolations(shop.test)).toEqual([])
})
