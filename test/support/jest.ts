// The stages of tests and the one way to run jest on them: once each for `npm test`, often and otherwise for
// `npm run test:shake`.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { ROOT } from './source.ts'

const JEST = join(ROOT, 'node_modules/jest/bin/jest.js')
const LONGEST_FIRST = join(ROOT, 'test/support/sequencer.mjs')
const MINUTE_MS = 60_000
/** A list of names alone, however many tests there are. */
const MAX_LISTING_BYTES = 10_000_000

/** In this order: what is cheap to find comes first. Names are those of jest.config.js; an e2e test brings a stack of its own. */
export const STAGES = [
  { name: 'unit', workers: 2, withinMs: 15 * MINUTE_MS, fullWithinMs: 60 * MINUTE_MS },
  { name: 'integration', workers: 3, withinMs: 60 * MINUTE_MS, fullWithinMs: 180 * MINUTE_MS },
  { name: 'replay', workers: 1, withinMs: 15 * MINUTE_MS, fullWithinMs: 30 * MINUTE_MS },
  { name: 'e2e', workers: 2, withinMs: 60 * MINUTE_MS, fullWithinMs: 180 * MINUTE_MS },
] as const
export type Stage = (typeof STAGES)[number]
export type StageName = Stage['name']

/** The stage of this name, or all of them. @throws {Error} that names them, when there is none of that name */
export function stagesOf(name: string | undefined): readonly Stage[] {
  const stages = STAGES.filter((stage) => name === undefined || stage.name === name)
  if (stages.length === 0) throw new Error(`--stage is one of ${STAGES.map((stage) => stage.name).join(', ')}`)
  return stages
}

export type Tally = { passed: number; failed: number; skipped: number }
/** The part of jest's own result that is read here. */
export type JestResult = Record<
  'numPassedTests' | 'numFailedTests' | 'numRuntimeErrorTestSuites' | 'numPendingTests' | 'numTodoTests',
  number
> & {
  testResults: {
    /** The file's path. */
    name: string
    /** Clock times in milliseconds, from the loading of the file to its last test. */
    startTime: number
    endTime: number
    status: string
    assertionResults: { fullName: string; status: string }[]
  }[]
}

/** A suite that cannot even be loaded counts as one failure, and so does a jest that ended without a result. */
export const tallyOf = (result: JestResult | undefined): Tally =>
  result === undefined
    ? { passed: 0, failed: 1, skipped: 0 }
    : {
        passed: result.numPassedTests,
        failed: result.numFailedTests + result.numRuntimeErrorTestSuites,
        skipped: result.numPendingTests + result.numTodoTests,
      }

const SHOWN_FILES = 10

/** Where the time of a stage went: one line in all, then its slowest files. */
export function timesOf(root: string, stage: StageName, ms: number, result: JestResult | undefined): string {
  const seconds = (time: number): string => `${(time / 1_000).toFixed(1)} s`
  const files = (result?.testResults ?? [])
    .map(({ name, startTime, endTime }) => ({ path: relative(root, name), ms: endTime - startTime }))
    .toSorted((a, b) => b.ms - a.ms)
  const sum = files.reduce((total, file) => total + file.ms, 0)
  return [
    `${stage} tests took ${seconds(ms)}: ${files.length} files of ${seconds(sum)} in all, the slowest of them`,
    ...files.slice(0, SHOWN_FILES).map((file) => `${seconds(file.ms).padStart(9)}  ${file.path}`),
  ].join('\n')
}

export type JestRun = {
  stage: StageName
  /** Patterns of files; none: all of the stage. */
  paths: readonly string[]
  workers: number
  withinMs: number
  /** A file: which order the test files come in. The longest first, unless given. */
  sequencer?: string
  args?: readonly string[]
  /** What jest says is shown only where something fails. */
  isQuiet?: boolean
}

export type Jest = {
  /** Files of a stage, as absolute paths. */
  list: (stage: StageName, paths: readonly string[]) => Promise<string[]>
  /** @returns undefined where jest ended without a result, as when its time is over */
  run: (run: JestRun) => Promise<JestResult | undefined>
  /** Ends what runs. */
  stop: () => void
  /** Removes what results were written to. */
  close: () => Promise<void>
}

/** @param variables for the tests, besides those of this process */
export async function openJest(variables: Readonly<Record<string, string>> = {}): Promise<Jest> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-run-'))
  let running: ChildProcess | undefined
  let runs = 0
  // At the time of the run: the servers make themselves known there.
  const environment = (): NodeJS.ProcessEnv => ({
    ...process.env,
    NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning',
    ...variables,
  })
  const argumentsOf = (stage: StageName, paths: readonly string[]): string[] => [
    ...[JEST, '--ci', '--selectProjects', stage],
    ...['--testPathPatterns', ...(paths.length > 0 ? paths : ['.'])],
  ]
  return {
    list: async (stage, paths) => {
      const listing = [...argumentsOf(stage, paths), '--listTests', '--json']
      const options = { cwd: ROOT, env: environment(), maxBuffer: MAX_LISTING_BYTES }
      const { stdout } = await promisify(execFile)(process.execPath, listing, options)
      return JSON.parse(stdout) as string[]
    },
    run: async ({ stage, paths, workers, withinMs, sequencer = LONGEST_FIRST, args = [], isQuiet = false }) => {
      const outputFile = join(folder, `${(runs += 1)}.json`)
      const how = [`--maxWorkers=${workers}`, `--testSequencer=${sequencer}`]
      const child = spawn(
        process.execPath,
        [...argumentsOf(stage, paths), ...how, ...args, '--json', `--outputFile=${outputFile}`],
        {
          cwd: ROOT,
          env: environment(),
          stdio: ['ignore', 'ignore', isQuiet ? 'pipe' : 'inherit'],
          timeout: withinMs,
        },
      )
      running = child
      const [said] = await Promise.all([child.stderr === null ? '' : text(child.stderr), once(child, 'exit')])
      running = undefined
      const json = await readFile(outputFile, 'utf8').catch(() => undefined)
      const result = json === undefined ? undefined : (JSON.parse(json) as JestResult)
      if (tallyOf(result).failed > 0) process.stderr.write(said)
      if (result === undefined) process.stderr.write(`the ${stage} tests ended without a result\n`)
      return result
    },
    stop: () => void running?.kill('SIGTERM'),
    close: () => rm(folder, { recursive: true }),
  }
}
