// A refused CreateOrder sent again: the stored refusal is answered, however much has changed since.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import { callHttp2, framed } from '../../test/support/raw_http2.ts'
import { DETAILS_KEY } from './detail.ts'
import { RequestInfo } from './gen/google/rpc/error_details.ts'
import { Status } from './gen/google/rpc/status.ts'
import { OrderServiceService } from './gen/holdfast/v1/order.ts'

const REQUEST_INFO = 'type.googleapis.com/google.rpc.RequestInfo'
const { createOrder } = OrderServiceService

let database: TestDatabase
let front: TestFront

beforeAll(async () => {
  database = await createTestDatabase()
  await putAddresses(database, 20)
  front = await createTestFront(database)
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

type Line = { productId: string; quantity: number; expectedUnitPrice: string }
const bodyOf = (lines: Line[]): Buffer =>
  createOrder.requestSerialize({
    idempotencyKey: randomUUID(),
    userId: 7n,
    lines,
    asset: 'ETH',
    shippingAddress: 'Quay 1',
  })

/** The status of one call: its bytes, and its parts apart from RequestInfo. */
async function refusalOf(body: Buffer, requestId: string) {
  const authorization = `Bearer ${await front.tokenOf(customer(7))}`
  const headers = { authorization, 'x-request-id': requestId }
  const [answer] = await callHttp2(front.address, createOrder.path, [{ headers, body: [framed(body)] }])
  const bytes = Buffer.from(String(answer?.headers[DETAILS_KEY]), 'base64')
  const { details, ...rest } = Status.decode(bytes)
  const info = details.find(({ typeUrl }) => typeUrl === REQUEST_INFO)
  return {
    reason: answer?.detail.reason,
    bytes: bytes.toString('hex'),
    requestId: RequestInfo.decode(info?.value ?? Buffer.alloc(0)).requestId,
    others: { ...rest, details: details.filter((each) => each !== info) },
  }
}

const CASES: Readonly<Record<string, () => Promise<{ line: Line; change: () => Promise<unknown> }>>> = {
  OUT_OF_STOCK: async () => {
    const { productId, unitPrice } = await putProduct(database, { onHand: 1n })
    return {
      line: { productId, quantity: 2, expectedUnitPrice: unitPrice },
      change: () => database.query('update stock set on_hand = 100 where product_id = $1', [productId]),
    }
  },
  PRICE_CHANGED: async () => {
    const { productId } = await putProduct(database, { onHand: 100n })
    return {
      line: { productId, quantity: 1, expectedUnitPrice: '0.07' },
      change: () => database.query('update product set unit_price = 0.07 where product_id = $1', [productId]),
    }
  },
  PRODUCT_UNKNOWN: async () => {
    const productId = `tea-${randomUUID().slice(0, 8)}`
    return {
      line: { productId, quantity: 1, expectedUnitPrice: '1.00' },
      change: () => putProduct(database, { productId, onHand: 100n }),
    }
  },
}

describe.each(Object.keys(CASES))('an order refused with %s', (reason) => {
  test('is refused in the same bytes again, except for the request id', async () => {
    const { line, change } = await (CASES[reason] as (typeof CASES)[string])()
    const body = bodyOf([line])
    const first = await refusalOf(body, 'request-1')
    expect(first).toMatchObject({ reason, requestId: 'request-1' })
    await change()
    expect((await refusalOf(body, 'request-1')).bytes).toBe(first.bytes)
    const other = await refusalOf(body, 'request-2')
    expect(other).toMatchObject({ reason, requestId: 'request-2' })
    expect(other.others).toEqual(first.others)
  })
})
