// Duties that must work without Temporal. The process that holds the duty's lease in the database runs it.

import type { Database } from '../db/connection/pool.ts'
import { runHoldSweep, type Aside } from '../db/sweep.ts'
import type { Logger } from '../telemetry.ts'
import { startTurns, type Relay, type RelayMetrics } from './loop.ts'

const SWEEP_EVERY_MS = 500

/** Releases stock whose hold has expired, on time, also while Temporal is down. */
export function startHoldSweeper(deps: {
  database: Database
  holder: string
  logger: Logger
  metrics: RelayMetrics
}): Relay {
  const { database, holder, metrics } = deps

  const noteAside = ({ orderId, reason, error }: Aside): void => {
    metrics.failed.inc({ relay: 'hold_sweep' })
    deps.logger.error(
      { duty: 'hold_sweep', orderId, reason, err: error },
      'hold set aside: its order could not be expired',
    )
  }

  async function sweep(): Promise<void> {
    try {
      // Undefined: another process has the lease, which is as good. A lease that is not renewed expires within seconds.
      metrics.passed.inc({ relay: 'hold_sweep' }, (await runHoldSweep(database, holder, noteAside)) ?? 0)
      metrics.lastSuccess.set({ relay: 'hold_sweep' }, Date.now() / 1_000)
    } catch (error) {
      metrics.failed.inc({ relay: 'hold_sweep' })
      throw error
    }
  }

  metrics.lastSuccess.set({ relay: 'hold_sweep' }, Date.now() / 1_000)

  return startTurns(sweep, {
    everyMs: SWEEP_EVERY_MS,
    onTurn: () => metrics.turned?.('hold_sweep'),
    onError: (error) => deps.logger.warn({ duty: 'hold_sweep', err: error }, 'duty failed'),
  })
}
