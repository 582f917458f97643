import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { z } from 'zod'
import { ASSETS, type Asset } from '../domain/payment.ts'
import { fiat, instant, listOf, productId } from './field.ts'
import { PAYMENT_REPORT } from './report.ts'

describe('an amount of a coin', () => {
  const TX_IDS = { BTC: 'a'.repeat(64), LTC: 'a'.repeat(64), ETH: `0x${'a'.repeat(64)}`, SOL: '1'.repeat(64) } as const
  const takes = (asset: Asset, units: string): boolean =>
    PAYMENT_REPORT.safeParse({
      source: 'watcher-1',
      network: 'ethereum',
      observations: [
        {
          ...{
            reportId: 'a'.repeat(64),
            asset,
            txId: TX_IDS[asset],
            outputIndex: 0,
            seq: 1,
            state: 1,
            address: 'a',
            units,
          },
          ...{ blockHeight: undefined, blockHash: undefined, depth: 0, firstSeenAt: new Date(0) },
        },
      ],
    }).success

  test.each([
    '1e3',
    '0x1',
    '١',
    '1.123456789',
    '-1',
    '-0',
    '0',
    'NaN',
    '+1',
    ' 1',
    '1 ',
    '01',
    '',
    `1${'0'.repeat(40)}`,
  ])('%j is refused in every asset', (units) => {
    expect(ASSETS.filter((asset) => takes(asset, units))).toEqual([])
  })

  test.each<[Asset, bigint]>([
    ['BTC', 2_100_000_000_000_000n],
    ['LTC', 8_400_000_000_000_000n],
    ['ETH', 10n ** 27n],
    ['SOL', 2n ** 64n - 1n],
  ])('of %s is 1 to %s', (asset, most) => {
    expect([0n, 1n, most, most + 1n].map((units) => takes(asset, String(units)))).toEqual([false, true, true, false])
  })

  test('is taken in one spelling only', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: fc.constantFrom(...'0123456789.-+e_ '.split('')) }), fc.string()),
        (units) => {
          const isCanonical = /^[1-9][0-9]*$/.test(units) && BigInt(units) <= 10n ** 27n
          expect(takes('ETH', units)).toBe(isCanonical)
        },
      ),
      { numRuns: 1_000 },
    )
  })
})

test.each([
  '1e3',
  '0x1',
  '١',
  '1.234',
  '-1',
  '-0',
  'NaN',
  '+1',
  ' 1',
  '1 ',
  '01',
  '',
  '1.',
  '.5',
  '1,5',
  `1${'0'.repeat(40)}`,
])('the price %j is refused', (price) => {
  const { success, error } = fiat.safeParse(price)
  expect(success).toBe(false)
  // Names every bound: a price that is only too long is told that.
  expect(error?.issues[0]?.message).toBe('must be a plain decimal number with at most 12 digits and two places')
})

test.each([
  ['-004714-11-23T00:00:00Z', false],
  ['0000-12-31T23:59:59.999Z', false],
  ['0001-01-01T00:00:00Z', true],
  ['1969-12-31T23:59:59.999Z', true],
  ['9999-12-31T23:59:59.999Z', true],
  ['+010000-01-01T00:00:00Z', false],
  ['not a time', false],
])('the time %s: %s', (time, isTaken) => {
  expect(instant.safeParse(new Date(time)).success).toBe(isTaken)
})

test('the length of a list is checked before its entries', () => {
  let looked = 0
  const entry = z.string().refine(() => (looked += 1) > 0)
  const list = listOf(entry, 3)
  expect(list.safeParse(['a', 'b', 'c', 'd']).error?.issues.map(({ message }) => message)).toEqual([
    'must have 1 to 3 entries',
  ])
  expect(list.safeParse([]).success).toBe(false)
  expect(looked).toBe(0)
  expect(list.safeParse(['a', 'b', 'c']).data).toEqual(['a', 'b', 'c'])
  expect(listOf(productId, 3).safeParse(['tea', '']).error?.issues[0]?.path).toEqual([1])
})
