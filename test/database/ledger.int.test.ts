// The double-entry ledger: whatever happens to the money of an order, its postings sum to zero, and its accounts are
// what an independent computation makes of payments, refunds and status.

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import { findViolations } from '../support/invariant.ts'
import { count, COUNT_WITHIN_MS, seed } from '../support/scale.ts'
import { buildObservation, createTestShop, runOf, type TestShop } from '../support/shop.ts'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../src/db/payment.ts'
import { systemActor, type Actor } from '../../src/domain/audit.ts'
import { ASSET_POLICY, minimumOf } from '../../src/domain/payment.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const DUST = ASSET_POLICY.ETH.dustFloor
const FEE = 21_000n
const WORKER = JSON.stringify(systemActor('worker'))
const BEGIN = { name: 'test_begin_payout', text: 'select begin_payout($1, $2) as outcome' }
const FINISH = { name: 'test_finish_payout', text: 'select finish_payout($1, $2, $3, $4) as outcome' }
const admin = (id: number): Actor => ({ actor: `user:${id}`, role: 'admin' })

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterAll(() => shop.close())

const ACCOUNTS = ['received', 'customer_due', 'refund_due', 'refunded', 'fees', 'written_off'] as const
type Account = (typeof ACCOUNTS)[number]
type Balances = Readonly<Record<Account, bigint>>

async function balancesOf({ orderId }: AcceptedOrder): Promise<Balances> {
  const rows = await shop.query<{ account: Account; amount: string }>(
    'select account, sum(amount) as amount from ledger_entry where order_id = $1 group by 1',
    [orderId],
  )
  const found = new Map(rows.map(({ account, amount }) => [account, BigInt(amount)]))
  return Object.fromEntries(ACCOUNTS.map((account) => [account, found.get(account) ?? 0n])) as Balances
}
const postingsOf = ({ orderId }: AcceptedOrder) =>
  shop.query<{ cause: string; accounts: string }>(
    `select cause, string_agg(account || ' ' || amount, ', ' order by account) as accounts from ledger_entry
     where order_id = $1 group by posting_no, cause order by posting_no`,
    [orderId],
  )

type Money = { amount: string; state: string; is_in_time: boolean }
type Paid = { amount: string; kind: string; network_fee: string; fee_bearer: string }
const sum = <Row extends { amount: string }>(
  rows: readonly Row[],
  counts: (row: Row) => boolean = () => true,
): bigint => rows.filter(counts).reduce((total, { amount }) => total + BigInt(amount), 0n)
const least = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const atLeastZero = (value: bigint): bigint => (value > 0n ? value : 0n)

/** The accounts as the page on the ledger says them, from the rows that the ledger describes. */
async function expectedOf(order: AcceptedOrder): Promise<Balances> {
  const { orderId, amountDue } = order
  const payments = await shop.query<Money>('select amount, state, is_in_time from payment where order_id = $1', [
    orderId,
  ])
  const paid = await shop.query<Paid>(
    `select amount, kind, network_fee, fee_bearer from refund where order_id = $1 and status = 'paid'`,
    [orderId],
  )
  const [due] = await shop.query<{ amount: string }>('select amount from refund_due where order_id = $1', [orderId])
  const { status } = await shop.state(order)

  const received = sum(payments, ({ state }) => state === 'final')
  const inTime = sum(payments, (row) => row.state === 'final' && row.is_in_time)
  const givenBack = sum(paid)
  const ofOwed = sum(paid, ({ kind }) => kind === 'owed')
  const fees = paid.reduce((total, row) => (row.fee_bearer === 'shop' ? total + BigInt(row.network_fee) : total), 0n)
  const open = least(BigInt(due?.amount ?? 0) - ofOwed, received - givenBack)
  const owed = open > DUST ? open : 0n
  const isEnough = inTime * 1000n >= amountDue * 999n
  const isSold = status === 'shipped' || status === 'delivered' || (status === 'processing' && isEnough)
  const left = received - givenBack
  const dust = status === 'cancelled' && left > 0n && left <= DUST ? left : 0n
  const writtenOff =
    (isSold ? atLeastZero(amountDue - inTime) : 0n) + atLeastZero(ofOwed - BigInt(due?.amount ?? 0)) - dust
  const others = { received, refund_due: -owed, refunded: -givenBack - fees, fees, written_off: writtenOff }
  return { ...others, customer_due: -Object.values(others).reduce((total, amount) => total + amount, 0n) }
}

/** Everything from the open refund to its payment; nothing if there is none, or the money is not there. */
async function payOpenRefund({ orderId }: AcceptedOrder, feeBearer: string): Promise<void> {
  const [open] = await shop.query<{ id: string }>(
    `select refund_id as id from refund where order_id = $1 and status = 'awaiting_destination' order by created_at`,
    [orderId],
  )
  if (open === undefined) return
  const as = (by: Actor, text: string, ...values: readonly string[]) =>
    shop.test.writeAs('app_api', by, text, [open.id, ...values])
  await as(
    { actor: 'user:7', role: 'customer' },
    `update refund set destination = $2, destination_confirmed_at = now(), fee_bearer = $3, status = 'awaiting_approval'
     where refund_id = $1`,
    `0x${'1f'.repeat(20)}`,
    feeBearer,
  )
  for (const by of [admin(8), admin(9)])
    await as(
      by,
      `insert into refund_approval (refund_id, version, approver, order_id)
       select refund_id, version, $2, order_id from refund where refund_id = $1`,
      by.actor,
    )
  await as(admin(8), `update refund set status = 'approved' where refund_id = $1`)
  const [begun] = await shop.worker.run<{ outcome: string }>(BEGIN, [open.id, WORKER])
  if (begun?.outcome !== 'begun') return
  await shop.worker.run(FINISH, [open.id, `0x${randomBytes(32).toString('hex')}`, String(FEE), WORKER])
}

/** A goodwill refund of a tenth of what is there, by an operator's wish. */
const askGoodwill = ({ orderId }: AcceptedOrder) =>
  shop.test.writeAs(
    'app_api',
    admin(6),
    `insert into refund (order_id, network, asset, amount, kind, named_in, requested_by, reason)
     select i.order_id, i.network, i.asset, div(m.amount, 10), 'goodwill', 'coin', 'user:6', 'a scratch'
     from invoice i
     cross join lateral (select received_money(i.order_id, i.network, i.asset, null)
       - promised_refunds(i.order_id, i.network, i.asset, null, null) as amount) m
     where i.order_id = $1 and m.amount >= 10`,
    [orderId],
  )

async function tell(order: AcceptedOrder, amount: bigint, also: object = {}): Promise<void> {
  await recordReport(shop.api, 'w1', [buildObservation(order, { amount, ...also })])
}
const assess = async (order: AcceptedOrder, run = runOf(order)): Promise<void> => {
  const { status } = await shop.state(order)
  const isEnd = status === 'cancelled' || status === 'delivered'
  await (isEnd ? assessLatePayments(shop.worker, order.orderId) : assessPayments(shop.worker, run.next()))
}

describe('the postings of an order', () => {
  test('say that money came in and is held for its goods', async () => {
    const { order } = await shop.orderIn('delivered')
    expect(await postingsOf(order)).toEqual([
      { cause: 'payment', accounts: `customer_due -${order.amountDue}, received ${order.amountDue}` },
    ])
  })

  test('do not exist before money is final, nor for an order that expires without any', async () => {
    const order = await shop.order()
    await tell(order, order.amountDue, { state: 'seen' })
    await assess(order)
    expect(await postingsOf(order)).toEqual([])
    const { order: other } = await shop.orderIn('cancelled')
    expect(await postingsOf(other)).toEqual([])
  })

  test('turn the money of a cancelled order into a debt, and the debt into a refund with its fee', async () => {
    const { order, run } = await shop.orderIn('processing')
    await shop.ask('cancel', run.next())
    await payOpenRefund(order, 'shop')
    const due = order.amountDue
    expect(await postingsOf(order)).toEqual([
      { cause: 'payment', accounts: `customer_due -${due}, received ${due}` },
      { cause: 'refund_due', accounts: `customer_due ${due}, refund_due -${due}` },
      { cause: 'refund', accounts: `fees ${FEE}, refund_due ${due}, refunded -${due + FEE}` },
    ])
  })

  test('write off a shortfall within tolerance', async () => {
    const order = await shop.order()
    const amount = minimumOf(order.amountDue)
    await tell(order, amount)
    await assess(order)
    expect(await balancesOf(order)).toMatchObject({
      received: amount,
      customer_due: -order.amountDue,
      written_off: order.amountDue - amount,
    })
  })

  test('write off dust that a cancelled order keeps', async () => {
    const order = await shop.order()
    const run = runOf(order)
    await tell(order, DUST)
    await assess(order, run)
    await shop.ask('cancel', run.next())
    expect(await balancesOf(order)).toMatchObject({ received: DUST, customer_due: 0n, written_off: -DUST })
  })

  test('write off money that a reorganisation took after the goods had left', async () => {
    const { order, run } = await shop.orderIn('processing')
    await shop.ask('ship', run.next())
    const [first] = await shop.query<{ tx_id: string }>('select tx_id from payment where order_id = $1', [
      order.orderId,
    ])
    await tell(order, order.amountDue, { txId: first?.tx_id ?? '', seq: 2, state: 'reorged' })
    await assess(order, run)
    expect(await balancesOf(order)).toMatchObject({ received: 0n, written_off: order.amountDue })
    expect(await findViolations(shop.test)).toEqual([])
  })
})

describe('the ledger', () => {
  test('can be written by no role, and changed by nobody', async () => {
    const { order } = await shop.orderIn('processing')
    const insert = `insert into ledger_posting (order_id, network, asset, cause, received, customer_due, refund_due, refunded, fees, written_off)
      select order_id, network, asset, 'payment', 1, -1, 0, 0, 0, 0 from invoice where order_id = $1`
    for (const role of ['app_api', 'app_worker'] as const)
      await expect(shop.test.writeAs(role, admin(8), insert, [order.orderId])).rejects.toMatchObject({ code: '42501' })
    for (const text of ['update ledger_posting set fees = 0', 'delete from ledger_posting', 'truncate ledger_posting'])
      await expect(shop.query(text)).rejects.toMatchObject({ code: 'HF007' })
  })

  test('refuses a posting that does not sum to zero, even from the owner of the tables', async () => {
    const { order } = await shop.orderIn('processing')
    await expect(
      shop.query(
        `insert into ledger_posting (order_id, network, asset, cause, received, customer_due, refund_due, refunded, fees, written_off)
         select order_id, network, asset, 'payment', 1, 0, 0, 0, 0, 0 from invoice where order_id = $1`,
        [order.orderId],
      ),
    ).rejects.toMatchObject({ code: '23514', constraint: 'ledger_posting_sums_to_zero' })
  })

  test('has the money of a transaction exactly if the transaction is committed', async () => {
    const { order } = await shop.orderIn('processing')
    const before = await balancesOf(order)
    await expect(
      shop.query(`begin; insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
        select network, '0x${'ed'.repeat(32)}', 0, order_id, asset, 5, 'final', true, now() from invoice where order_id = '${order.orderId}';
        select 1 / 0; commit`),
    ).rejects.toMatchObject({ code: '22012' })
    expect(await balancesOf(order)).toEqual(before)
  })

  test('equals an independent computation after every step of random lives', async () => {
    const { productId } = await shop.product({ onHand: 1_000_000n })
    const lines = [{ productId, quantity: 1, unitPriceMinor: 1_250n }]
    const AMOUNTS = [
      (due: bigint) => due,
      (due: bigint) => minimumOf(due),
      (due: bigint) => due / 2n,
      (due: bigint) => due + DUST + 7n,
      () => DUST,
      () => DUST + 1n,
    ] as const
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant('report' as const),
          output: fc.nat(2),
          amount: fc.nat(AMOUNTS.length - 1),
          isLate: fc.boolean(),
          state: fc.constantFrom('final' as const, 'final' as const, 'seen' as const, 'reorged' as const),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('goodwill' as const) }) },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('refund' as const), feeBearer: fc.constantFrom('shop', 'customer') }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ kind: fc.constantFrom('cancel' as const, 'ship' as const, 'deliver' as const) }),
      },
    )
    const property = fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), async (steps) => {
      const order = await shop.order({ lines })
      const run = runOf(order)
      const txId = `0x${randomBytes(32).toString('hex')}`
      const late = new Date(order.expiresAt.getTime() + 3_600_000)
      const told = new Map<number, { seq: number; amount: bigint; firstSeenAt: Date }>()
      for (const one of steps) {
        if (one.kind === 'report') {
          const before = told.get(one.output)
          const fact = {
            seq: (before?.seq ?? 0) + 1,
            amount: before?.amount ?? AMOUNTS[one.amount]?.(order.amountDue) ?? 1n,
            firstSeenAt: before?.firstSeenAt ?? (one.isLate ? late : order.createdAt),
          }
          told.set(one.output, fact)
          await tell(order, fact.amount, { ...fact, txId, outputIndex: one.output, state: one.state })
          await assess(order, run)
        } else if (one.kind === 'goodwill') await askGoodwill(order)
        else if (one.kind === 'refund') await payOpenRefund(order, one.feeBearer)
        else await shop.ask(one.kind, run.next())
        expect(await balancesOf(order)).toEqual(await expectedOf(order))
      }
    })
    await fc.assert(property, { numRuns: count(60, 5_000), seed })
    expect(await findViolations(shop.test)).toEqual([])
    expect(await shop.query(`select distinct account from ledger_entry`)).toHaveLength(ACCOUNTS.length)
  })
})
