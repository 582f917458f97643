import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
import { buildLine, putOrder, putProduct } from './builder.ts'
import { createTestDatabase, type TestDatabase } from './database.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(async () => {
  await database.drop()
})

test('a test database is migrated and open to each process under its own role', async () => {
  const client = new pg.Client({ connectionString: database.urlOf('app_api') })
  await client.connect()
  const { rows } = await client.query('select current_user as role, count(*)::int as currencies from currency')
  await client.end()
  expect(rows).toEqual([{ role: 'app_api', currencies: 6 }])
})

test('an order of the builder is accepted and holds its stock', async () => {
  const { productId } = await putProduct(database, { onHand: 3n })
  const order = await putOrder(database, { lines: [buildLine({ productId, quantity: 2 })] })
  expect(order.totalMinor).toBe(2_500n)
  const stock = await database.query('select on_hand, reserved from stock where product_id = $1', [productId])
  expect(stock).toEqual([{ on_hand: 3n, reserved: 2n }])
})
