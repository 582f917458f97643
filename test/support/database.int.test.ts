import { afterAll, beforeAll, expect, test } from '@jest/globals'
import pg from 'pg'
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
