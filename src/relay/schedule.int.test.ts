import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { buildLine, putOrder, putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import { BACKGROUND_TASK_QUEUE, BACKSTOP_SCHEDULE } from '../workflows/message.ts'
import { ensureBackstop } from './backstop.ts'

let shop: TestDatabase
let worker: TestWorker

beforeAll(async () => {
  shop = await createTestDatabase()
  worker = await createTestWorker(shop, { relays: [] })
  await worker.run(undefined, { taskQueue: BACKGROUND_TASK_QUEUE })
})
afterAll(async () => {
  await worker.stop()
  await shop.drop()
})

test('a duty that nobody runs any more is run by the schedule behind it, and a live one is left alone', async () => {
  await shop.query(
    `insert into chain_status (network, start_height, settled_height, scanned_height, tip_height, tip_asked_at, caught_up_at)
     select 'ethereum', 1, 1, 1, 1, t, t from (select clock_timestamp() + interval '1 day' as t) later`,
  )
  const { productId } = await putProduct(shop)
  const { orderId } = await putOrder(shop, { lines: [buildLine({ productId })], windowMs: 1, graceMs: 1 })
  await ensureBackstop(worker.client)
  await ensureBackstop(worker.client)
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
  await schedule.delete()
})
