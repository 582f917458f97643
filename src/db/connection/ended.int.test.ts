import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.ts'
import { until } from '../../../test/support/until.ts'
import { untilEnded } from './ended.ts'
import { openDatabase, statement, type Database } from './pool.ts'

const COUNT = statement('test_count', `select nextval('test_count')`)

let shop: TestDatabase
let api: Database
beforeAll(async () => {
  shop = await createTestDatabase()
  await shop.query('create sequence test_count; grant usage on test_count to app_api')
  api = await openDatabase({ url: shop.urlOf('app_api'), poolSize: 1, applicationName: 'test-api' })
})
afterAll(async () => {
  await api.close()
  await shop.drop()
})

test('a call that ends while it waits for a session sends no statement, and the session serves the next', async () => {
  let letGo: (() => void) | undefined
  const held = api.transaction(() => new Promise<void>((resolve) => (letGo = resolve)))
  await until(async () => letGo !== undefined)
  const ending = new AbortController()
  const ended = untilEnded(ending.signal, () => api.run(COUNT)).catch((error: unknown) => error)
  await until(async () => api.stats().waiting === 1)
  ending.abort()
  letGo?.()
  await held
  expect(await ended).toMatchObject({ reason: 'DEADLINE_EXCEEDED' })
  expect(await api.run(COUNT)).toEqual([{ nextval: 1n }])
})
