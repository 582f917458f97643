import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { buildLine, putOrder, putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, failureOf, type TestFront } from '../../test/support/front.ts'
import { count, COUNT_WITHIN_MS, randomOf } from '../../test/support/scale.ts'
import { systemActor } from '../domain/audit.ts'
import type { OrderStatus } from '../domain/order.ts'
import { orderStatus, type HoldfastClient } from './client.ts'

const CUSTOMERS = [7, 8, 9, 10] as const
const ORDERS_EACH = 12
const STATUSES: readonly (OrderStatus | undefined)[] = [undefined, 'pending', 'processing', 'shipped']
const LISTS_AT_ONCE = 10

type Planted = { orderId: string; userId: number; status: OrderStatus; createdAt: Date }

let database: TestDatabase
let front: TestFront
let planted: readonly Planted[]
const random = randomOf('order lists')
const oneOf = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T

beforeAll(async () => {
  database = await createTestDatabase()
  front = await createTestFront(database)
  const { productId } = await putProduct(database, { onHand: 10_000n })
  const rows: Planted[] = []
  for (let at = 0; at < CUSTOMERS.length * ORDERS_EACH; at += 1) {
    const userId = CUSTOMERS[at % CUSTOMERS.length] ?? 7
    const order = await putOrder(database, { userId: BigInt(userId), lines: [buildLine({ productId })] })
    const status = oneOf(['pending', 'processing'] as const)
    if (status === 'processing')
      await database.writeAs(
        'app_worker',
        systemActor('worker'),
        `update orders set status = 'processing', payment_state = 'paid' where order_id = $1`,
        [order.orderId],
      )
    rows.push({ orderId: order.orderId, userId, status, createdAt: order.createdAt })
  }
  planted = rows.toReversed()
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

/** A random question of a customer, and what they may be answered. */
function drawList() {
  const userId = oneOf(CUSTOMERS)
  const status = oneOf(STATUSES)
  const instant = (): Date | undefined => (random() < 0.7 ? undefined : oneOf(planted).createdAt)
  const [createdFrom, createdBefore] = [instant(), instant()]
  const offset = random() < 0.5 ? 0 : Math.floor(random() * ORDERS_EACH)
  const limit = 1 + Math.floor(random() * 20)
  const expected = planted
    .filter((order) => order.userId === userId && (status === undefined || order.status === status))
    .filter(({ createdAt }) => createdFrom === undefined || createdAt >= createdFrom)
    .filter(({ createdAt }) => createdBefore === undefined || createdAt < createdBefore)
    .slice(offset, offset + limit)
    .map(({ orderId }) => orderId)
  const request = {
    ...{ limit, offset, createdFrom, createdBefore },
    ...(status !== undefined && { status: orderStatus.codeOf(status) }),
    ...(random() < 0.3 && { userId: BigInt(userId) }),
  }
  return { userId, request, expected }
}

test(
  'a list holds the caller’s own orders that match, and never one of another customer',
  async () => {
    const clients = new Map<number, HoldfastClient>(CUSTOMERS.map((userId) => [userId, front.as(customer(userId))]))
    const lists = count(300, 10_000)
    for (let done = 0; done < lists; done += LISTS_AT_ONCE) {
      await Promise.all(
        Array.from({ length: LISTS_AT_ONCE }, drawList).map(async ({ userId, request, expected }) => {
          const { orders = [] } = (await clients.get(userId)?.order.listOrders(request)) ?? {}
          expect(orders.map((order) => order.userId)).toEqual(expected.map(() => BigInt(userId)))
          expect(orders.map(({ state }) => state?.orderId)).toEqual(expected)
        }),
      )
    }
  },
  COUNT_WITHIN_MS,
)

test('a list of another customer is refused, whether or not that customer has orders', async () => {
  const refusals = await Promise.all(
    [8n, 999n].map((userId) => failureOf(front.as(customer(7)).order.listOrders({ userId }))),
  )
  expect(new Set(refusals.map(({ reason, message }) => `${reason}: ${message}`))).toEqual(
    new Set(['PERMISSION_DENIED: This is not allowed.']),
  )
  expect((await front.as(admin).order.listOrders({ userId: 8n })).orders).toHaveLength(ORDERS_EACH)
})
