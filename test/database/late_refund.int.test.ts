// Refunds and the ledger of an expired order and its replacement, whose money is the same: it is given back once, and
// each debt and loss is in the ledger, however the money comes, goes and comes back.

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { putAddresses } from '../support/address.ts'
import { findViolations } from '../support/invariant.ts'
import { COUNT_WITHIN_MS } from '../support/scale.ts'
import { buildObservation, createTestShop, nextOf, runOf, type TestShop } from '../support/shop.ts'
import { until } from '../support/until.ts'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { saveAssetRates } from '../../src/db/asset_rate.ts'
import { expireOrder, reserveStock } from '../../src/db/order.ts'
import { assessLatePayments, recordReport } from '../../src/db/payment.ts'
import { systemActor, type Actor } from '../../src/domain/audit.ts'
import type { ReportedObservation } from '../../src/domain/chain.ts'
import type { LatePolicy } from '../../src/domain/late.ts'
import { minimumOf } from '../../src/domain/payment.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const HOUR_MS = 3_600_000
const POLICY: LatePolicy = {
  accepts: true,
  withinMs: 24 * HOUR_MS,
  driftBps: 200,
  rateAgeMs: HOUR_MS,
}
const FEE = 21_000n
const WORKER = JSON.stringify(systemActor('worker'))
const BEGIN = {
  name: 'test_begin_payout',
  text: 'select begin_payout($1, $2) as outcome',
}
const FINISH = {
  name: 'test_finish_payout',
  text: 'select finish_payout($1, $2, $3, $4) as outcome',
}
const CUSTOMER: Actor = { actor: 'user:7', role: 'customer' }
const admin = (id: number): Actor => ({ actor: `user:${id}`, role: 'admin' })

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
  await shop.catchUp()
  await saveAssetRates(shop.api, 'EUR', [{ asset: 'ETH', rateMinor: 200_000n }])
})
afterAll(() => shop.close())

type Named = Pick<AcceptedOrder, 'orderId'>

async function expired(): Promise<AcceptedOrder> {
  const order = await shop.order({ windowMs: 1, graceMs: 0 })
  const run = runOf(order)
  await reserveStock(shop.worker, run.next())
  await until(async () => (await expireOrder(shop.worker, run.next())).status === 'cancelled')
  return order
}

const late = (order: AcceptedOrder, overrides: Partial<ReportedObservation> = {}): ReportedObservation =>
  buildObservation(order, {
    firstSeenAt: new Date(order.expiresAt.getTime() + 1_000),
    ...overrides,
  })

async function tell({ orderId }: Named, ...facts: ReportedObservation[]): Promise<void> {
  await recordReport(shop.api, 'w1', facts)
  await putAddresses(shop.test, 1)
  await assessLatePayments(shop.worker, orderId, POLICY)
}

/** An expired order whose late money was accepted, and its replacement. */
async function replaced(facts: (order: AcceptedOrder) => ReportedObservation[] = (order) => [late(order)]): Promise<{
  order: AcceptedOrder
  replacement: Named
  told: ReportedObservation[]
}> {
  const order = await expired()
  const told = facts(order)
  await tell(order, ...told)
  const [row] = await shop.query<{ id: string }>(
    'select replacement_id as id from late_decision where order_id = $1 and refusal is null',
    [order.orderId],
  )
  if (row === undefined) throw new Error('the money was not accepted')
  return { order, replacement: { orderId: row.id }, told }
}

const cancel = (order: Named) => shop.ask('cancel', runOf(order).next())
const stateOf = async (order: Named): Promise<string> => (await shop.state(order)).paymentState

/** The sums of the ledger, of these orders together. */
async function balancesOf(...orders: readonly Named[]): Promise<Record<string, bigint>> {
  const rows = await shop.query<{ account: string; amount: string }>(
    'select account, sum(amount) as amount from ledger_entry where order_id = any ($1) group by 1',
    [orders.map(({ orderId }) => orderId)],
  )
  return Object.fromEntries(rows.map(({ account, amount }) => [account, BigInt(amount)]))
}

/** Approves the open refund of an order; returns its id. */
async function approveOpen({ orderId }: Named): Promise<string> {
  const [open] = await shop.query<{ id: string }>(
    `select refund_id as id from refund where order_id = $1 and status = 'awaiting_destination'`,
    [orderId],
  )
  if (open === undefined) throw new Error('the order is owed nothing')
  const write = (by: Actor, text: string, ...values: unknown[]) =>
    shop.test.writeAs('app_api', by, text, [open.id, ...values])
  await write(
    CUSTOMER,
    `update refund set destination = $2, destination_confirmed_at = now(), fee_bearer = 'customer',
       status = 'awaiting_approval' where refund_id = $1`,
    `0x${'1f'.repeat(20)}`,
  )
  for (const by of [admin(8), admin(9)])
    await write(
      by,
      `insert into refund_approval (refund_id, version, approver, order_id)
       select refund_id, version, $2, order_id from refund where refund_id = $1`,
      by.actor,
    )
  await write(admin(8), `update refund set status = 'approved' where refund_id = $1`)
  return open.id
}
const begin = async (id: string) => (await shop.worker.run<{ outcome: string }>(BEGIN, [id, WORKER]))[0]?.outcome
async function pay(id: string): Promise<void> {
  expect(await begin(id)).toBe('begun')
  await shop.worker.run(FINISH, [id, `0x${randomBytes(32).toString('hex')}`, String(FEE), WORKER])
}
/** What the refunds of these orders paid, promise or are still to give back. */
async function promised(...orders: readonly Named[]): Promise<bigint> {
  const [row] = await shop.query<{ amount: string }>(
    `select coalesce(sum(amount), 0) as amount from refund
     where order_id = any ($1) and status not in ('rejected', 'cancelled')`,
    [orders.map(({ orderId }) => orderId)],
  )
  return BigInt(row?.amount ?? 0)
}

describe('the ledger of a replacement', () => {
  test('owes the money of one that is cancelled, until it is given back', async () => {
    const { order, replacement } = await replaced()
    await cancel(replacement)
    const due = order.amountDue
    expect(await balancesOf(order, replacement)).toMatchObject({
      received: due,
      refund_due: -due,
      customer_due: 0n,
    })
    await pay(await approveOpen(replacement))
    expect(await balancesOf(order, replacement)).toMatchObject({
      received: due,
      refunded: -due,
      refund_due: 0n,
      customer_due: 0n,
    })
  })

  test('owes nothing while the money is gone, and owes it again once it is back', async () => {
    const { order, replacement, told } = await replaced()
    await cancel(replacement)
    const lost = nextOf(told[0] as ReportedObservation, { state: 'reorged' })
    await tell(order, lost)
    expect(await balancesOf(order, replacement)).toMatchObject({
      received: 0n,
      refund_due: 0n,
      customer_due: 0n,
    })
    await tell(order, nextOf(lost, { state: 'final' }))
    expect(await balancesOf(order, replacement)).toMatchObject({
      refund_due: -order.amountDue,
      customer_due: 0n,
    })
  })

  test('writes off a shortfall within tolerance', async () => {
    const short = minimumOf((await shop.order()).amountDue)
    const { order, replacement } = await replaced((one) => [late(one, { amount: short })])
    expect(await balancesOf(order, replacement)).toMatchObject({
      received: short,
      customer_due: -order.amountDue,
      written_off: order.amountDue - short,
    })
  })

  test('writes off the money that is lost after the goods have left, until it is back', async () => {
    const { order, replacement, told } = await replaced()
    const run = runOf(replacement)
    await reserveStock(shop.worker, run.next())
    expect(await shop.ask('ship', run.next())).toMatchObject({ ok: true })
    const lost = nextOf(told[0] as ReportedObservation, { state: 'dropped' })
    await tell(order, lost)
    expect(await balancesOf(order, replacement)).toMatchObject({
      received: 0n,
      customer_due: -order.amountDue,
      written_off: order.amountDue,
    })
    await tell(order, nextOf(lost, { state: 'final' }))
    expect(await balancesOf(order, replacement)).toMatchObject({
      received: order.amountDue,
      written_off: 0n,
    })
  })
})

describe('refunds of an expired order and of its replacement', () => {
  test('never give back more than came in, where the excess went back before the money was lost', async () => {
    const { order, replacement, told } = await replaced((one) => [late(one), late(one, { amount: one.amountDue / 2n })])
    await pay(await approveOpen(order))
    await tell(order, nextOf(told[0] as ReportedObservation, { state: 'dropped' }))
    expect(await stateOf(replacement)).toBe('reversed')
    await cancel(replacement)
    expect(await promised(order, replacement)).toBe(order.amountDue / 2n)
  })

  test('leave verify silent where the money of a replacement that was refunded is lost', async () => {
    const { order, replacement, told } = await replaced()
    await cancel(replacement)
    await pay(await approveOpen(replacement))
    await tell(order, nextOf(told[0] as ReportedObservation, { state: 'reorged' }))
    expect(await findViolations(shop.test)).toEqual([])
  })
})

describe('a payout', () => {
  test('does not begin while there is news of the money, its own or of the order that was replaced', async () => {
    const { order, replacement, told } = await replaced()
    await cancel(replacement)
    const id = await approveOpen(replacement)
    const lost = nextOf(told[0] as ReportedObservation, { state: 'reorged' })
    await recordReport(shop.api, 'w1', [lost])
    expect(await begin(id)).toBe('unassessed')
    await tell(order, nextOf(lost, { state: 'final' }))
    expect(await begin(id)).toBe('begun')
  })

  test('does not begin while the network is suspended', async () => {
    const { replacement } = await replaced()
    await cancel(replacement)
    const id = await approveOpen(replacement)
    await shop.query(`begin; set local holdfast.actor = '${WORKER}';
      insert into source_doubt (network, tx_id, output_index, order_id, kind)
      values ('ethereum', '0x${'dd'.repeat(32)}', 0, '${replacement.orderId}', 'differing'); commit`)
    expect(await begin(id)).toBe('suspended')
    await shop.query('delete from source_doubt')
    expect(await begin(id)).toBe('begun')
  })
})

test('leaves every invariant intact', async () => {
  expect(await findViolations(shop.test)).toEqual([])
})
