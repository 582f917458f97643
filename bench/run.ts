// `npm run bench -- NAME [--rounds N] [--seconds N] [--json] [--smoke] [--out DIR]`: measures the systems of one
// benchmark in alternating order, A B C … C B A, so that a slow minute affects all of them, and compares them within
// each round. Exit code 0 only if every goal is met; with --smoke, if everything ran without an error.

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Benchmark, Measurement, Opened, Round } from './benchmark.ts'
import { describeEnvironment } from './environment.ts'
import { drawRun } from './picture.ts'
import { goalsOf, ratiosOf } from './statistics.ts'
import { formatRun } from './table.ts'

const BENCHMARKS: Readonly<Record<string, () => Promise<Benchmark>>> = {
  'order-flow': async () => (await import('./order_flow.ts')).orderFlow,
  front: async () => (await import('./front.ts')).front,
  overload: async () => (await import('./overload.ts')).overload,
  payments: async () => (await import('./payments.ts')).payments,
  stock: async () => (await import('./stock.ts')).stock,
}

const DEFAULT_OUT = fileURLToPath(new URL('../.data/bench', import.meta.url))
const SMOKE = { rounds: 1, seconds: 2 } as const
/** Above this share, other processes' work shows in the figures. */
const QUIET_SHARE = 0.07

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '20' },
    json: { type: 'boolean', default: false },
    smoke: { type: 'boolean', default: false },
    out: { type: 'string', default: DEFAULT_OUT },
  },
})
const load = BENCHMARKS[positionals[0] ?? '']
if (load === undefined || positionals.length !== 1) {
  console.error(`usage: npm run bench -- NAME [--rounds N] [--seconds N] [--json] [--smoke] [--out DIR]
NAME is one of ${Object.keys(BENCHMARKS).join(', ')}`)
  process.exit(2)
}
const rounds = given.smoke ? SMOKE.rounds : positive('rounds', given.rounds)
const seconds = given.smoke ? SMOKE.seconds : positive('seconds', given.seconds)

const benchmark = await load()
const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-bench-'))
const log = (line: string): void => console.error(line)
let opened: Opened | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void stop(130))

try {
  const machine = await describeEnvironment(dataDir)
  opened = await benchmark.open({ seconds, isSmoke: given.smoke, dataDir, log })
  for (const { name, about } of opened.systems) log(`  ${name}: ${about}`)
  const measured = await measureRounds(opened)
  await report({ ...machine, ...opened.facts, seconds }, measured)
} catch (error) {
  console.error(error)
  process.exitCode = 1
}
await stop()

async function measureRounds({ systems }: Opened): Promise<Round[]> {
  const measured: Round[] = []
  for (let number = 1; number <= rounds; number += 1) {
    const found: Record<string, Measurement> = {}
    for (const system of number % 2 === 1 ? systems : systems.toReversed()) {
      const measurement = await system.measure()
      found[system.name] = measurement
      log(`round ${number} of ${rounds}, ${system.name}: ${summaryOf(measurement)}`)
    }
    // In the benchmark's order, not in the order of this round.
    measured.push(Object.fromEntries(systems.map(({ name }) => [name, found[name] ?? missing(name)])))
  }
  return measured
}

function summaryOf({ figures, errors, messages }: Measurement): string {
  const foreign = figures['foreign CPU share'] ?? 0
  const shown = benchmark.headline in figures ? benchmark.headline : (Object.keys(figures)[0] ?? benchmark.headline)
  return [
    `${(figures[shown] ?? Number.NaN).toFixed(1)} ${shown}`,
    ...(foreign > QUIET_SHARE ? [`${Math.round(foreign * 100)} % of the machine was busy with something else`] : []),
    ...(errors > 0 ? [`${errors} errors, such as: ${messages[0]}`] : []),
  ].join('; ')
}

async function report(environment: Record<string, string | number>, measured: readonly Round[]): Promise<void> {
  const ratios = ratiosOf(benchmark, measured)
  const goals = goalsOf(benchmark, measured, ratios)
  const result = { benchmark: benchmark.name, environment, rounds: measured, ratios, goals }
  await mkdir(given.out, { recursive: true })
  const path = join(given.out, benchmark.name)
  await writeFile(`${path}.json`, `${JSON.stringify(result, undefined, 2)}\n`)
  await writeFile(`${path}.svg`, drawRun(benchmark, measured, ratios, goals))
  console.log(given.json ? JSON.stringify(result, undefined, 2) : `\n${formatRun(benchmark, measured, ratios, goals)}`)
  log(`\nwritten to ${path}.json and ${path}.svg`)
  const isGood = given.smoke ? goals['errors']?.met === true : Object.values(goals).every(({ met }) => met)
  process.exitCode = isGood ? 0 : 1
}

async function stop(exitCode?: number): Promise<void> {
  await opened?.close()
  opened = undefined
  await rm(dataDir, { recursive: true, force: true })
  if (exitCode !== undefined) process.exit(exitCode)
}

function positive(name: string, words: string): number {
  const value = Number(words)
  if (Number.isInteger(value) && value > 0) return value
  throw new RangeError(`--${name} must be a whole number above 0`)
}

function missing(name: string): never {
  throw new Error(`${name} was not measured`)
}
