// The front benchmark: what a call costs in CPU through all of the front (log, metrics, token, permission, rules,
// deadline, error mapping), against a bare handler of grpc-js that returns the same message.

import { figureOf, type Benchmark, type Options, type Round, type System } from './benchmark.ts'
import { startServer } from './front/server.ts'
import type { ServerKind } from './front/process.ts'
import { callFor } from './ghz.ts'
import { canPin } from './pin.ts'
import { startBenchServers, type BenchDatabase } from './servers.ts'

const METHOD = 'holdfast.v1.CatalogService.GetProduct'
const DATA = JSON.stringify({ productId: 'sku-1' })
const IN_FLIGHT = 32
/** Until the code is compiled and the token is in its cache. */
const WARM_UP_S = 4
const SMOKE_WARM_UP_S = 1
const CPU = 'CPU µs/call'
const US_PER_MS = 1_000

const ABOUT: Readonly<Record<ServerKind, string>> = {
  bare: 'grpc-js alone: a handler that returns the message, without interceptors.',
  full: 'The front as it serves, with one token; its catalogue is in memory.',
}

const cpuOf = (round: Round, kind: ServerKind): number => figureOf(round, kind, CPU)

export const front: Benchmark = {
  name: 'front',
  question: 'What does the front cost on top of gRPC itself?',
  headline: CPU,
  ratios: { 'bare / full': (round) => cpuOf(round, 'bare') / cpuOf(round, 'full') },
  goals: { 'a call costs at most 1.5 of a bare one': { ratio: 'bare / full', atLeast: 1 / 1.5 } },
  async open(options) {
    const servers = await startBenchServers(options.dataDir, options.log)
    const database = await servers.createDatabase('bench_front')
    const systems = (['bare', 'full'] as const).map((kind) => createSystem(options, database, kind))
    return { systems, facts: { 'cores apart': String(canPin), ...servers.versions }, close: servers.stop }
  },
}

const createSystem = ({ seconds, isSmoke }: Options, database: BenchDatabase, kind: ServerKind): System => ({
  name: kind,
  about: ABOUT[kind],
  measure: async () => {
    const server = await startServer({ kind, databaseUrl: database.urlOf('app_api') })
    try {
      const calls = { ...server, method: METHOD, data: DATA, inFlight: IN_FLIGHT, isApart: true }
      const warm = await callFor({ ...calls, seconds: isSmoke ? SMOKE_WARM_UP_S : WARM_UP_S })
      const before = await server.usage()
      const called = await callFor({ ...calls, seconds })
      const spentMs = (await server.usage()).cpuMs - before.cpuMs
      return {
        figures: {
          [CPU]: (spentMs * US_PER_MS) / called.calls,
          'calls/s': called.rate,
          'ms, p50': called.latencyMs(0.5),
          'ms, p99': called.latencyMs(0.99),
        },
        errors: warm.errors + called.errors,
        messages: [...warm.messages, ...called.messages],
      }
    } finally {
      await server.stop()
    }
  },
})
