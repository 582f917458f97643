// Several sources of one network: how many must agree before money is final, and what happens to a network whose sources
// contradict each other or whose final blocks were lost (D-5, D-9).

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { putAddresses } from '../support/address.ts'
import { findViolations } from '../support/invariant.ts'
import { COUNT_WITHIN_MS } from '../support/scale.ts'
import { buildObservation, createTestShop, nextOf, runOf, type TestShop } from '../support/shop.ts'
import { until } from '../support/until.ts'
import { saveAssetRates } from '../../src/db/asset_rate.ts'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { resumeChain } from '../../src/db/chain/operation.ts'
import { findBlindness } from '../../src/db/chain/sight.ts'
import { findDoubts, suspendChain } from '../../src/db/chain/suspension.ts'
import { openDatabase, type Database } from '../../src/db/connection/pool.ts'
import { expireOrder, reserveStock } from '../../src/db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../src/db/payment.ts'
import { runHoldSweep } from '../../src/db/sweep.ts'
import type { ReportedObservation } from '../../src/domain/chain.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const HOUR_MS = 3_600_000
const LATE = { accepts: true, withinMs: HOUR_MS, driftBps: 200, rateAgeMs: HOUR_MS }
const BY = { operator: 'ann', reason: 'the branch is the right one' }

const requireSources = (shop: TestShop, sources: number, above = 0n): Promise<unknown> =>
  shop.query(`select require_sources('ETH', $1, $2, 'a second watcher runs')`, [sources, above])

const say = (shop: TestShop, source: string, ...facts: ReportedObservation[]): Promise<number> =>
  recordReport(shop.api, source, facts)

/** A fact as another source reports it. */
const alsoOf = (fact: ReportedObservation, overrides: Partial<ReportedObservation> = {}): ReportedObservation =>
  nextOf(fact, { seq: 1, ...overrides })

describe('where two sources are required', () => {
  let shop: TestShop
  beforeAll(async () => {
    shop = await createTestShop()
    await requireSources(shop, 2)
  })
  afterAll(() => shop.close())

  const doubts = () => findDoubts(shop.worker)
  const kindOf = async (order: AcceptedOrder): Promise<unknown> =>
    (await shop.query<{ kind: string }>('select kind from source_doubt where order_id = $1', [order.orderId])).map(
      ({ kind }) => kind,
    )

  test('1,000 validly signed lies of one watcher pay nothing, owe nothing and are told apart', async () => {
    const order = await shop.order()
    const run = runOf(order)
    for (let batch = 0; batch < 10; batch += 1)
      await say(shop, 'liar', ...Array.from({ length: 100 }, () => buildObservation(order)))
    for (let step = 0; step < 3; step += 1) await assessPayments(shop.worker, run.next())
    expect(await shop.state(order)).toMatchObject({
      status: 'pending',
      paymentState: 'confirming',
      hasUnassessed: false,
    })
    expect(await shop.query(`select from payment where order_id = $1 and state = 'final'`, [order.orderId])).toEqual([])
    expect(await shop.query('select from refund_due where order_id = $1', [order.orderId])).toEqual([])
    await shop.query(`update source_doubt set since = since - interval '1 hour' where order_id = $1`, [order.orderId])
    expect(await doubts()).toEqual({ lone: 1_000, differing: 0, short: 0, silent: [], suspended: [] })
  })

  test('money is final once the second source has it final', async () => {
    const order = await shop.order()
    const run = runOf(order)
    const fact = buildObservation(order)
    await say(shop, 'w1', fact)
    await assessPayments(shop.worker, run.next())
    expect(await kindOf(order)).toEqual(['lone'])
    const seen = alsoOf(fact, { state: 'seen' })
    await say(shop, 'w2', seen)
    expect((await assessPayments(shop.worker, run.next())).paymentState).toBe('confirming')
    await say(shop, 'w2', nextOf(seen, { state: 'final' }))
    expect(await assessPayments(shop.worker, run.next())).toMatchObject({ status: 'processing', paymentState: 'paid' })
    expect(await kindOf(order)).toEqual([])
  })

  test('an order keeps the rule that it was made under, and small amounts need one source', async () => {
    const order = await shop.order()
    await requireSources(shop, 2, order.amountDue)
    const small = await shop.order()
    for (const [each, state] of [
      [order, 'confirming'],
      [small, 'paid'],
    ] as const) {
      await say(shop, 'w1', buildObservation(each))
      expect((await assessPayments(shop.worker, runOf(each).next())).paymentState).toBe(state)
    }
    const large = await shop.order()
    await say(shop, 'w1', buildObservation(large, { amount: large.amountDue + 1n }))
    expect((await assessPayments(shop.worker, runOf(large).next())).paymentState).toBe('confirming')
    // As many must have read past its end before it expires.
    for (const [each, sources] of [
      [small, 1],
      [large, 2],
    ] as const)
      expect(await shop.query('select required_sources($1, 0) as sources', [each.orderId])).toEqual([{ sources }])
    await requireSources(shop, 2)
  })

  test('no role of a process may change the rule', async () => {
    for (const role of ['app_api', 'app_worker', 'watcher'] as const) {
      const [right] = await shop.query(
        `select has_function_privilege($1, 'require_sources(text, int, numeric, text)', 'execute')
           or has_table_privilege($1, 'source_rule', 'insert') as may`,
        [role],
      )
      expect(right).toEqual({ may: false })
    }
  })

  test('leaves every invariant intact', async () => {
    expect(await findViolations(shop.test)).toEqual([])
  })
})

describe('a suspended network', () => {
  let shop: TestShop
  let watcher: Database
  beforeAll(async () => {
    shop = await createTestShop()
    watcher = await openDatabase({
      url: shop.test.urlOf('watcher'),
      poolSize: 2,
      applicationName: 'test-watcher',
      source: 'watcher-1',
    })
    await shop.catchUp()
    await saveAssetRates(shop.api, 'EUR', [{ asset: 'ETH', rateMinor: 200_000n }])
  })
  afterAll(async () => {
    await watcher.close()
    await shop.close()
  })

  const limits = { silenceMs: 100 * 86_400_000, lagMs: 100 * 86_400_000 }
  const sight = () => findBlindness(shop.api, 'ethereum', limits)
  const isWoken = async ({ orderId }: AcceptedOrder): Promise<boolean> =>
    (await shop.query('select from order_wake where order_id = $1', [orderId])).length > 0
  const lapsing = () => shop.order({ windowMs: 1, graceMs: 0 })

  test('gives no quotes, pays no order and lets none expire; the operator ends it, and what waited is paid', async () => {
    const [paying, unpaid, late] = [await shop.order(), await lapsing(), await lapsing()]
    const [run, other, lateRun] = [runOf(paying), runOf(unpaid), runOf(late)]
    for (const each of [run, other, lateRun]) await reserveStock(shop.worker, each.next())
    await until(async () => (await expireOrder(shop.worker, lateRun.next())).status === 'cancelled')
    expect(await sight()).toBeUndefined()

    await suspendChain(watcher, 'ethereum', 'w1')
    await suspendChain(watcher, 'ethereum', 'w1')
    expect(await sight()).toBe('deep_reorg')
    await say(shop, 'w1', buildObservation(paying))
    await say(shop, 'w1', buildObservation(late, { firstSeenAt: new Date(late.expiresAt.getTime() + 1_000) }))
    expect(await assessPayments(shop.worker, run.next())).toMatchObject({
      status: 'pending',
      paymentState: 'confirming',
      hasUnassessed: false,
    })
    await putAddresses(shop.test, 1)
    await assessLatePayments(shop.worker, late.orderId, LATE)
    expect(await shop.query('select from late_decision where order_id = $1', [late.orderId])).toEqual([])
    expect(await expireOrder(shop.worker, other.next())).toMatchObject({ status: 'pending' })
    await runHoldSweep(shop.worker, 'test')
    expect(await Promise.all([paying, late].map(isWoken))).toEqual([false, false])

    expect(await resumeChain(watcher, 'ethereum', BY)).toBe('done')
    expect(await resumeChain(watcher, 'ethereum', BY)).toBe('unknown')
    expect(await sight()).toBeUndefined()
    await runHoldSweep(shop.worker, 'test')
    expect(await Promise.all([paying, late].map(isWoken))).toEqual([true, true])
    expect(await assessPayments(shop.worker, run.next())).toMatchObject({ status: 'processing', paymentState: 'paid' })
    await assessLatePayments(shop.worker, late.orderId, LATE)
    expect(await shop.query('select refusal from late_decision where order_id = $1', [late.orderId])).toEqual([
      { refusal: null },
    ])
    await until(async () => (await expireOrder(shop.worker, other.next())).status === 'cancelled')
    expect(await shop.query('select from suspended_order')).toEqual([])
  })

  test('does not let an order expire between the end of the suspension and its assessment', async () => {
    const order = await shop.order({ windowMs: 60_000, graceMs: 0, confirmWithinMs: 1 })
    const run = runOf(order)
    await reserveStock(shop.worker, run.next())
    await suspendChain(watcher, 'ethereum', 'w1')
    await say(shop, 'w1', buildObservation(order))
    await assessPayments(shop.worker, run.next())
    await shop.test.forge("update invoice set expires_at = created_at + interval '1 ms' where order_id = $1", [
      order.orderId,
    ])
    await shop.test.forge("update reservation set expires_at = now() - interval '1 s' where order_id = $1", [
      order.orderId,
    ])
    await resumeChain(watcher, 'ethereum', BY)
    for (let turn = 0; turn < 2; turn += 1) {
      await runHoldSweep(shop.worker, 'test')
      expect(await expireOrder(shop.worker, run.next())).toMatchObject({ status: 'pending' })
    }
    expect((await assessPayments(shop.worker, run.next())).status).toBe('processing')
  })

  test('is one whose sources contradict each other, until they agree', async () => {
    const [order, other] = [await shop.order(), await shop.order()]
    const [run, otherRun] = [runOf(order), runOf(other)]
    const fact = buildObservation(order)
    await say(shop, 'w1', fact)
    await say(shop, 'w2', alsoOf(fact, { amount: fact.amount - 1n }))
    expect((await assessPayments(shop.worker, run.next())).paymentState).toBe('confirming')
    expect(await findDoubts(shop.worker)).toEqual({
      lone: 0,
      differing: 1,
      short: 0,
      silent: [],
      suspended: [{ network: 'ethereum', cause: 'sources_differ' }],
    })
    expect(await sight()).toBe('sources_differ')
    await say(shop, 'w1', buildObservation(other))
    expect((await assessPayments(shop.worker, otherRun.next())).paymentState).toBe('confirming')

    await say(shop, 'w2', alsoOf(fact, { seq: 2 }))
    expect((await assessPayments(shop.worker, run.next())).paymentState).toBe('paid')
    expect(await sight()).toBeUndefined()
    await runHoldSweep(shop.worker, 'test')
    expect(await isWoken(other)).toBe(true)
    expect((await assessPayments(shop.worker, otherRun.next())).paymentState).toBe('paid')
  })

  test('is free again once the source that contradicts the others is retired', async () => {
    const order = await shop.order()
    const run = runOf(order)
    const source = `w-${randomUUID().slice(0, 8)}`
    const fact = buildObservation(order)
    await say(shop, 'w1', fact)
    await say(shop, source, alsoOf(fact, { amount: fact.amount * 2n }))
    expect((await assessPayments(shop.worker, run.next())).paymentState).toBe('confirming')
    await shop.query(`select retire_source($1, 'lies')`, [source])
    expect(await assessPayments(shop.worker, run.next())).toMatchObject({ paymentState: 'paid' })
    expect(await sight()).toBeUndefined()
  })

  test('takes no word of a source any more once that is retired', async () => {
    const order = await shop.order()
    const source = `w-${randomUUID().slice(0, 8)}`
    await shop.query(`select retire_source($1, 'lies')`, [source])
    await expect(say(shop, source, buildObservation(order))).rejects.toMatchObject({ reason: 'PERMISSION_DENIED' })
    expect((await assessPayments(shop.worker, runOf(order).next())).paymentState).toBe('awaiting')
  })

  test('is closed by an operator, not by its watcher alone', async () => {
    await suspendChain(watcher, 'ethereum', 'w1')
    await expect(resumeChain(watcher, 'ethereum', { operator: '', reason: 'nobody' })).rejects.toThrow()
    expect(await resumeChain(watcher, 'ethereum', BY)).toBe('done')
    expect(
      await shop.query("select actor from audit_entry where kind = 'chain_suspension' order by entry_id desc limit 1"),
    ).toEqual([{ actor: 'operator:ann' }])
  })

  test('leaves every invariant intact', async () => {
    expect(await findViolations(shop.test)).toEqual([])
  })
})
