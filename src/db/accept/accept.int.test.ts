// Accepting orders on a real Postgres: races, one answer per key, all or nothing. Batches are tested in
// batch.int.test.ts.

import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { openTestDatabase } from '../../../test/support/database.ts'
import { buildAttempt, buildLine, buildProposal, putProduct } from '../../../test/support/builder.ts'
import { callConcurrently } from '../../../test/support/concurrent.ts'
import { findViolations } from '../../../test/support/invariant.ts'
import { count, COUNT_WITHIN_MS, randomOf } from '../../../test/support/scale.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { DomainError } from '../../domain/failure.ts'
import { until } from '../../../test/support/until.ts'
import { createAcceptor, type Acceptor, type AcceptVerdict, type ProposedOrder } from './accept.ts'
import { putProduct as publishProduct } from '../catalogue.ts'
import type { Database } from '../connection/pool.ts'
import { adjustStock } from '../stock.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
/** A second api process: with its own pool and queue. */
let other: { database: Database; acceptor: Acceptor; givenBack: string[] }

beforeAll(async () => {
  shop = await createTestShop()
  const database = await openTestDatabase({ url: shop.test.urlOf('app_api'), poolSize: 8, applicationName: 'test-2' })
  const givenBack: string[] = []
  other = {
    database,
    givenBack,
    acceptor: createAcceptor({ database, giveBack: (_, address) => void givenBack.push(address) }),
  }
})
afterEach(async () => {
  shop.givenBack.length = 0
  other.givenBack.length = 0
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(async () => {
  await other.database.close()
  await shop.close()
})

const proposalFor = (productId: string, quantity = 1, overrides: Partial<ProposedOrder> = {}): ProposedOrder =>
  buildProposal({ lines: [buildLine({ productId, quantity })], ...overrides })
const accept = (order: ProposedOrder): Promise<AcceptVerdict> => shop.acceptor.accept(order)
/** Accepts as a caller does: retries a statement that timed out on a busy machine, under the same key. */
async function persist(acceptor: Acceptor, order: ProposedOrder): Promise<AcceptVerdict> {
  for (let left = 5; ; left -= 1) {
    try {
      return await acceptor.accept(order)
    } catch (error) {
      if (left === 0 || !(error instanceof DomainError) || error.reason !== 'DATABASE_UNAVAILABLE') throw error
    }
  }
}
const isAccepted = (answer: AcceptVerdict): boolean => answer.verdict === 'accepted'
const countOf = async (text: string, values: readonly unknown[] = []): Promise<number> => {
  const [row] = await shop.query<{ n: bigint }>(`select count(*) as n ${text}`, values)
  return Number(row?.n)
}
/** An acceptor that records every database error, including those it retries after. */
function listeningTo(database: Database, errors: unknown[]): Acceptor {
  const run: Database['run'] = (statement, values) =>
    database.run<never>(statement, values).catch((error: unknown) => {
      errors.push(error)
      throw error
    })
  return createAcceptor({ database: { run }, giveBack: () => undefined })
}

describe('the last units', () => {
  const ROUNDS = count(20, 100)
  const BUYERS = 200

  test.each([
    { quantity: 1, winners: 10, left: 0n },
    { quantity: 3, winners: 3, left: 1n },
  ])(
    `of ten go to exactly $winners of ${BUYERS} buyers at once who want $quantity each, and the others learn what is left`,
    async ({ quantity, winners, left }) => {
      for (let round = 0; round < ROUNDS / 2; round += 1) {
        const { productId } = await shop.product({ onHand: 10n })
        const answers = await Promise.all(
          Array.from({ length: BUYERS }, (_, at) =>
            persist(
              (at % 2 === 0 ? shop : other).acceptor,
              proposalFor(productId, quantity, { userId: BigInt(1 + (at % 20)) }),
            ),
          ),
        )
        const losers = answers.filter((answer) => !isAccepted(answer))
        expect(answers.length - losers.length).toBe(winners)
        for (const loser of losers)
          expect(loser).toEqual({
            verdict: 'OUT_OF_STOCK',
            shortages: [{ productId, wanted: BigInt(quantity), available: left }],
          })
        expect(shop.givenBack.length + other.givenBack.length).toBe((round + 1) * (BUYERS - winners))
        expect(await shop.stock({ lines: [{ productId, name: '', quantity, unitPriceMinor: 0n }] })).toEqual({
          onHand: 10n,
          reserved: BigInt(winners * quantity),
        })
      }
    },
  )

  test('go to nobody twice when a sale, a correction of stock and new goods race', async () => {
    const random = randomOf('accept adjust')
    const { productId } = await shop.product({ onHand: 50n })
    const correct = (at: number) => {
      const change = { kind: 'delta', units: at % 4 === 3 ? -5n : 3n } as const
      const adjustment = { productId, change, actor: 'user:1', reason: 'count', expectedVersion: undefined }
      return adjustStock(shop.api, buildAttempt(), adjustment, Date.now() + 10_000).catch((error: unknown) =>
        expect(error).toMatchObject({ reason: 'STOCK_BELOW_RESERVED' }),
      )
    }
    const [sales] = await Promise.all([
      Promise.all(Array.from({ length: 120 }, () => accept(proposalFor(productId, 1 + Math.floor(random() * 3))))),
      callConcurrently(20, correct, 3),
    ])
    // The invariant check after each test shows that nothing was lost or sold twice.
    expect(sales.filter(isAccepted).length).toBeGreaterThan(15)
  })
})

describe('one attempt', () => {
  test('sent fifty times at once is one order, and everybody is told the same of it', async () => {
    const { productId } = await shop.product()
    const { key, requestHash } = buildProposal()
    // Each copy has its own address, and after a change of the secret even its own order id.
    const copies = Array.from({ length: 50 }, () => proposalFor(productId, 1, { key, requestHash }))
    const answers = await Promise.all(copies.map((copy, at) => (at % 2 === 0 ? shop : other).acceptor.accept(copy)))
    expect(answers.filter(isAccepted)).toHaveLength(1)
    const orders = answers.map((answer) => ('order' in answer ? answer.order : undefined))
    for (const order of orders) expect(order).toStrictEqual(orders[0])
    expect(await countOf('from idempotency where key = $1', [key])).toBe(1)
    expect(await countOf('from reservation where product_id = $1', [productId])).toBe(1)
    // Every address except the one shown is free again.
    const used = copies
      .map((copy) => copy.address)
      .filter((address) => ![...shop.givenBack, ...other.givenBack].includes(address))
    expect(used).toEqual([orders[0]?.address])
    expect(shop.givenBack.length + other.givenBack.length).toBe(49)
  })

  test('cannot be used for another request, by whichever process', async () => {
    const { productId } = await shop.product()
    const first = proposalFor(productId)
    await accept(first)
    for (const { acceptor } of [shop, other]) {
      const second = proposalFor(productId, 2, { key: first.key })
      expect(await acceptor.accept(second)).toEqual({ verdict: 'IDEMPOTENCY_KEY_REUSED' })
    }
    expect(await countOf('from reservation where product_id = $1', [productId])).toBe(1)
  })

  test('used for two requests at once gives one of them an order and refuses the other', async () => {
    const { productId } = await shop.product()
    const key = randomUUID()
    const verdicts = await Promise.all(
      Array.from({ length: 10 }, (_, at) =>
        (at % 2 === 0 ? shop : other).acceptor.accept(proposalFor(productId, 1, { key })),
      ),
    )
    expect(verdicts.map(({ verdict }) => verdict).toSorted()).toEqual([
      ...Array.from({ length: 9 }, () => 'IDEMPOTENCY_KEY_REUSED'),
      'accepted',
    ])
  })

  test('among many never deadlocks with the same ones that another process was sent the other way round', async () => {
    const { productId } = await shop.product({ onHand: 1_000_000n })
    const errors: unknown[] = []
    const [one, two] = [listeningTo(shop.api, errors), listeningTo(other.database, errors)]
    for (let round = 0; round < count(5, 100); round += 1) {
      const orders = Array.from({ length: 60 }, () => proposalFor(productId))
      const copies = orders.map((order) => ({ ...order, address: randomUUID() })).toReversed()
      const answers = await Promise.all([...orders.map((o) => one.accept(o)), ...copies.map((o) => two.accept(o))])
      expect(answers.filter(isAccepted)).toHaveLength(60)
    }
    expect(errors).toEqual([])
  })

  test('of another customer may have the same key', async () => {
    const { productId } = await shop.product()
    const mine = proposalFor(productId, 1, { userId: 1n })
    const theirs = proposalFor(productId, 1, { userId: 2n, key: mine.key, requestHash: mine.requestHash })
    const answers = await Promise.all([accept(mine), accept(theirs)])
    expect(answers.every(isAccepted)).toBe(true)
  })

  test.each([
    [
      'OUT_OF_STOCK',
      (productId: string) =>
        shop.query(
          `with more as (update stock set on_hand = 100 where product_id = $1)
        insert into stock_movement (product_id, kind, on_hand_delta, reserved_delta, actor) values ($1, 'adjust', 90, 0, 'test')`,
          [productId],
        ),
      { quantity: 11, unitPriceMinor: 1_250n },
    ],
    [
      'PRICE_CHANGED',
      (productId: string) => shop.query('update product set unit_price = 12.49 where product_id = $1', [productId]),
      { quantity: 1, unitPriceMinor: 1_249n },
    ],
    [
      'PRODUCT_UNKNOWN',
      (productId: string) => shop.query('update product set is_active = true where product_id = $1', [productId]),
      { quantity: 1, unitPriceMinor: 1_250n },
    ],
  ])('that was refused with %s is refused again although it would now be taken', async (verdict, mend, line) => {
    const { productId } = await shop.product()
    if (verdict === 'PRODUCT_UNKNOWN')
      await shop.query('update product set is_active = false where product_id = $1', [productId])
    const refused = buildProposal({ lines: [buildLine({ productId, ...line })] })
    const answer = await accept(refused)
    expect(answer.verdict).toBe(verdict)
    await mend(productId)
    expect(await other.acceptor.accept({ ...refused, address: 'another', orderId: randomUUID() })).toEqual(answer)
    expect(await countOf('from orders where order_id = $1', [refused.orderId])).toBe(0)
    expect(isAccepted(await accept({ ...refused, key: randomUUID() }))).toBe(true)
  })
})

describe('an order of several products', () => {
  test('gets all of them or none, and is told of every one that is short', async () => {
    const [a, b, c] = [
      await shop.product({ onHand: 5n }),
      await shop.product({ onHand: 1n }),
      await shop.product({ onHand: 0n }),
    ]
    const lines = [c, a, b].map(({ productId }) => buildLine({ productId, quantity: 2 }))
    const shortages = [
      { productId: b.productId, wanted: 2n, available: 1n },
      { productId: c.productId, wanted: 2n, available: 0n },
    ].toSorted((x, y) => (x.productId < y.productId ? -1 : 1))
    expect(await accept(buildProposal({ lines }))).toEqual({ verdict: 'OUT_OF_STOCK', shortages })
    expect(
      await countOf('from reservation where product_id = any ($1)', [[a, b, c].map(({ productId }) => productId)]),
    ).toBe(0)
  })

  test('cannot get around the guard by splitting a product over lines', async () => {
    const { productId } = await shop.product({ onHand: 10n })
    const split = (...quantities: number[]) =>
      buildProposal({ lines: quantities.map((quantity) => buildLine({ productId, quantity })) })
    expect(await accept(split(6, 5))).toEqual({
      verdict: 'OUT_OF_STOCK',
      shortages: [{ productId, wanted: 11n, available: 10n }],
    })
    const answer = await accept(split(6, 4))
    expect(answer).toMatchObject({
      verdict: 'accepted',
      order: { totalMinor: 12_500n, lines: [{ quantity: 6 }, { quantity: 4 }] },
    })
    expect(await countOf(`from reservation where product_id = $1 and quantity = 10`, [productId])).toBe(1)
  })

  test('is told of every price that changed, and of products nobody sells', async () => {
    const [a, b] = [await shop.product({ unitPrice: '1.00' }), await shop.product({ unitPrice: '2.00' })]
    const lines = [a, b].map(({ productId }) => buildLine({ productId, unitPriceMinor: 100n }))
    expect(await accept(buildProposal({ lines }))).toEqual({
      verdict: 'PRICE_CHANGED',
      prices: [{ productId: b.productId, unitPriceMinor: 200n }],
    })
    expect(await accept(buildProposal({ lines: [...lines, buildLine({ productId: 'nobody' })] }))).toEqual({
      verdict: 'PRODUCT_UNKNOWN',
      productIds: ['nobody'],
    })
    // Sold, but not in dollars.
    expect(await accept(buildProposal({ lines, currency: 'USD' }))).toMatchObject({ verdict: 'PRODUCT_UNKNOWN' })
  })

  test('has a total between a cent and what fits its column', async () => {
    const free = await shop.product({ unitPrice: '0.00' })
    const gold = await shop.product({ unitPrice: '999999999999.99' })
    const of = (productId: string, unitPriceMinor: bigint, quantity: number) =>
      accept(buildProposal({ lines: [buildLine({ productId, unitPriceMinor, quantity })] }))
    expect(await of(free.productId, 0n, 1)).toEqual({ verdict: 'AMOUNT_OUT_OF_RANGE' })
    expect(await of(gold.productId, 99_999_999_999_999n, 2)).toEqual({ verdict: 'AMOUNT_OUT_OF_RANGE' })
    expect(await of(gold.productId, 99_999_999_999_999n, 1)).toMatchObject({
      verdict: 'accepted',
      order: { totalMinor: 99_999_999_999_999n },
    })
  })

  test('never deadlocks with one that names the products the other way round', async () => {
    const [a, b] = [await shop.product({ onHand: 1_000_000n }), await shop.product({ onHand: 1_000_000n })]
    const lines = [a, b].map(({ productId }) => buildLine({ productId }))
    const errors: unknown[] = []
    const [one, two] = [listeningTo(shop.api, errors), listeningTo(other.database, errors)]
    const answers = await Promise.all(
      Array.from({ length: count(200, 2_000) }, () => [
        one.accept(buildProposal({ lines })),
        two.accept(buildProposal({ lines: lines.toReversed() })),
      ]).flat(),
    )
    expect(answers.every(isAccepted)).toBe(true)
    // Not even one that was retried.
    expect(errors).toEqual([])
  })
})

test('every line has the price of the catalogue version stamped on it, however often prices change meanwhile', async () => {
  const ORDERS = count(200, 1_000)
  const BUYERS = 10
  const random = randomOf('prices')
  const { productId } = await putProduct(shop.test, { unitPrice: '10.00', onHand: 1_000_000n })
  const published = new Map([['1', 1_000n]])
  let latest = 1_000n
  let isDone = false
  /** Called after each sale: a sale allows one price change, or no buyer might ever succeed. */
  let sold: () => void = () => undefined
  const updater = (async () => {
    while (!isDone) {
      const unitPriceMinor = BigInt(900 + Math.floor(random() * 200))
      const product = {
        productId,
        name: 'Lamp',
        unitPriceMinor,
        currency: 'EUR',
        isActive: true,
        expectedVersion: undefined,
      }
      const { answer } = await publishProduct(shop.api, buildAttempt(), product, Date.now() + 10_000)
      published.set(answer.version, unitPriceMinor)
      latest = unitPriceMinor
      if (!isDone) await new Promise<void>((resolve) => (sold = resolve))
    }
  })()
  const buy = async (): Promise<void> => {
    for (;;) {
      const answer = await accept(
        proposalFor(productId, 1, { lines: [buildLine({ productId, unitPriceMinor: latest })] }),
      )
      if (isAccepted(answer)) return sold()
      expect(answer.verdict).toBe('PRICE_CHANGED')
    }
  }
  const buyers = Array.from({ length: BUYERS }, async () => {
    for (let bought = 0; bought < ORDERS / BUYERS; bought += 1) await buy()
  })
  await Promise.all(buyers)
  isDone = true
  sold()
  await updater
  const lines = await shop.query<{ version: bigint; price: string }>(
    'select product_version as version, (unit_price * 100)::bigint::text as price from order_line where product_id = $1',
    [productId],
  )
  expect(lines).toHaveLength(ORDERS)
  expect(lines.filter(({ version, price }) => published.get(String(version)) !== BigInt(price))).toEqual([])
  expect(new Set(lines.map(({ version }) => version)).size).toBeGreaterThan(1)
})

test.each([
  // Alone, under the lock on its stock, which a price change waits for too.
  { orders: 1, answer: { verdict: 'accepted', order: { lines: [{ unitPriceMinor: 1_250n }], totalMinor: 1_250n } } },
  // Written before anything is locked: all are rolled back, and refused with the new price.
  { orders: 2, answer: { verdict: 'PRICE_CHANGED', prices: [{ unitPriceMinor: 1n }] } },
])(
  'a price that changes while $orders orders are being written is not the price of their lines',
  async ({ orders, answer }) => {
    const { productId } = await shop.product()
    await accept(proposalFor(productId, 1, { userId: 77n }))
    // Stops the next order of this customer between reading the price and writing its lines.
    const blocker = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
    await blocker.connect()
    await blocker.query('begin')
    await blocker.query('select from customer where user_id = 77 for update')
    const accepting = Promise.all(
      Array.from({ length: orders }, () => accept(proposalFor(productId, 1, { userId: 77n }))),
    )
    const waiting = (least: number) =>
      until(async () => {
        const text = `from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
        return (await countOf(text)) >= least
      })
    await waiting(1)
    const cheap = {
      productId,
      name: 'Lamp',
      unitPriceMinor: 1n,
      currency: 'EUR',
      isActive: true,
      expectedVersion: undefined,
    }
    const publishing = publishProduct(shop.api, buildAttempt(), cheap, Date.now() + 10_000)
    await Promise.race([waiting(2), publishing])
    await blocker.query('rollback')
    await blocker.end()
    await publishing
    expect(await accepting).toMatchObject(Array.from({ length: orders }, () => answer))
  },
)
