// What a process shows of its dealings with the database besides sessions: transactions that last, locks not had.

import type { SlowEvent } from '../db/connection/slow.ts'
import { Counter, type Logger, type Registry } from '../telemetry.ts'

/** For openDatabase. A slow transaction is shown while it lasts, by the statement it is at. */
export function createSlowReport(registry: Registry, logger: Logger): (event: SlowEvent) => void {
  const slow = new Counter({
    name: 'holdfast_slow_transactions_total',
    help: 'Transactions that lasted for more than a second.',
    registers: [registry],
  })
  const locks = new Counter({
    name: 'holdfast_lock_failures_total',
    help: 'Statements that ended because a lock was not had in time, or in a deadlock.',
    registers: [registry],
  })
  return (event) => {
    const { kind, ...rest } = event
    if (kind === 'transaction') slow.inc()
    else locks.inc()
    logger.warn({ event: `slow_${kind}`, ...rest }, kind === 'transaction' ? 'slow transaction' : 'lock not had')
  }
}
