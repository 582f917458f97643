// What the last look at everything found, shown by every worker alike: it stands in the database.

import { findConsistency } from '../db/consistency.ts'
import { INVARIANTS } from '../db/invariant.ts'
import type { Database } from '../db/connection/pool.ts'
import { WORKFLOW_CHECKS } from '../relay/consistency.ts'
import { Gauge, type Logger, type Registry } from '../telemetry.ts'
import { repeat } from './repeat.ts'

const EVERY_MS = 15_000

/** Every check there is, and what it holds to be true. */
export const CHECKS: Readonly<Record<string, string>> = { ...INVARIANTS, ...WORKFLOW_CHECKS }

/** Keeps the gauges as the last run left them, until stopped. */
export function watchConsistency(database: Database, registry: Registry, logger: Logger, signal: AbortSignal): void {
  const found = new Gauge({
    name: 'holdfast_inconsistencies',
    help: 'Differences that the last consistency check found.',
    labelNames: ['check'],
    registers: [registry],
  })
  const checkedAt = new Gauge({
    name: 'holdfast_consistency_checked_timestamp_seconds',
    help: 'When a consistency check last ended; before the first, when this worker began.',
    registers: [registry],
  })
  checkedAt.set(Date.now() / 1_000)
  const read = async (): Promise<void> => {
    const { counts, finishedAt } = await findConsistency(database)
    for (const check of Object.keys(CHECKS)) found.set({ check }, counts.get(check) ?? 0)
    if (finishedAt !== undefined) checkedAt.set(finishedAt.getTime() / 1_000)
  }
  void repeat(read, EVERY_MS, signal, (error) => logger.warn({ err: error }, 'consistency could not be read'))
}
