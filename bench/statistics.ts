// Statistics for benchmark results: medians and percentiles, never means; ratios only within one round.

import type { Benchmark, Round } from './benchmark.ts'

export type Spread = { median: number; min: number; max: number }

/** By nearest rank; NaN of nothing. @param share 0.99 for p99 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

/** The middle value, or the mean of the middle two. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const [low, high] = [Math.floor((sorted.length - 1) / 2), Math.ceil((sorted.length - 1) / 2)]
  const at = (index: number): number => sorted[index] ?? Number.NaN
  return { median: (at(low) + at(high)) / 2, min: at(0), max: at(sorted.length - 1) }
}

/** Each ratio computed within its round, then its median and spread over the rounds. */
export const ratiosOf = (benchmark: Pick<Benchmark, 'ratios'>, rounds: readonly Round[]): Record<string, Spread> =>
  Object.fromEntries(Object.entries(benchmark.ratios).map(([name, ratio]) => [name, spreadOf(rounds.map(ratio))]))

export type GoalResult = { target: number; value: number; met: boolean }

/** The benchmark's goals, and the one that all benchmarks have: no errors. */
export function goalsOf(
  benchmark: Pick<Benchmark, 'goals'>,
  rounds: readonly Round[],
  ratios: Readonly<Record<string, Spread>>,
): Record<string, GoalResult> {
  const errors = rounds.flatMap((round) => Object.values(round)).reduce((sum, { errors: count }) => sum + count, 0)
  const goals = Object.entries(benchmark.goals).map(([name, { ratio, atLeast }]): [string, GoalResult] => {
    const value = ratios[ratio]?.median ?? Number.NaN
    return [name, { target: atLeast, value, met: value >= atLeast }]
  })
  return { ...Object.fromEntries(goals), errors: { target: 0, value: errors, met: errors === 0 } }
}
