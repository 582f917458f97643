// Orders against their workflows, both ways, on a real engine: nothing is said of a shop at work, and what was torn
// apart by hand is found under the order's id.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { buildLine } from '../../test/support/builder.ts'
import { callConcurrently } from '../../test/support/concurrent.ts'
import { buildCommand, buildObservation, createTestShop, SHIP, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { createTestWorker, type TestWorker } from '../../test/support/worker.ts'
import { createConsistencyActivities } from '../activities/consistency.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { findConsistency } from '../db/consistency.ts'
import { recordReport } from '../db/payment.ts'
import {
  aftercareWorkflowId,
  BACKGROUND_TASK_QUEUE,
  cancelUpdate,
  CONSISTENCY_SCHEDULE,
  deliverUpdate,
  orderWorkflowId,
  SCHEDULES,
  shipUpdate,
} from '../workflows/message.ts'
import { checkConsistency, compareWorkflows, type WorkflowCheck } from './consistency.ts'
import { ensureSchedules } from './schedule.ts'

const ORDERS = 40
const WITHIN_MS = 600_000

let shop: TestShop
let worker: TestWorker
let productId: string

/** A shop and an engine for the tests of one block: those that tear apart leave it torn. */
function useShop(): void {
  beforeAll(async () => {
    shop = await createTestShop()
    worker = await createTestWorker(shop.test)
    await worker.run()
    productId = (await shop.product({ onHand: 10_000n })).productId
  }, WITHIN_MS)
  afterAll(async () => {
    await worker.stop()
    await shop.close()
  })
}

const accept = (overrides = {}): Promise<AcceptedOrder> =>
  shop.order({ lines: [buildLine({ productId })], ...overrides })
const handleOf = ({ orderId }: AcceptedOrder) => worker.client.workflow.getHandle(orderWorkflowId(orderId))
/** Its workflow runs and has learnt how the order stands. */
const runs = (order: AcceptedOrder) =>
  until(async () => (await shop.query('select from orders where order_id = $1 and step > 0', [order.orderId]))[0])
const isIn = (order: AcceptedOrder, status: string) =>
  until(
    async () =>
      (await shop.query('select from orders where order_id = $1 and status = $2', [order.orderId, status]))[0],
  )
/** Nothing moves by itself any more: every workflow is started and settled, and every hold that ran out is given back. */
const isAtRest = () =>
  until(async () => {
    const [row] = await shop.query<{ starts: bigint; lapsed: bigint }>(
      `select (select count(*) from workflow_start) as starts,
         (select count(*) from orders join invoice using (order_id)
          where status = 'pending' and expires_at + grace < clock_timestamp()) as lapsed`,
    )
    return row?.starts === 0n && row.lapsed === 0n
  })
const look = (settleMs = 0) => compareWorkflows({ database: worker.database, client: worker.client, settleMs })
/** Past every fence. */
const plant = (statements: string) =>
  shop.query(`begin; set local session_replication_role = replica; ${statements}; commit`)

const deliver = async (order: AcceptedOrder): Promise<unknown> => {
  await recordReport(shop.api, 'w1', [buildObservation(order)])
  await isIn(order, 'processing')
  await handleOf(order).executeUpdate(shipUpdate, { args: [buildCommand(SHIP)] })
  return handleOf(order).executeUpdate(deliverUpdate, {
    args: [buildCommand({ ...SHIP, method: 'MarkDelivered' })],
  })
}
const LIVES: readonly ((order: AcceptedOrder) => Promise<unknown>)[] = [
  async () => undefined,
  async (order) => recordReport(shop.api, 'w1', [buildObservation(order, { state: 'seen' })]),
  async (order) => {
    await runs(order)
    return handleOf(order).executeUpdate(cancelUpdate, { args: [buildCommand()] })
  },
  deliver,
]

/** The engine as it is, but for a list of running workflows that lags behind. */
const lagging = (listed: readonly object[]) =>
  ({
    workflow: {
      list: async function* () {
        yield* listed
      },
      getHandle: (workflowId: string) => worker.client.workflow.getHandle(workflowId),
    },
  }) as unknown as TestWorker['client']

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const item of items) found.push(item)
  return found
}

describe('a shop in which nothing was torn apart', () => {
  useShop()

  test(
    'a shop at work shows no difference to the engine, and neither does one at rest',
    async () => {
      await shop.catchUp()
      let isBusy = true
      const looking = (async () => {
        const seen: unknown[] = []
        while (isBusy) seen.push(...(await look()).differences)
        return seen
      })()
      await callConcurrently(ORDERS, async (at) => {
        const order = await accept(at % 5 === 0 ? { windowMs: 1, graceMs: 0 } : {})
        if (at % 5 !== 0) await LIVES[at % LIVES.length]?.(order)
      })
      isBusy = false
      expect(await looking).toEqual([])
      await isAtRest()
      const [{ orders } = { orders: 0n }] = await shop.query<{ orders: bigint }>(
        'select count(*) as orders from orders',
      )
      const report = await checkConsistency({ database: worker.database, client: worker.client })
      expect(report.differences).toEqual([])
      expect(orders).toBeGreaterThanOrEqual(ORDERS)
      expect(report.looked).toMatchObject({ orders: Number(orders), products: 1 })
      expect(report.looked.workflows).toBeGreaterThan(0)
    },
    WITHIN_MS,
  )

  test(
    'a list of workflows that lags behind accuses nobody',
    async () => {
      const open = await Promise.all(Array.from({ length: 5 }, () => accept()))
      for (const order of open) await runs(order)
      const closed = await accept()
      await deliver(closed)
      await handleOf(closed).result()
      const shift = (sign: string) =>
        plant(`update orders set created_at = created_at ${sign} interval '1 day', updated_at = updated_at ${sign} interval '1 day'
          where order_id = '${closed.orderId}'`)
      await shift('-')
      const one = await until(async () => {
        const [found] = await all(
          worker.client.workflow.list({ query: `WorkflowId = '${orderWorkflowId(closed.orderId)}'` }),
        )
        return found?.status.name === 'COMPLETED' ? found : undefined
      })
      for (const listed of [[], [one]])
        expect(await compareWorkflows({ database: worker.database, client: lagging(listed), settleMs: 0 })).toEqual({
          looked: listed.length,
          differences: [],
        })
      await shift('+')
    },
    WITHIN_MS,
  )

  test(
    'so many workflows look wrong that not all are asked about, and the rest is told as a difference',
    async () => {
      // The look leaves out what is still to be started, and what is swept is no longer open.
      await isAtRest()
      const open = await shop.query("select from orders where status not in ('delivered', 'cancelled')")
      const listed = Array.from({ length: 1_001 - open.length }, () => ({
        type: 'order',
        workflowId: orderWorkflowId(randomUUID()),
        typedSearchAttributes: { get: () => undefined },
      }))
      const suspects = { database: worker.database, client: lagging(listed), settleMs: 0 }
      expect((await compareWorkflows(suspects)).differences).toEqual([
        {
          check: 'suspects_are_asked',
          subject: 'workflows',
          detail: '1 more look inconsistent and were not read',
        },
      ])
      listed.pop()
      expect((await compareWorkflows(suspects)).differences).toEqual([])
    },
    WITHIN_MS,
  )
})

type Torn = { check: WorkflowCheck; tear: () => Promise<string> }

const keyOf = ({ check, subject }: { check: string; subject: string }): string => `${check} ${subject}`

/** Stands as if it had stood so for an hour: a workflow has had the time to notice. */
const moved = (orderId: string, to: string): Promise<unknown> =>
  plant(`update orders set ${to}, updated_at = now() - interval '1 hour', created_at = now() - interval '2 hours'
    where order_id = '${orderId}'`)

const TORN: Readonly<Record<string, Torn>> = {
  'an open order whose workflow was ended by hand': {
    check: 'order_has_workflow',
    tear: async () => {
      const order = await accept()
      await runs(order)
      await handleOf(order).terminate('torn')
      return order.orderId
    },
  },
  'an open order whose workflow nobody will start': {
    check: 'order_has_workflow',
    tear: async () => {
      const order = await accept()
      await runs(order)
      const orderId = randomUUID()
      await plant(`insert into orders select (jsonb_populate_record(o, jsonb_build_object('order_id', '${orderId}'))).* from orders o
        where order_id = '${order.orderId}'`)
      return orderId
    },
  },
  'a workflow of no order': {
    check: 'workflow_has_order',
    tear: async () => {
      const orderId = randomUUID()
      const start = { taskQueue: 'nobody', workflowId: orderWorkflowId(orderId), args: [{ orderId, generation: 1 }] }
      await worker.client.workflow.start('order', start)
      return orderId
    },
  },
  'a workflow whose name is no order’s': {
    check: 'workflow_has_order',
    tear: async () => {
      const name = `x-${randomUUID()}`
      await worker.client.workflow.start('order', { taskQueue: 'nobody', workflowId: orderWorkflowId(name), args: [] })
      return name
    },
  },
  'a workflow that goes on after its order was ended past it': {
    check: 'workflow_has_order',
    tear: async () => {
      const order = await accept()
      await runs(order)
      await moved(order.orderId, "status = 'cancelled', cancel_reason = 'admin'")
      return order.orderId
    },
  },
  'a workflow that knows nothing of what its order became': {
    check: 'workflow_shows_status',
    tear: async () => {
      const order = await accept()
      await runs(order)
      await moved(order.orderId, "status = 'processing'")
      return order.orderId
    },
  },
  'aftercare of an order that is open': {
    check: 'workflow_has_order',
    tear: async () => {
      const order = await accept()
      await runs(order)
      const { orderId } = order
      const start = { taskQueue: 'nobody', workflowId: aftercareWorkflowId(orderId), args: [{ orderId }] }
      await worker.client.workflow.start('aftercare', start)
      return orderId
    },
  },
}

describe('a shop that was torn apart by hand', () => {
  useShop()

  test.each(Object.keys(TORN))(
    'what was torn apart is found, and nothing else: %s',
    async (name) => {
      const { check, tear } = TORN[name] as Torn
      const before = (await look()).differences
      const subject = await tear()
      const found = await until(async () => {
        const { differences } = await look()
        return differences.length > before.length ? differences : undefined
      })
      const known = new Set(before.map(keyOf))
      expect(found.filter((one) => !known.has(keyOf(one)))).toEqual([{ check, subject, detail: expect.any(String) }])
    },
    WITHIN_MS,
  )

  test(
    'the schedule, as often as it is told to, finds the same and keeps it for every worker to show',
    async () => {
      const everywhere = { database: worker.database, client: worker.client, settleMs: 0 }
      const torn: string[] = []
      for (const { check, tear } of Object.values(TORN)) torn.push(keyOf({ check, subject: await tear() }))
      await isAtRest()
      const differences = await until(async () => {
        const found = (await checkConsistency(everywhere)).differences
        return torn.every((key) => found.map(keyOf).includes(key)) ? found : undefined
      })
      const activities = createConsistencyActivities({
        database: worker.database,
        look: (onRange) => checkConsistency({ ...everywhere, onRange }),
      })
      await worker.run(() => activities, { taskQueue: BACKGROUND_TASK_QUEUE })
      await ensureSchedules(worker.client)
      await ensureSchedules(worker.client, { [CONSISTENCY_SCHEDULE]: 60_000 })
      const schedule = worker.client.schedule.getHandle(CONSISTENCY_SCHEDULE)
      expect((await schedule.describe()).spec.intervals).toMatchObject([{ every: 60_000 }])
      await schedule.trigger()
      await until(async () => (await findConsistency(worker.database)).finishedAt)
      const kept = await shop.query<{ check: string; subject: string }>(
        'select check_name as "check", subject from inconsistency',
      )
      expect(kept.map(keyOf).toSorted()).toEqual(differences.map(keyOf).toSorted())
      for (const { scheduleId } of SCHEDULES) await worker.client.schedule.getHandle(scheduleId).delete()
      await worker.run()
    },
    WITHIN_MS,
  )
})
