// The payments benchmark: how soon a reported payment moves its order on, at half load, how many reports one api process
// stores, and how many full blocks the watcher follows.

import { figureOf, type Benchmark, type Round } from './benchmark.ts'
import { openProcessing, P99, RATE } from './payments/processing.ts'
import { createCommits, createReports } from './payments/reports.ts'
import { measureWatcher, WATCHER_GOALS, WATCHER_RATIOS } from './payments/watcher.ts'
import { startBenchServers } from './servers.ts'

const p99Of = (round: Round, system: string): number => figureOf(round, system, P99)
const rateOf = (round: Round, system: string): number => figureOf(round, system, RATE)

export const payments: Benchmark = {
  name: 'payments',
  question: 'How soon does a payment move its order on, and how many reports and full blocks can be taken?',
  headline: RATE,
  ratios: {
    'bare p99 / ours p99': (round) => p99Of(round, 'bare update') / p99Of(round, 'report to processing'),
    'reports / commits': (round) => rateOf(round, 'reports') / rateOf(round, 'commits'),
    ...WATCHER_RATIOS,
  },
  goals: {
    'a payment takes at most twice a bare update': { ratio: 'bare p99 / ours p99', atLeast: 1 / 2 },
    ...WATCHER_GOALS,
  },
  async open(options) {
    const servers = await startBenchServers(options.dataDir, options.log)
    const closes = [servers.stop]
    const close = async (): Promise<void> => {
      for (const end of closes.toReversed()) await end()
    }
    try {
      const processing = await openProcessing(servers, options)
      closes.push(processing.close)
      const watcher = await measureWatcher(options, servers)
      closes.push(watcher.close)
      const systems = [
        ...processing.systems,
        createReports(servers, options),
        createCommits(processing.database, options),
        ...watcher.systems,
      ]
      return { systems, facts: { ...processing.facts, ...servers.versions }, close }
    } catch (error) {
      await close()
      throw error
    }
  },
}
