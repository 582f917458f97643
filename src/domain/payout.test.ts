import { expect, test } from '@jest/globals'
import { bumpedPriceOf, gasPriceOf, PAYOUT_MOVES, PAYOUT_STATUSES } from './payout.ts'

test('a shop pays what the network takes, and a customer exactly what was stated', () => {
  expect(gasPriceOf(10n, 2n, 'shop')).toEqual({ maxFee: 22n, priorityFee: 2n })
  expect(gasPriceOf(10n, 2n, 'customer')).toEqual({ maxFee: 22n, priorityFee: 22n })
})

test('a replacement raises both fees by a tenth at least, and to the present price', () => {
  for (const fee of [1n, 9n, 10n, 1_000_000_007n]) {
    const raised = bumpedPriceOf({ maxFee: fee, priorityFee: fee }, { maxFee: 0n, priorityFee: 0n })
    expect(raised.maxFee * 10n).toBeGreaterThanOrEqual(fee * 11n)
    expect(raised.priorityFee * 10n).toBeGreaterThanOrEqual(fee * 11n)
  }
  expect(bumpedPriceOf({ maxFee: 10n, priorityFee: 1n }, { maxFee: 50n, priorityFee: 7n })).toEqual({
    maxFee: 50n,
    priorityFee: 7n,
  })
})

test('a payout that is over stays over, and every open one can end', () => {
  for (const status of PAYOUT_STATUSES) {
    const isOver = status === 'confirmed' || status === 'failed'
    expect(PAYOUT_MOVES[status].includes('confirmed')).toBe(!isOver)
    expect(PAYOUT_MOVES[status].length === 0).toBe(isOver)
  }
})
