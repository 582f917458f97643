// The runs of `npm run test:shake` and their report. Stage, files, CPU share and seed define a run completely, so each
// run can be repeated alone.

import { createHash } from 'node:crypto'
import { relative } from 'node:path'
import type { JestResult, StageName } from './jest.ts'
import type { Share } from './cpu_load.ts'

/** The suite with all of the CPU; with a third of it; each integration file alone, alternating between the two. */
export const PASSES = ['whole', 'third', 'alone'] as const
export type Pass = (typeof PASSES)[number]

export type Run = { stage: StageName; paths: readonly string[]; share: Share; seed: number; isAlone: boolean }

export type Plan = {
  passes: readonly Pass[]
  /** Stages that have files, with the files' paths from the root. */
  files: ReadonlyMap<StageName, readonly string[]>
  /** File patterns given on the command line. */
  paths: readonly string[]
  times: number
  /** Seed of the first run; each later run uses the next number. */
  seed: number
}

/** Jest accepts seeds below this. Negative ones too, but those look like options on a command line. */
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

/** The command that repeats one run. */
export const commandOf = ({ stage, paths, share, seed }: Run): string =>
  ['npm run test:shake --', ...paths, `--stage ${stage} --pass ${share} --seed ${seed}`].join(' ')

export const titleOf = ({ stage, paths, share, seed }: Run): string =>
  `${stage}${paths.map((path) => ` ${path}`).join('')}, ${share} CPU, seed ${seed}`

/** Names of the failures of a run: tests, files that could not run, or jest itself. */
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

/** Failures by frequency, each with a command for every run it occurred in. */
export function reportOf(outcomes: readonly Outcome[]): string {
  const runsOf = new Map<string, Run[]>()
  for (const { run, failures } of outcomes)
    for (const failure of new Set(failures)) runsOf.set(failure, [...(runsOf.get(failure) ?? []), run])
  const lines = [...runsOf]
    .toSorted(([, one], [, other]) => other.length - one.length)
    .flatMap(([failure, runs]) => [`${runs.length}× ${failure}`, ...runs.map((run) => `   ${commandOf(run)}`)])
  return [...lines, `${outcomes.length} runs, ${runsOf.size} tests failed at least once`].join('\n')
}

/** The items in an order that depends only on the seed and the names. */
export function shuffled<T>(items: readonly T[], seed: number, nameOf: (item: T) => string): T[] {
  const placed = items.map((item) => ({
    item,
    place: createHash('sha256')
      .update(`${seed} ${nameOf(item)}`)
      .digest('hex'),
  }))
  return placed.toSorted((one, other) => (one.place < other.place ? -1 : 1)).map(({ item }) => item)
}
