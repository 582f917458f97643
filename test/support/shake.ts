// What `npm run test:shake` runs, and what it says of it. A run is told in full by its stage, files, share of the CPU and
// seed, so that each can be repeated by itself.

import { createHash } from 'node:crypto'
import { relative } from 'node:path'
import type { JestResult, StageName } from './jest.ts'
import type { Share } from './cpu_load.ts'

/** The suite with all of the CPU; with a third of it; each integration file by itself, with either in turn. */
export const PASSES = ['whole', 'third', 'alone'] as const
export type Pass = (typeof PASSES)[number]

export type Run = { stage: StageName; paths: readonly string[]; share: Share; seed: number; isAlone: boolean }

export type Plan = {
  passes: readonly Pass[]
  /** Stages that have files, and these by their paths from the root. */
  files: ReadonlyMap<StageName, readonly string[]>
  /** Patterns of files that were asked for. */
  paths: readonly string[]
  times: number
  /** Of the first run; each one after it has the next. */
  seed: number
}

/** Jest takes seeds below this; negative ones too, but those look like options on a command line. */
export const SEEDS = 2 ** 31
const seedAt = (seed: number, at: number): number => (seed + at) % SEEDS

export function planRuns({ passes, files, paths, times, seed }: Plan): readonly Run[] {
  const runs: Omit<Run, 'seed'>[] = []
  for (const share of ['whole', 'third'] as const) {
    if (!passes.includes(share)) continue
    for (const stage of files.keys()) runs.push({ stage, paths, share, isAlone: false })
  }
  const alone = passes.includes('alone') ? (files.get('integration') ?? []) : []
  for (const path of alone)
    for (let time = 0; time < times; time += 1)
      runs.push({ stage: 'integration', paths: [path], share: time % 2 === 0 ? 'whole' : 'third', isAlone: true })
  return runs.map((run, at) => ({ ...run, seed: seedAt(seed, at) }))
}

/** The command that does a run again, alone. */
export const commandOf = ({ stage, paths, share, seed }: Run): string =>
  ['npm run test:shake --', ...paths, `--stage ${stage} --pass ${share} --seed ${seed}`].join(' ')

export const titleOf = ({ stage, paths, share, seed }: Run): string =>
  `${stage}${paths.map((path) => ` ${path}`).join('')}, ${share} CPU, seed ${seed}`

/** Names of what failed in a run: tests, files that could not be run, or jest itself. */
export function failuresIn(root: string, result: JestResult | undefined): readonly string[] {
  if (result === undefined) return ['jest ended without a result']
  return result.testResults.flatMap(({ name, status, assertionResults }) => {
    const path = relative(root, name)
    const tests = assertionResults.filter((test) => test.status === 'failed').map(({ fullName }) => fullName)
    if (status === 'failed' && tests.length === 0) return [`${path}: the file could not be run`]
    return tests.map((test) => `${path}: ${test}`)
  })
}

export type Outcome = { run: Run; failures: readonly string[] }

/** What failed at least once, most often first, each with a command for every run it failed in. */
export function reportOf(outcomes: readonly Outcome[]): string {
  const runsOf = new Map<string, Run[]>()
  for (const { run, failures } of outcomes)
    for (const failure of new Set(failures)) runsOf.set(failure, [...(runsOf.get(failure) ?? []), run])
  const lines = [...runsOf]
    .toSorted(([, one], [, other]) => other.length - one.length)
    .flatMap(([failure, runs]) => [`${runs.length}× ${failure}`, ...runs.map((run) => `   ${commandOf(run)}`)])
  return [...lines, `${outcomes.length} runs, ${runsOf.size} tests failed at least once`].join('\n')
}

/** In an order that the seed and the names decide, whatever order they came in. */
export function shuffled<T>(items: readonly T[], seed: number, nameOf: (item: T) => string): T[] {
  const placed = items.map((item) => ({
    item,
    place: createHash('sha256')
      .update(`${seed} ${nameOf(item)}`)
      .digest('hex'),
  }))
  return placed.toSorted((one, other) => (one.place < other.place ? -1 : 1)).map(({ item }) => item)
}
