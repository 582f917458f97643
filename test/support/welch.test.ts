import { describe, expect, test } from '@jest/globals'
import { randomOf } from './scale.ts'
import { compareTimings, T_LIMIT, welchT } from './welch.ts'

const SAMPLES = 20_000
/** Times of calls in microseconds: a floor, noise, and now and then a pause. */
function drawTimes(name: string, floor: number, count = SAMPLES): number[] {
  const random = randomOf(name)
  return Array.from({ length: count }, () => floor - 20 * Math.log(1 - random()) + (random() < 0.001 ? 5_000 : 0))
}

test('t is the difference of the means in standard errors', () => {
  // Means 2 and 5, variances 1 and 4, three values each.
  expect(welchT([1, 2, 3], [3, 5, 7])).toBeCloseTo(-3 / Math.sqrt(1 / 3 + 4 / 3))
  expect(welchT([3, 5, 7], [1, 2, 3])).toBeGreaterThan(0)
  expect(welchT([4, 4], [4, 4])).toBe(0)
})

describe('two samples', () => {
  test('of one distribution are no leak, pauses included', () => {
    const verdict = compareTimings(drawTimes('one', 100), drawTimes('other', 100))
    expect(verdict.isLeak).toBe(false)
    expect(Math.abs(verdict.t)).toBeLessThan(T_LIMIT)
  })

  test('that differ by a twentieth are a leak, whichever is slower', () => {
    expect(compareTimings(drawTimes('one', 100), drawTimes('other', 105)).isLeak).toBe(true)
    expect(compareTimings(drawTimes('one', 105), drawTimes('other', 100)).isLeak).toBe(true)
  })

  test('that differ significantly, but by less than a fiftieth, are none', () => {
    const verdict = compareTimings(drawTimes('one', 1_000), drawTimes('other', 1_002))
    expect(Math.abs(verdict.t)).toBeGreaterThan(T_LIMIT)
    expect(verdict).toMatchObject({ isLeak: false })
  })

  test('that differ much by chance, being few, are none', () => {
    expect(compareTimings(drawTimes('one', 100, 5), drawTimes('other', 105, 5)).isLeak).toBe(false)
  })

  test('of one value each are refused', () => {
    expect(() => compareTimings([1], [2])).toThrow(RangeError)
  })
})
