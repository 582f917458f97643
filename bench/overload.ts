// The overload benchmark: calls at two, five and ten times of what the front can answer. It must go on answering nearly
// as many as at its best, refuse the others properly, keep its memory, and be as before when the load ends.

import type { Measurement, Benchmark, Options, Round, System } from './benchmark.ts'
import { figureOf } from './benchmark.ts'
import { startAsked, type AskedProcess } from './child.ts'
import { startServer, type BenchServer } from './front/server.ts'
import type { OverloadCalls, OverloadResult } from './overload/generator.ts'
import { canPin, LOAD_CORE } from './pin.ts'
import { startBenchServers, type BenchDatabase } from './servers.ts'

const NAME = 'front'
const FACTORS = [2, 5, 10] as const
const IN_FLIGHT = 32
const DEADLINE_MS = 1_000
const WARM_UP_S = 4
/** Where the load is half of the peak, a second of it shows whether all is as before. */
const NORMAL_SHARE = 0.5
const NORMAL_S = 1
const RECOVERED_WITHIN_S = 30
/** How much of the normal load may still be refused then. */
const NORMAL_GOOD = 0.99
const LOOK_EVERY_MS = 250
const MEGABYTE = 2 ** 20

const PEAK = 'calls/s'
const RECOVERY = 's until normal, at most'
const REST = 'memory at rest, MB'
const MOST = 'memory at most, MB'
const goodAt = (factor: number): string => `good calls/s at ${factor}×`
const offeredAt = (factor: number): string => `offered calls/s at ${factor}×`
const properAt = (factor: number): string => `share of other answers that are proper refusals at ${factor}×`
const lateAt = (factor: number): string => `calls/s without an answer in time at ${factor}×`

const goodShare = (factor: number) => (round: Round) =>
  figureOf(round, NAME, goodAt(factor)) / figureOf(round, NAME, PEAK)
const least = (read: (factor: number) => number): number => Math.min(...FACTORS.map(read))

export const overload: Benchmark = {
  name: 'overload',
  question: 'How much does the front still answer when far more is asked of it?',
  headline: PEAK,
  ratios: {
    'goodput at 2× / peak': goodShare(2),
    'goodput at 5× / peak': goodShare(5),
    'goodput at 10× / peak': goodShare(10),
    'offered at 2× / wanted': (round) => figureOf(round, NAME, offeredAt(2)) / figureOf(round, NAME, PEAK) / 2,
    'proper refusals': (round) => least((factor) => figureOf(round, NAME, properAt(factor))),
    'answers in time': (round) =>
      least((factor) => {
        const good = figureOf(round, NAME, goodAt(factor))
        return good / (good + figureOf(round, NAME, lateAt(factor)))
      }),
    'memory at rest / at most': (round) => figureOf(round, NAME, REST) / figureOf(round, NAME, MOST),
    'time to recover': (round) => RECOVERED_WITHIN_S / figureOf(round, NAME, RECOVERY),
  },
  goals: {
    'at 2×, 80 % of the peak': { ratio: 'goodput at 2× / peak', atLeast: 0.8 },
    'refusals are proper': { ratio: 'proper refusals', atLeast: 0.99 },
    'what is answered is in time': { ratio: 'answers in time', atLeast: 0.999 },
    'memory at most 2.5 times': { ratio: 'memory at rest / at most', atLeast: 0.4 },
    'normal within 30 s': { ratio: 'time to recover', atLeast: 1 },
  },
  async open(options) {
    const servers = await startBenchServers(options.dataDir, options.log)
    const database = await servers.createDatabase('bench_overload')
    const facts = { 'cores apart': String(canPin), inFlight: IN_FLIGHT, deadlineMs: DEADLINE_MS, ...servers.versions }
    return { systems: [createSystem(options, database)], facts, close: servers.stop }
  },
}

const createSystem = (options: Options, database: BenchDatabase): System => ({
  name: NAME,
  about:
    'ListProducts of a hundred products from memory, through the whole front; server and generator each on a core.',
  measure: async () => {
    const server = await startServer({ kind: 'full', databaseUrl: database.urlOf('app_api') })
    const generator = startAsked('overload/generator.ts', LOAD_CORE)
    try {
      return await measure(options, server, generator)
    } finally {
      await generator.stop()
      await server.stop()
    }
  },
})

async function measure(
  { seconds, isSmoke }: Options,
  server: BenchServer,
  generator: AskedProcess,
): Promise<Measurement> {
  const load = (how: Partial<OverloadCalls>): Promise<OverloadResult> =>
    generator.ask({ address: server.address, token: server.token, seconds, deadlineMs: DEADLINE_MS, ...how })
  await load({ inFlight: IN_FLIGHT, seconds: isSmoke ? 1 : WARM_UP_S })
  const peak = await load({ inFlight: IN_FLIGHT })
  const peakPerS = peak.good / seconds
  const restBytes = (await server.usage()).rssBytes
  const figures: Record<string, number> = { [PEAK]: peakPerS, 'ms, p50': peak.p50Ms, 'ms, p99': peak.p99Ms }
  let mostBytes = restBytes
  let slowestS = 0
  for (const factor of FACTORS) {
    const loading = load({ ratePerS: factor * peakPerS })
    mostBytes = Math.max(mostBytes, await watchMemory(server, loading))
    const result = await loading
    const others = result.refused + result.malformed + result.expired
    figures[offeredAt(factor)] = result.offered / seconds
    figures[goodAt(factor)] = result.good / seconds
    figures[lateAt(factor)] = result.late / seconds
    figures[properAt(factor)] = others === 0 ? 1 : result.refused / others
    figures[`ms, p99 at ${factor}×`] = result.p99Ms
    slowestS = Math.max(slowestS, await recover(load, peakPerS * NORMAL_SHARE))
  }
  figures[REST] = restBytes / MEGABYTE
  figures[MOST] = mostBytes / MEGABYTE
  figures[RECOVERY] = slowestS
  // What is refused, or ends by its deadline, is no error here: goals judge it.
  return { figures, errors: peak.offered - peak.good, messages: peak.messages }
}

/** The most memory that the server used while the load lasted. */
async function watchMemory(server: BenchServer, loading: Promise<unknown>): Promise<number> {
  let most = 0
  let isOver = false
  const over = loading.finally(() => (isOver = true))
  while (!isOver) {
    most = Math.max(most, (await server.usage()).rssBytes)
    await Promise.race([over, new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS))])
  }
  return most
}

/** Seconds until a normal load is answered again; at least the one that shows it. */
async function recover(
  load: (how: Partial<OverloadCalls>) => Promise<OverloadResult>,
  ratePerS: number,
): Promise<number> {
  const startedAt = performance.now()
  const elapsedS = (): number => (performance.now() - startedAt) / 1_000
  while (elapsedS() < 2 * RECOVERED_WITHIN_S) {
    const { offered, good } = await load({ ratePerS, seconds: NORMAL_S })
    if (good >= offered * NORMAL_GOOD) break
  }
  return elapsedS()
}
