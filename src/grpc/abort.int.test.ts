// Calls of the client whose signal was aborted.

import { getEventListeners } from 'node:events'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import type { TransportError } from './client.ts'

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

const CANCELLED = { code: 'CANCELLED' } satisfies Partial<TransportError>

test('a call whose signal was aborted before it began is cancelled', async () => {
  const { order } = front.as(customer(7))
  await expect(order.listOrders({}, { signal: AbortSignal.abort() })).rejects.toMatchObject(CANCELLED)
  const watch = order.watchOrder({ orderId: crypto.randomUUID() }, { signal: AbortSignal.abort() })
  await expect(watch[Symbol.asyncIterator]().next()).rejects.toMatchObject(CANCELLED)
})

test('a signal that serves many calls keeps nothing of those that have ended', async () => {
  const { signal } = new AbortController()
  const { order } = front.as(customer(7))
  for (let call = 0; call < 3; call += 1) await order.listOrders({}, { signal })
  expect(getEventListeners(signal, 'abort')).toEqual([])
})
