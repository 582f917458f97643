import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putOrder, putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, watcher, type TestFront, failureOf } from '../../test/support/front.ts'
import { count } from '../../test/support/scale.ts'
import { CALL_WITHIN_MS } from '../../test/support/until.ts'
import type { DomainError } from '../domain/failure.ts'
import { createAdminClient } from './client.ts'

let database: TestDatabase
let front: TestFront
let shop: ReturnType<TestFront['asAdmin']>

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, count(100, 700))
  front = await createTestFront(database)
  shop = front.asAdmin()
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

const buildPut = (overrides: object = {}) => ({
  idempotencyKey: randomUUID(),
  productId: `tea-${randomUUID().slice(0, 8)}`,
  name: 'Tea',
  unitPrice: '3.5',
  isActive: true,
  ...overrides,
})
const adjust = (productId: string, change: { $case: 'delta' | 'onHand'; value: bigint }, overrides: object = {}) =>
  shop.stock.adjustStock({ idempotencyKey: randomUUID(), productId, change, reason: 'recount', ...overrides })

describe('PutProduct', () => {
  test('creates a product with an empty stock, which everybody can see', async () => {
    const request = buildPut()
    const { product } = await shop.catalog.putProduct(request)
    expect(product).toMatchObject({
      productId: request.productId,
      unitPrice: '3.50',
      currency: 'EUR',
      isActive: true,
      version: 1n,
    })
    const seen = await front.as(customer(1)).catalog.getProduct({ productId: request.productId })
    expect(seen.product).toEqual(product)
    const { stock } = await front.as(customer(1)).stock.getAvailability({ productIds: [request.productId] })
    expect(stock).toEqual([{ productId: request.productId, onHand: 0n, reserved: 0n, available: 0n, version: 1n }])
  })

  test('repeated with its key changes nothing and answers the same, however often and at once', async () => {
    const request = buildPut()
    const answers = await Promise.all(Array.from({ length: 20 }, () => shop.catalog.putProduct(request)))
    await shop.catalog.putProduct(buildPut({ productId: request.productId, name: 'Green tea' }))
    answers.push(await shop.catalog.putProduct(request))
    expect(
      new Set(answers.map(({ product }) => `${product?.name} ${product?.version} ${product?.updatedAt?.toISOString()}`))
        .size,
    ).toBe(1)
    const error = await failureOf(shop.catalog.putProduct({ ...request, unitPrice: '4' }))
    expect(error.reason).toBe('IDEMPOTENCY_KEY_REUSED')
  })

  test('of many at once for a new product creates one', async () => {
    const productId = `race-${randomUUID().slice(0, 8)}`
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, () => shop.catalog.putProduct(buildPut({ productId, expectedVersion: 0n }))),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  test('compares the version it is told', async () => {
    const request = buildPut()
    await shop.catalog.putProduct(request)
    const again = (expectedVersion: bigint) =>
      shop.catalog.putProduct(buildPut({ productId: request.productId, expectedVersion }))
    expect(await failureOf(again(0n))).toMatchObject({ reason: 'VERSION_MISMATCH', metadata: { version: '1' } })
    expect((await again(1n)).product?.version).toBe(2n)
    const [row] = await database.query<{ rows: bigint }>('select count(*) as rows from product where product_id = $1', [
      request.productId,
    ])
    expect(row?.rows).toBe(1n)
  })

  test('withdraws a product from the list, and from sale, but not from sight', async () => {
    const request = buildPut()
    await shop.catalog.putProduct(request)
    await shop.catalog.putProduct(buildPut({ productId: request.productId, isActive: false }))
    const listed: string[] = []
    for (let cursor = ''; ;) {
      const page = await front.as(customer(1)).catalog.listProducts({ limit: 2, cursor })
      listed.push(...page.products.map(({ productId }) => productId))
      if ((cursor = page.nextCursor) === '') break
    }
    expect(listed).not.toContain(request.productId)
    expect(listed).toEqual([...new Set(listed)].toSorted())
    expect((await front.as(customer(1)).catalog.getProduct({ productId: request.productId })).product?.isActive).toBe(
      false,
    )
  })

  test('and accepting orders agree on every price, whoever comes first', async () => {
    const productId = `price-${randomUUID().slice(0, 8)}`
    await shop.catalog.putProduct(buildPut({ productId, unitPrice: '1.00' }))
    await adjust(productId, { $case: 'delta', value: 1_000n })
    const changes = (async () => {
      for (let at = 0; at < count(20, 200); at += 1)
        await shop.catalog.putProduct(buildPut({ productId, unitPrice: at % 2 ? '1.00' : '2.00' }))
    })()
    const orders = Array.from({ length: count(60, 600) }, (_, at) =>
      front.as(customer(900 + (at % 5))).order.createOrder({
        idempotencyKey: randomUUID(),
        userId: BigInt(900 + (at % 5)),
        lines: [{ productId, quantity: 1, expectedUnitPrice: at % 2 ? '1.00' : '2.00' }],
        asset: 'ETH',
        shippingAddress: 'Quay 1',
      }),
    )
    const failures = (await Promise.allSettled(orders)).flatMap((result) =>
      result.status === 'rejected' ? [result.reason as DomainError] : [],
    )
    await changes
    expect(new Set(failures.map(({ reason }) => reason))).toEqual(new Set(failures.length > 0 ? ['PRICE_CHANGED'] : []))
    const [row] = await database.query<{ wrong: bigint }>(
      `select count(*) as wrong from order_line
       where product_id = $1 and unit_price <> case when product_version % 2 = 1 then 1.00 else 2.00 end`,
      [productId],
    )
    expect(row?.wrong).toBe(0n)
  })
})

describe('AdjustStock', () => {
  test('adds, counts anew and writes each movement to the ledger', async () => {
    const { productId } = await putProduct(database, { onHand: 5n })
    expect((await adjust(productId, { $case: 'delta', value: 7n })).stock).toMatchObject({
      onHand: 12n,
      available: 12n,
      version: 2n,
    })
    expect((await adjust(productId, { $case: 'onHand', value: 10n }, { expectedVersion: 2n })).stock?.onHand).toBe(10n)
    const movements = await database.query(
      'select on_hand_delta, actor, reason from stock_movement where product_id = $1 order by movement_id',
      [productId],
    )
    expect(movements.slice(1)).toEqual([
      { on_hand_delta: 7n, actor: 'user:1', reason: 'recount' },
      { on_hand_delta: -2n, actor: 'user:1', reason: 'recount' },
    ])
  })

  test('happens once per key', async () => {
    const { productId } = await putProduct(database, { onHand: 0n })
    const idempotencyKey = randomUUID()
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => adjust(productId, { $case: 'delta', value: 3n }, { idempotencyKey })),
    )
    expect(new Set(answers.map(({ stock }) => `${stock?.onHand} ${stock?.version}`))).toEqual(new Set(['3 2']))
    const error = await failureOf(adjust(productId, { $case: 'delta', value: 4n }, { idempotencyKey }))
    expect(error.reason).toBe('IDEMPOTENCY_KEY_REUSED')
  })

  test('never goes below nothing, and blames no orders where there are none', async () => {
    const { productId } = await putProduct(database, { onHand: 3n })
    expect(await failureOf(adjust(productId, { $case: 'delta', value: -4n }))).toMatchObject({
      reason: 'STOCK_BELOW_RESERVED',
      message: 'Fewer units would remain than orders have reserved, or less than none.',
      metadata: { product_id: productId, reserved: '0' },
    })
  })

  test('never goes below what orders hold', async () => {
    const product = await putProduct(database, { onHand: 3n })
    await putOrder(database, { lines: [{ productId: product.productId, quantity: 2, unitPriceMinor: 1_250n }] })
    expect(await failureOf(adjust(product.productId, { $case: 'delta', value: -2n }))).toMatchObject({
      reason: 'STOCK_BELOW_RESERVED',
      metadata: { product_id: product.productId, reserved: '2' },
    })
    expect((await adjust(product.productId, { $case: 'delta', value: -1n })).stock).toMatchObject({
      onHand: 2n,
      reserved: 2n,
      available: 0n,
    })
  })

  test('loses no update among many at once', async () => {
    const { productId } = await putProduct(database, { onHand: 0n })
    await Promise.all(Array.from({ length: 40 }, () => adjust(productId, { $case: 'delta', value: 2n })))
    const results = await Promise.allSettled(
      Array.from({ length: 10 }, () => adjust(productId, { $case: 'onHand', value: 7n }, { expectedVersion: 41n })),
    )
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect((await adjust(productId, { $case: 'delta', value: 1n })).stock).toMatchObject({ onHand: 8n, version: 43n })
  })

  test('of an unknown product is NOT_FOUND, and out of range is refused', async () => {
    expect((await failureOf(adjust('no-such', { $case: 'delta', value: 1n }))).reason).toBe('NOT_FOUND')
    const { productId } = await putProduct(database, { onHand: 999_999_999_999n })
    expect((await failureOf(adjust(productId, { $case: 'delta', value: 2n }))).reason).toBe('AMOUNT_OUT_OF_RANGE')
  })
})

describe('who reaches it', () => {
  test('admin services do not exist on the public port', async () => {
    const lost = createAdminClient({
      deadlineMs: CALL_WITHIN_MS,
      address: front.address,
      token: () => front.tokenOf({ role: 'admin', subject: '1' }),
    })
    const error = await lost.catalog.putProduct(buildPut()).catch((failure: unknown) => failure)
    lost.close()
    expect(error).toMatchObject({ reason: 'METHOD_UNKNOWN' })
  })

  test('a customer’s token does not help on the admin port, nor a watcher’s with the catalogue', async () => {
    const intruder = createAdminClient({
      deadlineMs: CALL_WITHIN_MS,
      address: front.adminAddress,
      token: () => front.tokenOf(customer(1)),
    })
    const error = await failureOf(intruder.catalog.putProduct(buildPut()))
    intruder.close()
    expect(error.reason).toBe('PERMISSION_DENIED')
    expect((await failureOf(front.as(watcher).catalog.listProducts({}))).reason).toBe('PERMISSION_DENIED')
  })
})
