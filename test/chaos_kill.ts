// `npm run chaos:kill`: payments and refunds while processes are killed at random, on a whole stack of its own. Exit code 1
// and what differs, if anything does. The same seed kills the same processes in the same order.
// npm run chaos:kill -- [--payments N] [--refunds N] [--kills N] [--seed N]

import { randomInt } from 'node:crypto'
import { parseArgs } from 'node:util'
import { playKills } from './support/kill/play.ts'
import { areServersRunning, startTestServers } from './support/servers.ts'

const SEEDS = 2 ** 30
const SETTLE_WITHIN_MS = 1_200_000

const text = { type: 'string' } as const
const { values: given } = parseArgs({
  options: {
    payments: { ...text, default: '500' },
    refunds: { ...text, default: '200' },
    kills: { ...text, default: '100' },
    seed: { ...text, default: String(randomInt(SEEDS)) },
  },
})
const numberOf = (name: keyof typeof given): number => {
  const value = Number(given[name])
  if (!Number.isInteger(value) || value < 0 || value >= SEEDS)
    throw new RangeError(`--${name} is a whole number from 0 to ${SEEDS - 1}`)
  return value
}
const [payments, refunds, kills, seed] = (['payments', 'refunds', 'kills', 'seed'] as const).map(numberOf)
if (payments === undefined || refunds === undefined || kills === undefined || seed === undefined) process.exit(1)
if (refunds > payments) throw new RangeError('--refunds must not be above --payments')

const stopServers = areServersRunning() ? undefined : await startTestServers()
const startedAt = performance.now()
try {
  const log = (line: string): void =>
    console.error(`${((performance.now() - startedAt) / 1_000).toFixed(1)} s  ${line}`)
  const report = await playKills({ payments, refunds, kills, seed, settleWithinMs: SETTLE_WITHIN_MS, log })
  for (const difference of report.differences) console.log(`✕ ${difference}`)
  console.log(
    JSON.stringify({ seed, seconds: Math.round((performance.now() - startedAt) / 1_000), ...report }, null, 2),
  )
  process.exitCode = report.differences.length === 0 ? 0 : 1
} finally {
  await stopServers?.()
}
