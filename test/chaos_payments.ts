// `npm run chaos:payments`: generated lives of payments against an oracle, with a database of its own. Exit code 1 and
// the smallest life that differs, if one does.
// npm run chaos:payments -- [--sequences N] [--seed N]

import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { findViolations } from './support/invariant.ts'
import { playChaos, shrinkChaos } from './support/payment/chaos.ts'
import { openPaymentWorld } from './support/payment/world.ts'
import { startTestServers } from './support/servers.ts'

const SEEDS = 2 ** 30
const PROGRESS_EVERY = 5_000

const { values: given } = parseArgs({
  options: {
    sequences: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(randomInt(SEEDS)) },
  },
})
const numberOf = (name: 'sequences' | 'seed', from: number): number => {
  const value = Number(given[name])
  if (!Number.isInteger(value) || value < from || value >= SEEDS)
    throw new RangeError(`--${name} is a whole number from ${from} to ${SEEDS - 1}`)
  return value
}
const sequences = numberOf('sequences', 1)
const seed = numberOf('seed', 0)

console.error(`seed ${seed}`)
const stopServers = await startTestServers()
try {
  const world = await openPaymentWorld()
  let next = PROGRESS_EVERY
  const onProgress = (done: number): void => {
    if (done < next) return
    console.error(`${done} of ${sequences}`)
    next += PROGRESS_EVERY
  }
  const played = await playChaos(world, { seed, sequences, onProgress })
  for (const { seed: one } of played.differences.slice(0, 1)) {
    console.log(`✕ npm run chaos:payments -- --seed ${one} --sequences 1 shows it again`)
    console.log((await shrinkChaos(world, one)) ?? JSON.stringify(played.differences, null, 2))
  }
  const violations = await findViolations(world.shop.test)
  for (const violation of violations) console.log(`✕ ${JSON.stringify(violation)}`)
  const isRight = played.differences.length === 0 && violations.length === 0
  console.log(`${played.sequences} sequences, ${played.differences.length} differences`)
  process.exitCode = isRight ? 0 : 1
  await world.close()
} finally {
  await stopServers()
}
