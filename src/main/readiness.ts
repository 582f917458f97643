// Readiness checks that processes share. A process that is not ready gets no work; its supervisor does not restart it.

import { findSchemaVersion, type Database } from '../db/connection/pool.ts'
import { newestMigration } from '../db/migrate.ts'

/** Without a good turn for this long, something is wrong that an operator should know of. */
const MAX_TURN_AGE_MS = 15_000

/** Makes the check whether the database has this build's newest migration. */
export async function createSchemaCheck(database: Database): Promise<() => Promise<boolean>> {
  const newest = await newestMigration()
  return async () => (await findSchemaVersion(database)) >= newest
}

export type TurnCheck = Awaited<ReturnType<typeof createTurnCheck>>

/** For a process that takes turns: ready while the last good turn is recent and the schema is this build's. */
export async function createTurnCheck(database: Database) {
  const isMigrated = await createSchemaCheck(database)
  let workedAtMs = Number.NEGATIVE_INFINITY
  return {
    isReady: async (): Promise<boolean> => performance.now() - workedAtMs <= MAX_TURN_AGE_MS && isMigrated(),
    noteGoodTurn: (): void => void (workedAtMs = performance.now()),
    /** Not ready until the next good turn. */
    forgetGoodTurn: (): void => void (workedAtMs = Number.NEGATIVE_INFINITY),
  }
}
