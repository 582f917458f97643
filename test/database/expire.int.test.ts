// Expiry of orders and holds: an order that was or may have been paid in time never expires; every other order does.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { buildLine, buildProposal } from '../support/builder.ts'
import { callEachConcurrently } from '../support/concurrent.ts'
import { findViolations } from '../support/invariant.ts'
import { buildObservation, createTestShop, nextOf, runOf, type TestShop } from '../support/shop.ts'
import { until } from '../support/until.ts'
import type { AcceptedOrder, ProposedOrder } from '../../src/db/accept/accept.ts'
import { expireOrder } from '../../src/db/order.ts'
import { assessPayments, recordReport } from '../../src/db/payment.ts'
import type { ReportedObservation } from '../../src/domain/chain.ts'
import { sweepHolds } from '../../src/db/sweep.ts'

const HOUR_MS = 3_600_000
/** Expires at once. */
const SHORT = { windowMs: 1, graceMs: 0 }

let shop: TestShop

beforeAll(async () => {
  shop = await createTestShop()
})
beforeEach(() => shop.catchUp())
afterEach(async () => {
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(() => shop.close())

/** Waits until the order's hold has expired by the database's clock. */
async function outlast({ orderId }: AcceptedOrder): Promise<void> {
  const look = 'select from reservation where order_id = $1 and expires_at < clock_timestamp()'
  await until(async () => (await shop.query(look, [orderId])).length > 0)
}
async function lapsed(overrides: Partial<ProposedOrder> = {}): Promise<AcceptedOrder> {
  const order = await shop.order({ ...SHORT, ...overrides })
  await outlast(order)
  return order
}
/** A payment first seen in the order's time, however slow the machine is. */
const seenOf = (order: AcceptedOrder, overrides: Partial<ReportedObservation> = {}) =>
  buildObservation(order, { state: 'seen', firstSeenAt: order.createdAt, ...overrides })
const half = (order: AcceptedOrder) => seenOf(order, { state: 'final', amount: order.amountDue / 2n })
/** Waits until the order's quote has expired; its hold may last longer. */
async function outlastQuote({ orderId }: AcceptedOrder): Promise<void> {
  const look = 'select from invoice where order_id = $1 and expires_at + grace < clock_timestamp()'
  await until(async () => (await shop.query(look, [orderId])).length > 0)
}
/** An order paid in time, with an expired quote and a payment that is not final yet. */
async function confirming(overrides: Partial<ProposedOrder>): Promise<AcceptedOrder> {
  const order = await shop.order({ windowMs: 300, graceMs: 0, ...overrides })
  await recordReport(shop.api, 'w1', [seenOf(order)])
  await assessPayments(shop.worker, runOf(order, 1).next())
  await outlastQuote(order)
  return order
}

/** Above any step number that a test used before. */
let steps = 100
/** All callers that can expire an order. */
const EXPIRY_CALLS = {
  workflow: async ({ orderId }: AcceptedOrder) =>
    void (await expireOrder(shop.worker, { orderId, generation: 1, step: (steps += 1) })),
  sweeper: async () => void (await sweepHolds(shop.worker, 1_000)),
  'shortage of another order': async (order: AcceptedOrder) => {
    const [{ productId } = { productId: '' }] = order.lines
    await shop.acceptor.accept(buildProposal({ lines: [buildLine({ productId, quantity: 10 })] }))
  },
} as const

/** Each creates an order that must not expire, for exactly one reason. */
const REASONS: Readonly<Record<string, () => Promise<AcceptedOrder>>> = {
  'its quote still runs': () => shop.order({ windowMs: HOUR_MS, graceMs: 0 }),
  'its grace still runs': () => shop.order({ windowMs: 1, graceMs: HOUR_MS }),
  'what its watcher said is not assessed': async () => {
    const order = await lapsed()
    await recordReport(shop.api, 'w1', [half(order)])
    return order
  },
  'enough was seen in time, and nothing of it assessed': async () => {
    const order = await shop.order({ windowMs: 200, graceMs: 0, confirmWithinMs: 1 })
    await recordReport(shop.api, 'w1', [seenOf(order)])
    await outlast(order)
    return order
  },
  'enough was seen in time and may still become final': () => confirming({ confirmWithinMs: HOUR_MS }),
  'what was seen in time lost its block and may come back': async () => {
    const order = await shop.order({ windowMs: 300, graceMs: 0, confirmWithinMs: HOUR_MS })
    const seen = seenOf(order)
    await recordReport(shop.api, 'w1', [seen, nextOf(seen, { state: 'reorged' })])
    await assessPayments(shop.worker, runOf(order, 1).next())
    await outlastQuote(order)
    return order
  },
  'the time for becoming final is over, and its chain was not read past it': async () => {
    const order = await confirming({ confirmWithinMs: 300 })
    await outlast(order)
    await shop.query(
      'update chain_status set caught_up_at = (select max(expires_at) from reservation where order_id = $1)',
      [order.orderId],
    )
    return order
  },
  'its chain was never read': () => lapsed({ network: 'unread' }),
  'its chain was read, but never to the tip': async () => {
    const order = await lapsed()
    await shop.query('update chain_status set caught_up_at = null')
    return order
  },
  'its chain was read only up to the very end of its grace': async () => {
    const order = await lapsed()
    await shop.query(
      'update chain_status set caught_up_at = (select expires_at + grace from invoice where order_id = $1)',
      [order.orderId],
    )
    return order
  },
}

describe.each(Object.keys(EXPIRY_CALLS) as (keyof typeof EXPIRY_CALLS)[])('asked by the %s, an order', (caller) => {
  test.each(Object.keys(REASONS))('stays although its hold is over, while %s', async (reason) => {
    const order = (await REASONS[reason]?.()) as AcceptedOrder
    const before = await shop.state(order)
    await EXPIRY_CALLS[caller](order)
    expect(await shop.state(order)).toEqual({ ...before, expiresInMs: expect.any(Number) })
    expect(before).toMatchObject({ status: 'pending', reservation: 'held' })
  })

  test('expires once nothing speaks for it, and gives its stock back once', async () => {
    const order = await lapsed()
    const [{ productId } = { productId: '' }] = order.lines
    await EXPIRY_CALLS[caller](order)
    expect(await shop.state(order)).toMatchObject({
      status: 'cancelled',
      cancelReason: 'expired',
      paymentState: 'expired',
      reservation: 'expired',
      version: 2,
    })
    const moves =
      'select kind, on_hand_delta, reserved_delta, actor from stock_movement where order_id = $1 order by movement_id'
    const [, end] = await shop.query(moves, [order.orderId])
    expect(end).toEqual({ kind: 'expire', on_hand_delta: 0n, reserved_delta: -2n, actor: 'system' })
    await EXPIRY_CALLS[caller](order)
    expect(await shop.query(moves, [order.orderId])).toHaveLength(2)
    const told = await shop.query('select order_version, status from notification where order_id = $1 order by 1', [
      order.orderId,
    ])
    expect(told).toEqual([
      { order_version: 1n, status: 'pending' },
      { order_version: 2n, status: 'cancelled' },
    ])
    expect(await shop.query('select address from key_retire where order_id = $1', [order.orderId])).toEqual([
      { address: order.address },
    ])
    expect(
      (await shop.query('select from reservation where product_id = $1 and state = $2', [productId, 'expired'])).length,
    ).toBe(1)
  })
})

describe('an expiry', () => {
  test.each(Object.keys(EXPIRY_CALLS) as (keyof typeof EXPIRY_CALLS)[])(
    'asked by the %s ends a payment that was not final by its deadline as slow, and wakes the workflow',
    async (caller) => {
      const order = await confirming({ confirmWithinMs: 300 })
      await outlast(order)
      await assessPayments(shop.worker, runOf(order, 1).next())
      await shop.query('delete from order_wake where order_id = $1', [order.orderId])
      await EXPIRY_CALLS[caller](order)
      expect(await shop.state(order)).toMatchObject({
        status: 'cancelled',
        cancelReason: 'expired',
        paymentState: 'late_confirming',
        reservation: 'expired',
      })
      const [row] = await shop.query('select payment_flags as flags from orders where order_id = $1', [order.orderId])
      expect(row).toEqual({ flags: ['slow_confirm'] })
      expect(await shop.query('select from order_wake where order_id = $1', [order.orderId])).toHaveLength(1)
    },
  )

  test('keeps what came of too little money as owed, and says it was under', async () => {
    const order = await shop.order({ windowMs: 300, graceMs: 0 })
    const run = runOf(order)
    await recordReport(shop.api, 'w1', [half(order)])
    await assessPayments(shop.worker, run.next())
    await outlast(order)
    expect(await expireOrder(shop.worker, run.next())).toMatchObject({
      status: 'cancelled',
      cancelReason: 'expired',
      paymentState: 'unresolved',
    })
    const [row] = await shop.query(
      'select amount, payment_flags from refund_due join orders using (order_id) where order_id = $1',
      [order.orderId],
    )
    expect(row).toEqual({ amount: (order.amountDue / 2n).toString(), payment_flags: ['under'] })
  })

  test('asked for by many at once happens once', async () => {
    const orders = await Promise.all(Array.from({ length: 10 }, () => lapsed()))
    await callEachConcurrently(
      orders.flatMap((order) => [
        () => EXPIRY_CALLS.workflow(order),
        () => EXPIRY_CALLS.sweeper(),
        () => EXPIRY_CALLS['shortage of another order'](order),
        () => EXPIRY_CALLS.sweeper(),
      ]),
    )
    for (const order of orders) {
      expect(await shop.state(order)).toMatchObject({ status: 'cancelled', cancelReason: 'expired', version: 2 })
      expect(await shop.stock(order)).toMatchObject({ onHand: 10n })
    }
  })

  test('that races a payment is either before it or after it, never both', async () => {
    const orders = await Promise.all(Array.from({ length: 20 }, () => shop.order({ windowMs: 200, graceMs: 0 })))
    for (const order of orders) await outlast(order)
    await callEachConcurrently<unknown>(
      orders.flatMap((order) => [
        () => recordReport(shop.api, 'w1', [buildObservation(order, { firstSeenAt: order.createdAt })]),
        () => EXPIRY_CALLS.workflow(order),
        () => EXPIRY_CALLS.sweeper(),
      ]),
    )
    for (const order of orders) {
      const { status, hasUnassessed, reservation } = await shop.state(order)
      expect(hasUnassessed).toBe(true)
      expect([status, reservation]).toEqual(status === 'pending' ? ['pending', 'held'] : ['cancelled', 'expired'])
      // A payment that comes first extends the hold, and keeps the order.
      const [hold] = await shop.query<{ isExtended: boolean }>(
        `select r.expires_at > i.expires_at + i.grace as "isExtended"
         from reservation r join invoice i using (order_id) where order_id = $1`,
        [order.orderId],
      )
      expect([status, hold?.isExtended]).toEqual([status, status === 'pending'])
    }
  })

  test('that races a cancellation leaves one reason and one release', async () => {
    const orders = await Promise.all(Array.from({ length: 10 }, () => lapsed()))
    await callEachConcurrently<unknown>(
      orders.flatMap((order) => [() => sweepHolds(shop.worker, 1_000), () => shop.ask('cancel', runOf(order).next())]),
    )
    for (const order of orders) {
      const { status, cancelReason, reservation } = await shop.state(order)
      expect(status).toBe('cancelled')
      expect([`${cancelReason} ${reservation}`]).toEqual(
        cancelReason === 'expired' ? ['expired expired'] : ['customer released'],
      )
      expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 0n })
    }
  })
})

test('the end of a quote that runs for a month is told as the longest that a timer can wait', async () => {
  const order = await shop.order({ windowMs: 30 * 24 * HOUR_MS })
  expect(await shop.state(order)).toMatchObject({ status: 'pending', expiresInMs: 2 ** 31 - 1 })
})

describe('holds that cannot end yet', () => {
  test('never keep the sweeper from those that can', async () => {
    // Ends the holds that other tests left.
    await EXPIRY_CALLS.sweeper()
    const stuck = await Promise.all(Array.from({ length: 20 }, () => lapsed({ network: 'unread' })))
    const due = await lapsed()
    expect(await sweepHolds(shop.worker, 5)).toBe(1)
    expect(await shop.state(due)).toMatchObject({ status: 'cancelled' })
    for (const order of stuck) expect(await shop.state(order)).toMatchObject({ status: 'pending' })
  })

  test('never keep a shortage from those that can', async () => {
    const { productId } = await shop.product({ onHand: 200n })
    const lines = [buildLine({ productId })]
    const stuck = Array.from({ length: 150 }, () => lapsed({ lines, network: 'unread' }))
    await Promise.all(stuck)
    await Promise.all(Array.from({ length: 50 }, () => lapsed({ lines })))
    const answer = await shop.acceptor.accept(buildProposal({ lines: [buildLine({ productId, quantity: 50 })] }))
    expect(answer.verdict).toBe('accepted')
  })
})
