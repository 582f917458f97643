// The movements of stock held against its audit entries: what a superuser does to the ledger is found, and nothing that
// a shop does while it is being looked at.

import { afterEach, beforeEach, expect, it } from '@jest/globals'
import pg from 'pg'
import { buildLine } from '../../test/support/builder.ts'
import { count, COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { createTestSealer, type TestSealer } from '../../test/support/sealing.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'

let shop: TestShop
let sealing: TestSealer
beforeEach(async () => {
  shop = await createTestShop()
  sealing = await createTestSealer(shop.test)
})
afterEach(async () => {
  await sealing.close()
  await shop.close()
})

/** One unit more, as a person counts it. */
const COUNT_ONE = `
  with counted as (
    insert into stock_movement (product_id, kind, on_hand_delta, reserved_delta, actor) values ($1, 'adjust', 1, 0, 'test')
  )
  update stock set on_hand = on_hand + 1, version = version + 1 where product_id = $1`

/** A product that was ordered, shipped and counted. */
async function movedProduct(): Promise<string> {
  const { order } = await shop.orderIn('shipped')
  const productId = order.lines[0]?.productId ?? ''
  await shop.query(COUNT_ONE, [productId])
  return productId
}

const found = async (overrides: Parameters<TestSealer['verify']>[0] = {}) =>
  (await sealing.verify(overrides)).findings.map(({ check, aggregateId }) => `${check} ${aggregateId}`)

it(
  'agrees with the entries of a shop, at any moment of its work',
  async () => {
    const hot = await shop.product({ onHand: 100_000n })
    let isOpen = true
    const customer = async (): Promise<void> => {
      while (isOpen) {
        await shop.order({ lines: [buildLine({ productId: hot.productId, quantity: 2 })] })
        await shop.orderIn('shipped')
        await shop.query(COUNT_ONE, [hot.productId])
      }
    }
    const customers = Promise.all([customer(), customer(), customer()])
    const verdicts = []
    try {
      for (let at = 0; at < count(10, 200); at += 1) verdicts.push(await sealing.verify())
    } finally {
      isOpen = false
      await customers
    }
    expect(verdicts.flatMap(({ findings }) => findings)).toEqual([])
    const [{ products } = { products: 0n }] = await shop.query<{ products: bigint }>(
      'select count(*) as products from stock',
    )
    expect(await sealing.verify()).toMatchObject({ findings: [], products: Number(products) })
  },
  COUNT_WITHIN_MS,
)

it('waits for a movement that is being written when it begins', async () => {
  const [late, other] = [await shop.product(), await shop.product()]
  const session = new pg.Client({ connectionString: shop.test.url, options: '-c search_path=holdfast,pg_catalog' })
  await session.connect()
  try {
    await session.query('begin')
    await session.query(COUNT_ONE, [late.productId])
    // A later number, so that the first one is among those that are added up.
    await shop.query(COUNT_ONE, [other.productId])
    const findings = found()
    await until(async () => {
      const [asked] = await shop.query(
        `select from pg_stat_activity where datname = current_database() and usename = 'auditor' and query like '%pg_snapshot_xip%'`,
      )
      return asked !== undefined
    })
    await session.query('commit')
    expect(await findings).toEqual([])
  } finally {
    await session.end()
  }
})

it('finds what is missing, changed or added in the ledger, with its product', async () => {
  const ACTS = [
    'delete from stock_movement where movement_id = (select max(movement_id) from stock_movement where product_id = $1)',
    'delete from stock_movement where product_id = $1',
    `update stock_movement set on_hand_delta = on_hand_delta + 1 where product_id = $1 and kind = 'consume'`,
    `update stock_movement set reserved_delta = 1 where product_id = $1 and kind = 'reserve'`,
    `insert into stock_movement (product_id, kind, on_hand_delta, reserved_delta, actor) values ($1, 'adjust', 1, 0, 'test')`,
    // With counters to match: stock and ledger agree, and seem to be of before.
    `with gone as (delete from stock_movement where product_id = $1)
     update stock set on_hand = 0, reserved = 0, version = 1 where product_id = $1`,
  ]
  const expected: string[] = []
  for (const act of ACTS) {
    const productId = await movedProduct()
    await shop.test.forge(act, [productId])
    expected.push(`stock_ledger ${productId}`)
  }
  expect((await found()).toSorted()).toEqual(expected.toSorted())
})

it('begins with the first entry that a purge has left', async () => {
  const YEARS_MS = 8 * 366 * 86_400_000
  const productId = await movedProduct()
  await sealing.seal()
  const later = () => found({ now: () => Date.now() + YEARS_MS })
  const ledger = (sign: '+' | '-') =>
    shop.test.forge(
      `update stock_movement set on_hand_delta = on_hand_delta ${sign} 1 where product_id = $1 and kind = 'consume'`,
      [productId],
    )
  const answers = []
  // The count of its first units, the hold, the shipping; then the count of one more is all that is left.
  for (let purged = 0; purged < 3; purged += 1) {
    await shop.test.forge(
      `delete from audit_entry where entry_id = (select min(entry_id) from audit_entry where kind = 'stock' and body like '%' || $1 || '%')`,
      [productId],
    )
    answers.push(await later())
    await ledger('+')
    answers.push(await later())
    await ledger('-')
  }
  const finding = [`stock_ledger ${productId}`]
  expect(answers).toEqual([[], finding, [], finding, [], finding])
})
