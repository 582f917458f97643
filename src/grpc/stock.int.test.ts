import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import { count, COUNT_WITHIN_MS } from '../../test/support/scale.ts'
import { until } from '../../test/support/until.ts'
import { DomainError } from '../domain/failure.ts'
import type { HoldfastClient } from './client.ts'

const STALE_MS = 1_000
const BUYERS = [700, 701]

let database: TestDatabase
let fronts: TestFront[]

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 200)
  fronts = await Promise.all([createTestFront(database), createTestFront(database)])
})
afterAll(async () => {
  for (const front of fronts) await front.stop()
  await database.drop()
})

/** One at each of the two fronts, whose vaults do not share a secret. */
const buyers = (): HoldfastClient[] => fronts.map((front, at) => front.as(customer(BUYERS[at] ?? 0)))

async function nowMs(): Promise<number> {
  const [row] = await database.query<{ ms: number }>(
    'select extract(epoch from clock_timestamp())::float8 * 1000 as ms',
  )
  return row?.ms ?? Number.NaN
}

const look = async (buyer: HoldfastClient | undefined, productId: string) =>
  (await buyer?.stock.getAvailability({ productIds: [productId] }))?.stock[0]

const setOnHand = (productId: string, units: number) =>
  database.query('update stock set on_hand = $2, version = version + 1 where product_id = $1', [productId, units])

const order = (buyer: HoldfastClient | undefined, userId: number | undefined, productId: string) =>
  buyer?.order.createOrder({
    idempotencyKey: randomUUID(),
    userId: BigInt(userId ?? 0),
    lines: [{ productId, quantity: 1, expectedUnitPrice: '12.50' }],
    asset: 'ETH',
    shippingAddress: '1 Harbour Street',
  })

/**
 * A product whose stock has changed while a buyer is still shown what there was. A machine may be too slow to see that
 * once, since a reading is shown for a second: then with another product.
 */
const untilStale = (onHand: bigint, buyer: HoldfastClient | undefined, change: (productId: string) => unknown) =>
  until(async () => {
    const { productId } = await putProduct(database, { onHand })
    expect((await look(buyer, productId))?.available).toBe(onHand)
    await change(productId)
    return (await look(buyer, productId))?.available === onHand ? productId : undefined
  })

describe('GetAvailability', () => {
  // A reading that began less than a second before the question holds every change that was committed before it began.
  // So no answer lacks a change that was committed a second before it was asked for; machines' speed has no part in it.
  test(
    'at either of two fronts lacks no change that is older than a second, by the database’s clock',
    async () => {
      const { productId } = await putProduct(database)
      const updates = count(1_000, 10_000)
      const committedAtMs = new Map<bigint, number>()
      const seen: { askedAtMs: number; version: bigint }[] = []
      let isOver = false
      const ask = async (buyer: HoldfastClient): Promise<void> => {
        while (!isOver) {
          const askedAtMs = await nowMs()
          seen.push({ askedAtMs, version: (await look(buyer, productId))?.version ?? 0n })
        }
      }
      const asking = Promise.all(buyers().map(ask))
      for (let version = 2n; version <= BigInt(updates); version += 1n) {
        await setOnHand(productId, Number(version))
        committedAtMs.set(version, await nowMs())
      }
      isOver = true
      await asking
      const staleMs = seen.map(({ askedAtMs, version }) => askedAtMs - (committedAtMs.get(version + 1n) ?? askedAtMs))
      expect(Math.max(...staleMs)).toBeLessThanOrEqual(STALE_MS)
      expect(new Set(seen.map(({ version }) => version)).size).toBeLessThan(seen.length)
    },
    COUNT_WITHIN_MS,
  )

  test('that still says sold out keeps nobody from ordering what has come in', async () => {
    const [here] = buyers()
    const productId = await untilStale(0n, here, (id) => setOnHand(id, 1))
    expect((await order(here, BUYERS[0], productId))?.orderId).toBeDefined()
  })

  test('that still says one is left sells none, once another has bought it elsewhere', async () => {
    const [here, elsewhere] = buyers()
    const productId = await untilStale(1n, here, (id) => order(elsewhere, BUYERS[1], id))
    const refusal: unknown = await order(here, BUYERS[0], productId)?.catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(DomainError)
    expect(refusal).toMatchObject({ reason: 'OUT_OF_STOCK', metadata: { available: '0' } })
  })
})
