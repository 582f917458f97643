import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { count, seed } from '../../test/support/scale.ts'
import { MAX_LINES, MAX_QUANTITY_PER_LINE, PRODUCT_ID_PATTERN, quantitiesOf } from './stock.ts'

const options = { numRuns: count(2_000, 1_000_000), seed }
const productId = fc.constantFrom('tea', 'tea-2', 'lamp', 'Zinc')
const line = fc.record({ productId, quantity: fc.integer({ min: 1, max: MAX_QUANTITY_PER_LINE }) })
const cart = fc.array(line, { minLength: 1, maxLength: MAX_LINES })

describe('the lines of an order', () => {
  test('ask for the same however a quantity is split over them and whatever their order', () => {
    fc.assert(
      fc.property(cart, (lines) => {
        const single = lines.flatMap((one) => Array.from({ length: one.quantity }, () => ({ ...one, quantity: 1 })))
        const split = quantitiesOf(single.toReversed())
        expect([...split]).toEqual([...quantitiesOf(lines)])
      }),
      { ...options, numRuns: count(50, 1_000) },
    )
  })

  test('are summed by product, in the order in which stock is locked', () => {
    fc.assert(
      fc.property(cart, (lines) => {
        const sums = quantitiesOf(lines)
        expect([...sums.keys()]).toEqual([...new Set(lines.map((one) => one.productId))].toSorted())
        for (const [id, sum] of sums) {
          const wanted = lines.filter((one) => one.productId === id).map((one) => one.quantity)
          expect(sum).toBe(wanted.reduce((a, b) => a + b))
        }
      }),
      options,
    )
  })

  test('ask for nothing when there are none', () => {
    expect(quantitiesOf([]).size).toBe(0)
  })
})

describe('a product id', () => {
  test.each(['a', '7', 'SKU-1', 'a.b_c-d', 'x'.repeat(64)])('may be %s', (id) => {
    expect(PRODUCT_ID_PATTERN.test(id)).toBe(true)
  })
  test.each(['', '-a', '.a', '_a', 'a b', 'a\n', 'ä', 'a/b', "a'", 'x'.repeat(65)])('may not be %j', (id) => {
    expect(PRODUCT_ID_PATTERN.test(id)).toBe(false)
  })
})
