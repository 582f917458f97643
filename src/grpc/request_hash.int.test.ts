// What the database keeps of a request: a hash that confirms no guess, and still tells a repeat from another request.

import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { lastOf } from '../../test/support/audit.ts'
import { putProduct, type TestProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, failureOf, type TestFront } from '../../test/support/front.ts'
import { findCustomerKey, insertCustomerKey } from '../db/key.ts'
import { createPiiVault, type PiiVault } from '../keyvault/pii.ts'
import { loadRing } from '../keyvault/ring.ts'
import { CatalogAdminServiceService } from './gen/holdfast/v1/catalog_admin.ts'
import { OrderServiceService } from './gen/holdfast/v1/order.ts'

const RING = JSON.stringify({ primary: 1, versions: [{ version: 1, secret: randomBytes(32).toString('base64') }] })
let database: TestDatabase
/** Two api processes, each with its own vault of the same ring. */
let front: TestFront
let other: TestFront
let product: TestProduct
/** Statements for customers' keys. */
let keyStatements = 0

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 40)
  front = await createTestFront(database, { deps: { pii: vaultOf(() => front) } })
  other = await createTestFront(database, { deps: { pii: vaultOf(() => other) } })
  product = await putProduct(database)
})
afterAll(async () => {
  await other.stop()
  await front.stop()
  await database.drop()
})

const vaultOf = (of: () => TestFront): PiiVault =>
  createPiiVault({
    ring: loadRing('test ring', RING, 'development'),
    findCustomerKey: (userId) => (keyStatements++, findCustomerKey(of().database, userId)),
    insertCustomerKey: (userId, key) => (keyStatements++, insertCustomerKey(of().database, userId, key)),
  })

let users = 100
const buildOrder = () => ({
  idempotencyKey: randomUUID(),
  userId: BigInt(++users),
  lines: [{ productId: product.productId, quantity: 1, expectedUnitPrice: product.unitPrice }],
  asset: 'ETH',
  shippingAddress: 'Canary Wharf 7, 4711 Testville',
})
type Request = ReturnType<typeof buildOrder>
const create = (by: TestFront, request: Request) => by.as(customer(Number(request.userId))).order.createOrder(request)
const plainHashOf = (request: Request): string =>
  createHash('sha256').update(OrderServiceService.createOrder.requestSerialize(request)).digest('hex')
const storedHashOf = async (key: string): Promise<string> => {
  const [row] = await database.query<{ hash: string }>(
    `select encode(request_hash, 'hex') as hash from idempotency where key = $1`,
    [key],
  )
  return row?.hash ?? ''
}
const setStoredHash = (key: string, hash: string): Promise<unknown> =>
  database.forge('update idempotency set request_hash = decode($2, $$hex$$) where key = $1', [key, hash])
/** Destroys a customer's key, as an erasure does. A new process has none in memory. */
const erase = (userId: bigint): Promise<unknown> =>
  database.forge('delete from customer_key where user_id = $1', [userId.toString()])

describe('the hash of a request with a delivery address', () => {
  test('confirms no guess of the address: neither the audit nor the answers have a hash that can be made without the key', async () => {
    const request = buildOrder()
    const { orderId } = await create(front, request)
    const change = {
      idempotencyKey: randomUUID(),
      orderId,
      shippingAddress: 'New Street 1',
      expectedVersion: undefined,
    }
    const { by: made } = await lastOf(database, 'order', orderId)
    await front.as(admin).order.updateShippingAddress(change)
    const { by: changed } = await lastOf(database, 'order', orderId)
    const { createOrder, updateShippingAddress } = OrderServiceService
    for (const [hash, { path }, bytes, key] of [
      [made.requestHash, createOrder, createOrder.requestSerialize(request), request.idempotencyKey],
      [
        changed.requestHash,
        updateShippingAddress,
        updateShippingAddress.requestSerialize(change),
        change.idempotencyKey,
      ],
    ] as const) {
      expect(await storedHashOf(key)).toBe(hash)
      // All that someone with the address but not the customer's key can make.
      expect(hash).not.toBe(createHash('sha256').update(bytes).digest('hex'))
      expect(hash).not.toBe(createHmac('sha256', '').update(bytes).digest('hex'))
      expect(hash).not.toBe(await front.requestHashOf({ path }, bytes))
      // The right bytes under the right customer's key, and no other customer's.
      expect(hash).toBe(await other.requestHashOf({ path }, bytes, request.userId))
      await create(front, buildOrder())
      expect(hash).not.toBe(await other.requestHashOf({ path }, bytes, BigInt(users)))
    }
  })

  test('is the same in another process: a repeat there gets the first answer, and another request is refused', async () => {
    const request = buildOrder()
    const first = await create(front, request)
    expect(await create(other, request)).toEqual(first)
    const error = await failureOf(create(other, { ...request, shippingAddress: 'Elsewhere 1' }))
    expect(error.reason).toBe('IDEMPOTENCY_KEY_REUSED')
  })

  test('is not found again after the customer’s key is destroyed: a repeat is refused as another request', async () => {
    const request = buildOrder()
    await create(front, request)
    const before = await storedHashOf(request.idempotencyKey)
    await erase(request.userId)
    expect((await failureOf(create(other, request))).reason).toBe('IDEMPOTENCY_KEY_REUSED')
    const bytes = OrderServiceService.createOrder.requestSerialize(request)
    expect(await other.requestHashOf(OrderServiceService.createOrder, bytes, request.userId)).not.toBe(before)
  })

  test('costs no statement: the key is read once for the address and its hash', async () => {
    const request = buildOrder()
    keyStatements = 0
    await create(front, request)
    // One that looks for the key, one that stores it.
    expect(keyStatements).toBe(2)
    await create(front, { ...request, idempotencyKey: randomUUID() })
    expect(keyStatements).toBe(2)
  })

  test('finds the earlier answer also while no order can be accepted', async () => {
    const request = buildOrder()
    const first = await create(front, request)
    front.setRate(undefined)
    try {
      expect(await create(front, request)).toEqual(first)
      const error = await failureOf(create(front, { ...request, shippingAddress: 'Elsewhere 1' }))
      expect(error.reason).toBe('IDEMPOTENCY_KEY_REUSED')
      const stranger = buildOrder()
      expect((await failureOf(create(front, stranger))).reason).toBe('RATE_UNAVAILABLE')
      // A refusal makes no customer.
      expect(await database.query('select from customer where user_id = $1', [stranger.userId.toString()])).toEqual([])
      await setStoredHash(request.idempotencyKey, plainHashOf(request))
      expect(await create(front, request)).toEqual(first)
    } finally {
      front.setRate(200_000n)
    }
  })
})

describe('an answer that an earlier build stored with a plain hash', () => {
  test('is still returned to its repeat, and to no other request', async () => {
    const request = buildOrder()
    const first = await create(front, request)
    await setStoredHash(request.idempotencyKey, plainHashOf(request))
    expect(await create(front, request)).toEqual(first)
    const error = await failureOf(create(front, { ...request, shippingAddress: 'Elsewhere 1' }))
    expect(error.reason).toBe('IDEMPOTENCY_KEY_REUSED')

    const { orderId } = first
    const change = {
      idempotencyKey: randomUUID(),
      orderId,
      shippingAddress: 'New Street 1',
      expectedVersion: undefined,
    }
    const changed = await front.as(admin).order.updateShippingAddress(change)
    const bytes = OrderServiceService.updateShippingAddress.requestSerialize(change)
    await setStoredHash(change.idempotencyKey, createHash('sha256').update(bytes).digest('hex'))
    expect(await front.as(admin).order.updateShippingAddress(change)).toEqual(changed)
    const another = front.as(admin).order.updateShippingAddress({ ...change, shippingAddress: 'Elsewhere 1' })
    expect((await failureOf(another)).reason).toBe('IDEMPOTENCY_KEY_REUSED')
  })

  test('of a command or of an admin is found too', async () => {
    const { orderId } = await create(front, buildOrder())
    const cancel = { idempotencyKey: randomUUID(), orderId, expectedVersion: undefined }
    const bytes = OrderServiceService.cancelOrder.requestSerialize(cancel)
    await database.forge(
      `insert into idempotency (actor, method, key, request_hash, order_id, response)
       values ('user:1', 'CancelOrder', $1, $2, $3, '{"status": "cancelled", "version": 2}')`,
      [cancel.idempotencyKey, createHash('sha256').update(bytes).digest(), orderId],
    )
    expect(await front.as(admin).order.cancelOrder(cancel)).toMatchObject({ version: 2n })
    const another = front.as(admin).order.cancelOrder({ ...cancel, expectedVersion: 1n })
    expect((await failureOf(another)).reason).toBe('IDEMPOTENCY_KEY_REUSED')

    const put = {
      idempotencyKey: randomUUID(),
      productId: randomUUID(),
      name: 'Lamp',
      unitPrice: '9.99',
      isActive: true,
    }
    const first = await front.asAdmin().catalog.putProduct(put)

    const asked = CatalogAdminServiceService.putProduct.requestSerialize({ ...put, expectedVersion: undefined })
    await setStoredHash(put.idempotencyKey, createHash('sha256').update(asked).digest('hex'))
    expect(await front.asAdmin().catalog.putProduct(put)).toEqual(first)
    const changed = front.asAdmin().catalog.putProduct({ ...put, unitPrice: '1.00' })
    expect((await failureOf(changed)).reason).toBe('IDEMPOTENCY_KEY_REUSED')
  })
})
