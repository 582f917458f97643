// Refunds in the database: what an order owes opens exactly one refund, two people approve it, it is paid once, and an
// order never gives back more than it received.

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { callEachConcurrently } from '../support/concurrent.ts'
import { count, COUNT_WITHIN_MS, randomOf } from '../support/scale.ts'
import { buildObservation, createTestShop, nextOf, type Run, type TestShop } from '../support/shop.ts'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { assessLatePayments, assessPayments, recordReport } from '../../src/db/payment.ts'
import { systemActor, type Actor } from '../../src/domain/audit.ts'
import type { ReportedObservation } from '../../src/domain/chain.ts'
import { ORDER_STATUSES, type OrderStatus } from '../../src/domain/order.ts'
import { ASSET_POLICY, type PaymentState } from '../../src/domain/payment.ts'
import { REFUND_MOVES, REFUND_STATUSES, refundStateOf, type RefundStatus } from '../../src/domain/refund.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const ILLEGAL = { code: 'HF041' }
const TOO_MUCH = { code: 'HF042' }
const NEVER = { code: 'HF001' }
const WORKER = systemActor('worker')
const CUSTOMER: Actor = { actor: 'user:7', role: 'customer' }
const admin = (id: number): Actor => ({ actor: `user:${id}`, role: 'admin' })
const GOAL = `0x${'1f'.repeat(20)}`

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterAll(() => shop.close())

type Refund = { id: string; amount: bigint; kind: string; status: RefundStatus; version: bigint }
const refundsOf = async ({ orderId }: Pick<AcceptedOrder, 'orderId'>): Promise<Refund[]> =>
  (
    await shop.query<Omit<Refund, 'amount'> & { amount: string }>(
      'select refund_id as id, amount, kind, status, version from refund where order_id = $1 order by created_at, refund_id',
      [orderId],
    )
  ).map((row) => ({ ...row, amount: BigInt(row.amount) }))
async function openOf(order: AcceptedOrder): Promise<Refund> {
  const found = (await refundsOf(order)).filter(({ status }) => status.startsWith('awaiting'))
  expect(found).toHaveLength(1)
  return found[0] as Refund
}
const stateOf = async (order: AcceptedOrder) => (await shop.state(order)).paymentState

const write = (role: 'app_api' | 'app_worker', by: Actor, text: string, values: readonly unknown[]) =>
  shop.test.writeAs(role, by, text, values)
const give = (id: string, destination = GOAL) =>
  write(
    'app_api',
    CUSTOMER,
    `update refund set destination = $2, destination_confirmed_at = now(), fee_bearer = 'shop', status = 'awaiting_approval'
     where refund_id = $1`,
    [id, destination],
  )
const approve = (id: string, by: Actor) =>
  write(
    'app_api',
    by,
    `insert into refund_approval (refund_id, version, approver, order_id)
     select refund_id, version, $2, order_id from refund where refund_id = $1`,
    [id, by.actor],
  )
const move = (id: string, status: RefundStatus, role: 'app_api' | 'app_worker' = 'app_api') =>
  write(role, admin(8), 'update refund set status = $2 where refund_id = $1', [id, status])
async function settle(id: string): Promise<void> {
  await give(id)
  await approve(id, admin(8))
  await approve(id, admin(9))
  await move(id, 'approved')
}
const begin = async (id: string) =>
  (await shop.worker.run<{ outcome: string }>(BEGIN, [id, JSON.stringify(WORKER)]))[0]?.outcome
const finish = async (id: string, txId = `0x${randomBytes(32).toString('hex')}`) =>
  (await shop.worker.run<{ outcome: string }>(FINISH, [id, txId, '21000', JSON.stringify(WORKER)]))[0]?.outcome
const BEGIN = { name: 'test_begin_payout', text: 'select begin_payout($1, $2) as outcome' }
const FINISH = { name: 'test_finish_payout', text: 'select finish_payout($1, $2, $3, $4) as outcome' }
const pay = async (id: string): Promise<void> => {
  expect(await begin(id)).toBe('begun')
  expect(await finish(id)).toBe('paid')
}
const ask = (order: AcceptedOrder, amount: bigint, by: Actor = admin(8)) =>
  write(
    'app_api',
    by,
    `insert into refund (order_id, network, asset, amount, kind, fee_bearer, named_in, requested_by, reason)
     values ($1, $2, $3, $4, 'goodwill', 'shop', 'coin', $5, 'a scratch')`,
    [order.orderId, order.network, order.asset, amount.toString(), by.actor],
  )
const report = (...facts: ReportedObservation[]) => recordReport(shop.api, 'w1', facts)

async function cancelled(): Promise<AcceptedOrder> {
  const { order, run } = await shop.orderIn('processing')
  await shop.ask('cancel', run.next())
  return order
}
/** A paid order that got `more` on top. */
async function overpaid(more: bigint): Promise<{ order: AcceptedOrder; run: Run }> {
  const { order, run } = await shop.orderIn('processing')
  await report(buildObservation(order, { amount: more }))
  await assessPayments(shop.worker, run.next())
  return { order, run }
}

describe('what an order owes', () => {
  test('opens one refund when a paid order is cancelled, of all that it received', async () => {
    const order = await cancelled()
    expect(await refundsOf(order)).toMatchObject([
      { amount: order.amountDue, kind: 'owed', status: 'awaiting_destination' },
    ])
  })

  test('opens one refund when it is overpaid, of the excess, which follows until it is approved', async () => {
    const { order, run } = await overpaid(10n ** 17n)
    expect(await openOf(order)).toMatchObject({ amount: 10n ** 17n, kind: 'owed' })
    const { id } = await openOf(order)
    await give(id)
    await approve(id, admin(8))
    await report(buildObservation(order, { amount: 10n ** 17n }))
    await assessPayments(shop.worker, run.next())
    expect(await openOf(order)).toMatchObject({ id, amount: 2n * 10n ** 17n, status: 'awaiting_approval' })
    // What was approved was another amount: it counts no more.
    await approve(id, admin(9))
    await expect(move(id, 'approved')).rejects.toMatchObject(ILLEGAL)
    await approve(id, admin(8))
    await move(id, 'approved')
  })

  test('opens the next refund for what comes after the first was approved', async () => {
    const order = await cancelled()
    const { id } = await openOf(order)
    await settle(id)
    await report(buildObservation(order, { amount: 10n ** 17n }))
    await assessLatePayments(shop.worker, order.orderId)
    expect(await openOf(order)).toMatchObject({ amount: 10n ** 17n })
    expect(await refundsOf(order)).toMatchObject([{ id, amount: order.amountDue, status: 'approved' }, {}])
  })

  test('is no longer owed when its money is lost to a reorganisation', async () => {
    const { order, run } = await shop.orderIn('processing')
    const fact = buildObservation(order, { amount: 10n ** 17n })
    await report(fact)
    await assessPayments(shop.worker, run.next())
    const { id } = await openOf(order)
    await report(nextOf(fact, { state: 'reorged' }))
    await assessPayments(shop.worker, run.next())
    expect(await refundsOf(order)).toMatchObject([{ id, status: 'cancelled' }])
  })

  test('is still owed when its refund is rejected: another one is open', async () => {
    const order = await cancelled()
    const { id } = await openOf(order)
    await give(id)
    await move(id, 'rejected')
    const next = await openOf(order)
    expect(next).toMatchObject({ amount: order.amountDue, status: 'awaiting_destination' })
    expect(next.id).not.toBe(id)
  })
})

describe('the ceiling', () => {
  test('lets no refunds promise more than the order received', async () => {
    const { order } = await shop.orderIn('processing')
    await expect(ask(order, order.amountDue + 1n)).rejects.toMatchObject(TOO_MUCH)
    await ask(order, order.amountDue - 1n)
    await ask(order, 1n)
    await expect(ask(order, 1n)).rejects.toMatchObject(TOO_MUCH)
  })

  test('holds for fifty requests at once', async () => {
    const { order } = await shop.orderIn('processing')
    const half = order.amountDue / 2n
    const asked = await callEachConcurrently(
      Array.from(
        { length: 50 },
        () => () =>
          ask(order, half).then(
            () => 'done',
            (error: { code: string }) => error.code,
          ),
      ),
    )
    expect(asked.filter((outcome) => outcome === 'done')).toHaveLength(2)
    expect(new Set(asked)).toEqual(new Set(['done', TOO_MUCH.code]))
  })

  test('counts what a cancelled order gave back before', async () => {
    const { order, run } = await shop.orderIn('processing')
    const part = order.amountDue / 4n
    await ask(order, part, admin(5))
    const { id } = await openOf(order)
    await settle(id)
    await pay(id)
    await shop.ask('cancel', run.next())
    expect(await openOf(order)).toMatchObject({ kind: 'owed', amount: order.amountDue - part })
    expect(await stateOf(order)).toBe('partially_refunded')
  })

  test('lets no refund begin whose money was lost meanwhile, and lets it once it is back', async () => {
    const { order, run } = await shop.orderIn('processing')
    const fact = buildObservation(order, { amount: 10n ** 17n })
    await report(fact)
    await assessPayments(shop.worker, run.next())
    const { id } = await openOf(order)
    await settle(id)
    await ask(order, order.amountDue)
    const lost = nextOf(fact, { state: 'reorged' })
    await report(lost)
    await assessPayments(shop.worker, run.next())
    expect(await begin(id)).toBe('not_covered')
    await report(nextOf(lost, { state: 'final' }))
    await assessPayments(shop.worker, run.next())
    expect(await begin(id)).toBe('begun')
  })

  test('lets no refund begin while there is news of its order, or its network is suspended', async () => {
    const { order, run } = await shop.orderIn('processing')
    const fact = buildObservation(order, { amount: 10n ** 17n })
    await report(fact)
    await assessPayments(shop.worker, run.next())
    const { id } = await openOf(order)
    await settle(id)
    await report(nextOf(fact, { state: 'reorged' }))
    expect(await begin(id)).toBe('unassessed')
    await assessPayments(shop.worker, run.next())
    await report(nextOf(nextOf(fact, {}), { state: 'final' }))
    await assessPayments(shop.worker, run.next())
    await shop.test.forge('insert into chain_suspension (network) values ($1)', [order.network])
    const answer = await begin(id)
    await shop.test.forge('delete from chain_suspension')
    expect(answer).toBe('suspended')
    expect(await begin(id)).toBe('begun')
  })
})

describe('an approval', () => {
  test('counts neither by who asked, nor by the customer, nor twice, nor in the name of another', async () => {
    const { order } = await shop.orderIn('processing')
    await ask(order, 10n, admin(5))
    const { id } = await openOf(order)
    await expect(approve(id, admin(8))).rejects.toMatchObject(ILLEGAL)
    await give(id)
    await expect(approve(id, admin(5))).rejects.toMatchObject(ILLEGAL)
    await expect(approve(id, { actor: 'user:7', role: 'admin' })).rejects.toMatchObject(ILLEGAL)
    await expect(approve(id, CUSTOMER)).rejects.toMatchObject(ILLEGAL)
    await approve(id, admin(8))
    await expect(approve(id, admin(8))).rejects.toMatchObject({ code: '23505' })
    await expect(
      write(
        'app_api',
        admin(8),
        `insert into refund_approval (refund_id, version, approver, order_id)
         select refund_id, version, 'user:9', order_id from refund where refund_id = $1`,
        [id],
      ),
    ).rejects.toMatchObject(ILLEGAL)
    await expect(move(id, 'approved')).rejects.toMatchObject(ILLEGAL)
    await approve(id, admin(9))
    await move(id, 'approved')
  })

  test('leaves amount, destination and fee as they were approved', async () => {
    const order = await cancelled()
    const { id } = await openOf(order)
    await settle(id)
    await expect(give(id, `0x${'2f'.repeat(20)}`)).rejects.toMatchObject({ code: 'HF001' })
    await expect(
      write('app_api', admin(8), `update refund set fee_bearer = 'customer' where refund_id = $1`, [id]),
    ).rejects.toMatchObject(NEVER)
    await expect(
      write('app_worker', WORKER, 'update refund set amount = amount - 1 where refund_id = $1', [id]),
    ).rejects.toMatchObject(NEVER)
  })
})

test('an order that loses money after its excess went back is reversed, and not shipped until the money is back', async () => {
  const { order, run } = await shop.orderIn('processing')
  const more = buildObservation(order, { amount: order.amountDue / 2n })
  await report(more)
  await assessPayments(shop.worker, run.next())
  const { id } = await openOf(order)
  await settle(id)
  await pay(id)
  expect(await stateOf(order)).toBe('paid')
  const lost = nextOf(more, { state: 'dropped' })
  await report(lost)
  await assessPayments(shop.worker, run.next())
  expect(await stateOf(order)).toBe('reversed')
  expect(await shop.ask('ship', run.next())).toMatchObject({ ok: false })
  await report(nextOf(lost, { state: 'final' }))
  await assessPayments(shop.worker, run.next())
  expect(await stateOf(order)).toBe('paid')
  expect(await shop.ask('ship', run.next())).toMatchObject({ ok: true })
})

test('the payment state with refunds is the same in the database as in the domain', async () => {
  const { order } = await shop.orderIn('processing')
  const { orderId, amountDue: due } = order
  const random = randomOf('refund state')
  const below = (most: bigint): bigint => (most * BigInt(Math.floor(random() * 1_001))) / 1_000n
  const dustFloor = ASSET_POLICY.ETH.dustFloor
  for (let at = 0; at < count(150, 3_000); at += 1) {
    const received = 1n + below(2n * due)
    const paying = random() < 0.5 ? 0n : below(received)
    const paid = random() < 0.3 ? 0n : below(received - paying) - (random() < 0.2 ? below(dustFloor) : 0n)
    const begun = { paying, paid: paid < 0n ? 0n : paid }
    const goodwill = random() < 0.5 ? 'paying' : 'paid'
    const sums = { ...begun, owed: begun.paying + begun.paid - begun[goodwill] }
    await shop.test.forge('delete from refund where order_id = $1', [orderId])
    await shop.test.forge('update payment set amount = $2 where order_id = $1', [orderId, received.toString()])
    for (const [status, amount] of Object.entries(begun))
      if (amount > 0n)
        await shop.test.forge(
          `insert into refund (order_id, network, asset, amount, kind, fee_bearer, named_in, requested_by, status,
             destination, destination_confirmed_at, tx_id, network_fee, reason)
           select order_id, network, asset, $2, case when $7 then 'goodwill' else 'owed' end, 'shop', 'coin',
             'system:owed', $3, $4, now(), $5, $6, case when $7 then 'a scratch' end
           from invoice where order_id = $1`,
          [
            orderId,
            amount.toString(),
            status,
            GOAL,
            ...(status === 'paid' ? [`0x${'a'.repeat(64)}`, 1] : [null, null]),
            status === goodwill,
          ],
        )
    const found = await shop.query<{ status: OrderStatus; told: PaymentState; state: PaymentState }>(
      `select s as status, p as told, refund_state($1, s, p) as state from unnest($2::text[]) s, unnest($3::text[]) p`,
      [orderId, ORDER_STATUSES, ['paid', 'at_risk', 'reversed', 'unresolved', 'partial']],
    )
    for (const { status, told, state } of found)
      expect([status, told, received, sums, state]).toEqual([
        ...[status, told, received, sums],
        refundStateOf({ status, paymentState: told, due, dustFloor, received, ...sums }),
      ])
  }
})

describe('a refund', () => {
  test('has the same legal moves in the database as in the domain', async () => {
    const rows = await shop.query<{ line: string }>(
      `select from_status || ' ' || to_status as line from refund_transition`,
    )
    const moves = REFUND_STATUSES.flatMap((from) => REFUND_MOVES[from].map((to) => `${from} ${to}`))
    expect(rows.map(({ line }) => line).toSorted()).toEqual(moves.toSorted())
  })

  test('is begun by the worker alone, once, and paid by one transaction', async () => {
    const order = await cancelled()
    const { id } = await openOf(order)
    expect(await begin(id)).toBe('refused')
    await settle(id)
    await expect(move(id, 'paying')).rejects.toMatchObject(ILLEGAL)
    const begun = await callEachConcurrently(Array.from({ length: 20 }, () => () => begin(id)))
    expect(new Set(begun)).toEqual(new Set(['begun', 'repeated']))
    expect(begun.filter((outcome) => outcome === 'begun')).toHaveLength(1)
    expect(await stateOf(order)).toBe('refunding')
    const txId = `0x${randomBytes(32).toString('hex')}`
    expect(await finish(id, txId)).toBe('paid')
    expect(await finish(id, txId)).toBe('repeated')
    expect(await finish(id)).toBe('conflict')
    expect(await begin(id)).toBe('paid')
    expect(await stateOf(order)).toBe('refunded')
    await expect(move(id, 'rejected')).rejects.toMatchObject(ILLEGAL)
  })

  test('of an excess leaves the order paid', async () => {
    const { order } = await overpaid(10n ** 17n)
    const { id } = await openOf(order)
    await settle(id)
    await pay(id)
    expect(await stateOf(order)).toBe('paid')
    expect(await refundsOf(order)).toHaveLength(1)
  })

  test('of a part, then of the rest, makes the order partially refunded, then refunded; later money opens the next', async () => {
    const order = await cancelled()
    const { id } = await openOf(order)
    await settle(id)
    await pay(id)
    await report(buildObservation(order, { amount: 10n ** 17n }))
    await assessLatePayments(shop.worker, order.orderId)
    expect(await stateOf(order)).toBe('partially_refunded')
    const next = await openOf(order)
    await settle(next.id)
    expect(await begin(next.id)).toBe('begun')
    expect(await stateOf(order)).toBe('refunding')
    expect(await finish(next.id)).toBe('paid')
    expect(await stateOf(order)).toBe('refunded')
  })
})
