// The scheduled consistency check as an activity. It reads for minutes, so it sends a heartbeat between two ranges, and
// stops there when its worker stops. Safe to repeat: it only reads, and its result replaces the previous one.

import { cancellationSignal, CancelledFailure, heartbeat, log } from '@temporalio/activity'
import { recordConsistency, type ConsistencyReport } from '../db/consistency.ts'
import type { Database } from '../db/connection/pool.ts'
import { applicationFailureOf } from './failure.ts'

export type ConsistencyActivities = {
  /** @returns how many differences it found; they are in the log and in the table */
  checkConsistency: () => Promise<number>
}

/** Bounds the log of a largely inconsistent database; the table has all differences. */
const MAX_LINES = 100

/** @param deps.look the whole check, which calls `onRange` between two ranges */
export function createConsistencyActivities(deps: {
  database: Pick<Database, 'sql'>
  look: (onRange: () => void) => Promise<ConsistencyReport>
}): ConsistencyActivities {
  return {
    checkConsistency: async () => {
      try {
        const report = await deps.look(() => {
          cancellationSignal().throwIfAborted()
          heartbeat()
        })
        await recordConsistency(deps.database, report)
        for (const { check, subject, detail } of report.differences.slice(0, MAX_LINES))
          log.error('inconsistency', { check, subject, detail })
        return report.differences.length
      } catch (error) {
        throw error instanceof CancelledFailure ? error : applicationFailureOf(error)
      }
    },
  }
}
