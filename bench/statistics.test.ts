import { expect, test } from '@jest/globals'
import type { Round } from './benchmark.ts'
import { goalsOf, percentile, ratiosOf, spreadOf } from './statistics.ts'

const roundOf = (ours: number, bare: number, errors = 0): Round => ({
  ours: { figures: { rate: ours }, errors, messages: [] },
  bare: { figures: { rate: bare }, errors: 0, messages: [] },
})
const rateOf = (round: Round, system: string): number => round[system]?.figures['rate'] ?? Number.NaN
const benchmark = {
  ratios: { share: (round: Round) => rateOf(round, 'ours') / rateOf(round, 'bare') },
  goals: { share: { ratio: 'share', atLeast: 0.75 } },
}

test('a percentile is a value that was measured', () => {
  const values = [5, 1, 4, 2, 3]
  expect(percentile(values, 0.5)).toBe(3)
  expect(percentile(values, 0.99)).toBe(5)
  expect(percentile([7], 0.5)).toBe(7)
  expect(percentile([], 0.5)).toBeNaN()
})

test('a spread has the middle of an even number of values between the two', () => {
  expect(spreadOf([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4 })
})

test('a ratio compares within rounds, so that a slow minute of the machine does not count', () => {
  const rounds = [roundOf(8, 10), roundOf(0.8, 1), roundOf(80, 100)]
  expect(ratiosOf(benchmark, rounds)['share']).toEqual({ median: 0.8, min: 0.8, max: 0.8 })
})

test('a goal is met by the median of its ratio, and a single error fails the run', () => {
  const rounds = [roundOf(8, 10), roundOf(5, 10, 1), roundOf(9, 10)]
  expect(goalsOf(benchmark, rounds, ratiosOf(benchmark, rounds))).toEqual({
    share: { target: 0.75, value: 0.8, met: true },
    errors: { target: 0, value: 1, met: false },
  })
})
