// Duties that must survive Temporal: run by whichever process holds the duty's lease in the database.

import type { Database } from '../db/connection/pool.ts'
import { runHoldSweep, type Aside } from '../db/sweep.ts'
import type { Logger } from '../telemetry.ts'
import { setTimeout as delay } from 'node:timers/promises'
import type { Relay, RelayMetrics } from './loop.ts'

const SWEEP_EVERY_MS = 500

/** Gives back stock whose hold has run out, on time, whatever Temporal does. */
export function startHoldSweeper(deps: {
  database: Database
  holder: string
  logger: Logger
  metrics: RelayMetrics
}): Relay {
  const stopping = new AbortController()
  const { database, holder, metrics } = deps

  const noteAside = ({ orderId, reason, error }: Aside): void => {
    metrics.failed.inc({ relay: 'hold_sweep' })
    deps.logger.error({ duty: 'hold_sweep', orderId, reason, err: error }, 'hold set aside: its order does not expire')
  }

  async function sweep(): Promise<void> {
    try {
      // Undefined: another process has the lease. That is as good, and a lease nobody renews ends within seconds.
      metrics.passed.inc({ relay: 'hold_sweep' }, (await runHoldSweep(database, holder, noteAside)) ?? 0)
      metrics.lastSuccess.set({ relay: 'hold_sweep' }, Date.now() / 1_000)
    } catch (error) {
      metrics.failed.inc({ relay: 'hold_sweep' })
      throw error
    }
  }

  metrics.lastSuccess.set({ relay: 'hold_sweep' }, Date.now() / 1_000)

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      metrics.turned?.('hold_sweep')
      await sweep().catch((error: unknown) => deps.logger.warn({ duty: 'hold_sweep', err: error }, 'duty failed'))
      await delay(SWEEP_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  }

  const running = run()
  return {
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}
