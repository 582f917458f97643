// Non-repudiation: whatever a call changes names who called, with which token, from where and with what request.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { bodyOf, lastOf } from '../../test/support/audit.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import type { AuditBody } from '../domain/audit.ts'
import { CatalogAdminServiceService } from './gen/holdfast/v1/catalog_admin.ts'
import { OrderServiceService } from './gen/holdfast/v1/order.ts'
import { StockAdminServiceService } from './gen/holdfast/v1/stock_admin.ts'

let database: TestDatabase
let front: TestFront
let product: TestProduct

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 10)
  front = await createTestFront(database)
  product = await putProduct(database)
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

const UUID = /^[0-9a-f-]{36}$/
const HASH = /^[0-9a-f]{64}$/

/** The call behind a change: a request and a token that can be found again, and the hash of what was asked. */
function expectCaller({ by, dbRole }: AuditBody, actor: string, role: string, requestHash: string): void {
  expect({ dbRole, by }).toMatchObject({ dbRole: 'app_api', by: { actor, role, requestHash } })
  expect([by.requestId, by.tokenId]).toEqual([expect.stringMatching(UUID), expect.stringMatching(UUID)])
  expect(by.ipHash).toMatch(HASH)
}

test('an order and a change of its address name their caller, token and request', async () => {
  const request = {
    idempotencyKey: randomUUID(),
    userId: 7n,
    lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }],
    asset: 'ETH',
    shippingAddress: 'Canary Wharf 7, 4711 Testville',
  }
  const { orderId } = await front.as(customer(7)).order.createOrder(request)
  const made = await lastOf(database, 'order', orderId)
  const { createOrder, updateShippingAddress } = OrderServiceService
  const asked = await front.requestHashOf(createOrder, createOrder.requestSerialize(request), 7n)
  expectCaller(made, 'user:7', 'customer', asked)

  const change = { idempotencyKey: randomUUID(), orderId, shippingAddress: 'New Street 1', expectedVersion: undefined }
  await front.as(admin).order.updateShippingAddress(change)
  const changed = await lastOf(database, 'order', orderId)
  // Under the key of the order's customer, also when an admin asked.
  const wanted = await front.requestHashOf(updateShippingAddress, updateShippingAddress.requestSerialize(change), 7n)
  expectCaller(changed, 'user:1', 'admin', wanted)
  // From the same place, by another token.
  expect(changed.by.ipHash).toBe(made.by.ipHash)
  expect(changed.by.tokenId).not.toBe(made.by.tokenId)
})

test('a price and a count name the admin, token and request, and the count its reason', async () => {
  const { productId } = await putProduct(database)
  const price = {
    idempotencyKey: randomUUID(),
    productId,
    name: 'Lamp',
    unitPrice: '9.99',
    isActive: true,
    expectedVersion: undefined,
  }
  await front.asAdmin().catalog.putProduct(price)
  const priced = await lastOf(database, 'product', productId)
  const { putProduct: put } = CatalogAdminServiceService
  expectCaller(priced, 'user:1', 'admin', await front.requestHashOf(put, put.requestSerialize(price)))

  const count = {
    idempotencyKey: randomUUID(),
    productId,
    change: { $case: 'delta' as const, value: 3n },
    reason: 'found',
    expectedVersion: undefined,
  }
  await front.asAdmin().stock.adjustStock(count)
  const [row] = await database.query<{ body: string }>(
    `select body from audit_entry where kind = 'stock' order by entry_id desc limit 1`,
  )
  const counted = bodyOf(row)
  const { adjustStock } = StockAdminServiceService
  expectCaller(counted, 'user:1', 'admin', await front.requestHashOf(adjustStock, adjustStock.requestSerialize(count)))
  expect(counted.by.reason).toBe('found')
})
