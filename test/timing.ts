// `npm run test:timing`: measures whether the time of a refusal tells what its answer does not: a foreign order from a
// missing one, a signature that is almost right from one that is not. Red only if Welch's |t| is at least 4.5 and the
// medians differ by more than 2 %.
// npm run test:timing -- [WORD...: only pairs whose name contains one of these] [--samples N]

import { parseArgs } from 'node:util'
import { areServersRunning, startTestServers } from './support/servers.ts'
import { measureTimings, TIMING_CASES } from './support/timing.ts'
import { compareTimings } from './support/welch.ts'

const DEFAULT_SAMPLES = '100000'

const { values: options, positionals: words } = parseArgs({
  allowPositionals: true,
  options: {
    samples: { type: 'string', default: DEFAULT_SAMPLES },
  },
})
const samples = Number(options.samples)
if (!Number.isInteger(samples) || samples < 2) throw new Error('--samples is a whole number from 2')

const cases = TIMING_CASES.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)))
if (cases.length === 0)
  throw new Error(`no pair has such a name; there are: ${TIMING_CASES.map(({ name }) => name).join('; ')}`)

let leaks = 0
const stopServers = areServersRunning() ? undefined : await startTestServers()
try {
  console.log(`${samples} samples each`)
  for (const each of cases) {
    const { first, second } = await measureTimings(each, samples, Math.random)
    const { t, medians, shift, isLeak } = compareTimings(first, second)
    if (isLeak) leaks += 1
    const [one, other] = medians.map((median) => `${median.toFixed(2)} µs`)
    const figures = `medians ${one} and ${other}, ${(shift * 100).toFixed(2)} % apart, t ${t.toFixed(2)}`
    console.log(`${isLeak ? 'LEAK' : 'ok  '} ${each.name}: ${figures}`)
  }
} finally {
  await stopServers?.()
}
process.exitCode = leaks === 0 ? 0 : 1
