// Fairness between products: orders that wait for one product delay no others, and orders of one product are decided
// first come, first served. A batch that runs out of time, or meets a lock, is made smaller.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { buildLine, buildProposal } from '../../../test/support/builder.ts'
import { findViolations } from '../../../test/support/invariant.ts'
import { COUNT_WITHIN_MS } from '../../../test/support/scale.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { until } from '../../../test/support/until.ts'
import { createAcceptor, type Acceptor, type AcceptVerdict, type ProposedOrder } from './accept.ts'
import type { Database } from '../connection/pool.ts'
import { sweepHolds } from '../sweep.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
let acceptor: Acceptor
/** The products of the orders in each batch that was sent. */
let batches: string[][]
/** Delays each batch before it is sent. */
let gate: Promise<void>
let locking: (() => Promise<void>)[] = []
/** The SQLSTATEs with which the next batches fail, after or before they are executed. */
let failures: { state: string; isDone: boolean }[] = []

beforeAll(async () => {
  shop = await createTestShop()
})
beforeEach(async () => {
  await shop.catchUp()
  shop.givenBack.length = 0
  batches = []
  failures = []
  gate = Promise.resolve()
  const run: Database['run'] = async (statement, values) => {
    if (statement.name === 'accept_orders') {
      await gate
      const orders = JSON.parse((values as [string])[0]) as { lines: { p: string }[] }[]
      batches.push(orders.map(({ lines }) => lines.map(({ p }) => p).join()))
      const failure = failures.shift()
      if (failure?.isDone === true) await shop.api.run(statement, values)
      if (failure !== undefined)
        throw Object.assign(new pg.DatabaseError('injected', 1, 'error'), { code: failure.state })
    }
    return shop.api.run(statement, values)
  }
  acceptor = createAcceptor({ database: { run }, giveBack: (_, address) => void shop.givenBack.push(address) })
})
afterEach(async () => {
  await Promise.all(locking.map((release) => release()))
  await shop.query('drop function if exists holdfast.act cascade')
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(() => shop.close())

const proposalFor = (productId: string, quantity = 1, overrides: Partial<ProposedOrder> = {}): ProposedOrder =>
  buildProposal({ lines: [buildLine({ productId, quantity })], ...overrides })

type Told = { answer: Promise<string>; isAnswered: () => boolean }
/** A call, by its verdict or the reason of its failure. */
function told(call: Promise<AcceptVerdict>): Told {
  let isAnswered = false
  const answer = call
    .then(
      ({ verdict }): string => verdict,
      (error: unknown) => String((error as { reason?: unknown }).reason ?? error),
    )
    .finally(() => (isAnswered = true))
  return { answer, isAnswered: () => isAnswered }
}
const buy = (productId: string, quantity = 1, overrides: Partial<ProposedOrder> = {}): Told =>
  told(acceptor.accept(proposalFor(productId, quantity, overrides)))
const answersOf = (calls: readonly Told[]): Promise<string[]> => Promise.all(calls.map(({ answer }) => answer))
const times = <T>(count: number, act: (at: number) => T): T[] => Array.from({ length: count }, (_, at) => act(at))

/** A product with this many units, of which this many are in expired holds of one unit each. */
async function withExpiredHolds(holds: number, onHand = holds): Promise<string> {
  const { productId } = await shop.product({ onHand: BigInt(onHand) })
  const lapsing = times(holds, () => shop.acceptor.accept(proposalFor(productId, 1, { windowMs: 1, graceMs: 0 })))
  for (const { verdict } of await Promise.all(lapsing)) expect(verdict).toBe('accepted')
  const look = 'select from reservation where product_id = $1 and expires_at >= clock_timestamp()'
  await until(async () => (await shop.query(look, [productId])).length === 0)
  return productId
}

async function lock(text: string, productId: string): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
  await client.connect()
  await client.query('begin')
  await client.query(text, [productId])
  const release = async (): Promise<void> => {
    locking = locking.filter((one) => one !== release)
    await client.query('rollback')
    await client.end()
  }
  locking.push(release)
  return release
}
/** Another session that is ending the product's expired holds. */
const lockHolds = (productId: string) =>
  lock(
    `select from orders where order_id in (
       select order_id from reservation where product_id = $1 and expires_at < clock_timestamp()) for update`,
    productId,
  )
const lockStock = (productId: string) => lock('select from stock where product_id = $1 for no key update', productId)
const breakFor = (table: string, condition: string, act: string) =>
  shop.query(
    `create function holdfast.act() returns trigger language plpgsql as $$ begin ${act}; return new; end $$;
     create trigger act before insert or update on ${table} for each row when (${condition}) execute function holdfast.act()`,
  )

const counted = (answers: readonly string[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const answer of answers) counts[answer] = (counts[answer] ?? 0) + 1
  return counts
}

describe('a batch', () => {
  test('that has no time within a statement is decided in smaller pieces, and so are the next until they are quick again', async () => {
    const { productId } = await shop.product({ onHand: 100_000n })
    await breakFor('orders', 'true', 'perform pg_sleep(0.035)')
    expect(counted(await answersOf(times(180, () => buy(productId))))).toEqual({ accepted: 180 })
    const sizes = batches.map(({ length }) => length)
    expect(sizes.slice(0, 2)).toEqual([64, 64])
    // Halves of these; then the last 52, in smaller batches than one.
    expect(Math.max(...sizes.slice(2))).toBeLessThan(50)
    await shop.query('drop function holdfast.act cascade')
    await until(async () => {
      batches.length = 0
      await answersOf(times(200, () => buy(productId)))
      return batches.some(({ length }) => length === 64)
    })
  })

  test('that meets a locked product has only the orders of that wait, and later ones of it are not sent', async () => {
    const { productId: locked } = await shop.product({ onHand: 100n })
    const { productId: free } = await shop.product({ onHand: 100n })
    const release = await lockStock(locked)
    const waiting = [buy(locked)]
    expect(counted(await answersOf(times(20, () => buy(free))))).toEqual({ accepted: 20 })
    batches.length = 0
    waiting.push(...times(5, () => buy(locked)))
    expect(counted(await answersOf(times(5, () => buy(free))))).toEqual({ accepted: 5 })
    expect(new Set(batches.flat())).toEqual(new Set([free]))
    expect(waiting.some(({ isAnswered }) => isAnswered())).toBe(false)
    await release()
    expect(counted(await answersOf(waiting))).toEqual({ accepted: 6 })
  })

  test('accepts no order whose deadline passed while it waited for the lock of another', async () => {
    const { productId: locked } = await shop.product({ onHand: 10n })
    const { productId: free } = await shop.product({ onHand: 10n })
    const release = await lockStock(locked)
    const late = proposalFor(free, 1, { deadline: Date.now() + 300 })
    const [short, long] = [told(acceptor.accept(late)), buy(locked)]
    expect(await short.answer).toBe('DEADLINE_EXCEEDED')
    expect(shop.givenBack).toEqual([late.address])
    expect(await shop.query('select from orders where order_id = $1', [late.orderId])).toEqual([])
    await release()
    expect(await long.answer).toBe('accepted')
  })

  test('gives no address back that it may have written, whatever becomes of it', async () => {
    const { productId } = await shop.product({ onHand: 10n })
    failures = [
      { state: '25P04', isDone: true },
      { state: '42501', isDone: false },
      { state: '42501', isDone: false },
    ]
    expect(await answersOf([buy(productId), buy(productId)])).not.toContain('accepted')
    expect(await shop.query('select from order_line where product_id = $1', [productId])).toHaveLength(2)
    expect(shop.givenBack).toEqual([])
  })

  test('has no order whose call ended while it was queued', async () => {
    const { productId } = await shop.product({ onHand: 10n })
    const ending = new AbortController()
    let open: () => void = () => undefined
    gate = new Promise((resolve) => (open = resolve))
    // Two batches in flight, so that the next order is queued.
    const sent: Told[] = []
    for (let at = 0; at < 2; at += 1) {
      sent.push(buy(productId))
      await until(() => acceptor.queued() === 0)
    }
    const order = proposalFor(productId)
    const cancelled = told(acceptor.accept(order, ending.signal))
    const next = buy(productId)
    ending.abort()
    open()
    expect(await answersOf([...sent, cancelled, next])).toEqual([
      'accepted',
      'accepted',
      'DEADLINE_EXCEEDED',
      'accepted',
    ])
    expect(shop.givenBack).toEqual([order.address])
    expect(await shop.query('select from orders where order_id = $1', [order.orderId])).toEqual([])
  })
})

describe('buyers who wait for stock to come back', () => {
  test('keep none of another product waiting, and only one of them asks at a time', async () => {
    const stuck = await withExpiredHolds(2)
    const { productId: free } = await shop.product({ onHand: 1_000n })
    const release = await lockHolds(stuck)
    const crowd = times(600, () => buy(stuck))
    const ofCrowd = () => batches.map((products) => products.filter((productId) => productId === stuck).length)
    await until(() => ofCrowd().filter((orders) => orders === 1).length > 2)
    batches.length = 0
    for (let at = 0; at < 12; at += 1) expect(await buy(free).answer).toBe('accepted')
    expect(Math.max(...ofCrowd())).toBeLessThanOrEqual(1)
    expect(crowd.some(({ isAnswered }) => isAnswered())).toBe(false)
    await release()
    expect(counted(await answersOf(crowd))).toEqual({ accepted: 2, OUT_OF_STOCK: 598 })
    // The oldest of them.
    expect(counted(await answersOf(crowd.slice(0, 2)))).toEqual({ accepted: 2 })
  })

  test('are all told to try again before their deadlines, however many they are', async () => {
    const stuck = await withExpiredHolds(2)
    await lockHolds(stuck)
    const deadline = Date.now() + 1_500
    const answers = await answersOf(times(400, () => buy(stuck, 1, { deadline })))
    expect(counted(answers)).toEqual({ STOCK_BEING_RELEASED: 400 })
    expect(acceptor.queued()).toBe(0)
  })

  test('get it in their order of arrival, also while later ones trickle in', async () => {
    const productId = await withExpiredHolds(200)
    const first = buy(productId, 200)
    const later: Told[] = []
    // No more than the queue has room for.
    while (!first.isAnswered() && later.length < 500) {
      later.push(buy(productId))
      await shop.query('select')
    }
    expect(await first.answer).toBe('accepted')
    expect(counted(await answersOf(later))).toEqual({ OUT_OF_STOCK: later.length })
  })

  test('get it in their order of arrival, also when another session gives it back', async () => {
    const productId = await withExpiredHolds(10)
    const release = await lockHolds(productId)
    const first = buy(productId, 10)
    await until(() => batches.length > 2)
    const later = times(20, () => buy(productId))
    await Promise.all([release(), sweepHolds(shop.worker, 200)])
    later.push(...times(20, () => buy(productId)))
    expect(await first.answer).toBe('accepted')
    expect(counted(await answersOf(later))).toEqual({ OUT_OF_STOCK: 40 })
  })

  test('get it in their order of arrival, also where their batch is decided by halves', async () => {
    // Three free, seven in expired holds.
    const productId = await withExpiredHolds(7, 10)
    failures = [{ state: '57014', isDone: false }]
    const calls = [9, 1, 2, 1].map((quantity) => buy(productId, quantity))
    expect(await answersOf(calls)).toEqual(['accepted', 'accepted', 'OUT_OF_STOCK', 'OUT_OF_STOCK'])
    expect(batches.slice(0, 2).map(({ length }) => length)).toEqual([4, 2])
  })

  test('let those by who fit what is free, once nothing comes back', async () => {
    // Five free, seven in expired holds that cannot be ended now.
    const productId = await withExpiredHolds(7, 12)
    const release = await lockHolds(productId)
    const [large, small] = [buy(productId, 10), buy(productId)]
    expect(await small.answer).toBe('accepted')
    expect(await buy(productId).answer).toBe('accepted')
    expect(large.isAnswered()).toBe(false)
    await release()
    expect(await large.answer).toBe('accepted')
  })

  test('are not those who want more than can come back: these are out of stock at once', async () => {
    const productId = await withExpiredHolds(7, 12)
    const release = await lockHolds(productId)
    const [possible, impossible] = [buy(productId, 10), buy(productId, 13)]
    expect(await impossible.answer).toBe('OUT_OF_STOCK')
    // Also behind those that already wait.
    expect(await buy(productId, 13).answer).toBe('OUT_OF_STOCK')
    expect(possible.isAnswered()).toBe(false)
    await release()
    expect(await possible.answer).toBe('accepted')
  })

  test('are not those who want more than what is due: what is held for longer does not come back', async () => {
    const productId = await withExpiredHolds(1, 10)
    expect(await buy(productId, 9).answer).toBe('accepted')
    const release = await lockHolds(productId)
    expect(await buy(productId, 5).answer).toBe('OUT_OF_STOCK')
    await release()
    expect(await buy(productId).answer).toBe('accepted')
  })

  test('do not wait for holds of a chain that is not read so far, and none of these is looked at', async () => {
    const productId = await withExpiredHolds(20)
    await shop.query(`update chain_status set caught_up_at = clock_timestamp() - interval '1 hour'`)
    expect(await buy(productId).answer).toBe('OUT_OF_STOCK')
    const plan = await shop.api.run<{ 'QUERY PLAN': string }>({
      name: '',
      text: `explain (analyze, timing off, costs off)
        select true from returning_hold h where h.product_id = '${productId}' and h.expires_at <= clock_timestamp()`,
    })
    const lines = plan.map((row) => row['QUERY PLAN'])
    expect(lines.find((line) => line.includes('on reservation r'))).toContain('actual rows=0')
    expect(lines.join('\n')).not.toContain('Rows Removed')
  })
})
