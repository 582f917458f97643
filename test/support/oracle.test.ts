import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { MAX_FIAT_MINOR } from '../../src/domain/money.ts'
import { MAX_LINES, MAX_QUANTITY_PER_LINE, quantitiesOf } from '../../src/domain/stock.ts'
import { quoteDue, totalOf } from './oracle.ts'
import { count, seed } from './scale.ts'

const options = { numRuns: count(2_000, 1_000_000), seed }
const PRICES: Readonly<Record<string, bigint>> = { tea: 1n, 'tea-2': 333n, lamp: MAX_FIAT_MINOR, Zinc: 0n }
const cart = fc
  .array(
    fc.record({
      productId: fc.constantFrom(...Object.keys(PRICES)),
      quantity: fc.integer({ min: 1, max: MAX_QUANTITY_PER_LINE }),
    }),
    { minLength: 1, maxLength: MAX_LINES },
  )
  .map((lines) => lines.map((one) => ({ ...one, unitPriceMinor: PRICES[one.productId] ?? 0n })))

describe('the lines of an order', () => {
  test('cost the same however a quantity is split over them and whatever their order', () => {
    fc.assert(
      fc.property(cart, (lines) => {
        const single = lines.flatMap((one) => Array.from({ length: one.quantity }, () => ({ ...one, quantity: 1 })))
        expect(totalOf(single.toReversed())).toBe(totalOf(lines))
      }),
      { ...options, numRuns: count(50, 1_000) },
    )
  })

  test('cost the sum of quantity times price, exactly', () => {
    fc.assert(
      fc.property(cart, (lines) => {
        let total = 0n
        for (const [id, sum] of quantitiesOf(lines)) total += BigInt(sum) * (PRICES[id] ?? 0n)
        expect(totalOf(lines)).toBe(total)
      }),
      options,
    )
  })

  test('cost nothing when there are none', () => {
    expect(totalOf([])).toBe(0n)
  })
})

describe('quoteDue', () => {
  test('is the least amount worth the total, to the unit', () => {
    const total = fc.bigInt({ min: 1n, max: MAX_FIAT_MINOR })
    const rate = fc.bigInt({ min: 1n, max: 10n ** 20n - 1n })
    fc.assert(
      fc.property(total, rate, fc.constantFrom(8, 9, 18), (totalMinor, rateMinor, decimals) => {
        const due = quoteDue(totalMinor, rateMinor, decimals)
        const worth = totalMinor * 10n ** BigInt(decimals)
        expect(due * rateMinor >= worth).toBe(true)
        expect((due - 1n) * rateMinor < worth).toBe(true)
      }),
      options,
    )
  })

  test.each([
    // 25.00 at 2,000.00 per ether.
    [2_500n, 200_000n, 18, 12_500_000_000_000_000n],
    // A third of a coin is rounded up.
    [100n, 300n, 8, 33_333_334n],
    // The smallest total at the highest price is still one unit.
    [1n, 10n ** 20n - 1n, 8, 1n],
    [MAX_FIAT_MINOR, 1n, 18, MAX_FIAT_MINOR * 10n ** 18n],
  ])('%s at %s per coin of %s decimals is %s', (totalMinor, rateMinor, decimals, due) => {
    expect(quoteDue(totalMinor, rateMinor, decimals)).toBe(due)
  })
})
