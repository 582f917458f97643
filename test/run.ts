// `npm test`: runs every stage of tests on one set of servers, and prints `N passed, N failed, N skipped` at the end.
// npm test -- [PATH...] [--stage NAME] [--full] [--seed N] [--check: what CI looks at besides]

import { parseArgs } from 'node:util'
import { BENCHMARKS, CHECKS, runSteps } from './support/ci_check.ts'
import { openJest, stagesOf, tallyOf, timesOf, type Stage, type Tally } from './support/jest.ts'
import { startTestServers } from './support/servers.ts'
import { ROOT } from './support/source.ts'

const { options, paths, stages } = readArguments()
const isWhole = options.stage === undefined && paths.length === 0
const jest = await openJest({
  ...(options.full && { HOLDFAST_TEST_FULL: '1' }),
  ...(options.seed !== undefined && { HOLDFAST_TEST_SEED: options.seed }),
})

const stopping = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    stopping.abort()
    jest.stop()
  })
}

const total: Tally = { passed: 0, failed: 0, skipped: 0 }
const add = (tally: Tally): void => {
  for (const key of ['passed', 'failed', 'skipped'] as const) total[key] += tally[key]
}
let stopServers: (() => Promise<void>) | undefined
try {
  if (options.check) add(await runSteps(ROOT, CHECKS, stopping.signal))
  for (const stage of stages) {
    if (stopping.signal.aborted || (await jest.list(stage.name, paths)).length === 0) continue
    if (stage.name !== 'unit') stopServers ??= await startTestServers()
    add(await runStage(stage))
  }
  // Benchmarks need the whole machine, and start their own servers.
  await stopServers?.()
  stopServers = undefined
  if (options.check && isWhole) add(await runSteps(ROOT, BENCHMARKS, stopping.signal))
} catch (error) {
  console.error(error)
  total.failed += 1
} finally {
  await stopServers?.()
  await jest.close()
}

const isGood = !stopping.signal.aborted && total.failed === 0 && total.passed > 0
if (total.passed + total.failed + total.skipped === 0) {
  const where = paths.length === 0 ? '' : ` below ${paths.map((path) => `"${path}"`).join(', ')}`
  console.error(`no test file matches${where}: give a path such as src/domain, or none for all tests`)
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = isGood ? 0 : 1

async function runStage({ name, workers, withinMs, fullWithinMs }: Stage): Promise<Tally> {
  console.error(`\n${name} tests${options.full ? ', full counts' : ''}`)
  const startedMs = performance.now()
  const result = await jest.run({ stage: name, paths, workers, withinMs: options.full ? fullWithinMs : withinMs })
  console.error(`\n${timesOf(ROOT, name, performance.now() - startedMs, result)}`)
  return tallyOf(result)
}

/** Ends the process with exit code 2 and one sentence when the command line is not valid. */
function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        stage: { type: 'string' },
        full: { type: 'boolean', default: false },
        seed: { type: 'string' },
        check: { type: 'boolean', default: false },
      },
    })
    return { options: values, paths: positionals, stages: stagesOf(values.stage) }
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error))
    console.error('usage: npm test -- [PATH...] [--stage NAME] [--full] [--seed N]')
    process.exit(2)
  }
}
