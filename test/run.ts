// `npm test`: every stage of tests on one set of servers, and one last line `N passed, N failed, N skipped`.
// npm test -- [PATH...] [--stage NAME] [--full] [--seed N] [--check: what CI looks at besides]

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { BENCHMARKS, CHECKS, runSteps } from './support/check.ts'
import { startTestServers } from './support/servers.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const JEST = join(ROOT, 'node_modules/jest/bin/jest.js')
const MINUTE_MS = 60_000

/** In this order: what is cheap to find comes first. Names are those of jest.config.js; e2e has the machine to itself. */
const STAGES = [
  { name: 'unit', workers: 2, withinMs: 5 * MINUTE_MS, fullWithinMs: 60 * MINUTE_MS },
  { name: 'integration', workers: 2, withinMs: 15 * MINUTE_MS, fullWithinMs: 180 * MINUTE_MS },
  { name: 'replay', workers: 1, withinMs: 5 * MINUTE_MS, fullWithinMs: 30 * MINUTE_MS },
  { name: 'e2e', workers: 1, withinMs: 20 * MINUTE_MS, fullWithinMs: 180 * MINUTE_MS },
] as const
type Stage = (typeof STAGES)[number]

type Tally = { passed: number; failed: number; skipped: number }
/** The part of jest's own result that is read here. */
type JestResult = Record<
  'numPassedTests' | 'numFailedTests' | 'numRuntimeErrorTestSuites' | 'numPendingTests' | 'numTodoTests',
  number
>

const { values: options, positionals: paths } = parseArgs({
  allowPositionals: true,
  options: {
    stage: { type: 'string' },
    full: { type: 'boolean', default: false },
    seed: { type: 'string' },
    check: { type: 'boolean', default: false },
  },
})
const stages = STAGES.filter(({ name }) => options.stage === undefined || options.stage === name)
const isWhole = options.stage === undefined && paths.length === 0
if (stages.length === 0) throw new Error(`--stage is one of ${STAGES.map(({ name }) => name).join(', ')}`)

let running: ChildProcess | undefined
const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    stopping.abort()
    running?.kill('SIGTERM')
  })
}

const total: Tally = { passed: 0, failed: 0, skipped: 0 }
const add = (tally: Tally): void => {
  for (const key of ['passed', 'failed', 'skipped'] as const) total[key] += tally[key]
}
let stopServers: (() => Promise<void>) | undefined
const temporaryDir = await mkdtemp(join(tmpdir(), 'holdfast-run-'))
try {
  if (options.check) add(await runSteps(ROOT, CHECKS, stopping.signal))
  for (const stage of stages) {
    if (stopping.signal.aborted || !(await hasTests(stage))) continue
    if (stage.name !== 'unit') stopServers ??= await startTestServers()
    add(await runStage(stage))
  }
  // They need the machine, and have servers of their own.
  await stopServers?.()
  stopServers = undefined
  if (options.check && isWhole) add(await runSteps(ROOT, BENCHMARKS, stopping.signal))
} catch (error) {
  console.error(error)
  total.failed += 1
} finally {
  await stopServers?.()
  await rm(temporaryDir, { recursive: true })
}

const isGood = !stopping.signal.aborted && total.failed === 0 && total.passed > 0
if (total.passed + total.failed + total.skipped === 0) console.error('no test matches')
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = isGood ? 0 : 1

function argumentsOf(stage: Stage): string[] {
  return [JEST, '--ci', '--selectProjects', stage.name, '--testPathPatterns', ...(paths.length > 0 ? paths : ['.'])]
}

function environment(): NodeJS.ProcessEnv {
  return {
    ...process.env,
    NODE_OPTIONS: '--experimental-vm-modules --disable-warning=ExperimentalWarning',
    ...(options.full && { HOLDFAST_TEST_FULL: '1' }),
    ...(options.seed !== undefined && { HOLDFAST_TEST_SEED: options.seed }),
  }
}

async function hasTests(stage: Stage): Promise<boolean> {
  const listing = [...argumentsOf(stage), '--listTests', '--json']
  const { stdout } = await promisify(execFile)(process.execPath, listing, { cwd: ROOT, env: environment() })
  return (JSON.parse(stdout) as string[]).length > 0
}

/** A suite that cannot even be loaded counts as one failure, and so does a jest that ends without a result. */
async function runStage(stage: Stage): Promise<Tally> {
  console.error(`\n${stage.name} tests${options.full ? ', full counts' : ''}`)
  const outputFile = join(temporaryDir, `${stage.name}.json`)
  running = spawn(
    process.execPath,
    [...argumentsOf(stage), `--maxWorkers=${stage.workers}`, '--json', `--outputFile=${outputFile}`],
    {
      cwd: ROOT,
      env: environment(),
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: options.full ? stage.fullWithinMs : stage.withinMs,
    },
  )
  await once(running, 'exit')
  running = undefined
  const text = await readFile(outputFile, 'utf8').catch(() => undefined)
  if (text === undefined) {
    console.error(`the ${stage.name} tests ended without a result`)
    return { passed: 0, failed: 1, skipped: 0 }
  }
  const result = JSON.parse(text) as JestResult
  return {
    passed: result.numPassedTests,
    failed: result.numFailedTests + result.numRuntimeErrorTestSuites,
    skipped: result.numPendingTests + result.numTodoTests,
  }
}
