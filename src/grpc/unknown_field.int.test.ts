// Keys of prototypes as ids, and fields that a message does not have: neither changes what is stored.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import { createRawClient } from '../../test/support/raw_client.ts'
import { CreateOrderRequest, CreateOrderResponse, OrderServiceService } from './gen/holdfast/v1/order.ts'

const USER = 7
const me = customer(USER)

let database: TestDatabase
let front: TestFront

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 10)
  front = await createTestFront(database)
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

describe('keys of prototypes', () => {
  const KEYS = ['constructor', 'toString', 'valueOf', 'hasOwnProperty', 'then', 'length', '0']

  test('are ids like any other', async () => {
    for (const productId of KEYS) await putProduct(database, { productId, name: productId, onHand: 5n })
    const { stock } = await front
      .as(me)
      .stock.getAvailability({ productIds: [...KEYS, 'isPrototypeOf', 'propertyIsEnumerable'] })
    expect(stock.map(({ productId }) => productId).toSorted()).toEqual(KEYS.toSorted())
    expect(stock.every(({ onHand }) => onHand === 5n)).toBe(true)
    const lines = KEYS.map((productId) => ({ productId, quantity: 1, expectedUnitPrice: '12.50' }))
    const answer = await front.as(me).order.createOrder({
      idempotencyKey: randomUUID(),
      userId: BigInt(USER),
      lines,
      asset: 'ETH',
      shippingAddress: '__proto__',
    })
    expect(answer.lines.map(({ productId }) => productId)).toEqual(KEYS)
    expect(({} as Record<string, unknown>)['admin']).toBeUndefined()
    expect(Object.keys(Object.prototype)).toEqual([])
  })
})

describe('fields that no message has', () => {
  /** Fields 6 to 30 in each wire type: a status, a total, an order id, whatever a later or another message has there. */
  const unknown = (): Buffer => {
    const parts: Buffer[] = []
    for (let field = 6; field <= 30; field += 1) {
      const tag = (type: number): Buffer => {
        const number = field * 8 + type
        return number < 128 ? Buffer.of(number) : Buffer.of((number & 0x7f) | 0x80, number >> 7)
      }
      const value = Buffer.from('{"__proto__":{"status":"delivered"}}')
      parts.push(
        tag(0),
        Buffer.of(4),
        tag(1),
        Buffer.alloc(8, 1),
        tag(2),
        Buffer.of(value.length),
        value,
        tag(5),
        Buffer.alloc(4, 1),
      )
    }
    return Buffer.concat(parts)
  }

  test('are dropped: the rows of an order are those of the same order without them', async () => {
    const { productId, unitPrice } = await putProduct(database, { onHand: 100n })
    const client = createRawClient(front.address)
    const token = await front.tokenOf(me)
    const rowsOf = async (extra: Buffer): Promise<unknown> => {
      const request = CreateOrderRequest.create({
        ...{ idempotencyKey: randomUUID(), userId: BigInt(USER), asset: 'ETH', shippingAddress: 'Quay 1' },
        lines: [{ productId, quantity: 2, expectedUnitPrice: unitPrice }],
      })
      const bytes = Buffer.concat([CreateOrderRequest.encode(request).finish(), extra])
      const { code, body } = await client.ask(OrderServiceService.createOrder, bytes, token)
      expect(code).toBe('OK')
      const { orderId } = CreateOrderResponse.decode(body ?? Buffer.of())
      const [row] = await database.query<{ whole: unknown }>(
        `select jsonb_build_object(
           'order', to_jsonb(o) - '{order_id,created_at,updated_at,address_sealed}'::text[],
           'lines', (select jsonb_agg(to_jsonb(l) - 'order_id' order by line_no) from order_line l where l.order_id = o.order_id),
           'invoice', (select to_jsonb(i) - '{order_id,address,created_at,expires_at}'::text[] from invoice i where i.order_id = o.order_id),
           'holds', (select jsonb_agg(to_jsonb(r) - '{order_id,expires_at,created_at,updated_at}'::text[]) from reservation r where r.order_id = o.order_id)
         ) as whole from orders o where o.order_id = $1`,
        [orderId],
      )
      return row?.whole
    }
    const plain = await rowsOf(Buffer.of())
    expect(plain).toMatchObject({ order: { status: 'pending', total: 25 } })
    expect(await rowsOf(unknown())).toEqual(plain)
    client.close()
  })
})
