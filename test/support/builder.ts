// Test data builders: complete and valid by default, so that a test names only the values it is about.

import { randomBytes, randomUUID } from 'node:crypto'
import { createAcceptor, type AcceptedOrder, type ProposedOrder } from '../../src/db/accept/accept.ts'
import type { Attempt } from '../../src/db/idempotency.ts'
import type { RateOrigin, SourcePrice } from '../../src/domain/rate.ts'
import type { Line } from '../../src/domain/stock.ts'
import type { TestDatabase } from './database.ts'

const HOUR_MS = 3_600_000

/** A product of the catalogue with its stock. The price is a decimal string. */
export type TestProduct = { productId: string; name: string; unitPrice: string; currency: string; onHand: bigint }

export const buildProduct = (overrides: Partial<TestProduct> = {}): TestProduct => ({
  productId: `sku-${randomBytes(4).toString('hex')}`,
  name: 'Lamp',
  unitPrice: '12.50',
  currency: 'EUR',
  onHand: 100n,
  ...overrides,
})

/** Stores a product and its stock, with the stock movement. */
export async function putProduct(
  database: Pick<TestDatabase, 'query'>,
  overrides: Partial<TestProduct> = {},
): Promise<TestProduct> {
  const product = buildProduct(overrides)
  const { productId, name, unitPrice, currency, onHand } = product
  await database.query(
    `with added as (
       insert into product (product_id, name, unit_price, currency) values ($1, $2, $3, $4)
     ), counted as (
       insert into stock (product_id, on_hand) values ($1, $5)
     )
     insert into stock_movement (product_id, kind, on_hand_delta, reserved_delta, actor)
     select $1, 'adjust', $5, 0, 'test' where $5 <> 0`,
    [productId, name, unitPrice, currency, onHand],
  )
  return product
}

/** One unit at the price that buildProduct sets. */
export const buildLine = (overrides: Partial<Line> = {}): Line => ({
  productId: 'sku-1',
  quantity: 1,
  unitPriceMinor: 1_250n,
  ...overrides,
})

/** Prices of two sources, of which a rate was made. */
export const buildRateOrigin = (overrides: Partial<RateOrigin> = {}): RateOrigin => ({
  rateId: randomUUID(),
  madeAt: new Date('2026-01-02T03:04:05.006Z'),
  prices: [
    buildPrice({ source: 'kraken', text: '1999.99' }),
    buildPrice({ source: 'coinbase', text: '2000.018', readAt: new Date('2026-01-02T03:04:06Z') }),
  ],
  ...overrides,
})

const buildPrice = (overrides: Partial<SourcePrice>): SourcePrice => ({
  ...{ source: 'kraken', text: '2000', price: 0n, readAtMs: 0, readAt: new Date('2026-01-02T03:04:05.006Z') },
  ...overrides,
})

/** An order as the api proposes it to the database: paid in ETH at 2,000.00 per coin within an hour. */
export const buildProposal = (overrides: Partial<ProposedOrder> = {}): ProposedOrder => ({
  by: { actor: `user:${overrides.userId ?? 7n}`, role: 'customer' },
  orderId: randomUUID(),
  userId: 7n,
  key: randomUUID(),
  requestHash: randomBytes(32),
  currency: 'EUR',
  lines: [buildLine()],
  addressSealed: randomBytes(64),
  asset: 'ETH',
  network: 'ethereum',
  address: `0x${randomBytes(20).toString('hex')}`,
  rateMinor: 200_000n,
  windowMs: HOUR_MS,
  graceMs: 60_000,
  confirmWithinMs: HOUR_MS,
  deadline: Number.POSITIVE_INFINITY,
  ...overrides,
})

/** An admin's attempt, with a new idempotency key. */
export const buildAttempt = (overrides: Partial<Attempt> = {}): Attempt => ({
  actor: 'user:1',
  method: 'Test',
  key: randomUUID(),
  requestHash: randomBytes(32),
  by: { actor: overrides.actor ?? 'user:1', role: 'admin' },
  ...overrides,
})

/** Stores an order through the production acceptor. @throws when it is refused */
export async function putOrder(
  database: Pick<TestDatabase, 'query'>,
  overrides: Partial<ProposedOrder> = {},
): Promise<AcceptedOrder> {
  const acceptor = createAcceptor({
    database: { run: ({ text }, values) => database.query(text, values) as never },
    giveBack: () => undefined,
  })
  const answer = await acceptor.accept(buildProposal(overrides))
  if (!('order' in answer)) throw new Error(`the order was refused: ${answer.verdict}`)
  return answer.order
}
