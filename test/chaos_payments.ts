// `npm run chaos:payments`: generated lives of payments and refunds against an oracle, with servers of its own. Exit code
// 1 and the smallest life that differs, if one does; 2 for an argument that is none.
// npm run chaos:payments -- [--sequences N] [--seed N]

import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { findViolations } from './support/invariant.ts'
import { playChaos, shrinkChaos } from './support/payment/chaos.ts'
import { openPaymentWorld } from './support/payment/world.ts'
import { startTestServers } from './support/servers.ts'

const SEEDS = 2 ** 30
const PROGRESS_EVERY_MS = 10_000
/** A database takes so many and is then checked and dropped, so that neither disk nor memory grows with the run. */
const PART = 5_000
const MB = 1_048_576

type Asked = { sequences: number; seed: number }

/** @throws {Error} what is wrong with the arguments */
function parseAsked(): Asked {
  const { values } = parseArgs({
    options: {
      sequences: { type: 'string', default: '100000' },
      seed: { type: 'string', default: String(randomInt(SEEDS)) },
    },
  })
  const numberOf = (name: keyof Asked, from: number): number => {
    const value = Number(values[name])
    if (!Number.isInteger(value) || value < from || value >= SEEDS)
      throw new RangeError(`--${name} is a whole number from ${from} to ${SEEDS - 1}`)
    return value
  }
  return { sequences: numberOf('sequences', 1), seed: numberOf('seed', 0) }
}

/** Says from time to time how far the run is, when it ends, and what memory it takes. */
function createProgress(sequences: number): (done: number) => void {
  const startedAt = performance.now()
  let toldAt = startedAt
  return (done) => {
    const now = performance.now()
    if (now - toldAt < PROGRESS_EVERY_MS) return
    toldAt = now
    const left = Math.round((((now - startedAt) / done) * (sequences - done)) / 1_000)
    const memory = Math.round(process.memoryUsage().rss / MB)
    console.error(`${done} of ${sequences}, ${left} s left, ${memory} MB`)
  }
}

/** Plays some sequences in a database of their own. @returns what went wrong, as lines */
async function playPart(asked: Asked, onProgress: (done: number) => void): Promise<string[]> {
  const world = await openPaymentWorld()
  try {
    const { differences } = await playChaos(world, { ...asked, onProgress })
    const [first] = differences
    if (first !== undefined) {
      const life = (await shrinkChaos(world, first.seed)) ?? JSON.stringify(first, null, 2)
      return [`the product differs from the oracle:`, life, replayOf(first.seed, 1)]
    }
    const violations = await findViolations(world.shop.test)
    if (violations.length === 0) return []
    const lines = violations.map((violation) => JSON.stringify(violation))
    return ['holdfast verify finds:', ...lines, replayOf(asked.seed, asked.sequences)]
  } finally {
    await world.close()
  }
}
const replayOf = (seed: number, sequences: number): string =>
  `see it again: npm run chaos:payments -- --seed ${seed} --sequences ${sequences}`

async function main({ sequences, seed }: Asked): Promise<void> {
  console.error(`seed ${seed}`)
  const stopServers = await startTestServers()
  try {
    const tell = createProgress(sequences)
    let done = 0
    while (done < sequences && process.exitCode === undefined) {
      const [from, part] = [done, Math.min(PART, sequences - done)]
      const wrong = await playPart({ sequences: part, seed: seed + from }, (within) => tell(from + within))
      for (const line of wrong) console.log(`✕ ${line}`)
      if (wrong.length > 0) process.exitCode = 1
      else done += part
    }
    if (done === sequences) console.log(`✓ ${done} sequences, 0 differences, holdfast verify finds nothing`)
  } finally {
    await stopServers()
  }
}

let asked: Asked | undefined
try {
  asked = parseAsked()
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}
npm run chaos:payments -- [--sequences N] [--seed N]`)
  process.exitCode = 2
}
if (asked !== undefined) await main(asked)
