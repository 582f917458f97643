// The hold sweep with failing orders, locked products, and more work than one statement can do in time: none of them
// keeps other holds from being released.

import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { buildLine } from '../../test/support/builder.ts'
import { findViolations } from '../../test/support/invariant.ts'
import { COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { createTestShop, runOf, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import type { AcceptedOrder } from './accept/accept.ts'
import { expireOrder } from './order.ts'
import type { Database } from './connection/pool.ts'
import { countHoldsAside, endHolds, sweepHolds, type Aside } from './sweep.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
/** The database of a worker; `tries` holds how many orders each attempt tried to end. */
let tries: number[]
let watched: Pick<Database, 'run'>

beforeAll(async () => {
  shop = await createTestShop()
  await shop.catchUp()
  watched = {
    run: (statement, values) => {
      if (statement.name === 'sweep_end') tries.push((values as [string[]])[0].length)
      return shop.worker.run(statement, values)
    },
  }
})
afterEach(async () => {
  await shop.query('drop function if exists holdfast.fail cascade')
  await shop.query('delete from hold_aside')
  await sweepHolds(shop.worker, 10_000)
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(() => shop.close())

async function lapsed(times: number, productId?: string): Promise<AcceptedOrder[]> {
  const lines = productId === undefined ? undefined : [buildLine({ productId })]
  const orders: AcceptedOrder[] = []
  // One after another, so that the first expired longest ago.
  for (let at = 0; at < times; at += 1)
    orders.push(await shop.order({ ...(lines && { lines }), windowMs: 1, graceMs: 0 }))
  const look = 'select from reservation where order_id = any ($1) and expires_at >= clock_timestamp()'
  await until(async () => (await shop.query(look, [orders.map(({ orderId }) => orderId)])).length === 0)
  return orders
}
const statusesOf = async (orders: readonly AcceptedOrder[]) =>
  Promise.all(orders.map(async (order) => (await shop.state(order)).status))
/** Makes ending the holds of these orders fail, or take this long. */
const breakFor = (orders: readonly AcceptedOrder[], act = `raise 'injected'`) =>
  shop.query(
    `create function holdfast.fail() returns trigger language plpgsql as $$ begin ${act}; return new; end $$;
     create trigger fail before update on reservation for each row
     when (old.order_id in (${orders.map(({ orderId }) => `'${orderId}'`).join(', ')})) execute function holdfast.fail()`,
  )
async function sweep(limit = 200): Promise<{ ended: number; asides: Aside[] }> {
  const asides: Aside[] = []
  tries = []
  return { ended: await sweepHolds(watched, limit, (aside) => asides.push(aside)), asides }
}

/** Sweeps until this many were ended and set aside in total: a hold that is locked briefly waits for the next sweep. */
async function sweepUntil(goal: { ended: number; asides: number }): Promise<Aside[]> {
  let ended = 0
  const asides: Aside[] = []
  await until(async () => {
    const swept = await sweep()
    ended += swept.ended
    asides.push(...swept.asides)
    await shop.query(`update hold_aside set next_at = clock_timestamp() + interval '1 minute'`)
    return ended >= goal.ended && asides.length >= goal.asides
  })
  expect({ ended, asides: asides.length }).toEqual(goal)
  return asides
}

describe('an order that cannot be ended', () => {
  test('is found by halves and set aside; all others end', async () => {
    const orders = await lapsed(40)
    const bad = [orders[0], orders[17]].flatMap((order) => order ?? [])
    await breakFor(bad)
    const asides = await sweepUntil({ ended: 38, asides: 2 })
    const expected = bad.map(({ orderId }) => orderId).toSorted()
    expect(asides.map(({ orderId }) => orderId).toSorted()).toEqual(expected)
    expect(asides.map(({ reason }) => reason)).toEqual(['P0001', 'P0001'])
    expect(await countHoldsAside(shop.worker)).toBe(2)
    expect(await statusesOf(orders)).toEqual(orders.map((order) => (bad.includes(order) ? 'pending' : 'cancelled')))
    // By bisection, not one by one.
    expect(tries.length).toBeLessThan(25)
  })

  test('is left alone until its next try, which comes later each time, and is forgotten once it has ended', async () => {
    const [order] = await lapsed(1)
    if (order === undefined) throw new Error('no order')
    await breakFor([order])
    const due = `update hold_aside set next_at = clock_timestamp()
      returning tries, extract(epoch from old.next_at - clock_timestamp())::float8 / 3600 as "waitH"`
    const waits: { tries: number; waitH: number }[] = []
    // In hours, so that none is over before it is checked.
    const delay = `update hold_aside set next_at = clock_timestamp() + (next_at - clock_timestamp()) * 3600`
    for (let tried = 0; tried < 4; tried += 1) {
      expect((await sweep()).asides).toHaveLength(1)
      await shop.query(delay)
      expect((await sweep()).asides).toHaveLength(0)
      expect(tries).toEqual([])
      waits.push(...(await shop.query<{ tries: number; waitH: number }>(due)))
    }
    const [first, ...later] = waits.map(({ waitH }) => waitH)
    expect(first).toBeGreaterThan(0)
    for (const [at, waitH] of later.entries()) expect(waitH).toBeGreaterThan(waits[at]?.waitH ?? 0)
    expect(waits.map((wait) => wait.tries)).toEqual([1, 2, 3, 4])
    await shop.query('drop function holdfast.fail cascade')
    expect(await sweep()).toEqual({ ended: 1, asides: [] })
    expect(await countHoldsAside(shop.worker)).toBe(0)
  })

  test('may be ended by its workflow meanwhile', async () => {
    const [order] = await lapsed(1)
    if (order === undefined) throw new Error('no order')
    await shop.query(`select set_hold_aside($1, 'P0001')`, [order.orderId])
    await expireOrder(shop.worker, runOf(order).next())
    expect(await countHoldsAside(shop.worker)).toBe(0)
  })

  test('among many of one product holds a sweep up for a few only, and no other product at all', async () => {
    const { productId } = await shop.product({ onHand: 100n })
    await breakFor(await lapsed(40, productId))
    const [good] = await lapsed(1)
    const asides: number[] = []
    // On a slow machine a sweep may come to its end before the good one.
    await until(async () => {
      const swept = await sweep()
      asides.push(swept.asides.length)
      return swept.ended === 1
    })
    expect(asides[0]).toBeGreaterThan(0)
    expect(Math.max(...asides)).toBeLessThanOrEqual(16)
    expect(await shop.state(good as AcceptedOrder)).toMatchObject({ status: 'cancelled' })
  })

  test('by a deadlock alone is tried again at once', async () => {
    const [order] = await lapsed(1)
    await shop.query('create sequence holdfast.deadlock_once; grant usage on holdfast.deadlock_once to app_worker')
    await breakFor(
      [order as AcceptedOrder],
      `if nextval('holdfast.deadlock_once') = 1 then raise 'lost' using errcode = '40P01'; end if`,
    )
    expect(await sweep()).toEqual({ ended: 1, asides: [] })
  })
})

test('more than a statement has time for is ended in smaller pieces, and nothing is set aside', async () => {
  const orders = await lapsed(60)
  await breakFor(orders, 'perform pg_sleep(0.05)')
  const { ended, asides } = await sweep()
  expect({ ended, asides }).toEqual({ ended: 60, asides: [] })
  expect(tries).toEqual([60, 30, 30])
})

test('a product whose stock is locked keeps no other from being given back', async () => {
  const { productId } = await shop.product({ onHand: 30n })
  const locked = await lapsed(30, productId)
  const others = await lapsed(5)
  const blocker = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
  await blocker.connect()
  await blocker.query('begin')
  await blocker.query('select from stock where product_id = $1 for update', [productId])
  expect(await sweep(20)).toEqual({ ended: 5, asides: [] })
  expect(new Set(await statusesOf(others))).toEqual(new Set(['cancelled']))
  expect(new Set(await statusesOf(locked))).toEqual(new Set(['pending']))
  await blocker.query('rollback')
  await blocker.end()
  expect((await sweep()).ended).toBe(30)
})

test('orders that another session has locked are passed by', async () => {
  const [first, ...others] = await lapsed(3)
  const blocker = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
  await blocker.connect()
  await blocker.query('begin')
  await blocker.query('select from orders where order_id = $1 for update', [first?.orderId])
  expect(await sweep()).toEqual({ ended: 2, asides: [] })
  expect(await statusesOf(others)).toEqual(['cancelled', 'cancelled'])
  await blocker.query('rollback')
  await blocker.end()
  expect(await endHolds(shop.worker, [first?.orderId ?? ''])).toBe(1)
})
