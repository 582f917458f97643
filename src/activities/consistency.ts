// The scheduled look at everything, as an activity: minutes of reading, so it says between two ranges that it lives, and
// stops there when its worker stops. Repeating it is harmless: it reads, and what it found replaces what was found before.

import { cancellationSignal, CancelledFailure, heartbeat, log } from '@temporalio/activity'
import { recordConsistency, type ConsistencyReport } from '../db/consistency.ts'
import type { Database } from '../db/connection/pool.ts'
import { failureOf } from './failure.ts'

export type ConsistencyActivities = {
  /** How many differences it found; they are in the log and in the table. */
  checkConsistency: () => Promise<number>
}

/** A log is no place for a database that is wrong from end to end; the table has them all. */
const MAX_LINES = 100

/** @param deps.look the whole look, which calls `onRange` now and then */
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
        throw error instanceof CancelledFailure ? error : failureOf(error)
      }
    },
  }
}
