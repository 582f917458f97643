import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { buildLine, putOrder, putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import type { AcceptedOrder, ProposedOrder } from '../db/accept/accept.ts'
import { BACKGROUND_TASK_QUEUE, BACKSTOP_SCHEDULE, FORGET_SCHEDULE, SCHEDULES } from '../workflows/message.ts'
import { ensureSchedules } from './schedule.ts'

let shop: TestDatabase
let worker: TestWorker

beforeAll(async () => {
  shop = await createTestDatabase()
  worker = await createTestWorker(shop, { relays: [] })
  await worker.run(undefined, { taskQueue: BACKGROUND_TASK_QUEUE })
})
afterAll(async () => {
  for (const { scheduleId } of SCHEDULES) await worker.client.schedule.getHandle(scheduleId).delete()
  await worker.stop()
  await shop.drop()
})

async function newOrder(overrides: Partial<ProposedOrder> = {}): Promise<AcceptedOrder> {
  const { productId } = await putProduct(shop)
  return putOrder(shop, { lines: [buildLine({ productId })], ...overrides })
}

test('a duty that nobody runs any more is run by the schedule behind it, and a live one is left alone', async () => {
  await shop.query(
    `insert into chain_status (network, start_height, settled_height, scanned_height, tip_height, tip_asked_at, caught_up_at)
     select 'ethereum', 1, 1, 1, 1, t, t from (select clock_timestamp() + interval '1 day' as t) later`,
  )
  const { orderId } = await newOrder({ windowMs: 1, graceMs: 1 })
  await ensureSchedules(worker.client)
  await ensureSchedules(worker.client)
  const schedule = worker.client.schedule.getHandle(BACKSTOP_SCHEDULE)

  await schedule.trigger()
  await until(
    async () => (await shop.query(`select from orders where order_id = $1 and status = 'cancelled'`, [orderId]))[0],
  )

  const finished = () =>
    worker.client.workflow
      .count(`WorkflowType = 'backstop' AND ExecutionStatus = 'Completed'`)
      .then(({ count }) => count)
  await until(async () => (await finished()) >= 1)
  const [before] = await shop.query(`select items, started_at from duty where duty = 'hold_sweep'`)
  const runs = await finished()
  await schedule.trigger()
  await until(async () => (await finished()) > runs)
  expect(await shop.query(`select items, started_at from duty where duty = 'hold_sweep'`)).toEqual([before])
})

test('answers and news too old to be asked for are cleared away by a schedule, in as many batches as it takes', async () => {
  await shop.query(
    `insert into idempotency (actor, method, key, request_hash, response, created_at)
     select 'user:1', 'PutProduct', gen_random_uuid(), sha256('x'), '{}', clock_timestamp() - make_interval(days => 28 + at % 5)
     from generate_series(1, 5000) at`,
  )
  const { orderId } = await newOrder()
  await shop.query(
    `insert into notification (order_id, order_version, channel, status, payment_state, changed_at, delivered_at)
     select $1, at, 'webhook', 'pending', 'awaiting', at_time, at_time from generate_series(1, 5000) at,
       lateral (select clock_timestamp() - make_interval(days => 28 + at % 5) as at_time) t`,
    [orderId],
  )
  await ensureSchedules(worker.client)
  await worker.client.schedule.getHandle(FORGET_SCHEDULE).trigger()
  const left = () =>
    shop.query(
      `select (select count(*) from idempotency where response = '{}') as answers,
         (select count(*) from notification where channel = 'webhook') as news`,
    )
  // Of five ages, 28 and 29 days are kept; 30 is over by the instant that has passed since.
  await until(async () => isDeepStrictEqual(await left(), [{ answers: 2_000n, news: 2_000n }]))
})
