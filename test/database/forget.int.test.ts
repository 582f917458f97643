// Retention: stored answers are deleted after 30 days, except those of open orders; notifications are deleted once
// delivered, never before.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { buildLine, buildProposal } from '../support/builder.ts'
import { findViolations } from '../support/invariant.ts'
import { createTestShop, type TestShop } from '../support/shop.ts'
import { ORDER_STATUSES } from '../../src/domain/order.ts'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'
import { deleteExpiredAnswers } from '../../src/db/idempotency.ts'
import {
  claimNotifications,
  deleteExpiredNotifications,
  markNotificationsDelivered,
} from '../../src/db/notification.ts'

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
beforeEach(() => shop.query('delete from idempotency'))
afterAll(() => shop.close())

const keys = async (): Promise<string[]> =>
  (await shop.query<{ key: string }>('select key::text from idempotency')).map(({ key }) => key).toSorted()
const age = (interval: string, where = 'true') =>
  shop.query(`update idempotency set created_at = clock_timestamp() - $1::interval where ${where}`, [interval])
/** Answers that created no order. */
async function refusals(times: number, interval: string): Promise<string[]> {
  const made = Array.from({ length: times }, () => randomUUID())
  await shop.query(
    `insert into idempotency (actor, method, key, request_hash, response, created_at)
     select 'user:1', 'PutProduct', key, sha256('x'), '{}', clock_timestamp() - $2::interval from unnest($1::uuid[]) key`,
    [made, interval],
  )
  return made.toSorted()
}

describe('an answer', () => {
  test('is kept for 30 days on the clock of the database, and gone after', async () => {
    const kept = await refusals(3, '29 days 23:59:00')
    await refusals(2, '30 days 00:00:01')
    expect(await deleteExpiredAnswers(shop.worker)).toEqual({ count: 2, isDone: true })
    expect(await keys()).toEqual(kept)
  })

  test.each(ORDER_STATUSES)('to a call about an order that is %s is kept while the order is open', async (status) => {
    const { order } = await shop.orderIn(status)
    const before = await keys()
    expect(before.length).toBeGreaterThan(0)
    await age('400 days')
    const isOver = status === 'delivered' || status === 'cancelled'
    await deleteExpiredAnswers(shop.worker)
    expect(await keys()).toEqual(isOver ? [] : before)
    expect((await shop.state(order)).status).toBe(status)
  })

  test('goes with others in small transactions, and does not wait for one that is in use', async () => {
    const made = await refusals(1_001, '31 days')
    const user = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
    await user.connect()
    await user.query('begin')
    await user.query('select from idempotency where key = $1 for update', [made[0]])
    expect(await deleteExpiredAnswers(shop.worker)).toEqual({ count: 1_000, isDone: false })
    expect(await keys()).toEqual([made[0]])
    expect(await deleteExpiredAnswers(shop.worker)).toEqual({ count: 0, isDone: true })
    await user.query('rollback')
    await user.end()
    expect(await deleteExpiredAnswers(shop.worker)).toEqual({ count: 1, isDone: true })
  })

  test('can be removed by the worker in no other way', async () => {
    const [key] = await refusals(1, '31 days')
    const session = new pg.Client({ connectionString: shop.test.urlOf('app_worker') })
    await session.connect()
    await expect(session.query('delete from idempotency where key = $1', [key])).rejects.toMatchObject({
      code: '42501',
    })
    await session.end()
    expect(await keys()).toEqual([key])
  })
})

describe('news of an order', () => {
  const LONG_AGO = "clock_timestamp() - interval '31 days'"

  beforeEach(() => shop.query('delete from notification'))

  const left = async ({ orderId }: AcceptedOrder): Promise<string[]> => {
    const rows = await shop.query<{ status: string }>(
      'select status from notification where order_id = $1 order by notification_id',
      [orderId],
    )
    return rows.map(({ status }) => status)
  }
  const set = ({ orderId }: AcceptedOrder, status: string, to: string) =>
    shop.query(`update notification set ${to} where order_id = $1 and status = $2`, [orderId, status])
  /** An order and its notifications: pending, processing, shipped, delivered. */
  const delivered = async (): Promise<AcceptedOrder> => (await shop.orderIn('delivered')).order

  test('is kept for 30 days from when it was told on the clock of the database, and gone after', async () => {
    const order = await delivered()
    await set(order, 'pending', `delivered_at = clock_timestamp() - interval '30 days 00:00:01'`)
    await set(order, 'processing', `delivered_at = clock_timestamp() - interval '29 days 23:59:00'`)
    await set(order, 'shipped', 'delivered_at = clock_timestamp()')
    expect(await deleteExpiredNotifications(shop.worker)).toEqual({ count: 1, isDone: true })
    expect(await left(order)).toEqual(['processing', 'shipped', 'delivered'])
  })

  test('stays while it is dead or still to be told, whatever its age, and is told in order', async () => {
    const order = await delivered()
    await shop.query(`update notification set changed_at = ${LONG_AGO}, created_at = ${LONG_AGO}`)
    await set(order, 'pending', `dead_at = ${LONG_AGO}, dead_reason = 'refused'`)
    await set(order, 'processing', `delivered_at = ${LONG_AGO}`)
    expect(await deleteExpiredNotifications(shop.worker)).toEqual({ count: 1, isDone: true })
    expect(await left(order)).toEqual(['pending', 'shipped', 'delivered'])
    for (const status of ['shipped', 'delivered']) {
      const claimed = await claimNotifications(shop.worker, 'test', 10, 'log')
      expect(claimed.map((row) => row.status)).toEqual([status])
      await markNotificationsDelivered(shop.worker, 'test', [claimed[0]?.notificationId ?? 0n])
    }
  })

  test('goes in small transactions, and does not wait for what is in use', async () => {
    const order = await shop.order()
    await shop.query(
      `insert into notification (order_id, order_version, channel, status, payment_state, changed_at, delivered_at)
       select $1, at, 'webhook', 'pending', 'awaiting', ${LONG_AGO}, ${LONG_AGO} from generate_series(1, 2001) at`,
      [order.orderId],
    )
    const user = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
    await user.connect()
    await user.query('begin')
    await user.query('select from notification where delivered_at is not null limit 1 for update')
    expect(await deleteExpiredNotifications(shop.worker)).toEqual({ count: 2_000, isDone: false })
    expect(await deleteExpiredNotifications(shop.worker)).toEqual({ count: 0, isDone: true })
    await user.query('rollback')
    await user.end()
    expect(await deleteExpiredNotifications(shop.worker)).toEqual({ count: 1, isDone: true })
    expect(await left(order)).toEqual(['pending'])
  })

  test('can be removed by the worker in no other way', async () => {
    const order = await shop.order()
    await set(order, 'pending', `delivered_at = ${LONG_AGO}`)
    const session = new pg.Client({ connectionString: shop.test.urlOf('app_worker') })
    await session.connect()
    await expect(session.query('delete from notification')).rejects.toMatchObject({ code: '42501' })
    await session.end()
    expect(await left(order)).toEqual(['pending'])
  })

  test('that was forgotten, all or some of it, is no difference to the consistency check', async () => {
    const differences = async () =>
      (await findViolations(shop.test)).filter(({ check }) => check === 'news_follows_status')
    const [all, some] = [await delivered(), await delivered()]
    await shop.query(`update notification set changed_at = ${LONG_AGO}, delivered_at = ${LONG_AGO}`)
    // Delivered out of order: it was a dead letter until recently.
    await set(some, 'processing', 'delivered_at = clock_timestamp()')
    await shop.test.forge(`update orders set created_at = ${LONG_AGO}`)
    expect(await differences()).toEqual([])
    expect(await deleteExpiredNotifications(shop.worker)).toEqual({ count: 7, isDone: true })
    expect([await left(all), await left(some)]).toEqual([[], ['processing']])
    expect(await differences()).toEqual([])
  })
})

test('an attempt that is repeated after its answer was forgotten makes no second order', async () => {
  const { productId } = await shop.product()
  const proposal = buildProposal({ lines: [buildLine({ productId })] })
  const first = await shop.acceptor.accept(proposal)
  if (!('order' in first)) throw new Error(first.verdict)
  await shop.query('delete from idempotency')
  const other = buildProposal({ lines: [buildLine({ productId })] })
  const [again, beside] = await Promise.all([
    shop.acceptor.accept({ ...proposal, address: `0x${'ab'.repeat(20)}` }),
    shop.acceptor.accept(other),
  ])
  expect(again).toEqual({ verdict: 'IDEMPOTENCY_KEY_REUSED' })
  expect(beside.verdict).toBe('accepted')
  expect(shop.givenBack).toContain(`0x${'ab'.repeat(20)}`)
  expect(await shop.stock(first.order)).toEqual({ onHand: 10n, reserved: 2n })
})
