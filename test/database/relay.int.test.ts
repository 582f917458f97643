// The relays' backlogs: starts, wakes and notifications are claimed by leases, one holder at a time, most urgent first.

import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { buildLine } from '../support/builder.ts'
import { callConcurrently } from '../support/concurrent.ts'
import { count, COUNT_WITHIN_MS } from '../support/scale.ts'
import { buildObservation, createTestShop, runOf, type TestShop } from '../support/shop.ts'
import { until } from '../support/until.ts'
import type { AcceptedOrder, ProposedOrder } from '../../src/db/accept/accept.ts'
import { assessPayments, recordReport } from '../../src/db/payment.ts'
import { statement, type Database } from '../../src/db/connection/pool.ts'
import { claimNotifications, markNotificationsDelivered } from '../../src/db/notification.ts'
import { countStarts } from '../../src/db/read.ts'
import { findBacklog } from '../../src/db/backlog.ts'
import { recordDutyResult, holdDuty, runDuty } from '../../src/db/duty.ts'
import { claimStarts, deferStart, deleteStarts } from '../../src/db/start.ts'
import { claimWakes, deferWake, markWakesSent } from '../../src/db/wake.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
let lines: ProposedOrder['lines']
beforeAll(async () => {
  shop = await createTestShop()
  const { productId } = await shop.product({ onHand: 1_000_000n })
  lines = [buildLine({ productId })]
})
/** Empties the backlogs that earlier tests left. */
beforeEach(() => shop.query('delete from workflow_start; delete from order_wake; delete from notification'))
afterAll(() => shop.close())

const newOrder = (overrides: Partial<ProposedOrder> = {}) => shop.order({ lines, ...overrides })
const newOrders = (times: number, overrides: Partial<ProposedOrder> = {}): Promise<AcceptedOrder[]> =>
  Promise.all(Array.from({ length: times }, () => newOrder(overrides)))
const ids = (rows: readonly { orderId: string }[]): string[] => rows.map(({ orderId }) => orderId)
const pay = (order: AcceptedOrder) => recordReport(shop.api, 'w1', [buildObservation(order, { amount: 1n })])
/** A dead holder: its leases have expired, also the lease on an order's start that comes with a wake. */
const lapse = async (table: string) => {
  for (const held of new Set([table, 'workflow_start']))
    await shop.query(
      `update ${held} set claimed_until = clock_timestamp() - interval '1 ms' where claimed_until is not null`,
    )
}
/** Marks everything accepted so far as started. */
const startAll = () => shop.query('delete from workflow_start')

const QUEUES = {
  starts: { table: 'workflow_start', claim: claimStarts, fill: async (times: number) => void (await newOrders(times)) },
  wakes: {
    table: 'order_wake',
    claim: claimWakes,
    fill: async (times: number) => {
      const orders = await newOrders(times)
      await callConcurrently(times, (at) => pay(orders[at] as AcceptedOrder))
    },
  },
  notifications: {
    table: 'notification',
    claim: (database: Database, holder: string, limit: number) => claimNotifications(database, holder, limit, 'log'),
    fill: async (times: number) => void (await newOrders(times)),
  },
} as const

describe.each(Object.keys(QUEUES) as (keyof typeof QUEUES)[])('a claim of %s', (name) => {
  const { table, claim, fill } = QUEUES[name]

  test("is one relay's, however many ask at once", async () => {
    const rows = 40
    for (let round = 0; round < count(10, 300); round += 1) {
      await shop.query(`delete from ${table}`)
      await fill(rows)
      const taken = (
        await callConcurrently(24, async (at) => ids(await claim(shop.worker, `relay-${at % 6}`, 7)))
      ).flat()
      expect(taken.length).toBe(new Set(taken).size)
      expect(taken.length).toBe(rows)
    }
  })

  test('keeps others away until the lease runs out, and then goes to whoever asks', async () => {
    await fill(3)
    expect(await claim(shop.worker, 'relay-1', 10)).toHaveLength(3)
    expect(await claim(shop.worker, 'relay-2', 10)).toEqual([])
    await lapse(table)
    const again = await claim(shop.worker, 'relay-2', 10)
    expect(again.map(({ attempts }) => attempts)).toEqual([2, 2, 2])
    expect(await shop.query(`select distinct claimed_by from ${table}`)).toEqual([{ claimed_by: 'relay-2' }])
  })
})

describe('what a holder may settle', () => {
  test('is what it still holds', async () => {
    const [order] = await newOrders(1)
    const orderId = order?.orderId ?? ''
    await pay(order as AcceptedOrder)
    await claimWakes(shop.worker, 'relay-1', 1)
    const [notification] = await claimNotifications(shop.worker, 'relay-1', 1, 'log')
    for (const table of ['workflow_start', 'order_wake', 'notification']) await lapse(table)
    await Promise.all([claimWakes(shop.worker, 'relay-2', 1), claimNotifications(shop.worker, 'relay-2', 1, 'log')])

    await deleteStarts(shop.worker, 'relay-1', [orderId])
    await claimStarts(shop.worker, 'relay-1', 1, [orderId])
    await claimWakes(shop.worker, 'relay-1', 1, [orderId])
    await deferStart(shop.worker, 'relay-1', orderId, 1_000, 'dead')
    await markWakesSent(shop.worker, 'relay-1', [orderId])
    await deferWake(shop.worker, 'relay-1', orderId, 1_000, 'dead')
    await markNotificationsDelivered(shop.worker, 'relay-1', [notification?.notificationId ?? 0n])
    const held = `claimed_by = 'relay-2' and claimed_until > clock_timestamp()`
    for (const table of ['workflow_start', 'order_wake'])
      expect(await shop.query(`select from ${table} where ${held} and dead_reason is null`)).toHaveLength(1)
    expect(await shop.query(`select from notification where ${held} and delivered_at is null`)).toHaveLength(1)

    await claimWakes(shop.worker, 'relay-2', 1, [orderId])
    await markNotificationsDelivered(shop.worker, 'relay-2', [notification?.notificationId ?? 0n])
    expect(await shop.query('select from workflow_start')).toEqual([])
    expect(await shop.query('select claimed_by from notification where delivered_at is not null')).toEqual([
      { claimed_by: null },
    ])
  })
})

describe('starts', () => {
  test('are settled without waiting for a restart that holds their row, and then once more', async () => {
    const [started, next] = await newOrders(2)
    const startedId = started?.orderId ?? ''
    await claimStarts(shop.worker, 'relay-1', 1)
    await claimStarts(shop.worker, 'relay-1', 1)
    await shop.query(`update workflow_start set claimed_until = null, claimed_by = null where order_id = $1`, [
      next?.orderId,
    ])
    await shop.api.transaction(async (tx) => {
      await tx.run(statement('test_hold_start', 'update workflow_start set urgency = 0 where order_id = $1'), [
        startedId,
      ])
      expect(ids(await claimStarts(shop.worker, 'relay-1', 10, [startedId]))).toEqual([next?.orderId])
      await deleteStarts(shop.worker, 'relay-1', [startedId])
    })
    await claimWakes(shop.worker, 'relay-1', 1, [startedId])
    expect(await shop.query('select order_id as "orderId" from workflow_start')).toEqual([{ orderId: next?.orderId }])
  })

  test('go by who waits, then by whose quote ends first, and hardly to those whose quote is over', async () => {
    const over = await newOrders(10, { windowMs: 1 })
    const [late, soon] = [await newOrder({ windowMs: 3_600_000 }), await newOrder({ windowMs: 1_800_000 })]
    const paid = await newOrder({ windowMs: 7_200_000 })
    await pay(paid)
    await until(
      async () =>
        (await shop.query('select from workflow_start where quote_ends_at < clock_timestamp()')).length === 10,
    )
    const order = async (holder: string, limit: number) => {
      const taken = ids(await claimStarts(shop.worker, holder, limit))
      return {
        live: taken.filter((id) => !ids(over).includes(id)),
        over: taken.filter((id) => ids(over).includes(id)).length,
      }
    }
    expect(await order('a', 1)).toEqual({ live: [paid.orderId], over: 1 })
    expect(await order('b', 1)).toEqual({ live: [soon.orderId], over: 1 })
    expect(await order('c', 1)).toEqual({ live: [late.orderId], over: 1 })
    // A fifth of ten, although there is no other work.
    expect(await order('d', 10)).toEqual({ live: [], over: 2 })
  })

  test('say what a workflow is started with', async () => {
    const order = await newOrder({ windowMs: 60_000, graceMs: 5_000 })
    const [row] = await claimStarts(shop.worker, 'a', 1)
    expect(row).toEqual({
      orderId: order.orderId,
      generation: 1,
      asset: 'ETH',
      attempts: 1,
      expiresAt: new Date(order.expiresAt.getTime() + 5_000),
    })
  })

  test('that have led to a workflow go with the next claim, whichever order is still to be started', async () => {
    const [first, second] = await newOrders(2)
    const orderIds = [first?.orderId ?? '', second?.orderId ?? '']
    await claimStarts(shop.worker, 'a', 2)
    expect(await claimStarts(shop.worker, 'a', 2, orderIds.slice(0, 1))).toEqual([])
    expect(ids(await shop.query('select order_id as "orderId" from workflow_start'))).toEqual(orderIds.slice(1))
    // Even if its lease has expired since: it is started.
    await lapse('workflow_start')
    expect(await claimStarts(shop.worker, 'a', 2, orderIds.slice(1))).toEqual([])
    expect(await shop.query('select from workflow_start')).toEqual([])
  })

  test('that failed come again after a while, and never once given up', async () => {
    const { orderId } = await newOrder()
    await claimStarts(shop.worker, 'a', 1)
    await deferStart(shop.worker, 'a', orderId, 60_000, null)
    expect(await claimStarts(shop.worker, 'a', 1)).toEqual([])
    await shop.query('update workflow_start set next_at = clock_timestamp()')
    expect(await claimStarts(shop.worker, 'b', 1)).toMatchObject([{ orderId, attempts: 2 }])
    await deferStart(shop.worker, 'b', orderId, 0, 'closed')
    expect(await claimStarts(shop.worker, 'c', 1)).toEqual([])
    expect(await findBacklog(shop.worker)).toMatchObject({ starts: 1n, deadStarts: 1n })
  })

  test('that were given up leave their place in the backlog to new orders', async () => {
    const dead = await newOrder()
    const before = await countStarts(shop.api, 100)
    await claimStarts(shop.worker, 'a', 100)
    await deferStart(shop.worker, 'a', dead.orderId, 0, 'closed')
    expect(await countStarts(shop.api, 100)).toBe(before - 1)
    await newOrder()
    expect(await countStarts(shop.api, 100)).toBe(before)
  })
})

describe('wakes', () => {
  test('say where the signal goes', async () => {
    const order = await newOrder({ windowMs: 60_000, graceMs: 5_000 })
    await pay(order)
    const [row] = await claimWakes(shop.worker, 'a', 1)
    const expiresAt = new Date(order.expiresAt.getTime() + 5_000)
    expect(row).toEqual({
      orderId: order.orderId,
      wantedSeq: 1n,
      attempts: 1,
      status: 'pending',
      asset: 'ETH',
      expiresAt,
      startGeneration: 1,
    })
    await startAll()
    await lapse('order_wake')
    expect(await claimWakes(shop.worker, 'a', 1)).toMatchObject([{ startGeneration: null }])
  })

  test('take the start of their order with them, which nobody else then does', async () => {
    const order = await newOrder()
    await pay(order)
    await claimWakes(shop.worker, 'a', 1)
    expect(await claimStarts(shop.worker, 'b', 1)).toEqual([])
    await lapse('workflow_start')
    expect(ids(await claimStarts(shop.worker, 'b', 1))).toEqual([order.orderId])
  })

  test('wait while another relay starts their order, and no longer', async () => {
    const order = await newOrder()
    await claimStarts(shop.worker, 'a', 1)
    await pay(order)
    expect(await claimWakes(shop.worker, 'b', 1)).toEqual([])
    await claimStarts(shop.worker, 'a', 1, [order.orderId])
    expect(await claimWakes(shop.worker, 'b', 1)).toMatchObject([{ attempts: 1, startGeneration: null }])
  })

  test('leave the start of an order that has ended alone', async () => {
    const order = await newOrder()
    await shop.ask('cancel', runOf(order).next())
    await pay(order)
    expect(await claimWakes(shop.worker, 'a', 1)).toMatchObject([{ status: 'cancelled', startGeneration: null }])
    expect(await claimStarts(shop.worker, 'b', 1)).toHaveLength(1)
  })

  test('that were sent are sent again until somebody looked, and then no more', async () => {
    const order = await newOrder()
    await startAll()
    await pay(order)
    await claimWakes(shop.worker, 'a', 1)
    /** How many seconds from now the signal is sent again, on machines of any speed. */
    const isSentAgainIn = async (seconds: number): Promise<boolean> => {
      const [{ before } = { before: '' }] = await shop.query<{ before: string }>(
        'select clock_timestamp()::text as before',
      )
      await markWakesSent(shop.worker, 'a', [order.orderId])
      const [row] = await shop.query<{ isSo: boolean }>(
        `select next_at - make_interval(secs => $2) between $1 and clock_timestamp() as "isSo" from order_wake`,
        [before, seconds],
      )
      return row?.isSo === true
    }
    expect(await isSentAgainIn(30)).toBe(true)
    expect(await claimWakes(shop.worker, 'a', 1)).toEqual([])
    // An order that waits for an operator must not fill up with signals.
    for (const { attempts, seconds } of [
      { attempts: 1, seconds: 60 },
      { attempts: 500, seconds: 600 },
    ]) {
      await shop.query('update order_wake set next_at = clock_timestamp(), attempts = $1', [attempts])
      expect(await claimWakes(shop.worker, 'a', 1)).toHaveLength(1)
      expect(await isSentAgainIn(seconds)).toBe(true)
    }
    await assessPayments(shop.worker, runOf(order).next())
    expect(await shop.query('select from order_wake')).toEqual([])
  })

  test('that nobody could take are given up, until there is news', async () => {
    const order = await newOrder()
    await startAll()
    await pay(order)
    await claimWakes(shop.worker, 'a', 1)
    await deferWake(shop.worker, 'a', order.orderId, 0, 'no workflow')
    expect(await claimWakes(shop.worker, 'a', 1)).toEqual([])
    expect(await findBacklog(shop.worker)).toMatchObject({ wakes: 1n, deadWakes: 1n })
    await pay(order)
    expect(await claimWakes(shop.worker, 'a', 1)).toMatchObject([{ orderId: order.orderId, wantedSeq: 2n }])
  })
})

describe('notifications', () => {
  test('of one order come one after the other, and others do not wait for them', async () => {
    const [first, second] = await newOrders(2)
    const run = runOf(first as AcceptedOrder)
    await recordReport(shop.api, 'w1', [buildObservation(first as AcceptedOrder)])
    await assessPayments(shop.worker, run.next())
    await shop.ask('ship', run.next())
    const claimed = async (holder: string) =>
      (await claimNotifications(shop.worker, holder, 10, 'log')).map(({ notificationId, orderId, status }) => ({
        notificationId,
        orderId,
        status,
      }))
    const one = await claimed('a')
    expect(one.map(({ orderId, status }) => `${orderId} ${status}`).toSorted()).toEqual(
      [`${first?.orderId} pending`, `${second?.orderId} pending`].toSorted(),
    )
    // The next is not offered before this one is delivered.
    expect(await claimed('b')).toEqual([])
    for (const status of ['processing', 'shipped']) {
      await markNotificationsDelivered(
        shop.worker,
        'a',
        (await shop.query<{ id: bigint }>(`select notification_id as id from notification where claimed_by = 'a'`)).map(
          ({ id }) => id,
        ),
      )
      expect(await claimed('a')).toMatchObject([{ orderId: first?.orderId, status }])
    }
    expect(await findBacklog(shop.worker)).toMatchObject({ notifications: 1n })
  })
})

describe('a duty', () => {
  const dutyRow = async () =>
    (
      await shop.query(
        `select holder, failures, items, succeeded_at is not null as "didSucceed" from duty where duty = 'hold_sweep'`,
      )
    )[0]
  beforeEach(() =>
    shop.query(`update duty set holder = null, held_until = null, failures = 0, items = 0, succeeded_at = null`),
  )

  test("is one process's while its lease lasts, and then another's", async () => {
    const holders = await callConcurrently(12, async (at) =>
      (await holdDuty(shop.worker, 'hold_sweep', `p-${at}`, 5_000)) ? at : undefined,
    )
    const [winner] = holders.filter((at) => at !== undefined)
    expect(holders.filter((at) => at !== undefined)).toHaveLength(1)
    expect(await holdDuty(shop.worker, 'hold_sweep', `p-${winner}`, 5_000)).toBe(true)
    await shop.query(`update duty set held_until = clock_timestamp() - interval '1 ms'`)
    expect(await holdDuty(shop.worker, 'hold_sweep', 'p-next', 5_000)).toBe(true)
    expect(await holdDuty(shop.worker, 'hold_sweep', `p-${winner}`, 5_000)).toBe(false)
  })

  test('keeps count of what it did, and of failures since', async () => {
    await holdDuty(shop.worker, 'hold_sweep', 'p-1', 5_000)
    await recordDutyResult(shop.worker, 'hold_sweep', 'p-1', false, 0)
    await recordDutyResult(shop.worker, 'hold_sweep', 'p-1', false, 0)
    expect(await dutyRow()).toEqual({ holder: 'p-1', failures: 2, items: 0n, didSucceed: false })
    await recordDutyResult(shop.worker, 'hold_sweep', 'p-1', true, 3)
    expect(await dutyRow()).toEqual({ holder: 'p-1', failures: 0, items: 3n, didSucceed: true })
    // A holder that lost the lease has nothing to record.
    await recordDutyResult(shop.worker, 'hold_sweep', 'p-0', true, 99)
    expect(await dutyRow()).toMatchObject({ items: 3n })
  })

  test('records each turn with what it did, also of one that failed, and takes none beside another process', async () => {
    const lease = { duty: 'hold_sweep', holder: 'p-1', leaseMs: 5_000 }
    expect(await runDuty(shop.worker, lease, async (turn) => void (turn.items += 2))).toBe(2)
    const failing = runDuty(shop.worker, lease, async (turn) => {
      turn.items += 1
      throw new Error('no more')
    })
    await expect(failing).rejects.toThrow('no more')
    expect(await dutyRow()).toEqual({ holder: 'p-1', failures: 1, items: 3n, didSucceed: true })
    const act = jest.fn(async () => undefined)
    expect(await runDuty(shop.worker, { ...lease, holder: 'p-2' }, act)).toBeUndefined()
    expect(act).not.toHaveBeenCalled()
  })
})

test('the backlog says how long the oldest start has waited', async () => {
  expect(await findBacklog(shop.worker)).toMatchObject({ starts: 0n, oldestStartS: 0 })
  await newOrder()
  await shop.query(`update workflow_start set created_at = clock_timestamp() - interval '90 s'`)
  const { starts, oldestStartS } = await findBacklog(shop.worker)
  const [{ seconds } = { seconds: 0 }] = await shop.query<{ seconds: number }>(
    'select extract(epoch from clock_timestamp() - created_at)::float8 as seconds from workflow_start',
  )
  expect(starts).toBe(1n)
  expect(oldestStartS).toBeGreaterThanOrEqual(90)
  expect(oldestStartS).toBeLessThanOrEqual(seconds)
})
