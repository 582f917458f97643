// Each kind of security event is one log line and one recorded event with the same request id, and neither holds what the
// caller sent.

import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, type Caller, type TestFront } from '../../test/support/front.ts'
import { callRaw } from '../../test/support/raw_call.ts'
import { until } from '../../test/support/until.ts'
import { SECURITY_EVENT_KINDS, type SecurityEventKind } from '../db/security_event.ts'
import { ADMIN_SERVICES, PUBLIC_SERVICES } from './method.ts'
import { REQUEST_ID_KEY } from './status.ts'

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

/** Breaks lines, terminals and JSON, where a log writes it as it is. */
const CANARY = 'canary\r\n\u001b[31m"},{"level":60'
const { order, payment } = PUBLIC_SERVICES
const about = (orderId: string): Buffer => order.getOrder.requestSerialize({ orderId, includeShippingAddress: false })
const missing = (): Buffer => about(randomUUID())

type Attempt = { path: string; body: () => Buffer; caller: Caller | undefined; isAdmin?: boolean }
/** One call for each kind but `calls`, which counts all of a peer. */
const ATTEMPTS: Readonly<Record<Exclude<SecurityEventKind, 'calls'>, Attempt>> = {
  unauthenticated: { path: order.getOrder.path, body: missing, caller: undefined },
  denied_order: { path: order.getOrder.path, body: missing, caller: customer(11) },
  denied_admin: {
    path: ADMIN_SERVICES.stock.adjustStock.path,
    body: () => Buffer.alloc(0),
    caller: customer(12),
    isAdmin: true,
  },
  denied: { path: payment.reportPayments.path, body: () => Buffer.alloc(0), caller: customer(13) },
  unknown_order: { path: order.getOrder.path, body: missing, caller: admin },
  invalid: { path: order.getOrder.path, body: () => about(CANARY), caller: customer(14) },
}

test('has an attempt for each kind', () => {
  expect(Object.keys(ATTEMPTS).toSorted()).toEqual(SECURITY_EVENT_KINDS.filter((kind) => kind !== 'calls').toSorted())
})

test.each(Object.entries(ATTEMPTS))(
  'a call that is %s is one log line and one event, by its request id',
  async (kind, { path, body, caller, isAdmin = false }) => {
    const requestId = randomUUID()
    const token = caller === undefined ? 'canary' : await front.tokenOf(caller)
    await callRaw(isAdmin ? front.adminAddress : front.address, path, body(), [
      ['authorization', `Bearer ${token}`],
      [REQUEST_ID_KEY, requestId],
      ['user-agent', 'canary"},{"level":60'],
    ])
    const rows = await until(
      async () => {
        const found = await database.query<{ kind: string; events: number }>(
          'select kind, events::int as events from security_event where request_id = $1',
          [requestId],
        )
        return found.length > 0 ? found : undefined
      },
      { withinMs: 60_000 },
    )
    expect(rows).toEqual([{ kind, events: 1 }])
    const lines = front.logLines().filter((line) => line.includes(requestId))
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([{ requestId, method: path, msg: 'call' }])
  },
  90_000,
)

test('no line and no event holds what the callers sent, and each line is one JSON object', async () => {
  const lines = front.logLines()
  for (const line of lines) {
    expect(line.trimEnd()).not.toMatch(/\p{Cc}/u)
    expect(JSON.parse(line)).toBeInstanceOf(Object)
  }
  const rows = await database.query('select e::text as row from security_event e')
  expect(JSON.stringify([lines, rows])).not.toContain('canary')
})
