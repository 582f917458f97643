import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { buildLine, putOrder, putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, failureOf, type TestFront } from '../../test/support/front.ts'
import { callRaw } from '../../test/support/raw_call.ts'
import { ListOrdersRequest, OrderServiceService } from './gen/holdfast/v1/order.ts'

let database: TestDatabase
let front: TestFront

beforeAll(async () => {
  database = await createTestDatabase()
  front = await createTestFront(database)
})
afterAll(async () => {
  await front.stop()
  await database.drop()
})

describe('ListOrders', () => {
  test('takes every time that a Timestamp may hold, and names the field of any other', async () => {
    const { productId } = await putProduct(database)
    const { orderId } = await putOrder(database, { userId: 307n, lines: [buildLine({ productId })] })
    const everyone = front.as(admin).order
    const [first, last] = [new Date('0001-01-01T00:00:00Z'), new Date('9999-12-31T23:59:59.999Z')]
    const all = await everyone.listOrders({ userId: 307n, createdFrom: first, createdBefore: last })
    expect(all.orders.map(({ state }) => state?.orderId)).toEqual([orderId])
    const none = await everyone.listOrders({ userId: 307n, createdFrom: last, createdBefore: first })
    expect(none.orders).toEqual([])
    for (const time of ['-004714-11-23T00:00:00Z', '0000-12-31T23:59:59Z', '+010000-01-01T00:00:00Z']) {
      const error = await failureOf(everyone.listOrders({ createdFrom: new Date(time), createdBefore: new Date(time) }))
      expect([error.reason, error.violations.map(({ field }) => field)]).toEqual([
        'FIELD_INVALID',
        ['created_from', 'created_before'],
      ])
    }
    const { path, requestSerialize } = OrderServiceService.listOrders
    const plain = requestSerialize({ ...ListOrdersRequest.create({ limit: 1 }) })
    // created_from with a thousand million nanoseconds.
    const body = Buffer.concat([plain, Buffer.from([0x32, 0x06, 0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03])])
    const answer = await callRaw(front.address, path, body, [['authorization', `Bearer ${await front.tokenOf(admin)}`]])
    expect(answer.code).toBe('INVALID_ARGUMENT')
  })
})
