// Late money of an expired order: it buys the order again, as a linked order that holds stock and is paid, or it is owed
// back. Exactly one of the two, however assessments repeat, race or are killed (D-8, design rule 7).

import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import { putAddresses } from '../support/address.ts'
import { createFailpoint, isAnswerLost, unwrapped, InjectedFailure } from '../support/failpoint.ts'
import { findViolations } from '../support/invariant.ts'
import { count, COUNT_WITHIN_MS, seed } from '../support/scale.ts'
import { buildObservation, createTestShop, nextOf, runOf, type TestShop } from '../support/shop.ts'
import { until } from '../support/until.ts'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { saveAssetRates } from '../../src/db/asset_rate.ts'
import { expireOrder, reserveStock } from '../../src/db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../src/db/payment.ts'
import { findOrder } from '../../src/db/read.ts'
import type { ReportedObservation } from '../../src/domain/chain.ts'
import type { LatePolicy } from '../../src/domain/late.ts'
import { minimumOf, ASSET_POLICY } from '../../src/domain/payment.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const HOUR_MS = 3_600_000
const POLICY: LatePolicy = { accepts: true, withinMs: 24 * HOUR_MS, driftBps: 200, rateAgeMs: HOUR_MS }
const DUST = ASSET_POLICY.ETH.dustFloor

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
  await shop.catchUp()
  await setRate(200_000n)
})
afterAll(() => shop.close())

const setRate = (rateMinor: bigint): Promise<void> => saveAssetRates(shop.api, 'EUR', [{ asset: 'ETH', rateMinor }])

/** An order whose quote has ended unpaid. */
async function expired(overrides: Parameters<TestShop['order']>[0] = {}): Promise<AcceptedOrder> {
  const order = await shop.order({ windowMs: 1, graceMs: 0, ...overrides })
  const run = runOf(order)
  await reserveStock(shop.worker, run.next())
  await until(async () => (await expireOrder(shop.worker, run.next())).status === 'cancelled')
  return order
}

const late = (order: AcceptedOrder, overrides: Partial<ReportedObservation> = {}): ReportedObservation =>
  buildObservation(order, { firstSeenAt: new Date(order.expiresAt.getTime() + 1_000), ...overrides })

async function pay(order: AcceptedOrder, fact: ReportedObservation, policy: LatePolicy = POLICY): Promise<void> {
  await recordReport(shop.api, 'w1', [fact])
  await putAddresses(shop.test, 1)
  await assessLatePayments(shop.worker, order.orderId, policy)
}

type Outcome = { refusal: string | null; replacement: string | null; owed: bigint; state: string }

async function outcomeOf({ orderId }: Pick<AcceptedOrder, 'orderId'>): Promise<Outcome> {
  const [row] = await shop.query<{ refusal: string | null; replacement: string | null; owed: string; state: string }>(
    `select d.refusal, d.replacement_id as replacement, coalesce(r.amount, 0) as owed, o.payment_state as state
     from orders o left join late_decision d on d.order_id = o.order_id left join refund_due r on r.order_id = o.order_id
     where o.order_id = $1`,
    [orderId],
  )
  if (row === undefined) throw new Error('there is no such order')
  return { ...row, owed: BigInt(row.owed) }
}

const ANYBODY = { ownerId: null, statuses: ['pending', 'processing', 'shipped', 'delivered', 'cancelled'] } as const
const readOrder = async (orderId: string) => {
  const order = await findOrder(shop.api, orderId, ANYBODY)
  if (order === undefined) throw new Error('there is no such order')
  return order
}

/** The replacement of an order whose late money was accepted. */
async function replacementOf(order: AcceptedOrder): Promise<AcceptedOrder> {
  const { replacement } = await outcomeOf(order)
  if (replacement === null) throw new Error('the money was not accepted')
  return { ...order, orderId: replacement, address: (await readOrder(replacement)).address }
}

describe('late money of an expired order', () => {
  test('pays a linked order with the same lines, a committed hold and a start of its own', async () => {
    const order = await expired()
    await pay(order, late(order))
    const replacement = await replacementOf(order)
    expect(await shop.state(order)).toMatchObject({ status: 'cancelled', paymentState: 'expired' })
    expect(await shop.state(replacement)).toMatchObject({
      status: 'processing',
      paymentState: 'paid',
      reservation: 'committed',
    })
    const [before, after] = [await readOrder(order.orderId), await readOrder(replacement.orderId)]
    expect(after).toMatchObject({
      lines: before.lines,
      totalMinor: before.totalMinor,
      userId: before.userId,
      received: order.amountDue,
      replacesOrderId: order.orderId,
      replacedByOrderId: null,
      paymentFlags: ['late'],
    })
    expect(before).toMatchObject({
      replacesOrderId: null,
      replacedByOrderId: replacement.orderId,
      received: order.amountDue,
    })
    expect(after.address).not.toBe(before.address)
    expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 2n })
    expect(
      await shop.query('select order_id from workflow_start where order_id = $1', [replacement.orderId]),
    ).toHaveLength(1)
    expect(await outcomeOf(order)).toMatchObject({ refusal: null, owed: 0n })
    expect(
      await shop.query('select status from notification where order_id = $1 order by notification_id', [
        replacement.orderId,
      ]),
    ).toEqual([{ status: 'pending' }, { status: 'processing' }])
    expect(
      await shop.query("select from audit_entry where aggregate_id = $1 and body::text like '%late_decision%'", [
        order.orderId,
      ]),
    ).toHaveLength(1)
  })

  test('leaves the replacement an ordinary order, which is shipped and delivered', async () => {
    const order = await expired()
    await pay(order, late(order))
    const replacement = await replacementOf(order)
    const run = runOf(replacement)
    await reserveStock(shop.worker, run.next())
    expect(await shop.ask('ship', run.next())).toMatchObject({ ok: true })
    expect(await shop.ask('deliver', run.next())).toMatchObject({ ok: true })
    expect(await shop.stock(order)).toEqual({ onHand: 8n, reserved: 0n })
  })

  test('is decided on when part of it came in time, or all of it before the order had expired', async () => {
    const order = await shop.order({ windowMs: 1, graceMs: 0 })
    const run = runOf(order)
    await reserveStock(shop.worker, run.next())
    const half = order.amountDue / 2n
    await recordReport(shop.api, 'w1', [
      late(order, { amount: half, firstSeenAt: order.createdAt }),
      late(order, { amount: order.amountDue - half }),
    ])
    await assessPayments(shop.worker, run.next())
    await until(async () => (await expireOrder(shop.worker, run.next())).status === 'cancelled')
    expect(await shop.query('select from order_wake where order_id = $1', [order.orderId])).toHaveLength(1)
    await putAddresses(shop.test, 1)
    await assessLatePayments(shop.worker, order.orderId, POLICY)
    expect(await shop.state(await replacementOf(order))).toMatchObject({ status: 'processing', paymentState: 'paid' })
    expect(await outcomeOf(order)).toMatchObject({ owed: 0n, state: 'expired' })
    expect(await shop.query('select from order_wake where order_id = $1', [order.orderId])).toEqual([])
  })

  test('owes back the excess above what the replacement costs', async () => {
    const order = await expired()
    await pay(order, late(order, { amount: order.amountDue + DUST + 1n }))
    await replacementOf(order)
    expect(await outcomeOf(order)).toMatchObject({ owed: DUST + 1n, state: 'unresolved' })
  })

  test('waits until it is final and enough', async () => {
    const order = await expired()
    const short = late(order, { amount: minimumOf(order.amountDue) - 1n })
    await pay(order, short)
    expect(await outcomeOf(order)).toMatchObject({ refusal: null, replacement: null, state: 'unresolved' })
    const rest = late(order, { amount: 1n, state: 'seen' })
    await pay(order, rest)
    expect(await outcomeOf(order)).toMatchObject({ refusal: null, replacement: null })
    await pay(order, nextOf(rest, { state: 'final' }))
    expect(await outcomeOf(order)).toMatchObject({ owed: 0n, state: 'expired' })
    await replacementOf(order)
  })

  test('is never accepted after a cancellation', async () => {
    const { order } = await shop.orderIn('cancelled')
    await pay(order, late(order))
    expect(await outcomeOf(order)).toEqual({
      refusal: null,
      replacement: null,
      owed: order.amountDue,
      state: 'unresolved',
    })
  })

  test('is owed back for good where it came too late, and stays so when stock and price return', async () => {
    const order = await expired()
    const fact = late(order, { firstSeenAt: new Date(order.expiresAt.getTime() + 24 * HOUR_MS + 1) })
    await pay(order, fact)
    expect(await outcomeOf(order)).toMatchObject({ refusal: 'too_late', owed: order.amountDue })
    await pay(order, late(order))
    expect(await outcomeOf(order)).toMatchObject({ refusal: 'too_late', owed: 2n * order.amountDue })
  })

  test('is owed back where the policy says so', async () => {
    const order = await expired()
    await pay(order, late(order), { ...POLICY, accepts: false })
    expect(await outcomeOf(order)).toMatchObject({ refusal: 'policy', owed: order.amountDue, state: 'unresolved' })
  })

  test('is owed back where the stock is gone', async () => {
    const { productId } = await shop.product({ onHand: 2n })
    const lines = [{ productId, quantity: 2, unitPriceMinor: 1_250n }]
    const order = await expired({ lines })
    await shop.order({ lines })
    await pay(order, late(order))
    expect(await outcomeOf(order)).toMatchObject({ refusal: 'out_of_stock', owed: order.amountDue })
  })

  test('is owed back where the product is no longer sold', async () => {
    const order = await expired()
    await shop.query('update product set is_active = false where product_id = $1', [order.lines[0]?.productId])
    await pay(order, late(order))
    expect(await outcomeOf(order)).toMatchObject({ refusal: 'product_gone', owed: order.amountDue })
  })

  test.each([
    ['is accepted', 196_079n, null],
    ['is owed back', 196_078n, 'price_moved'],
    ['is accepted', 204_081n, null],
    ['is owed back', 204_082n, 'price_moved'],
  ])('%s at %d minor units per coin after a quote of 200000: the limit is 2 %%', async (_, rateMinor, refusal) => {
    const order = await expired()
    await setRate(rateMinor)
    await pay(order, late(order))
    await setRate(200_000n)
    expect((await outcomeOf(order)).refusal).toBe(refusal)
  })

  test('is owed back where nobody knows the present price of the coin', async () => {
    const order = await expired()
    await pay(order, late(order), { ...POLICY, rateAgeMs: 1 })
    expect(await outcomeOf(order)).toMatchObject({ refusal: 'rate_unknown', owed: order.amountDue })
  })

  test('is tried again, and not owed back, while no address is free', async () => {
    await shop.query("update address_pool set leased_by = 'test', leased_at = now() where leased_at is null")
    const order = await expired()
    await recordReport(shop.api, 'w1', [late(order)])
    await expect(assessLatePayments(shop.worker, order.orderId, POLICY)).rejects.toThrow()
    expect(await outcomeOf(order)).toMatchObject({ refusal: null, replacement: null, owed: 0n })
    await putAddresses(shop.test, 1)
    await assessLatePayments(shop.worker, order.orderId, POLICY)
    await replacementOf(order)
  })
})

describe('money that a replacement lives on', () => {
  test('stops shipping when it loses its block, and releases the stop when it is back', async () => {
    const order = await expired()
    const fact = late(order)
    await pay(order, fact)
    const replacement = await replacementOf(order)
    const lost = nextOf(fact, { state: 'reorged' })
    await recordReport(shop.api, 'w1', [lost])
    const run = runOf(replacement)
    expect(await shop.ask('ship', run.next())).toMatchObject({ ok: false })
    await assessLatePayments(shop.worker, order.orderId, POLICY)
    expect(await shop.state(replacement)).toMatchObject({ paymentState: 'at_risk', hold: 'payment' })
    expect(await shop.query('select from order_wake where order_id = $1', [replacement.orderId])).toHaveLength(1)
    const back = nextOf(lost, { state: 'final' })
    await pay(order, back)
    expect(await shop.state(replacement)).toMatchObject({ paymentState: 'paid', hold: 'none' })
    await pay(order, nextOf(back, { state: 'dropped' }))
    expect(await shop.state(replacement)).toMatchObject({ paymentState: 'reversed', hold: 'payment' })
    expect(await outcomeOf(order)).toMatchObject({ owed: 0n })
  })

  test('is owed back once when the replacement is cancelled, also where it is lost and comes back', async () => {
    const order = await expired()
    const fact = late(order)
    await pay(order, fact)
    const replacement = await replacementOf(order)
    await shop.ask('cancel', runOf(replacement).next())
    expect(await outcomeOf(replacement)).toMatchObject({ owed: order.amountDue, state: 'unresolved' })
    expect(await outcomeOf(order)).toMatchObject({ owed: 0n })
    const lost = nextOf(fact, { state: 'dropped' })
    await pay(order, lost)
    expect(await outcomeOf(replacement)).toMatchObject({ owed: 0n })
    await pay(order, nextOf(lost, { state: 'final' }))
    expect(await outcomeOf(replacement)).toMatchObject({ owed: order.amountDue })
    expect(await outcomeOf(order)).toMatchObject({ owed: 0n })
  })

  test('is owed back in full where it comes to the address of the replacement too', async () => {
    const order = await expired()
    await pay(order, late(order))
    const replacement = await replacementOf(order)
    await recordReport(shop.api, 'w1', [buildObservation(replacement)])
    await assessPayments(shop.worker, runOf(replacement).next())
    expect(await outcomeOf(replacement)).toMatchObject({ owed: order.amountDue, state: 'paid' })
  })
})

/** Never both, never neither, and the units of the replacement are taken once. */
async function expectOneOutcome(order: AcceptedOrder, received: bigint): Promise<void> {
  const { refusal, replacement, owed } = await outcomeOf(order)
  expect((refusal === null) !== (replacement === null)).toBe(true)
  const excess = received - order.amountDue
  expect(owed).toBe(refusal === null ? (excess > DUST ? excess : 0n) : received)
  expect(await shop.stock(order)).toMatchObject({ reserved: refusal === null ? 2n : 0n })
}

test('concurrent and repeated assessments decide once', async () => {
  for (let round = 0; round < count(5, 200); round += 1) {
    const order = await expired()
    await recordReport(shop.api, 'w1', [late(order)])
    await putAddresses(shop.test, 4)
    await Promise.all(Array.from({ length: 4 }, () => assessLatePayments(shop.worker, order.orderId, POLICY)))
    await assessLatePayments(shop.worker, order.orderId, POLICY)
    await expectOneOutcome(order, order.amountDue)
  }
})

const compareText = (a: string, b: string): number => a.localeCompare(b)

test('two orders for the last units: one is accepted, the other is owed back', async () => {
  const { productId } = await shop.product({ onHand: 2n })
  const lines = [{ productId, quantity: 2, unitPriceMinor: 1_250n }]
  const orders = [await expired({ lines }), await expired({ lines })]
  for (const order of orders) await recordReport(shop.api, 'w1', [late(order)])
  await putAddresses(shop.test, 2)
  await Promise.all(orders.map(({ orderId }) => assessLatePayments(shop.worker, orderId, POLICY)))
  const outcomes = await Promise.all(orders.map(outcomeOf))
  expect(outcomes.map(({ refusal }) => refusal ?? 'accepted').toSorted(compareText)).toEqual([
    'accepted',
    'out_of_stock',
  ])
  expect(outcomes.reduce((sum, { owed }) => sum + owed, 0n)).toBe(orders[0]?.amountDue)
})

test.each(['exception', 'killed backend'] as const)(
  'a decision that fails (%s) after any statement leaves all or nothing',
  async (kind) => {
    await putAddresses(shop.test, 20)
    for (let at = 0; ; at += 1) {
      const order = await expired()
      await recordReport(shop.api, 'w1', [late(order)])
      const { database, sent } = createFailpoint(shop.worker, shop.test, at, kind)
      const failure = await assessLatePayments(database, order.orderId, POLICY).then(
        () => undefined,
        (error: unknown) => error,
      )
      const isExpected = failure === undefined || unwrapped(failure) instanceof InjectedFailure || isAnswerLost(failure)
      expect(isExpected).toBe(true)
      await assessLatePayments(shop.worker, order.orderId, POLICY)
      await expectOneOutcome(order, order.amountDue)
      if (failure === undefined && at > sent()) break
      if (at > 20) throw new Error('the transaction does not end')
    }
  },
)

test('whatever is reported in whatever order, late money has exactly one outcome', async () => {
  const lives = fc.record({
    parts: fc.uniqueArray(fc.nat(3), { minLength: 1, maxLength: 4 }),
    excess: fc.constantFrom(0n, DUST, DUST + 1n),
    isStockGone: fc.boolean(),
    lose: fc.boolean(),
    assessEach: fc.boolean(),
  })
  const property = fc.asyncProperty(lives, async ({ parts, excess, isStockGone, lose, assessEach }) => {
    const { productId } = await shop.product({ onHand: 2n })
    const lines = [{ productId, quantity: 2, unitPriceMinor: 1_250n }]
    const order = await expired({ lines })
    if (isStockGone) await shop.query('update stock set on_hand = 1 where product_id = $1', [productId])
    const share = order.amountDue / BigInt(parts.length)
    await putAddresses(shop.test, 1)
    const facts = parts.map((outputIndex, at) => {
      const rest = at === 0 ? order.amountDue - share * BigInt(parts.length) + excess : 0n
      return late(order, { outputIndex, amount: share + rest })
    })
    for (const fact of facts) {
      await recordReport(shop.api, 'w1', [fact])
      if (assessEach) await assessLatePayments(shop.worker, order.orderId, POLICY)
    }
    await assessLatePayments(shop.worker, order.orderId, POLICY)
    const received = order.amountDue + excess
    const { refusal, owed } = await outcomeOf(order)
    expect(refusal).toBe(isStockGone ? 'out_of_stock' : null)
    expect(owed).toBe(isStockGone ? received : excess > DUST ? excess : 0n)
    const [first] = facts
    if (!lose || first === undefined) return
    await recordReport(shop.api, 'w1', [nextOf(first, { state: 'dropped' })])
    await assessLatePayments(shop.worker, order.orderId, POLICY)
    const left = received - first.amount
    const after = await outcomeOf(order)
    expect(after.refusal).toBe(refusal)
    expect(after.owed).toBe(isStockGone && left > DUST ? left : 0n)
    if (!isStockGone) expect(await shop.state(await replacementOf(order))).toMatchObject({ hold: 'payment' })
  })
  await fc.assert(property, { numRuns: count(15, 1_000), seed })
})

test('leaves every invariant intact', async () => {
  const violations = await findViolations(shop.test)
  // The stock that a test took away by hand.
  expect(violations.filter(({ check }) => check !== 'stock_equals_ledger')).toEqual([])
})
