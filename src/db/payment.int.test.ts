// Payments: each report is stored once, each output is credited once, and a payment moves an order only as allowed.

import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { openTestDatabase } from '../../test/support/database.ts'
import { callConcurrently } from '../../test/support/concurrent.ts'
import { findViolations } from '../../test/support/invariant.ts'
import { count, COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { buildObservation, createTestShop, nextOf, runOf, type Run, type TestShop } from '../../test/support/shop.ts'
import { ASSET_POLICY, minimumOf } from '../domain/payment.ts'
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
const DUST = ASSET_POLICY.ETH.dustFloor
const hash = (): string => `0x${randomBytes(32).toString('hex')}`
const creditsOf = ({ orderId }: AcceptedOrder) =>
  shop.query('select tx_id, output_index, amount, state, version from payment where order_id = $1 order by 1, 2', [
    orderId,
  ])
const owedTo = async ({ orderId }: AcceptedOrder) =>
  (await shop.query<{ amount: string }>('select amount from refund_due where order_id = $1', [orderId]))[0]?.amount
const flagsOf = async ({ orderId }: AcceptedOrder) =>
  (await shop.query<{ flags: string[] }>('select payment_flags as flags from orders where order_id = $1', [orderId]))[0]
    ?.flags
const wakeOf = async ({ orderId }: AcceptedOrder) =>
  (await shop.query<{ seq: bigint }>('select wanted_seq as seq from order_wake where order_id = $1', [orderId]))[0]?.seq
describe('one output', () => {
  test('told a thousand times from twenty connections is one fact and one credit', async () => {
    const { order, run } = await awaiting()
    const many = await openTestDatabase({
      url: shop.test.urlOf('app_api'),
      poolSize: 34,
      applicationName: 'test-watchers',
    })
    const fact = buildObservation(order)
    const told = await callConcurrently(1_000, () => recordReport(many, 'w1', [fact]), 20)
    await many.close()
    expect(told.reduce((sum, fresh) => sum + fresh)).toBe(1)
    expect(await assess(run)).toMatchObject({ status: 'processing', paymentState: 'paid' })
    expect(await creditsOf(order)).toEqual([
      { tx_id: fact.txId, output_index: 0, amount: order.amountDue.toString(), state: 'final', version: 1n },
    ])
  })

  test('told by two sources is credited once', async () => {
    const { order, run } = await awaiting()
    const fact = buildObservation(order)
    await report(fact)
    await recordReport(shop.api, 'w2', [fact])
    await assess(run)
    expect(await creditsOf(order)).toHaveLength(1)
    expect(await owedTo(order)).toBeUndefined()
  })

  test.each([
    ['in capitals', (txId: string) => txId.toUpperCase()],
    ['with a capital', (txId: string) => txId.replace(/[a-f]/, (letter) => letter.toUpperCase())],
    ['without its prefix', (txId: string) => txId.slice(2)],
    ['with a space', (txId: string) => `${txId} `],
    ['too short', (txId: string) => txId.slice(0, -1)],
  ])('whose transaction id is written %s is refused, so that it cannot count twice', async (_how, write) => {
    const { order } = await awaiting()
    const fact = buildObservation(order, { txId: `0xab${randomBytes(31).toString('hex')}` })
    await report(fact)
    await expect(report(nextOf(fact, { txId: write(fact.txId) }))).rejects.toMatchObject({
      code: '23514',
      constraint: 'payment_report_tx_canonical',
    })
    expect(await shop.query('select from payment_report where order_id = $1', [order.orderId])).toHaveLength(1)
  })

  test('of a transaction that pays two orders is credited to its own order, as is the other', async () => {
    const [a, b] = [await awaiting(), await awaiting()]
    const txId = hash()
    await report(buildObservation(a.order, { txId }), buildObservation(b.order, { txId, outputIndex: 1 }))
    for (const { order, run } of [a, b]) {
      expect(await assess(run)).toMatchObject({ status: 'processing' })
      expect(await creditsOf(order)).toHaveLength(1)
    }
  })

  test('is one of two of a transaction that pays an order in two parts', async () => {
    const { order, run } = await awaiting()
    const txId = hash()
    const half = { txId, amount: order.amountDue / 2n }
    await report(buildObservation(order, half), buildObservation(order, { ...half, outputIndex: 1 }))
    expect(await assess(run)).toMatchObject({ paymentState: 'paid' })
    expect(await creditsOf(order)).toHaveLength(2)
  })

  test.each([
    ['a later fact of the same source', 'w1', 2],
    ['another source', 'w2', 1],
  ])("that is one order's is not credited to another that %s names", async (_who, source, seq) => {
    const [a, b] = [await awaiting(), await awaiting()]
    const fact = buildObservation(a.order)
    await report(fact)
    await assess(a.run)
    await recordReport(shop.api, source, [nextOf(fact, { seq, address: b.order.address, amount: b.order.amountDue })])
    expect(await assess(b.run)).toMatchObject({ status: 'pending', paymentState: 'awaiting', hasUnassessed: false })
    expect(await creditsOf(b.order)).toEqual([])
    expect(await creditsOf(a.order)).toHaveLength(1)
  })

  test('claimed for two orders that are assessed at once pays one of them', async () => {
    for (let round = 0; round < count(10, 500); round += 1) {
      const [a, b] = [await awaiting(), await awaiting()]
      const fact = buildObservation(a.order)
      await report(fact)
      await recordReport(shop.api, 'w2', [nextOf(fact, { address: b.order.address, amount: b.order.amountDue })])
      const states = await Promise.all([assess(a.run), assess(b.run)])
      expect(states.map(({ paymentState }) => paymentState).toSorted()).toEqual(['awaiting', 'paid'])
    }
  })

  test('that is lost and found again is three facts, one credit, and a stop on shipping in between', async () => {
    const { order, run } = await shop.orderIn('pending')
    const final = buildObservation(order)
    await report(final)
    expect(await assess(run)).toMatchObject({
      status: 'processing',
      paymentState: 'paid',
      hold: 'none',
      reservation: 'committed',
    })
    const reorged = nextOf(final, { state: 'reorged', block: undefined })
    await report(reorged)
    expect(await assess(run)).toMatchObject({ status: 'processing', paymentState: 'at_risk', hold: 'payment' })
    expect(await shop.ask('ship', run.next())).toMatchObject({ ok: false, reason: 'ORDER_ON_HOLD' })
    await report(nextOf(reorged, { state: 'final', block: { height: 10, hash: '0xcd' } }))
    expect(await assess(run)).toMatchObject({ status: 'processing', paymentState: 'paid', hold: 'none' })
    expect(await shop.query('select from payment_report where order_id = $1', [order.orderId])).toHaveLength(3)
    expect(await creditsOf(order)).toMatchObject([{ state: 'final', version: 3n }])
    expect(await flagsOf(order)).toEqual(['reorged'])
    expect(await shop.ask('ship', run.next())).toMatchObject({ ok: true })
  })

  test('told out of order counts as its highest seq says', async () => {
    const { order, run } = await awaiting()
    const seen = buildObservation(order, { state: 'seen' })
    await report(nextOf(seen, { state: 'final' }))
    await report(seen)
    expect(await assess(run)).toMatchObject({ paymentState: 'paid' })
    expect(await creditsOf(order)).toMatchObject([{ state: 'final' }])
  })
})

describe('more or less than what is due', () => {
  test('by a thousandth is enough, and said', async () => {
    const { order, run } = await awaiting()
    await report(buildObservation(order, { amount: minimumOf(order.amountDue) }))
    expect(await assess(run)).toMatchObject({ paymentState: 'paid' })
    expect(await flagsOf(order)).toEqual(['within_tolerance'])
  })

  test('by a unit more than that waits for the rest', async () => {
    const { order, run } = await awaiting()
    const short = minimumOf(order.amountDue) - 1n
    await report(buildObservation(order, { amount: short }))
    expect(await assess(run)).toMatchObject({ status: 'pending', paymentState: 'partial' })
    await report(buildObservation(order, { amount: 1n }))
    expect(await assess(run)).toMatchObject({ status: 'processing', paymentState: 'paid' })
  })

  test('is owed back, as long as it is there', async () => {
    const { order, run } = await awaiting()
    const extra = buildObservation(order, { amount: DUST + 1n })
    await report(buildObservation(order), extra)
    await assess(run)
    expect([await owedTo(order), await flagsOf(order)]).toEqual([String(DUST + 1n), ['over']])
    await report(nextOf(extra, { state: 'reorged' }))
    await assess(run)
    expect([await owedTo(order), await flagsOf(order)]).toEqual(['0', ['reorged']])
  })

  test('by no more than dust is owed to no one: neither a unit too much nor one for an order that ended', async () => {
    const [open, ended] = [await awaiting(), await shop.orderIn('cancelled')]
    await report(buildObservation(open.order, { amount: open.order.amountDue + DUST }))
    await assess(open.run)
    expect([await owedTo(open.order), await flagsOf(open.order)]).toEqual([undefined, ['over']])
    await report(buildObservation(ended.order, { amount: 1n }))
    expect(await assessLatePayments(shop.worker, ended.order.orderId)).toMatchObject({ paymentState: 'cancelled' })
    expect(await owedTo(ended.order)).toBeUndefined()
  })

  test('in another coin counts for nothing, and is said', async () => {
    const { order, run } = await awaiting()
    await report(buildObservation(order, inSol()))
    expect(await assess(run)).toMatchObject({ paymentState: 'awaiting', hasUnassessed: false })
    expect([await flagsOf(order), await creditsOf(order)]).toEqual([['wrong_asset'], []])
  })
})

describe('money for an order that has ended', () => {
  test('is stored, owed back and said to be late, and the order stays ended', async () => {
    const { order } = await shop.orderIn('cancelled')
    await report(buildObservation(order, { firstSeenAt: new Date(order.expiresAt.getTime() + 3_600_000) }))
    expect(await assessLatePayments(shop.worker, order.orderId)).toMatchObject({
      status: 'cancelled',
      paymentState: 'unresolved',
      hasUnassessed: false,
    })
    expect([await owedTo(order), await flagsOf(order)]).toEqual([order.amountDue.toString(), ['late']])
  })

  test('that was only seen is awaited, and forgotten when it never comes', async () => {
    const { order } = await shop.orderIn('cancelled')
    const seen = buildObservation(order, { state: 'seen' })
    await report(seen)
    expect(await assessLatePayments(shop.worker, order.orderId)).toMatchObject({ paymentState: 'late_confirming' })
    expect(await owedTo(order)).toBeUndefined()
    await report(nextOf(seen, { state: 'dropped' }))
    expect(await assessLatePayments(shop.worker, order.orderId)).toMatchObject({ paymentState: 'cancelled' })
  })

  test("is not for the order's own workflow to assess", async () => {
    const { order, run } = await shop.orderIn('cancelled')
    await report(buildObservation(order))
    const before = await shop.snapshot(order)
    expect(await assess(run)).toMatchObject({ hasUnassessed: true })
    expect(await shop.snapshot(order)).toEqual(before)
    expect(await wakeOf(order)).toBe(1n)
  })

  test('while the order is open is not for its aftercare to assess', async () => {
    const { order } = await shop.orderIn('pending')
    await report(buildObservation(order))
    const before = await shop.snapshot(order)
    expect(await assessLatePayments(shop.worker, order.orderId)).toMatchObject({
      hasUnassessed: true,
      status: 'pending',
    })
    expect(await shop.snapshot(order)).toEqual(before)
  })

  test('and comes back after delivery puts nothing on hold', async () => {
    const { order } = await shop.orderIn('delivered')
    const [row] = await shop.query<{ txId: string }>('select tx_id as "txId" from payment where order_id = $1', [
      order.orderId,
    ])
    await report(buildObservation(order, { txId: row?.txId ?? '', seq: 2, state: 'reorged' }))
    expect(await assessLatePayments(shop.worker, order.orderId)).toMatchObject({
      status: 'delivered',
      paymentState: 'at_risk',
      hold: 'none',
    })
  })
})

describe('a hold that people put on an order', () => {
  test('is not theirs to lose: neither lost nor found money changes it', async () => {
    const { order, run } = await shop.orderIn('processing')
    await shop.query(`update orders set hold = 'manual' where order_id = $1`, [order.orderId])
    const [row] = await shop.query<{ txId: string }>('select tx_id as "txId" from payment where order_id = $1', [
      order.orderId,
    ])
    const lost = buildObservation(order, { txId: row?.txId ?? '', seq: 2, state: 'reorged' })
    await report(lost)
    expect(await assess(run)).toMatchObject({ paymentState: 'at_risk', hold: 'manual' })
    await report(nextOf(lost, { state: 'final' }))
    expect(await assess(run)).toMatchObject({ paymentState: 'paid', hold: 'manual' })
  })
})

test("an address is asked of one order, and an output counted once, by the database's own keys", async () => {
  const { order, run } = await awaiting()
  await report(buildObservation(order))
  await assess(run)
  const again = (table: string, columns: string) =>
    shop.query(`insert into ${table} (${columns}) select ${columns} from ${table} where order_id = $1`, [order.orderId])
  await expect(
    again('payment', 'network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at'),
  ).rejects.toMatchObject({ code: '23505', constraint: 'payment_pk' })
  await expect(shop.order({ address: order.address })).rejects.toMatchObject({
    code: '23505',
    constraint: 'invoice_one_order_per_address',
  })
})
