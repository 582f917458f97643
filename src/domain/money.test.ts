import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { count, seed } from '../../test/support/scale.ts'
import { formatFiat, formatUnits, MAX_COIN_UNITS, MAX_FIAT_MINOR, parseFiat, parseUnits } from './money.ts'

const options = { numRuns: count(2_000, 200_000), seed }
const minor = fc.bigInt({ min: 0n, max: MAX_FIAT_MINOR })
const units = fc.bigInt({ min: 0n, max: MAX_COIN_UNITS })

/** What looks like a number to some other reader. */
const NEVER = [
  '',
  ' ',
  '1e3',
  '1E3',
  '0x1',
  '0b1',
  '١',
  '１',
  '-0',
  '-1',
  '+1',
  ' 1',
  '1 ',
  '1\n',
  '1_000',
  '1,5',
  '00',
]
const NOT_MONEY = [...NEVER, '01', 'NaN', 'Infinity', 'null', "1'000", '1n', '½', '\u200b1', '1\u0000']

describe('fiat', () => {
  test('is read as it is written', () => {
    fc.assert(
      fc.property(minor, (amount) => {
        expect(parseFiat(formatFiat(amount))).toBe(amount)
      }),
      options,
    )
  })

  test.each([
    ['0', 0n],
    ['0.0', 0n],
    ['0.01', 1n],
    ['12.5', 1_250n],
    ['12.50', 1_250n],
    ['999999999999.99', MAX_FIAT_MINOR],
  ])('%s is %s minor units', (text, amount) => {
    expect(parseFiat(text)).toBe(amount)
  })

  test.each([...NOT_MONEY, '1.', '.5', '1.234', '1.5.0', '1000000000000', '1000000000000.00'])(
    '%j is refused',
    (text) => {
      expect(parseFiat(text)).toBeUndefined()
    },
  )
})

describe('coin amounts', () => {
  test('are read as they are written', () => {
    fc.assert(
      fc.property(units, (amount) => {
        expect(parseUnits(amount.toString())).toBe(amount)
      }),
      options,
    )
  })

  test('have at most 78 digits', () => {
    expect(parseUnits('9'.repeat(78))).toBe(MAX_COIN_UNITS)
    expect(parseUnits(`1${'0'.repeat(78)}`)).toBeUndefined()
    // The largest number of a 256-bit chain fits.
    expect(parseUnits((2n ** 256n - 1n).toString())).toBe(2n ** 256n - 1n)
  })

  test.each([...NOT_MONEY, '1.0', '0.1'])('%j is refused', (text) => {
    expect(parseUnits(text)).toBeUndefined()
  })

  test('are shown to people with every digit that counts and no other', () => {
    fc.assert(
      fc.property(units, fc.integer({ min: 1, max: 18 }), (amount, decimals) => {
        const shown = formatUnits(amount, decimals)
        const [whole = '', fraction = ''] = shown.split('.')
        expect(BigInt(whole + fraction.padEnd(decimals, '0'))).toBe(amount)
        expect(shown).toMatch(/^(0|[1-9]\d*)(\.\d*[1-9])?$/)
      }),
      options,
    )
  })

  test.each([
    [0n, 18, '0'],
    [1n, 18, '0.000000000000000001'],
    [1_500_000_000_000_000_000n, 18, '1.5'],
    [100_000_000n, 8, '1'],
    [7n, 0, '7'],
  ])('%s with %s decimals is %s', (amount, decimals, shown) => {
    expect(formatUnits(amount, decimals)).toBe(shown)
  })
})
