// Assessment of payments: which source and which time count, and how much is assessed at once.

import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { sql } from 'slonik'
import { findViolations } from '../../test/support/invariant.ts'
import { count, COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { buildObservation, createTestShop, nextOf, runOf, type Run, type TestShop } from '../../test/support/shop.ts'
import { ASSET_POLICY, ASSETS } from '../domain/payment.ts'
import type { AcceptedOrder } from './accept/accept.ts'
import { assessPayments, recordReport } from './payment.ts'
import type { ReportedObservation } from '../domain/chain.ts'
import { countOrdersInDoubt } from './doubt.ts'

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
async function awaiting(): Promise<{ order: AcceptedOrder; run: Run }> {
  const order = await shop.order()
  return { order, run: runOf(order) }
}
const creditsOf = ({ orderId }: AcceptedOrder) =>
  shop.query('select tx_id, state from payment where order_id = $1', [orderId])
const owedTo = async ({ orderId }: AcceptedOrder) =>
  (await shop.query<{ amount: string }>('select amount from refund_due where order_id = $1', [orderId]))[0]?.amount
const flagsOf = async ({ orderId }: AcceptedOrder) =>
  (await shop.query<{ flags: string[] }>('select payment_flags as flags from orders where order_id = $1', [orderId]))[0]
    ?.flags
const wakeOf = async ({ orderId }: AcceptedOrder) =>
  (await shop.query<{ seq: bigint }>('select wanted_seq as seq from order_wake where order_id = $1', [orderId]))[0]?.seq

describe('money outside the time of its order', () => {
  test('seen after the quote and its grace pays nothing while the order is open, and is owed back', async () => {
    const { order, run } = await awaiting()
    const end = order.expiresAt.getTime() + 60_000
    await report(buildObservation(order, { firstSeenAt: new Date(end + 1) }))
    expect(await assess(run)).toMatchObject({ status: 'pending', paymentState: 'awaiting', reservation: 'held' })
    expect([await owedTo(order), await flagsOf(order)]).toEqual([order.amountDue.toString(), ['late']])
    await report(buildObservation(order, { firstSeenAt: new Date(end) }))
    expect(await assess(run)).toMatchObject({ status: 'processing', paymentState: 'paid' })
    expect(await owedTo(order)).toBe(order.amountDue.toString())
  })

  test('seen before the order was made, beyond the tolerance of its chain, is attributed to no order', async () => {
    const { order, run } = await awaiting()
    const begin = order.createdAt.getTime() - ASSET_POLICY.ETH.clockToleranceMs
    const early = buildObservation(order, { firstSeenAt: new Date(begin - 1) })
    await report(early)
    expect(await assess(run)).toMatchObject({ status: 'pending', paymentState: 'awaiting', hasUnassessed: false })
    expect([await creditsOf(order), await flagsOf(order)]).toEqual([[], ['manual']])
    expect(
      await shop.query('select source, amount from unattributed_output where order_id = $1', [order.orderId]),
    ).toEqual([{ source: 'w1', amount: order.amountDue.toString() }])
    await report(buildObservation(order, { firstSeenAt: new Date(begin + 1) }))
    expect(await assess(run)).toMatchObject({ paymentState: 'paid' })
  })

  test('is judged by the same tolerance and dust floor in the database as in the domain', async () => {
    const rows = await shop.query<{ asset: string; dust: string; ms: number }>(
      `select currency as asset, dust_floor as dust, (extract(epoch from clock_tolerance) * 1000)::int as ms from currency where kind = 'coin'`,
    )
    expect(new Map(rows.map(({ asset, dust, ms }) => [asset, [dust, ms]]))).toEqual(
      new Map(
        ASSETS.map((asset) => [
          asset,
          [ASSET_POLICY[asset].dustFloor.toString(), ASSET_POLICY[asset].clockToleranceMs],
        ]),
      ),
    )
  })
})

describe('two sources of one output', () => {
  const later = (fact: ReportedObservation, state: ReportedObservation['state']) => nextOf(fact, { state })

  test('that disagree are heard by the less favourable one, before the order is paid and after', async () => {
    const { order, run } = await awaiting()
    const fact = buildObservation(order, { state: 'seen' })
    const final = later(fact, 'final')
    await report(fact, final)
    await recordReport(shop.api, 'w2', [later(fact, 'reorged')])
    expect(await assess(run)).toMatchObject({ status: 'pending', paymentState: 'confirming' })
    await recordReport(shop.api, 'w2', [later(final, 'final')])
    expect(await assess(run)).toMatchObject({ status: 'processing', paymentState: 'paid' })
    await recordReport(shop.api, 'w2', [later(later(final, 'final'), 'dropped')])
    expect(await assess(run)).toMatchObject({ paymentState: 'reversed', hold: 'payment' })
    expect(await countOrdersInDoubt(shop.worker)).toEqual({ atRisk: expect.any(Number), reversed: 1 })
    expect(await shop.ask('ship', run.next())).toMatchObject({ ok: false, reason: 'ORDER_ON_HOLD' })
    // Sources that contradict each other suspend their network for every order: in the end these agree.
    await report(later(final, 'dropped'))
    expect(await assess(run)).toMatchObject({ paymentState: 'reversed' })
  })

  test('count as final once one has it so, whatever the other has only seen, and however much later', async () => {
    const { order, run } = await shop.orderIn('pending')
    const fact = buildObservation(order)
    await report(fact)
    expect(await assess(run)).toMatchObject({ paymentState: 'paid' })
    await shop.test.forge(`update payment_report set received_at = received_at - interval '2 days' where tx_id = $1`, [
      fact.txId,
    ])
    const lateSight = new Date(order.expiresAt.getTime() + 86_400_000)
    await recordReport(shop.api, 'w2', [nextOf(fact, { state: 'seen', firstSeenAt: lateSight })])
    expect(await assess(run)).toMatchObject({ paymentState: 'paid', hold: 'none' })
    expect(await owedTo(order)).toBeUndefined()
  })

  test('of which one is retired are heard by the other, also where that had spoken before', async () => {
    const { order, run } = await awaiting()
    const fact = buildObservation(order)
    await recordReport(shop.api, 'old', [later(fact, 'reorged')])
    await report(fact)
    expect(await assess(run)).toMatchObject({ paymentState: 'confirming' })
    await shop.query(`select retire_source('old', 'renamed')`)
    expect([(await shop.state(order)).hasUnassessed, await wakeOf(order)]).toEqual([true, 1n])
    expect(await assess(run)).toMatchObject({ status: 'processing', paymentState: 'paid' })
  })

  test('of which one is a day behind are heard by the other', async () => {
    const { order, run } = await awaiting()
    const fact = buildObservation(order)
    await recordReport(shop.api, 'w2', [later(fact, 'dropped')])
    await shop.test.forge(
      `update payment_report set received_at = received_at - interval '25 hours' where source = 'w2' and tx_id = $1`,
      [fact.txId],
    )
    await report(fact)
    expect(await assess(run)).toMatchObject({ status: 'processing', paymentState: 'paid' })
  })
})

describe('an amount', () => {
  test('is credited as the last word has it', async () => {
    const { order, run } = await awaiting()
    const seen = buildObservation(order, { state: 'seen' })
    await report(seen)
    expect(await assess(run)).toMatchObject({ paymentState: 'confirming' })
    const lost = nextOf(seen, { state: 'reorged' })
    const again = nextOf(lost, { state: 'seen', amount: 10n })
    await report(lost, again, nextOf(again, { state: 'final', amount: 10n }))
    expect(await assess(run)).toMatchObject({ status: 'pending', paymentState: 'partial' })
    const credits = await shop.query('select amount::text, state from payment where order_id = $1', [order.orderId])
    expect(credits).toEqual([{ amount: '10', state: 'final' }])
  })

  test('that no report says cannot be written', async () => {
    const { order, run } = await awaiting()
    await report(buildObservation(order))
    await assess(run)
    await expect(
      shop.worker.sql.query(sql.unsafe`update payment set amount = amount + 1 where order_id = ${order.orderId}`),
    ).rejects.toMatchObject({ code: 'HF001' })
  })
})

test('thousands of outputs to one address end in the right state, a bounded piece at a time', async () => {
  const { order, run } = await awaiting()
  const outputs = count(2_000, 10_000)
  await shop.query(
    `insert into payment_report (source, report_id, network, asset, tx_id, output_index, seq, state, address, amount, block_height, block_hash, first_seen_at, order_id)
     select 'w1', encode(sha256(($3 || 'r' || g)::bytea), 'hex'), $1, 'ETH', '0x' || encode(sha256(($3 || 't' || g)::bytea), 'hex'), 0, 1, 'final', $2, 1, 10, '0xab', clock_timestamp(), $3::uuid
     from generate_series(1, $4::int) g`,
    [order.network, order.address, order.orderId, outputs],
  )
  const held = () => shop.query('select expires_at from reservation where order_id = $1', [order.orderId])
  let looks = 0
  for (let state = await assess(run); state.hasUnassessed; state = await assess(run)) looks += 1
  expect(looks).toBe(outputs / 500 - 1)
  expect(await shop.state(order)).toMatchObject({ status: 'pending', paymentState: 'partial' })
  // Paid behind dust that is not assessed yet: assessing the earlier outputs must not shorten the hold.
  await shop.query('update payment_report set is_assessed = false where order_id = $1', [order.orderId])
  await report(buildObservation(order, { state: 'seen', amount: order.amountDue - BigInt(outputs) }))
  const extended = await held()
  for (let state = await assess(run); state.hasUnassessed; state = await assess(run))
    expect(await held()).toEqual(extended)
  expect([await shop.state(order), await held()]).toMatchObject([{ paymentState: 'confirming' }, extended])
  expect(await creditsOf(order)).toHaveLength(outputs + 1)
})
