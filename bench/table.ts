// Formats a run as text tables.

import type { Benchmark, Round } from './benchmark.ts'
import { spreadOf, type GoalResult, type Spread } from './statistics.ts'

const digits = (value: number): string => {
  if (Number.isNaN(value)) return '–'
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}

export function formatRun(
  benchmark: Benchmark,
  rounds: readonly Round[],
  ratios: Readonly<Record<string, Spread>>,
  goals: Readonly<Record<string, GoalResult>>,
): string {
  const systems = Object.keys(rounds[0] ?? {})
  const figures = [...new Set(systems.flatMap((system) => Object.keys(rounds[0]?.[system]?.figures ?? {})))]
  const valueOf = (system: string, figure: string): string => {
    const values = rounds.flatMap((round) => round[system]?.figures[figure] ?? [])
    return values.length === 0 ? '' : digits(spreadOf(values).median)
  }
  return [
    `${benchmark.name}: ${benchmark.question}`,
    '',
    ...align([
      [`median of ${rounds.length} rounds`, ...systems],
      ...figures.map((figure) => [figure, ...systems.map((system) => valueOf(system, figure))]),
    ]),
    '',
    ...align([
      ['ratio, per round', 'median', 'min', 'max'],
      ...Object.entries(ratios).map(([name, { median, min, max }]) => [name, ...[median, min, max].map(digits)]),
    ]),
    '',
    ...align([
      ['goal', 'target', 'value', ''],
      ...Object.entries(goals).map(([name, { target, value, met }]) => [
        name,
        digits(target),
        digits(value),
        met ? 'met' : 'NOT MET',
      ]),
    ]),
  ].join('\n')
}

/** Columns as wide as their widest cell; the first to the left, the others to the right. */
function align(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}
