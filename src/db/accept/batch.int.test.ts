// Batches of orders: decided as if one after another, and committed together or not at all.

import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import pg from 'pg'
import { buildLine, buildProposal } from '../../../test/support/builder.ts'
import { findViolations } from '../../../test/support/invariant.ts'
import { quoteDue } from '../../../test/support/oracle.ts'
import { count, COUNT_WITHIN_MS, seed } from '../../../test/support/scale.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { until } from '../../../test/support/until.ts'
import { quantitiesOf } from '../../domain/stock.ts'
import { createAcceptor, type Acceptor, type AcceptVerdict, type ProposedOrder } from './accept.ts'
import { openDatabase, type Database } from '../connection/pool.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
/** Every call the acceptor made, with its numbers of orders and lines. */
let batches: { orders: number; lines: number }[]
/** How many of them were under way at once, at the most. */
let mostAtOnce: number
let acceptor: Acceptor
let customers = 1_000n

beforeAll(async () => {
  shop = await createTestShop()
})
beforeEach(() => {
  batches = []
  shop.givenBack.length = 0
  mostAtOnce = 0
  let underWay = 0
  const run: Database['run'] = (statement, values) => {
    const [payload] = values as [string]
    if (statement.name === 'accept_orders') {
      const orders = JSON.parse(payload) as { lines: unknown[] }[]
      batches.push({ orders: orders.length, lines: orders.reduce((sum, { lines }) => sum + lines.length, 0) })
    }
    mostAtOnce = Math.max(mostAtOnce, (underWay += 1))
    return shop.api.run<never>(statement, values).finally(() => (underWay -= 1))
  }
  acceptor = createAcceptor({ database: { run }, giveBack: (_, address) => void shop.givenBack.push(address) })
})
afterEach(async () => {
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(() => shop.close())

const proposalFor = (productId: string, quantity = 1, overrides: Partial<ProposedOrder> = {}): ProposedOrder =>
  buildProposal({ lines: [buildLine({ productId, quantity })], ...overrides })
const acceptAll = (orders: readonly ProposedOrder[]) =>
  Promise.allSettled(orders.map((order) => acceptor.accept(order)))
const verdictOf = (result: PromiseSettledResult<AcceptVerdict>) =>
  result.status === 'fulfilled' ? result.value.verdict : (result.reason as { reason?: string; code?: string })

/** Row counts of everything that an accepted order or a stored answer writes. */
const TABLES = [
  'idempotency',
  'customer',
  'orders',
  'order_line',
  'invoice',
  'reservation',
  'stock_movement',
  'workflow_start',
  'notification',
] as const
async function snapshot(): Promise<unknown> {
  const counts = TABLES.map((table) => `(select count(*) from ${table}) as ${table}`).join(', ')
  return shop.query(
    `select ${counts}, (select jsonb_object_agg(product_id, reserved || ' ' || version) from stock) as stock`,
  )
}

describe('a batch', () => {
  test('holds what came while others were decided: at most 64 orders and 512 lines, two at a time', async () => {
    const { productId } = await shop.product({ onHand: 1_000_000n })
    const small = Array.from({ length: 200 }, () => proposalFor(productId))
    await acceptAll(small)
    expect(batches.map(({ orders }) => orders)).toEqual([64, 64, 64, 8])
    expect(mostAtOnce).toBe(2)
    batches.length = 0
    const large = Array.from({ length: 12 }, () =>
      buildProposal({ lines: Array.from({ length: 100 }, () => buildLine({ productId })) }),
    )
    await acceptAll(large)
    expect(batches.map(({ lines }) => lines)).toEqual([500, 500, 200])
  })

  test('is decided as its orders would be one after the other, in the order in which they came', async () => {
    const skus = ['a', 'b', 'c', 'gone'] as const
    const line = fc.record({
      sku: fc.constantFrom(...skus, 'a', 'b'),
      quantity: fc.integer({ min: 1, max: 5 }),
      isStale: fc.integer({ max: 19, min: 0 }),
    })
    const carts = fc.array(fc.array(line, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 64 })
    const opening = fc.tuple(fc.nat(40), fc.nat(15), fc.nat(3))
    const property = fc.asyncProperty(opening, carts, async (onHand, wanted) => {
      const prefix = `t-${randomBytes(4).toString('hex')}-`
      for (const [at, units] of onHand.entries())
        await shop.product({ productId: prefix + skus[at], onHand: BigInt(units), unitPrice: '1.00' })
      const orders = wanted.map((lines) =>
        buildProposal({
          lines: lines.map(({ sku, quantity, isStale }) =>
            buildLine({ productId: prefix + sku, quantity, unitPriceMinor: isStale === 0 ? 99n : 100n }),
          ),
        }),
      )
      const left = new Map(onHand.map((units, at) => [prefix + skus[at], BigInt(units)]))
      const expected = orders.map(({ lines }) => decideAlone(left, lines))
      const answers = await Promise.all(orders.map((order) => acceptor.accept(order)))
      expect(answers.map((answer) => ('order' in answer ? { verdict: answer.verdict } : answer))).toEqual(expected)
      for (const [productId, units] of left) {
        const [row] = await shop.query('select on_hand - reserved as left from stock where product_id = $1', [
          productId,
        ])
        expect(row).toEqual({ left: units })
      }
    })
    await fc.assert(property, { numRuns: count(60, 2_000), seed })
  })

  test('gives units that come back to whoever asked first', async () => {
    await shop.catchUp()
    const { productId } = await shop.product({ onHand: 3n })
    await expired(proposalFor(productId, 2))
    // One unit is free, two are in expired holds: the first buyer wants all three.
    const results = await acceptAll([proposalFor(productId, 3), proposalFor(productId, 1)])
    expect(results.map(verdictOf)).toEqual(['accepted', 'OUT_OF_STOCK'])
  })
})

/** The rule for one order, implemented a second time. Subtracts accepted quantities from `left`. */
function decideAlone(left: Map<string, bigint>, lines: ProposedOrder['lines']): unknown {
  const unknown = [...new Set(lines.map(({ productId }) => productId))].filter((id) => !left.has(id)).toSorted()
  if (unknown.length > 0) return { verdict: 'PRODUCT_UNKNOWN', productIds: unknown }
  const stale = new Set(lines.filter(({ unitPriceMinor }) => unitPriceMinor !== 100n).map(({ productId }) => productId))
  if (stale.size > 0)
    return {
      verdict: 'PRICE_CHANGED',
      prices: [...stale].toSorted().map((productId) => ({ productId, unitPriceMinor: 100n })),
    }
  const shortages = [...quantitiesOf(lines)]
    .map(([productId, quantity]) => ({ productId, wanted: BigInt(quantity), available: left.get(productId) ?? 0n }))
    .filter(({ wanted, available }) => wanted > available)
  if (shortages.length > 0) return { verdict: 'OUT_OF_STOCK', shortages }
  for (const [productId, quantity] of quantitiesOf(lines))
    left.set(productId, (left.get(productId) ?? 0n) - BigInt(quantity))
  return { verdict: 'accepted' }
}

describe('an order that fails', () => {
  test('fails alone, and the others of its batch are decided', async () => {
    const { productId } = await shop.product({ onHand: 100n })
    const { address } = await shop.order()
    const orders = Array.from({ length: 40 }, (_, at) => proposalFor(productId, 1, at === 17 ? { address } : {}))
    const results = await acceptAll(orders)
    expect(results.map(verdictOf).filter((verdict) => verdict === 'accepted')).toHaveLength(39)
    expect(verdictOf(results[17] as never)).toMatchObject({
      code: '23505',
      constraint: 'invoice_one_order_per_address',
    })
    // Another customer pays there: it must not be handed out again.
    expect(shop.givenBack).toEqual([])
    expect((await acceptor.accept({ ...(orders[17] as ProposedOrder), address: '0xfresh' })).verdict).toBe('accepted')
  })

  test('past its deadline is not looked at, and its address is free again', async () => {
    const { productId } = await shop.product()
    const late = proposalFor(productId, 1, { deadline: Date.now() - 1 })
    const [result, intime] = await acceptAll([late, proposalFor(productId)])
    expect(verdictOf(result as never)).toMatchObject({ reason: 'DEADLINE_EXCEEDED' })
    expect(verdictOf(intime as never)).toBe('accepted')
    expect(shop.givenBack).toEqual([late.address])
    expect(await shop.query('select from idempotency where key = $1', [late.key])).toEqual([])
  })

  test('because no session came free in time has sent nothing, and its address is free again', async () => {
    const url = shop.test.urlOf('app_api')
    // One session for each of its two clients.
    const busy = await openDatabase({ url, poolSize: 2, applicationName: 'test-busy' })
    const asleep = busy.run({ name: 'test_sleep', text: 'select pg_sleep(1.5)' })
    const order = buildProposal()
    const late = createAcceptor({ database: busy, giveBack: (_, address) => void shop.givenBack.push(address) })
    await expect(late.accept(order)).rejects.toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
    expect(shop.givenBack).toEqual([order.address])
    await asleep
    await busy.close()
  })

  test('because too many wait is told when to come back', async () => {
    let refuseAll: (error: Error) => void = () => undefined
    const gate = new Promise<never>((_, reject) => (refuseAll = reject))
    gate.catch(() => undefined)
    const busy = createAcceptor({
      database: { run: () => gate },
      giveBack: (_, address) => void shop.givenBack.push(address),
    })
    const waiting = Array.from({ length: 4_096 }, () => busy.accept(buildProposal()))
    expect(busy.queued()).toBe(4_096)
    const last = buildProposal()
    await expect(busy.accept(last)).rejects.toMatchObject({ reason: 'DATABASE_UNAVAILABLE', retryAfterMs: 500 })
    expect(shop.givenBack).toEqual([last.address])
    refuseAll(Object.assign(new Error('gone'), { code: 'ECONNRESET' }))
    for (const result of await Promise.allSettled(waiting))
      expect(verdictOf(result as never)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
    // Their results are unknown, so their addresses are not reused.
    expect(shop.givenBack).toEqual([last.address])
  })
})

describe('all or nothing', () => {
  test.each([...TABLES, 'stock'] as const)(
    'although writing %s fails, after which the same attempt succeeds',
    async (table) => {
      const { productId } = await shop.product()
      const order = proposalFor(productId, 1, { userId: (customers += 1n) })
      await shop.query(`create function holdfast.fail() returns trigger language plpgsql as $$ begin raise 'injected'; end $$;
      create trigger fail after insert or update on ${table} for each statement execute function holdfast.fail()`)
      const before = await snapshot()
      await expect(acceptor.accept(order)).rejects.toMatchObject({ code: 'P0001' })
      expect(await snapshot()).toEqual(before)
      await shop.query('drop function holdfast.fail cascade')
      expect((await acceptor.accept(order)).verdict).toBe('accepted')
    },
  )

  test('although the session is killed while the batch waits for a lock, after which the same attempt succeeds once', async () => {
    const { productId } = await shop.product()
    const orders = Array.from({ length: 5 }, () => proposalFor(productId))
    const before = await snapshot()
    const blocker = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
    await blocker.connect()
    await blocker.query('begin')
    await blocker.query('select from stock where product_id = $1 for update', [productId])
    const answers = acceptAll(orders)
    await until(async () => {
      const killed = await shop.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'test-api' and wait_event_type = 'Lock'`,
      )
      return killed.length > 0
    })
    for (const result of await answers) expect(verdictOf(result)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE' })
    await blocker.query('rollback')
    await blocker.end()
    expect(await snapshot()).toEqual(before)
    expect(shop.givenBack).toEqual([])
    const again = await acceptAll([...orders, ...orders.map((order) => ({ ...order, address: randomUUID() }))])
    expect(again.map(verdictOf)).toEqual([...orders.map(() => 'accepted'), ...orders.map(() => 'replayed')])
  })

  test('although a lock is held too long: the caller is told to come back, and nothing is stored', async () => {
    const { productId } = await shop.product()
    const before = await snapshot()
    const blocker = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
    await blocker.connect()
    await blocker.query('begin')
    await blocker.query('select from stock where product_id = $1 for update', [productId])
    const orders = Array.from({ length: 3 }, () => proposalFor(productId, 1, { deadline: Date.now() + 500 }))
    for (const result of await acceptAll(orders))
      expect(verdictOf(result)).toMatchObject({ reason: 'DATABASE_UNAVAILABLE', retryAfterMs: 1_000 })
    await blocker.query('rollback')
    await blocker.end()
    expect(await snapshot()).toEqual(before)
    // Postgres confirmed that it wrote nothing: their addresses are stored nowhere.
    expect(shop.givenBack.toSorted()).toEqual(orders.map(({ address }) => address).toSorted())
  })
})

/** An order whose window and grace period have ended, still holding its stock. */
async function expired(order: ProposedOrder): Promise<string> {
  const { orderId } = await shop.order({ ...order, windowMs: 1, graceMs: 0 })
  await until(() =>
    shop
      .query('select from reservation where order_id = $1 and expires_at < clock_timestamp()', [orderId])
      .then((rows) => rows.length),
  )
  return orderId
}

test('the amount due in the database is that of the rule, to the unit', async () => {
  const total = fc.bigInt({ min: 1n, max: 99_999_999_999_999n })
  const rate = fc.bigInt({ min: 1n, max: 99_999_999_999_999n })
  const cases = fc.sample(fc.tuple(total, rate, fc.constantFrom(8, 9, 18)), { numRuns: count(5_000, 200_000), seed })
  const rows = await shop.query<{ due: string }>(
    `select quote_due(total / 100, rate / 100, decimals::smallint)::text as due
     from unnest($1::numeric[], $2::numeric[], $3::int[]) with ordinality as c (total, rate, decimals, at) order by at`,
    [0, 1, 2].map((column) => cases.map((row) => String(row[column]))),
  )
  expect(rows.map(({ due }) => due)).toEqual(
    cases.map(([totalMinor, rateMinor, decimals]) => quoteDue(totalMinor, rateMinor, decimals).toString()),
  )
})
