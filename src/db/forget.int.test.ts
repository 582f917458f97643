// Answers are forgotten after 30 days, and never that of an order that is still open.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { buildLine, buildProposal } from '../../test/support/builder.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import { ORDER_STATUSES } from '../domain/order.ts'
import { forgetAnswers } from './idempotency.ts'

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
/** Answers that no order came of. */
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
    expect(await forgetAnswers(shop.worker)).toEqual({ count: 2, isDone: true })
    expect(await keys()).toEqual(kept)
  })

  test.each(ORDER_STATUSES)('to a call about an order that is %s is kept while the order is open', async (status) => {
    const { order } = await shop.orderIn(status)
    const before = await keys()
    expect(before.length).toBeGreaterThan(0)
    await age('400 days')
    const isOver = status === 'delivered' || status === 'cancelled'
    await forgetAnswers(shop.worker)
    expect(await keys()).toEqual(isOver ? [] : before)
    expect((await shop.state(order)).status).toBe(status)
  })

  test('goes with others in small transactions, and does not wait for one that is in use', async () => {
    const made = await refusals(1_001, '31 days')
    const user = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
    await user.connect()
    await user.query('begin')
    await user.query('select from idempotency where key = $1 for update', [made[0]])
    expect(await forgetAnswers(shop.worker)).toEqual({ count: 1_000, isDone: false })
    expect(await keys()).toEqual([made[0]])
    expect(await forgetAnswers(shop.worker)).toEqual({ count: 0, isDone: true })
    await user.query('rollback')
    await user.end()
    expect(await forgetAnswers(shop.worker)).toEqual({ count: 1, isDone: true })
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
