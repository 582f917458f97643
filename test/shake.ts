// `npm run test:shake`: a search for flaky tests. Runs tests and files in random order, with all of the CPU and with a
// third of it, and each integration file alone several times. A test that fails once is flaky, or the product is at
// fault.
// npm run test:shake -- [PATH...] [--stage NAME] [--pass whole|third|alone ...] [--times N] [--seed N]

import { randomInt } from 'node:crypto'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { openJest, stagesOf, tallyOf, type StageName } from './support/jest.ts'
import { startCpuLoad } from './support/cpu_load.ts'
import { areServersRunning, startTestServers } from './support/servers.ts'
import {
  failuresIn,
  PASSES,
  planRuns,
  reportOf,
  SEEDS,
  titleOf,
  type Outcome,
  type Pass,
  type Run,
} from './support/shake.ts'
import { ROOT } from './support/source.ts'

const DEFAULT_TIMES = '10'
const SHUFFLE = join(ROOT, 'test/support/shuffle.mjs')

const { values: options, positionals: paths } = parseArgs({
  allowPositionals: true,
  options: {
    stage: { type: 'string' },
    pass: { type: 'string', multiple: true, default: [...PASSES] },
    times: { type: 'string', default: DEFAULT_TIMES },
    seed: { type: 'string', default: String(randomInt(SEEDS)) },
  },
})
const isPass = (name: string): name is Pass => (PASSES as readonly string[]).includes(name)
const passes = options.pass.filter(isPass)
if (passes.length < options.pass.length) throw new Error(`--pass is one of ${PASSES.join(', ')}`)
const numberOf = (name: 'times' | 'seed'): number => {
  const value = Number(options[name])
  if (!Number.isInteger(value) || value < 0 || value >= SEEDS)
    throw new Error(`--${name} is a whole number from 0 to ${SEEDS - 1}`)
  return value
}
const [times, seed] = [numberOf('times'), numberOf('seed')]
const stages = stagesOf(options.stage)

const jest = await openJest()
const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    stopping.abort()
    jest.stop()
  })
}

const outcomes: Outcome[] = []
let stopServers: (() => Promise<void>) | undefined
try {
  const files = new Map<StageName, readonly string[]>()
  for (const { name } of stages) {
    const found = await jest.list(name, paths)
    const listed = found.map((path) => relative(ROOT, path)).toSorted()
    if (listed.length > 0) files.set(name, listed)
  }
  const runs = planRuns({ passes, files, paths, times, seed })
  for (const [at, run] of runs.entries()) {
    if (stopping.signal.aborted) break
    console.error(`\n${at + 1} of ${runs.length}: ${titleOf(run)}`)
    if (run.stage !== 'unit' && !areServersRunning()) stopServers = await startTestServers()
    outcomes.push(await shake(run))
  }
} finally {
  await stopServers?.()
  await jest.close()
}

const isGood = outcomes.length > 0 && outcomes.every(({ failures }) => failures.length === 0)
if (outcomes.length === 0) console.error('no test matches')
console.log(reportOf(outcomes))
process.exitCode = isGood && !stopping.signal.aborted ? 0 : 1

async function shake(run: Run): Promise<Outcome> {
  const startedMs = performance.now()
  const [stage] = stagesOf(run.stage)
  const load = startCpuLoad(run.share)
  try {
    const result = await jest.run({
      stage: run.stage,
      paths: run.paths,
      // One worker under load: two would have to share the third.
      workers: run.share === 'whole' ? (stage?.workers ?? 1) : 1,
      withinMs: stage?.fullWithinMs ?? 0,
      sequencer: SHUFFLE,
      args: ['--randomize', `--seed=${run.seed}`],
      isQuiet: run.isAlone,
    })
    const { passed, failed } = tallyOf(result)
    console.error(`${passed} passed, ${failed} failed in ${Math.round((performance.now() - startedMs) / 1_000)} s`)
    return { run, failures: failuresIn(ROOT, result) }
  } finally {
    await load.stop()
  }
}
