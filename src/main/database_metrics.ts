// What a process shows of its database work: sessions, slow transactions, lock waits that failed.

import type { Database } from '../db/connection/pool.ts'
import type { SlowEvent } from '../db/connection/slow.ts'
import { Counter, Gauge, type Logger, type Registry } from '../telemetry.ts'

/** Sessions of all pools, as they are when the metrics are read. */
export function registerSessionGauge(registry: Registry, ...databases: Pick<Database, 'stats'>[]): void {
  const sessions = new Gauge({
    name: 'holdfast_database_sessions',
    help: 'Database sessions by state.',
    labelNames: ['state'],
    registers: [],
    collect: () => {
      const stats = databases.map((database) => database.stats())
      const sum = (of: (each: (typeof stats)[number]) => number): number =>
        stats.reduce((total, each) => total + of(each), 0)
      sessions.set(
        { state: 'busy' },
        sum(({ total, idle }) => total - idle),
      )
      sessions.set(
        { state: 'idle' },
        sum(({ idle }) => idle),
      )
      sessions.set(
        { state: 'waiting' },
        sum(({ waiting }) => waiting),
      )
    },
  })
  registry.registerMetric(sessions)
}

/** For openDatabase. A slow transaction is logged while it lasts, with the statement it is at. */
export function createSlowReport(registry: Registry, logger: Logger): (event: SlowEvent) => void {
  const slow = new Counter({
    name: 'holdfast_slow_transactions_total',
    help: 'Transactions that lasted for more than a second.',
    registers: [registry],
  })
  const locks = new Counter({
    name: 'holdfast_lock_failures_total',
    help: 'Statements that ended because a lock was not acquired in time, or in a deadlock.',
    registers: [registry],
  })
  return (event) => {
    const { kind, ...rest } = event
    if (kind === 'transaction') slow.inc()
    else locks.inc()
    logger.warn({ event: `slow_${kind}`, ...rest }, kind === 'transaction' ? 'slow transaction' : 'lock not acquired')
  }
}
