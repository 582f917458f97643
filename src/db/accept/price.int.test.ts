// The price rule: an order gets the catalogue price at its commit, whatever the size of its batch.

import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { buildLine, buildProposal } from '../../../test/support/builder.ts'
import { findViolations } from '../../../test/support/invariant.ts'
import { count, COUNT_WITHIN_MS } from '../../../test/support/scale.ts'
import { createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { until } from '../../../test/support/until.ts'
import { createAcceptor, type Acceptor, type AcceptVerdict, type ProposedOrder } from './accept.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
let second: Acceptor

beforeAll(async () => {
  shop = await createTestShop()
  second = createAcceptor({ database: shop.api, giveBack: () => undefined })
})
afterEach(async () => {
  expect(await findViolations(shop.test)).toEqual([])
})
afterAll(() => shop.close())

const proposalFor = (productId: string): ProposedOrder => buildProposal({ lines: [buildLine({ productId })] })
const accept = (order: ProposedOrder): Promise<AcceptVerdict> => shop.acceptor.accept(order)

describe('a catalogue that changes between the writing of lines and the lock on their stock', () => {
  /** A session that holds the lock on the stock row, which a price change takes first. */
  async function publisher(productId: string) {
    const client = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast' })
    await client.connect()
    await client.query('begin')
    await client.query('select from stock where product_id = $1 for no key update', [productId])
    return {
      publish: async (change: string) => {
        await client.query(`select set_config('holdfast.actor', '{"actor":"user:1","role":"admin"}', true)`)
        await client.query(`update product set ${change} where product_id = $1`, [productId])
        await client.query('commit')
        await client.end()
      },
    }
  }
  const waitingForStock = () =>
    until(async () => {
      const text = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`
      return (await shop.query(text)).length === 1
    })

  test.each(
    [1, 2, 40].flatMap((orders) => [{ orders, isMixed: false }, ...(orders > 1 ? [{ orders, isMixed: true }] : [])]),
  )('is the catalogue of all $orders orders (others beside them: $isMixed)', async ({ orders, isMixed }) => {
    const [{ productId }, apart] = [await shop.product({ onHand: 1_000n }), await shop.product({ onHand: 1_000n })]
    const wanted = Array.from({ length: orders }, (_, at) =>
      proposalFor(isMixed && at % 2 === 1 ? apart.productId : productId),
    )
    const session = await publisher(productId)
    const answers = Promise.all(wanted.map(accept))
    await waitingForStock()
    await session.publish('unit_price = 99.00')
    for (const [at, answer] of (await answers).entries())
      expect(answer).toMatchObject(
        isMixed && at % 2 === 1
          ? { verdict: 'accepted' }
          : { verdict: 'PRICE_CHANGED', prices: [{ productId, unitPriceMinor: 9_900n }] },
      )
  })

  test.each([1, 2, 40])('sells none of %i orders what is no longer on sale', async (orders) => {
    const { productId } = await shop.product({ onHand: 1_000n })
    const session = await publisher(productId)
    const answers = Promise.all(Array.from({ length: orders }, () => accept(proposalFor(productId))))
    await waitingForStock()
    await session.publish('is_active = false')
    for (const answer of await answers) expect(answer).toEqual({ verdict: 'PRODUCT_UNKNOWN', productIds: [productId] })
  })

  test('leaves no order committed after a change with what stood before it, however they race', async () => {
    const CHANGES = count(30, 300)
    const { productId } = await shop.product({ unitPrice: '10.00', onHand: 1_000_000n })
    const sold = async (): Promise<Set<string>> =>
      new Set(
        (
          await shop.query<{ id: string }>('select order_id as id from order_line where product_id = $1', [productId])
        ).map(({ id }) => id),
      )
    let [priceMinor, isDone] = [1_000n, false]
    /** Before each change, under the lock that every order takes before it commits: later orders are invisible. */
    const before: { orders: Set<string>; version: bigint }[] = []
    const buyers = Array.from({ length: 12 }, async (_, at) => {
      while (!isDone) {
        const line = buildLine({ productId, unitPriceMinor: priceMinor })
        await (at % 3 === 0 ? second : shop.acceptor).accept(buildProposal({ lines: [line] }))
      }
    })
    for (let change = 1; change <= CHANGES; change += 1) {
      const orders = (await sold()).size
      await until(async () => (await sold()).size > orders)
      const session = await publisher(productId)
      before.push({ orders: await sold(), version: BigInt(change) })
      priceMinor += 1n
      await session.publish(`unit_price = ${Number(priceMinor) / 100}`)
    }
    isDone = true
    await Promise.all(buyers)
    const lines = await shop.query<{ id: string; version: bigint }>(
      'select order_id as id, product_version as version from order_line where product_id = $1',
      [productId],
    )
    const stale = lines.filter(({ id, version }) =>
      before.some((then) => !then.orders.has(id) && version <= then.version),
    )
    expect(stale).toEqual([])
  })
})
