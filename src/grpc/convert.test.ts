import { expect, test } from '@jest/globals'
import { DomainError } from '../domain/failure.ts'
import { cutPage, pageOf, stockMessage } from './convert.ts'
import { cancelReason, orderHold, orderStatus, paymentFlag, paymentState, transferState } from './enum.ts'
import { CANCEL_REASONS, HOLDS, ORDER_STATUSES } from '../domain/order.ts'
import { PAYMENT_FLAGS, PAYMENT_STATES, TRANSFER_STATES } from '../domain/payment.ts'

const rows = Array.from({ length: 4 }, (_, at) => ({ id: `row-${at}` }))
const filter = { status: 'pending', userId: 7n, createdFrom: undefined }

test('a page that is followed by another carries the cursor to it', () => {
  const { page, nextCursor } = cutPage(rows, 3, filter, ({ id }) => id)
  expect(page).toEqual(rows.slice(0, 3))
  expect(pageOf({ limit: 3, offset: 0, cursor: nextCursor }, filter, /^row-\d$/)).toEqual({
    limit: 4,
    offset: 0,
    after: 'row-2',
  })
})

test('the last page carries no cursor, even when it is full', () => {
  expect(cutPage(rows, 4, filter, ({ id }) => id)).toEqual({ page: rows, nextCursor: '' })
  expect(cutPage([], 4, filter, () => '')).toEqual({ page: [], nextCursor: '' })
})

test('the first page asks for one row more than it shows', () => {
  expect(pageOf({ limit: 20, offset: 5, cursor: '' }, filter, /^row-\d$/)).toEqual({
    limit: 21,
    offset: 5,
    after: undefined,
  })
})

test.each([
  ['made for other filters', cutPage(rows, 3, { ...filter, userId: 8n }, ({ id }) => id).nextCursor],
  ['made up', 'AAAA'],
  ['with something appended', `${cutPage(rows, 3, filter, ({ id }) => id).nextCursor}A`],
  ['for an id of another list', cutPage(rows, 3, filter, () => 'pending.abc').nextCursor],
  ['for an impossible id', Buffer.from("0123456789abcdef' or 1=1").toString('base64url')],
])('a cursor %s is refused', (_name, cursor) => {
  expect(() => pageOf({ limit: 3, offset: 0, cursor }, filter, /^row-\d$/)).toThrow(DomainError)
})

test('available is what is on hand and not reserved, beyond what a number could count', () => {
  const onHand = 2n ** 53n + 1n
  const stock = stockMessage({ productId: 'tea', onHand: String(onHand), reserved: '1', version: '3' })
  expect(stock).toEqual({ productId: 'tea', onHand, reserved: 1n, available: 2n ** 53n, version: 3n })
})

test('every word of the domain has a number of its own, and the way back', () => {
  const pairs = [
    [ORDER_STATUSES, orderStatus],
    [PAYMENT_STATES, paymentState],
    [PAYMENT_FLAGS, paymentFlag],
    [HOLDS, orderHold],
    [CANCEL_REASONS, cancelReason],
    [TRANSFER_STATES, transferState],
  ] as const
  for (const [words, codec] of pairs) {
    const codes = words.map((word) => codec.codeOf(word as never))
    expect(codes).toEqual(words.map((_, at) => at + 1))
    expect(codes.map((code) => codec.wordOf(code))).toEqual(words)
    expect(codec.wordOf(0)).toBeUndefined()
  }
})
