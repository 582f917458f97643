// Draws a run as an SVG chart: the headline figure of every system, and the ratios with their goals.

import type { Benchmark, Round } from './benchmark.ts'
import { spreadOf, type GoalResult, type Spread } from './statistics.ts'

const WIDTH = 720
const LABEL_WIDTH = 150
const BAR_WIDTH = 400
const ROW_HEIGHT = 34
const BAR_HEIGHT = 20
const TOP = 56

type Row = { label: string; spread: Spread; target?: number | undefined }

export function drawRun(
  benchmark: Benchmark,
  rounds: readonly Round[],
  ratios: Readonly<Record<string, Spread>>,
  goals: Readonly<Record<string, GoalResult>>,
): string {
  const rates = Object.keys(rounds[0] ?? {}).flatMap((system): Row[] => {
    const values = rounds.flatMap((round) => round[system]?.figures[benchmark.headline] ?? [])
    return values.length === 0 ? [] : [{ label: system, spread: spreadOf(values) }]
  })
  const targets = new Map(
    Object.entries(benchmark.goals).map(([name, { ratio }]) => [ratio, goals[name]?.target] as const),
  )
  const compared = Object.entries(ratios).map(([label, spread]) => ({ label, spread, target: targets.get(label) }))
  const below = TOP + rates.length * ROW_HEIGHT + 56
  const height = below + compared.length * ROW_HEIGHT + 16
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" ` +
      'font-family="system-ui, sans-serif" font-size="13" fill="#222">',
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(16, 26, escape(benchmark.question), 'font-size="16" font-weight="600"'),
    text(16, TOP - 8, `${escape(benchmark.headline)}: median, with the range of ${rounds.length} rounds`, MUTED),
    ...panel(rates, TOP),
    text(16, below - 8, 'ratios within a round; the line is the goal', MUTED),
    ...panel(compared, below),
    '</svg>',
    '',
  ].join('\n')
}

const MUTED = 'fill="#666"'

/** Logarithmic scale for each panel: the figures differ by orders of magnitude. */
function panel(rows: readonly Row[], top: number): string[] {
  const values = rows.flatMap(({ spread, target }) => [spread.min, spread.max, target ?? spread.median])
  const positive = values.filter((value) => value > 0)
  const low = 10 ** Math.floor(Math.log10(Math.min(...positive)))
  const high = Math.max(...positive)
  const at = (value: number): number =>
    LABEL_WIDTH + (BAR_WIDTH * Math.log(Math.max(value, low) / low)) / Math.max(1e-9, Math.log(high / low))
  return rows.flatMap(({ label, spread, target }, index) => {
    const y = top + index * ROW_HEIGHT
    const middle = y + BAR_HEIGHT / 2
    const isMet = target === undefined || spread.median >= target
    return [
      text(LABEL_WIDTH - 8, middle + 5, escape(label), 'text-anchor="end"'),
      `<rect x="${LABEL_WIDTH}" y="${y}" width="${round(at(spread.median) - LABEL_WIDTH)}" height="${BAR_HEIGHT}" fill="${isMet ? '#3b7dd8' : '#d8603b'}"/>`,
      line(at(spread.min), middle, at(spread.max), middle, '#123'),
      ...(target === undefined ? [] : [line(at(target), y - 4, at(target), y + BAR_HEIGHT + 4, '#111')]),
      text(LABEL_WIDTH + BAR_WIDTH + 12, middle + 5, captionOf(spread)),
    ]
  })
}

const captionOf = ({ median, min, max }: Spread): string => `${short(median)} (${short(min)}–${short(max)})`

const short = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3))
const round = (value: number): string => value.toFixed(1)
const escape = (words: string): string => words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
const text = (x: number, y: number, words: string, attributes = ''): string =>
  `<text x="${round(x)}" y="${round(y)}" ${attributes}>${words}</text>`
const line = (x1: number, y1: number, x2: number, y2: number, colour: string): string =>
  `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${colour}" stroke-width="2"/>`
