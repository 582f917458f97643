// `npm run fuzz`: random requests and raw HTTP/2 garbage against both ports of the front, with a database of its own.
// Prints what went wrong and how each method answered; exit code 1 if anything did.
// npm run fuzz -- [--count N] [--seed N] [--case N: that one alone]

import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { createTestDatabase } from './support/database.ts'
import { runFuzz } from './support/fuzz/fuzz.ts'
import { startTestServers } from './support/servers.ts'

const SEEDS = 2 ** 31
const PROGRESS_EVERY = 50_000

const { values: given } = parseArgs({
  options: {
    count: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(randomInt(SEEDS)) },
    case: { type: 'string' },
  },
})
const numberOf = (name: 'count' | 'seed' | 'case', words: string): number => {
  const value = Number(words)
  if (!Number.isInteger(value) || value < 0 || value >= SEEDS)
    throw new RangeError(`--${name} is a whole number from 0 to ${SEEDS - 1}`)
  return value
}
const seed = numberOf('seed', given.seed)
const only = given.case === undefined ? undefined : numberOf('case', given.case)
const count = only === undefined ? numberOf('count', given.count) : 1

console.error(`seed ${seed}`)
const stopServers = await startTestServers()
try {
  const database = await createTestDatabase()
  const startedAt = performance.now()
  const { problems, answers, bytesBefore, bytesAfter } = await runFuzz({
    database,
    seed,
    count,
    from: only ?? 0,
    onProgress: (done) => {
      if (done % PROGRESS_EVERY === 0) console.error(`${done} of ${count}`)
    },
  })
  for (const [path, counts] of [...answers].toSorted(([a], [b]) => a.localeCompare(b))) {
    const shown = [...counts].toSorted(([, a], [, b]) => b - a).map(([answer, times]) => `${answer} ${times}`)
    console.log(`${path}\n    ${shown.join(', ')}`)
  }
  for (const problem of problems)
    console.log(`✕ ${problem}\n    npm run fuzz -- --seed ${seed} --case N shows it again`)
  const seconds = Math.round((performance.now() - startedAt) / 1_000)
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`
  console.log(
    `${count} cases in ${seconds} s, ${problems.length} problems, memory ${megabytes(bytesBefore)} → ${megabytes(bytesAfter)}`,
  )
  process.exitCode = problems.length === 0 ? 0 : 1
  await database.drop()
} finally {
  await stopServers()
}
