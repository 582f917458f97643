import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { count, seed } from '../../test/support/scale.ts'
import {
  currentRate,
  judgeRate,
  medianOf,
  NO_RATE,
  parsePrice,
  parseRateSources,
  RATE_SOURCES,
  spreadOf,
  type RateRules,
  type RateState,
  type SourcePrice,
} from './rate.ts'

const options = { numRuns: count(2_000, 100_000), seed }
const RULES: RateRules = {
  leastSources: 2,
  maxAgeMs: 120_000,
  maxSpreadBps: 100n,
  maxJumpBps: 1_000n,
  jumpHoldMs: 600_000,
}
const SCALE = 10n ** 18n

const price = (text: string, readAtMs = 0, source: SourcePrice['source'] = 'kraken'): SourcePrice => ({
  ...{ source, text, readAtMs, readAt: new Date(readAtMs) },
  price: parsePrice(text) ?? 0n,
})
/** One price of each source, read at the same time. */
const prices = (texts: readonly string[], readAtMs = 0): SourcePrice[] =>
  texts.map((text, at) => price(text, readAtMs, RATE_SOURCES[at] ?? 'kraken'))
const judge = (texts: readonly string[], nowMs = 0, state: RateState = NO_RATE, rules = RULES) =>
  judgeRate(state, prices(texts, nowMs), nowMs, rules)
const accepted = (texts: readonly string[], nowMs = 0): RateState => judge(texts, nowMs).state

describe('a price', () => {
  test.each([
    ['2512.34', 2_512_340_000_000_000_000_000n],
    ['0.01', 10_000_000_000_000_000n],
    ['2512.340000000000000001', 2_512_340_000_000_000_000_001n],
    ['7', 7n * SCALE],
  ])('of %s is read exactly', (text, exact) => {
    expect(parsePrice(text)).toBe(exact)
  })

  test.each([
    '',
    ' 1',
    '1 ',
    '-1',
    '+1',
    '1e3',
    '01',
    '.5',
    '1.',
    '1,5',
    'NaN',
    '0',
    '0.009',
    '1000000000000',
    '1.1234567890123456789',
    '١',
  ])('of «%s» is refused', (text) => {
    expect(parsePrice(text)).toBeUndefined()
  })

  test('is read as it is written', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 10n ** 16n, max: 10n ** 30n - 1n }), (scaled) => {
        const digits = scaled.toString().padStart(19, '0')
        expect(parsePrice(`${digits.slice(0, -18)}.${digits.slice(-18)}`)).toBe(
          scaled > 99_999_999_999_999n * 10n ** 16n ? undefined : scaled,
        )
      }),
      options,
    )
  })
})

describe('the median', () => {
  test('has as many values above it as below it, in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 1n, max: 10n ** 30n }), { minLength: 1, maxLength: 9 }), (values) => {
        const middle = medianOf(values)
        expect(medianOf(values.toReversed())).toBe(middle)
        const below = values.filter((value) => value < middle).length
        const above = values.filter((value) => value > middle).length
        expect(Math.max(below, above)).toBeLessThanOrEqual(values.length / 2)
      }),
      options,
    )
  })

  test('of two is their mean, rounded down', () => {
    expect(medianOf([4n, 1n])).toBe(2n)
  })

  test('of three ignores how far one of them is away', () => {
    expect(medianOf([5n, 10n ** 30n, 4n])).toBe(5n)
  })
})

test('the spread is the largest difference, in parts of the median', () => {
  expect(spreadOf([99n * SCALE, 100n * SCALE, 101n * SCALE])).toBe(200n)
  expect(spreadOf([SCALE])).toBe(0n)
})

describe('a rate', () => {
  test('is the median of its sources, rounded down to a cent', () => {
    const { state, refusal } = judge(['2000.019', '2000.018', '2001'])
    expect(refusal).toBeUndefined()
    expect(state.accepted?.rateMinor).toBe(200_001n)
  })

  test('never makes the amount due smaller than the median itself does', () => {
    const cents = fc.bigInt({ min: 100_000n, max: 101_000n })
    fc.assert(
      fc.property(fc.array(cents, { minLength: 2, maxLength: 3 }), (values) => {
        const { state } = judge(values.map((value) => `${value / 100n}.${(value % 100n).toString().padStart(2, '0')}7`))
        const exact = medianOf(state.accepted?.prices.map((each) => each.price) ?? [])
        expect((state.accepted?.rateMinor ?? 0n) * 10n ** 16n).toBeLessThanOrEqual(exact)
      }),
      options,
    )
  })

  test('is not made of one source, unless the configuration says so', () => {
    expect(judge(['2000'])).toEqual({ state: NO_RATE, refusal: 'sources' })
    expect(judge(['2000'], 0, NO_RATE, { ...RULES, leastSources: 1 }).state.accepted?.rateMinor).toBe(200_000n)
  })

  test('leaves out a source that is far from the others', () => {
    const { state, refusal } = judge(['2000', '1', '2002'])
    expect(refusal).toBeUndefined()
    expect(state.accepted).toMatchObject({ rateMinor: 200_100n, prices: [{ text: '2000' }, { text: '2002' }] })
  })

  test('is refused while two sources disagree, since neither is known to be right', () => {
    expect(judge(['2000', '2100']).refusal).toBe('spread')
    expect(judge(['2000', '2040']).refusal).toBeUndefined()
    expect(judge(['2000', '2041']).refusal).toBe('spread')
  })

  test('lies between honest prices, whatever one of three sources says', () => {
    const honest = fc.bigInt({ min: 200_000n, max: 200_900n })
    fc.assert(
      fc.property(honest, honest, fc.bigInt({ min: 1n, max: 10n ** 13n }), (one, other, lie) => {
        const text = (cents: bigint): string => `${cents / 100n}.${(cents % 100n).toString().padStart(2, '0')}`
        const { state } = judge([text(one), text(lie), text(other)])
        if (state.accepted === undefined) return
        // Of the honest ones and a lie that agrees with them, the median is never outside of what agrees.
        const least = one < other ? one : other
        const most = one > other ? one : other
        expect(state.accepted.rateMinor >= least - least / 50n && state.accepted.rateMinor <= most + most / 50n).toBe(
          true,
        )
      }),
      options,
    )
  })

  test('counts no price that is too old', () => {
    const old = price('2000', 0, 'kraken')
    const fresh = price('2001', 120_001, 'coinbase')
    expect(judgeRate(NO_RATE, [old, fresh], 120_000, RULES).refusal).toBeUndefined()
    expect(judgeRate(NO_RATE, [old, fresh], 120_001, RULES).refusal).toBe('sources')
  })

  test('ends with the age of its oldest price', () => {
    const state = judgeRate(NO_RATE, [price('2000', 0), price('2001', 50_000, 'coinbase')], 50_000, RULES).state
    expect(currentRate(state, 120_000, RULES)?.rateMinor).toBe(200_050n)
    expect(currentRate(state, 120_001, RULES)).toBeUndefined()
  })

  test('outlives a turn in which its sources are silent, until it is too old', () => {
    const before = accepted(['2000', '2001'])
    const { state, refusal } = judgeRate(before, [], 60_000, RULES)
    expect(refusal).toBe('sources')
    expect(currentRate(state, 60_000, RULES)?.rateMinor).toBe(200_050n)
  })
})

describe('a jump', () => {
  const start = accepted(['2000', '2000'])

  test.each([
    ['2200', undefined],
    ['1800', undefined],
    ['2200.01', 'jump'],
    ['1799.99', 'jump'],
  ])('to %s is judged by the last accepted rate', (text, refusal) => {
    expect(judge([text, text], 20_000, start).refusal).toBe(refusal)
  })

  test('leaves no rate at once: neither the old one nor the new one', () => {
    const { state } = judge(['3000', '3000'], 20_000, start)
    expect(currentRate(state, 20_000, RULES)).toBeUndefined()
  })

  test('that is over leaves the rate as it was', () => {
    const { state } = judge(['3000', '3000'], 20_000, start)
    const after = judge(['2010', '2010'], 40_000, state)
    expect(after.refusal).toBeUndefined()
    expect(currentRate(after.state, 40_000, RULES)?.rateMinor).toBe(201_000n)
  })

  test('that lasts is accepted, and not a moment before', () => {
    const first = judge(['3000', '3000'], 20_000, start).state
    expect(judge(['3100', '3100'], 619_999, first).refusal).toBe('jump')
    const { state, refusal } = judge(['3100', '3100'], 620_000, first)
    expect(refusal).toBeUndefined()
    expect(currentRate(state, 620_000, RULES)?.rateMinor).toBe(310_000n)
  })

  test('to another level begins again', () => {
    const first = judge(['3000', '3000'], 20_000, start).state
    const second = judge(['9000', '9000'], 610_000, first).state
    expect(judge(['9000', '9000'], 1_209_999, second).refusal).toBe('jump')
    expect(judge(['9000', '9000'], 1_210_000, second).refusal).toBeUndefined()
  })

  test('is never larger than the limit from one accepted rate to the next within the time it must last', () => {
    const step = fc.record({
      afterMs: fc.integer({ min: 1, max: 300_000 }),
      cents: fc.bigInt({ min: 100n, max: 10n ** 6n }),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 30 }), (steps) => {
        let state = NO_RATE
        let nowMs = 0
        let acceptedAtMs = 0
        for (const { afterMs, cents } of steps) {
          nowMs += afterMs
          const text = `${cents / 100n}.${(cents % 100n).toString().padStart(2, '0')}`
          const next = judge([text, text], nowMs, state).state
          const [from, to] = [state.accepted, next.accepted]
          if (to !== from && to !== undefined) {
            const limit = from === undefined ? undefined : (from.rateMinor * RULES.maxJumpBps) / 10_000n
            const isSmall =
              from === undefined ||
              (to.rateMinor <= from.rateMinor + (limit ?? 0n) && to.rateMinor >= from.rateMinor - (limit ?? 0n) - 1n)
            expect(isSmall || nowMs - acceptedAtMs >= RULES.jumpHoldMs).toBe(true)
            acceptedAtMs = nowMs
          }
          state = next
        }
      }),
      options,
    )
  })
})

describe('a list of sources', () => {
  test('has names, and URLs in their place', () => {
    expect(parseRateSources('')).toEqual([])
    expect(parseRateSources('kraken, coinbase=https://mirror.example/coinbase')).toEqual([
      { name: 'kraken', base: undefined },
      { name: 'coinbase', base: 'https://mirror.example/coinbase' },
    ])
  })

  test.each([
    'binance',
    'kraken,kraken',
    'kraken=',
    'kraken=ftp://x.example',
    'kraken=https://user:secret@x.example',
    'kraken=https://x.example/?key=1',
    'kraken=https://x.example/#1',
  ])('%s is refused', (list) => {
    expect(parseRateSources(list)).toBeUndefined()
  })
})
