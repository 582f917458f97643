import { randomBytes } from 'node:crypto'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { createCursorSeal } from './cursor.ts'

const secret = randomBytes(32)
const cursors = createCursorSeal(secret)
const CONTEXT = ['user:7', '/holdfast.v1.OrderService/ListOrders', '{"status":"pending"}']
const PLACE = '0b5c7c1e-6d5e-4a57-9d0e-2f2f1f0c8a11'

test('a cursor opens in its context, in any process with the same secret', () => {
  const cursor = cursors.sealPlace(PLACE, CONTEXT)
  expect(cursor).toMatch(/^[A-Za-z0-9_-]+$/)
  expect(createCursorSeal(Buffer.from(secret)).openPlace(cursor, CONTEXT)).toBe(PLACE)
})

test.each([
  ['another caller', ['user:8', ...CONTEXT.slice(1)]],
  ['another method', ['user:7', '/holdfast.v1.FulfilmentService/ListOrdersToShip', '{"status":"pending"}']],
  ['another filter', [...CONTEXT.slice(0, 2), '{"status":"shipped"}']],
  ['the same letters, divided otherwise', ['user:7/holdfast.v1.OrderService/ListOrders', '', CONTEXT[2] ?? '']],
])('a cursor does not open for %s', (_name, context) => {
  expect(cursors.openPlace(cursors.sealPlace(PLACE, CONTEXT), context)).toBeUndefined()
})

test('a cursor of another secret does not open', () => {
  expect(createCursorSeal(randomBytes(32)).openPlace(cursors.sealPlace(PLACE, CONTEXT), CONTEXT)).toBeUndefined()
})

test('no other text opens, be it one character away', () => {
  const cursor = cursors.sealPlace(PLACE, CONTEXT)
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  for (const at of cursor.split('').keys()) {
    for (const digit of digits) {
      const altered = cursor.slice(0, at) + digit + cursor.slice(at + 1)
      if (altered !== cursor) expect(cursors.openPlace(altered, CONTEXT)).toBeUndefined()
    }
  }
  fc.assert(fc.property(fc.string(), (text) => cursors.openPlace(text, CONTEXT) === undefined))
  for (const text of ['', 'A', `${cursor}A`, `${cursor}=`, cursor.slice(0, -1), ` ${cursor}`])
    expect(cursors.openPlace(text, CONTEXT)).toBeUndefined()
})
