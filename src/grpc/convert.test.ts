import { expect, test } from '@jest/globals'
import { stockMessage } from './convert.ts'
import { cancelReason, orderHold, orderStatus, paymentFlag, paymentState, transferState } from './enum.ts'
import { CANCEL_REASONS, HOLDS, ORDER_STATUSES } from '../domain/order.ts'
import { PAYMENT_FLAGS, PAYMENT_STATES, TRANSFER_STATES } from '../domain/payment.ts'

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
