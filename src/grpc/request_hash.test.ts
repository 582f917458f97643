import { expect, test } from '@jest/globals'
import { z } from 'zod'
import { ANONYMOUS, type CallRecord } from './call.ts'
import type { MethodPath } from './method.ts'
import { REQUEST_HASH_KEYS, serverHashOf } from './request_hash.ts'
import { SCHEMAS } from './schema.ts'

/** Fields of requests that hold personal data. A test of the schema names every field. */
const PERSONAL_FIELDS = ['shippingAddress']

const recordOf = (path: MethodPath): CallRecord => ({
  path,
  requestId: 'r',
  peer: '',
  isPeerKnown: true,
  peerHash: '',
  hashRequest: (of, request) => Buffer.concat([Buffer.from(of), request]),
  startedAt: 0,
  principal: ANONYMOUS,
  orderId: undefined,
  isReplay: false,
  failure: undefined,
})

test('a request is hashed under its customer’s key exactly where it holds personal data', () => {
  const paths = Object.keys(SCHEMAS) as MethodPath[]
  const personal = paths.filter((path) => {
    const fields = JSON.stringify(z.toJSONSchema(SCHEMAS[path], { io: 'input', unrepresentable: 'any' }))
    return PERSONAL_FIELDS.some((field) => fields.includes(`"${field}"`))
  })
  expect(personal).toHaveLength(2)
  expect(paths.filter((path) => REQUEST_HASH_KEYS[path] === 'customer')).toEqual(personal)
})

test('such a request gets no hash under the server’s secret', () => {
  const request = Buffer.from('x')
  expect(serverHashOf(recordOf('/holdfast.v1.OrderService/CancelOrder'), request).toString()).toMatch(/CancelOrderx$/)
  for (const method of ['CreateOrder', 'UpdateShippingAddress'] as const)
    expect(() => serverHashOf(recordOf(`/holdfast.v1.OrderService/${method}`), request)).toThrow("customer's key")
})
