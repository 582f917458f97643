// Pages on the real front: cursors that a caller made itself, and answers that would exceed the limit of a message.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import {
  admin,
  auditor,
  createTestFront,
  customer,
  failureOf,
  fulfilment,
  type Caller,
  type TestFront,
} from '../../test/support/front.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import { CALL_WITHIN_MS } from '../../test/support/until.ts'
import { systemActor } from '../domain/audit.ts'
import { MAX_LINES } from '../domain/stock.ts'
import { createAdminClient } from './client.ts'
import { GetOrderHistoryResponse } from './gen/holdfast/v1/audit.ts'
import { CreateOrderResponse, GetOrderResponse } from './gen/holdfast/v1/order.ts'
import { ListOrdersToShipResponse } from './gen/holdfast/v1/fulfilment.ts'
import { METHODS } from './method.ts'
import { MAX_PAGE_BYTES } from './page.ts'

/** More than fit into one answer. */
const LARGE_ORDERS = 14
/** 200 characters, the most that a name may have, of four bytes each. */
const LONGEST_NAME = '𝔥'.repeat(200)
const LONGEST_ADDRESS = '𝔥'.repeat(500)
const USER = 7

let shop: TestShop
let front: TestFront
let second: TestFront
/** The customer's orders; each has as many lines as an order may have. */
const orderIds: string[] = []

beforeAll(async () => {
  shop = await createTestShop()
  await putAddresses(shop.test, LARGE_ORDERS)
  front = await createTestFront(shop.test, { deps: { isRunning: async () => true } })
  second = await createTestFront(shop.test)
  const lines = []
  for (let at = 0; at < MAX_LINES; at += 1) {
    const productId = `${at}-`.padEnd(64, 'p')
    await putProduct(shop.test, { productId, name: LONGEST_NAME, onHand: 10_000n })
    lines.push({ productId, quantity: 1, expectedUnitPrice: '12.50' })
  }
  const me = front.as(customer(USER)).order
  for (let at = 0; at < LARGE_ORDERS; at += 1) {
    const request = { idempotencyKey: randomUUID(), userId: BigInt(USER), lines, asset: 'ETH' }
    const answer = await me.createOrder({ ...request, shippingAddress: LONGEST_ADDRESS })
    expect(CreateOrderResponse.encode(answer).finish().length).toBeLessThan(MAX_PAGE_BYTES / 4)
    orderIds.push(answer.orderId)
  }
  await shop.test.writeAs(
    'app_worker',
    systemActor('worker'),
    `update orders set status = 'processing', payment_state = 'paid'`,
  )
  await shop.test.forge(
    `insert into refund (order_id, network, asset, amount, kind, named_in, requested_by)
     select order_id, network, asset, 1, 'owed', 'coin', 'system:owed' from invoice`,
  )
  await shop.test.forge(
    `insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
     select network, '0x' || repeat(md5(address), 2), 0, order_id, asset, 1, 'final', true, created_at from invoice`,
  )
  // As if their workflows had been started.
  await shop.query('delete from workflow_start')
  await shop.query(`update notification set dead_at = clock_timestamp(), dead_reason = 'no answer', attempts = 30`)
})
afterAll(async () => {
  await second.stop()
  await front.stop()
  await shop.close()
})

type Ask = (
  caller: Caller,
  page: { limit?: number; cursor?: string },
  at?: TestFront,
) => Promise<{ nextCursor: string }>

async function asAdminCaller<Answer>(
  at: TestFront,
  caller: Caller,
  ask: (client: ReturnType<typeof createAdminClient>) => Promise<Answer>,
): Promise<Answer> {
  const client = createAdminClient({
    deadlineMs: CALL_WITHIN_MS,
    address: at.adminAddress,
    token: () => at.tokenOf(caller),
  })
  try {
    return await ask(client)
  } finally {
    client.close()
  }
}

/** Each method that takes a cursor, and two callers who may call it. */
const LISTS: Readonly<Record<string, { ask: Ask; callers: readonly [Caller, Caller] }>> = {
  '/holdfast.v1.OrderService/ListOrders': {
    ask: (caller, page, at = front) => at.as(caller).order.listOrders(page),
    callers: [customer(USER), admin],
  },
  '/holdfast.v1.FulfilmentService/ListOrdersToShip': {
    ask: (caller, page, at = front) => at.as(caller).fulfilment.listOrdersToShip(page),
    callers: [fulfilment, admin],
  },
  '/holdfast.v1.CatalogService/ListProducts': {
    ask: (caller, page, at = front) => at.as(caller).catalog.listProducts(page),
    callers: [customer(USER), customer(8)],
  },
  '/holdfast.v1.AuditService/GetOrderHistory': {
    ask: (caller, page, at = front) =>
      asAdminCaller(at, caller, ({ audit }) => audit.getOrderHistory({ orderId: orderIds[0] ?? '', ...page })),
    callers: [admin, auditor],
  },
  '/holdfast.v1.NotificationAdminService/ListDeadNotifications': {
    ask: (caller, page, at = front) =>
      asAdminCaller(at, caller, ({ notification }) => notification.listDeadNotifications(page)),
    callers: [admin, { role: 'admin', subject: '9' }],
  },
  '/holdfast.v1.RefundAdminService/ListRefundQueue': {
    ask: (caller, page, at = front) => asAdminCaller(at, caller, ({ refund }) => refund.listRefundQueue(page)),
    callers: [admin, auditor],
  },
  '/holdfast.v1.PaymentAdminService/ListPayments': {
    ask: (caller, page, at = front) => asAdminCaller(at, caller, ({ payment }) => payment.listPayments(page)),
    callers: [admin, auditor],
  },
  '/holdfast.v1.OrderAdminService/RehydrateOrders': {
    ask: (caller, page, at = front) =>
      asAdminCaller(at, caller, ({ order }) =>
        order.rehydrateOrders({ idempotencyKey: randomUUID(), reason: 'drill', ...page }),
      ),
    callers: [admin, { role: 'admin', subject: '9' }],
  },
}

/** Cursors that no server made: plain text of what an older build wrote, ids, and bytes. */
const FORGERIES: readonly string[] = [
  'A',
  'AAAA',
  'null',
  '__proto__',
  ...['', '1', '0', '-1', '9'.repeat(18), '9'.repeat(40), 'tea-1', randomUUID(), `pending.${randomUUID()}`].flatMap(
    (place) => [
      Buffer.from(place).toString('base64url'),
      Buffer.from(`0123456789abcdef${place}`).toString('base64url'),
      Buffer.concat([Buffer.alloc(16), Buffer.from(place)]).toString('base64url'),
    ],
  ),
  Buffer.from("0123456789abcdef' or 1=1 --").toString('base64url'),
  Buffer.from([...Array(16).fill(0), 0xff, 0xfe, 0x00]).toString('base64url'),
].filter((cursor) => cursor !== '')

describe('a cursor', () => {
  test('is taken by each method that this file knows, and by no other', () => {
    const taking = METHODS.filter(({ requestDeserialize }) => {
      const empty = requestDeserialize(Buffer.alloc(0))
      return typeof empty === 'object' && empty !== null && 'cursor' in empty
    })
    expect(taking.map(({ path }) => path).toSorted()).toEqual(Object.keys(LISTS).toSorted())
  })

  test.each(Object.entries(LISTS))('%s refuses one that was forged, altered or made for others', async (path, list) => {
    const [caller, other] = list.callers
    const { nextCursor } = await list.ask(caller, { limit: 1 })
    expect(nextCursor).not.toBe('')
    await list.ask(caller, { limit: 1, cursor: nextCursor })

    const swapped = nextCursor.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'))
    const elsewhere = await Promise.all(
      Object.entries(LISTS)
        .filter(([name]) => name !== path)
        .map(async ([, each]) => (await each.ask(each.callers[0], { limit: 1 })).nextCursor),
    )
    const wrong = [...FORGERIES, swapped, `${nextCursor}A`, nextCursor.slice(1), nextCursor.slice(0, -2), ...elsewhere]
    const answers = await Promise.all([
      ...wrong.map((cursor) => failureOf(list.ask(caller, { limit: 1, cursor }))),
      failureOf(list.ask(other, { limit: 1, cursor: nextCursor })),
      // Another secret: the test fronts have one each.
      failureOf(list.ask(caller, { limit: 1, cursor: nextCursor }, second)),
    ])
    for (const { reason, violations } of answers) {
      expect(reason).toBe('FIELD_INVALID')
      expect(violations.map(({ field }) => field)).toEqual(['cursor'])
    }
  })

  test('belongs to one order’s history', async () => {
    const ask = (orderId: string | undefined, cursor = '') =>
      front.asAdmin().audit.getOrderHistory({ orderId: orderId ?? '', limit: 1, cursor })
    const { nextCursor } = await ask(orderIds[0])
    expect((await failureOf(ask(orderIds[1], nextCursor))).violations[0]?.field).toBe('cursor')
  })
})

describe('the largest orders', () => {
  test('come in pages that fit into an answer, each order once', async () => {
    const found: string[] = []
    const sizes: number[] = []
    for (let cursor = ''; ;) {
      const page = await front.as(fulfilment).fulfilment.listOrdersToShip({ limit: 100, cursor })
      found.push(...page.orders.map(({ orderId }) => orderId))
      sizes.push(ListOrdersToShipResponse.encode(page).finish().length)
      if ((cursor = page.nextCursor) === '') break
    }
    expect(found).toEqual(orderIds)
    expect(sizes.length).toBeGreaterThan(1)
    expect(Math.max(...sizes)).toBeLessThanOrEqual(MAX_PAGE_BYTES)
    expect(sizes[0]).toBeGreaterThan(MAX_PAGE_BYTES * 0.8)
  })

  test('fit into an answer one by one, several times over', async () => {
    const answer = await front
      .as(customer(USER))
      .order.getOrder({ orderId: orderIds[0] ?? '', includeShippingAddress: true })
    expect(answer.order?.lines).toHaveLength(MAX_LINES)
    expect(answer.order?.shippingAddress).toBe(LONGEST_ADDRESS)
    expect(GetOrderResponse.encode(answer).finish().length).toBeLessThan(MAX_PAGE_BYTES / 4)
    for await (const { state } of front.as(customer(USER)).order.watchOrder({ orderId: orderIds[0] ?? '' })) {
      expect(state?.orderId).toBe(orderIds[0])
      break
    }
  })

  test('have a history whose entries fit', async () => {
    const answer = await front.asAdmin().audit.getOrderHistory({ orderId: orderIds[0] ?? '', limit: 100 })
    expect(answer.entries.length).toBeGreaterThan(1)
    expect(GetOrderHistoryResponse.encode(answer).finish().length).toBeLessThan(MAX_PAGE_BYTES / 2)
  })

  test('have a history that can be read past an entry larger than a page', async () => {
    const [orderId = ''] = orderIds
    const history = (cursor = '') => front.asAdmin().audit.getOrderHistory({ orderId, limit: 100, cursor })
    const before = (await history()).entries
    await shop.test.forge(
      `insert into audit_entry (at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash)
       select clock_timestamp(), pg_current_xact_id(), 'order', $1, seq, sha256('a'), 'system:test', body, sha256('b')
       from (values ($2::bigint, repeat('x', 3000000)), ($2 + 1, 'small')) as entry (seq, body)`,
      [orderId, before.length + 1],
    )
    const sizes: number[] = []
    for (let cursor = ''; ;) {
      const page = await history(cursor)
      sizes.push(...page.entries.map(({ body }) => body.length))
      if ((cursor = page.nextCursor) === '') break
    }
    expect(sizes).toEqual([...before.map(({ body }) => body.length), 3_000_000, 'small'.length])
  })

  test('are listed whole: summaries, products and dead notifications are small', async () => {
    const { orders, nextCursor } = await front.as(customer(USER)).order.listOrders({ limit: 100 })
    expect([orders.length, nextCursor]).toEqual([LARGE_ORDERS, ''])
    const products = await front.as(customer(USER)).catalog.listProducts({ limit: 100 })
    expect([products.products.length, products.nextCursor]).toEqual([MAX_LINES, ''])
    const dead = await front.asAdmin().notification.listDeadNotifications({ limit: 100 })
    expect(dead.notifications.length).toBeGreaterThanOrEqual(LARGE_ORDERS)
  })
})
