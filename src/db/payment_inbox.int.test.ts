// The payment inbox: reports are stored completely, extend the hold of what was paid in time, and wake the order's
// workflow.

import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { callEachConcurrently } from '../../test/support/concurrent.ts'
import { findViolations } from '../../test/support/invariant.ts'
import { count, COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { buildObservation, createTestShop, nextOf, runOf, type Run, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import { minimumOf } from '../domain/payment.ts'
import type { AcceptedOrder, ProposedOrder } from './accept/accept.ts'
import { assessLatePayments, assessPayments, recordReport } from './payment.ts'
import type { ReportedObservation } from '../domain/chain.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterEach(async () => {
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(() => shop.close())

const report = (...facts: ReportedObservation[]): Promise<number> => recordReport(shop.api, 'w1', facts)
const assess = (run: Run) => assessPayments(shop.worker, run.next())
async function awaiting(overrides: Partial<ProposedOrder> = {}): Promise<{ order: AcceptedOrder; run: Run }> {
  const order = await shop.order(overrides)
  return { order, run: runOf(order) }
}
/** In the form of another coin. */
const inSol = (): Partial<ReportedObservation> => ({
  asset: 'SOL',
  txId: randomBytes(44).toString('hex').replaceAll('0', '1'),
})
const owedTo = async ({ orderId }: AcceptedOrder) =>
  (await shop.query<{ amount: string }>('select amount from refund_due where order_id = $1', [orderId]))[0]?.amount
const wakeOf = async ({ orderId }: AcceptedOrder) =>
  (await shop.query<{ seq: bigint }>('select wanted_seq as seq from order_wake where order_id = $1', [orderId]))[0]?.seq
/** How long the order's hold lasts beyond the quote and its grace period. */
const extensionOf = async ({ orderId }: AcceptedOrder): Promise<number> => {
  const [row] = await shop.query<{ ms: number }>(
    `select extract(epoch from r.expires_at - i.expires_at - i.grace)::float8 * 1000 as ms
     from reservation r join invoice i using (order_id) where order_id = $1`,
    [orderId],
  )
  return row?.ms ?? Number.NaN
}

describe('the hold on stock', () => {
  const DAY_MS = 86_400_000
  const patient = { confirmWithinMs: DAY_MS }

  test('lasts until the transfers had time to become final, once enough was seen in time', async () => {
    const { order } = await awaiting(patient)
    await report(buildObservation(order, { state: 'seen', amount: minimumOf(order.amountDue) }))
    expect(await extensionOf(order)).toBeGreaterThan(DAY_MS - 3_700_000)
  })

  test.each<[string, (order: AcceptedOrder) => Partial<ReportedObservation>]>([
    ['too little was seen', (order) => ({ amount: minimumOf(order.amountDue) - 1n })],
    ['it was seen too late', (order) => ({ firstSeenAt: new Date(order.expiresAt.getTime() + 60_001) })],
    ['it is gone again', () => ({ state: 'dropped' })],
    ['it is another coin', inSol],
  ])('is left as it is while %s', async (_why, overrides) => {
    const { order } = await awaiting(patient)
    await report(buildObservation(order, { state: 'seen', ...overrides(order) }))
    expect(await extensionOf(order)).toBe(0)
  })

  test('is moved once: later reports do not put the confirm deadline off', async () => {
    const { order, run } = await awaiting(patient)
    const seen = buildObservation(order, { state: 'seen' })
    await report(seen)
    const before = await extensionOf(order)
    await report(buildObservation(order, { state: 'seen', amount: 1n }))
    await assess(run)
    await report(nextOf(seen, { state: 'reorged' }))
    await report(buildObservation(order, { state: 'seen', amount: 1n }))
    await assess(run)
    expect(await extensionOf(order)).toBe(before)
  })

  test('is not moved again by money that was taken back', async () => {
    const { order } = await awaiting(patient)
    const final = buildObservation(order)
    await report(final)
    await report(nextOf(final, { state: 'reorged' }))
    const before = await extensionOf(order)
    await report(buildObservation(order, { state: 'seen', amount: 1n }))
    expect(await extensionOf(order)).toBe(before)
  })

  test('is committed when the order is paid, and the world is told once', async () => {
    const { order, run } = await awaiting()
    await report(buildObservation(order))
    for (let repeat = 0; repeat < 3; repeat += 1) await assess(run)
    expect(await shop.state(order)).toMatchObject({ reservation: 'committed', version: 2 })
    expect(
      await shop.query(`select from notification where order_id = $1 and status = 'processing'`, [order.orderId]),
    ).toHaveLength(1)
  })

  test('goes back to the rule of the window when what was seen is gone', async () => {
    const { order, run } = await awaiting({ windowMs: 300, graceMs: 0, confirmWithinMs: DAY_MS })
    const seen = buildObservation(order, { state: 'seen', firstSeenAt: order.createdAt })
    await report(seen)
    expect(await assess(run)).toMatchObject({ paymentState: 'confirming' })
    await report(nextOf(seen, { state: 'dropped' }))
    expect(await assess(run)).toMatchObject({ status: 'pending', paymentState: 'awaiting' })
    expect(await extensionOf(order)).toBe(0)
    await shop.catchUp()
    await until(async () => (await shop.query('select from expirable where order_id = $1', [order.orderId])).length > 0)
  })
})

describe('a report', () => {
  test('of money to nobody is kept, and wakes nobody', async () => {
    const { order } = await awaiting()
    const stray = buildObservation(order, { address: '0xnobody' })
    expect(await report(stray)).toBe(1)
    expect(await report(stray)).toBe(0)
    expect(await shop.query('select order_id from payment_report where tx_id = $1', [stray.txId])).toEqual([
      { order_id: null },
    ])
    expect(await wakeOf(order)).toBeUndefined()
  })

  test('of several facts is taken whole or not at all', async () => {
    const [a, b] = [await awaiting(), await awaiting()]
    const broken = buildObservation(b.order, { txId: 'no hash' })
    await expect(report(buildObservation(a.order), broken)).rejects.toMatchObject({ code: '23514' })
    expect(await shop.query('select from payment_report where order_id = $1', [a.order.orderId])).toEqual([])
    expect(await wakeOf(a.order)).toBeUndefined()
  })

  test('and another that names the same orders the other way round never deadlock', async () => {
    const orders = await Promise.all(Array.from({ length: 6 }, () => awaiting()))
    const errors: unknown[] = []
    await callEachConcurrently(
      Array.from({ length: count(60, 2_000) }, (_, at) => async () => {
        const facts = orders.map(({ order }) => buildObservation(order, { amount: 1n }))
        await report(...(at % 2 === 0 ? facts : facts.toReversed())).catch((error: unknown) => errors.push(error))
        const one = orders[at % orders.length]
        if (one !== undefined) await assess(one.run)
      }),
    )
    expect(errors).toEqual([])
  })
})

describe('a wake', () => {
  test('is wanted by new facts alone, and is gone when they are assessed', async () => {
    const { order, run } = await awaiting()
    const fact = buildObservation(order, { amount: 1n })
    await report(fact)
    expect(await wakeOf(order)).toBe(1n)
    await report(fact)
    expect(await wakeOf(order)).toBe(1n)
    await report(nextOf(fact, { state: 'dropped' }))
    expect(await wakeOf(order)).toBe(2n)
    await assess(run)
    expect(await wakeOf(order)).toBeUndefined()
    await report(fact)
    expect(await wakeOf(order)).toBeUndefined()
    await report(buildObservation(order, { amount: 1n }))
    expect(await wakeOf(order)).toBe(1n)
  })

  test('is never lost to an assessment that ran before the news was committed', async () => {
    const { order, run } = await awaiting()
    await report(buildObservation(order, { amount: 1n }))
    await shop.query('update workflow_start set urgency = 1 where order_id = $1', [order.orderId])
    // The report is stopped after its last row and before its commit.
    const blocker = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
    await blocker.connect()
    await blocker.query('begin')
    await blocker.query('select from workflow_start where order_id = $1 for update', [order.orderId])
    const waiting = (name: string) =>
      until(async () => {
        const text = `select from pg_stat_activity where datname = current_database() and application_name = $1 and wait_event_type = 'Lock'`
        return (await shop.query(text, [name])).length > 0
      })
    const telling = report(buildObservation(order, { amount: 1n }))
    await waiting('test-api')
    const assessing = assess(run)
    await waiting('test-worker')
    await blocker.query('rollback')
    await blocker.end()
    await Promise.all([telling, assessing])
    expect([(await shop.state(order)).hasUnassessed, await wakeOf(order)]).toEqual([false, undefined])
  })

  test("makes the start of an order's workflow urgent", async () => {
    const { order } = await awaiting()
    const urgency = () => shop.query('select urgency from workflow_start where order_id = $1', [order.orderId])
    expect(await urgency()).toEqual([{ urgency: 1 }])
    await report(buildObservation(order))
    expect(await urgency()).toEqual([{ urgency: 0 }])
  })

  test('outlives the end of the order, for whoever looks after it', async () => {
    const { order, run } = await shop.orderIn('pending')
    await report(buildObservation(order))
    await shop.ask('cancel', run.next())
    expect(await wakeOf(order)).toBeGreaterThan(0n)
    await assessLatePayments(shop.worker, order.orderId)
    expect([await wakeOf(order), await owedTo(order)]).toEqual([undefined, order.amountDue.toString()])
  })

  test('that a relay gave up is tried again when there is news', async () => {
    const { order } = await awaiting()
    await report(buildObservation(order, { amount: 1n }))
    await shop.query(
      `update order_wake set dead_reason = 'gone', next_at = now() + interval '1 hour' where order_id = $1`,
      [order.orderId],
    )
    await report(buildObservation(order, { amount: 1n }))
    const due = await shop.query(
      'select wanted_seq from order_wake where order_id = $1 and dead_reason is null and next_at <= clock_timestamp()',
      [order.orderId],
    )
    expect(due).toEqual([{ wanted_seq: 2n }])
  })
})
