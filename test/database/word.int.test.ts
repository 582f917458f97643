// Closed lists of words that the domain and a CHECK of the database both have.

import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { CANCEL_REASONS, HOLDS, ORDER_STATUSES, RESERVATION_STATES } from '../../src/domain/order.ts'
import { PAYMENT_FLAGS, PAYMENT_STATES, TRANSFER_STATES } from '../../src/domain/payment.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.drop())

test.each<[string, readonly string[]]>([
  ['orders_payment_state', PAYMENT_STATES],
  ['orders_payment_flags', PAYMENT_FLAGS],
  ['orders_hold', HOLDS],
  ['orders_cancel_reason', CANCEL_REASONS],
  ['reservation_state', RESERVATION_STATES],
  ['payment_state', TRANSFER_STATES],
  ['payment_report_state', TRANSFER_STATES],
  ['notification_status', ORDER_STATUSES],
  ['notification_payment_state', PAYMENT_STATES],
  ['notification_cancel_reason', CANCEL_REASONS],
])('%s allows the words of the domain and no other', async (constraint, words) => {
  const rules = await database.query<{ rule: string }>(
    `select pg_get_constraintdef(oid) as rule from pg_constraint where conname = $1 and conparentid = 0`,
    [constraint],
  )
  expect(rules).toHaveLength(1)
  expect([...(rules[0]?.rule ?? '').matchAll(/'(\w+)'/g)].map(([, word]) => word)).toEqual([...words])
})
