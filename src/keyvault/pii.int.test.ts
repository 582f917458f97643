// The customer's data key on a real Postgres, as the api's role.

import { afterAll, beforeAll, expect, it } from '@jest/globals'
import { randomUUID } from 'node:crypto'
import { createTestDatabase, openTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { findCustomerKey, insertCustomerKey } from '../db/key.ts'
import type { Database } from '../db/connection/pool.ts'
import { createPiiVault } from './pii.ts'
import { loadRing } from './ring.ts'

const RING = loadRing(
  'pii ring',
  JSON.stringify({ primary: 1, versions: [{ version: 1, secret: Buffer.alloc(32, 1).toString('base64') }] }),
  'development',
)
/** As many as have a session each: waiting for one is not what is raced for. */
const RACERS = 12
const POOL_SIZE = 20
let database: TestDatabase
let api: Database

beforeAll(async () => {
  database = await createTestDatabase()
  api = await openTestDatabase({ url: database.urlOf('app_api'), poolSize: POOL_SIZE, applicationName: 'test-api' })
})
afterAll(async () => {
  await api.close()
  await database.drop()
})

const vaultOf = () =>
  createPiiVault({
    ring: RING,
    findCustomerKey: (userId) => findCustomerKey(api, userId),
    insertCustomerKey: (userId, key) => insertCustomerKey(api, userId, key),
  })

it("makes one key for a customer whose first orders race through several processes' vaults", async () => {
  const orders = Array.from({ length: RACERS }, () => ({ orderId: randomUUID(), vault: vaultOf() }))
  const sealed = await Promise.all(orders.map(({ orderId, vault }) => vault.seal(7n, orderId, `address ${orderId}`)))
  const rows = await database.query(
    'select user_id, ring_version, octet_length(wrapped_key) as length from customer_key',
  )
  expect(rows).toEqual([{ user_id: 7n, ring_version: 1, length: 93 }])
  const reader = vaultOf()
  for (const [index, { orderId }] of orders.entries()) {
    await expect(reader.open(7n, orderId, sealed[index] ?? Buffer.of())).resolves.toBe(`address ${orderId}`)
  }
})

it('finds no key for somebody who never ordered', async () => {
  await expect(findCustomerKey(api, 8n)).resolves.toBeUndefined()
})
