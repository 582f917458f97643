// Where the rate of a quote came from, stored with the order.

import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals'
import { buildLine, buildProposal, buildRateOrigin } from '../../../test/support/builder.ts'
import { findViolations } from '../../../test/support/invariant.ts'
import { COUNT_WITHIN_MS } from '../../../test/support/scale.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { systemActor } from '../../domain/audit.ts'
import type { RateOrigin } from '../../domain/rate.ts'
import { createAcceptor, type Acceptor, type ProposedOrder } from './accept.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
/** A second api process. */
let second: Acceptor
let productId: string

beforeAll(async () => {
  shop = await createTestShop()
  second = createAcceptor({ database: shop.api, giveBack: () => undefined })
  productId = (await shop.product({ onHand: 1_000n })).productId
})
afterEach(async () => {
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(() => shop.close())

const proposalFor = (overrides: Partial<ProposedOrder>): ProposedOrder =>
  buildProposal({ lines: [buildLine({ productId })], ...overrides })
async function accept(acceptor: Acceptor, rateOrigin: RateOrigin | undefined, rateMinor = 200_000n): Promise<string> {
  const answer = await acceptor.accept(proposalFor({ rateOrigin, rateMinor }))
  if (!('order' in answer)) throw new Error(answer.verdict)
  return answer.order.orderId
}
const ratesOf = (orderIds: readonly string[]) =>
  shop.query<{
    order_id: string
    rate_id: string | null
    asset: string
    currency: string
    rate: string
    prices: unknown
  }>(
    `select i.order_id, i.rate_id, r.asset, r.currency, r.rate, r.made_at, r.prices
     from invoice i left join quoted_rate r using (rate_id) where i.order_id = any ($1)`,
    [orderIds],
  )

test('an order keeps the prices that made its rate, their sources and when they were read', async () => {
  const origin = buildRateOrigin()
  expect(await ratesOf([await accept(shop.acceptor, origin)])).toMatchObject([
    {
      ...{ rate_id: origin.rateId, asset: 'ETH', currency: 'EUR', rate: '2000.00', made_at: origin.madeAt },
      prices: [
        { source: 'kraken', price: '1999.99', read_at: '2026-01-02T03:04:05.006Z' },
        { source: 'coinbase', price: '2000.018', read_at: '2026-01-02T03:04:06.000Z' },
      ],
    },
  ])
})

test('an order at a fixed rate has no such prices', async () => {
  expect(await ratesOf([await accept(shop.acceptor, undefined)])).toMatchObject([{ rate_id: null }])
})

test('orders at one rate share one row, also of batches that run at once, and at two rates in either order', async () => {
  const [one, other] = [buildRateOrigin(), buildRateOrigin()]
  const before = await shop.query(`select from quoted_rate`)
  const orders = await Promise.all(
    Array.from({ length: 120 }, (_, at) =>
      accept(at % 2 === 0 ? shop.acceptor : second, (at >> 1) % 2 === at % 2 ? one : other),
    ),
  )
  const rates = await ratesOf(orders)
  expect(rates.filter(({ rate_id }) => rate_id === one.rateId)).toHaveLength(60)
  expect(rates.filter(({ rate_id }) => rate_id === other.rateId)).toHaveLength(60)
  expect(await shop.query(`select from quoted_rate`)).toHaveLength(before.length + 2)
})

test('an invoice cannot name a rate that was another one, and no process can rewrite a stored rate', async () => {
  const origin = buildRateOrigin()
  const orderId = await accept(shop.acceptor, origin)
  await expect(accept(shop.acceptor, origin, 300_000n)).rejects.toThrow()
  const rewrite = `update quoted_rate set rate = 1 where rate_id = $1`
  const by = systemActor('test')
  await expect(shop.test.writeAs('app_api', by, rewrite, [origin.rateId])).rejects.toMatchObject({ code: '42501' })
  expect(await ratesOf([orderId])).toMatchObject([{ rate: '2000.00' }])
})

test('a stored rate is in the audit', async () => {
  const origin = buildRateOrigin({ rateId: randomUUID() })
  await accept(shop.acceptor, origin)
  const entries = await shop.query<{ body: string }>(
    `select body from audit_entry where kind = 'quoted_rate' and body like $1`,
    [`%${origin.rateId}%`],
  )
  expect(entries).toHaveLength(1)
})
