// Rows read per order: in a medium-sized shop, where a full scan still looks cheap to Postgres, the statements of an
// order read only that order's rows. Postgres itself reports what it read.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { buildLine } from '../support/builder.ts'
import { loadBulk } from '../support/bulk_load.ts'
import { callConcurrently } from '../support/concurrent.ts'
import { recordPlans, type Plan, type PlanRecorder } from '../support/query_plan.ts'
import { buildObservation, createTestShop, runOf, type TestShop } from '../support/shop.ts'
import { assessPayments, recordReport } from '../../src/db/payment.ts'

const SIZE = { products: 400, orders: 1_000 }
const LINES = 3
/** One statement may find each of an order's rows a few times. */
const MAY_READ = 10 * LINES
/** Small fixed tables: currencies, transitions, channels, duties. */
const SMALL_ROWS = 50

let shop: TestShop
let plans: PlanRecorder
let tables: ReadonlySet<string>
beforeAll(async () => {
  shop = await createTestShop()
  await loadBulk(shop.test.url, SIZE)
  plans = await recordPlans(shop.test, ['app_api', 'app_worker'])
  const rows = await shop.query<{ name: string }>(
    `select relname as name from pg_class where relnamespace = 'holdfast'::regnamespace and reltuples > ${SMALL_ROWS}`,
  )
  tables = new Set(rows.map(({ name }) => name))
})
afterAll(async () => {
  plans.stop()
  await shop.close()
})

const linesFrom = (number: number) =>
  Array.from({ length: LINES }, (_, at) => buildLine({ productId: `sku-${1 + ((number + at * 130) % SIZE.products)}` }))

const farReaching = (found: readonly Plan[], mayRead: number): string[] =>
  found.flatMap(({ query, scans }) =>
    scans
      .filter(({ table, rows }) => tables.has(table) && rows > mayRead)
      .map(({ table, index, rows }) => `${rows} rows of ${table} by ${index ?? 'reading it whole'}: ${query}`),
  )

test.each([1, 8])('accepting %d at once reads the products of their lines and no other', async (orders) => {
  const found = await plans.during(() => callConcurrently(orders, (at) => shop.order({ lines: linesFrom(at) })))
  expect(found.some(({ scans }) => scans.some(({ table }) => table === 'product'))).toBe(true)
  expect(farReaching(found, orders * MAY_READ)).toEqual([])
})

test('paying, shipping and delivering it reads what belongs to it', async () => {
  const accepted = await shop.order({ lines: linesFrom(1) })
  const run = runOf(accepted)
  const found = await plans.during(async () => {
    await recordReport(shop.api, 'w1', [buildObservation(accepted)])
    await assessPayments(shop.worker, run.next())
    await shop.ask('ship', run.next())
    await shop.ask('deliver', run.next())
  })
  expect(await shop.state(accepted)).toMatchObject({ status: 'delivered' })
  expect(farReaching(found, MAY_READ)).toEqual([])
})
