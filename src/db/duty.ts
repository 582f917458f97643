// Duties: periodic tasks that one process at a time runs, under a lease in the database.

import { statement, type Database } from './connection/pool.ts'

const STALE_DUTIES = statement(
  'duty_stale',
  'select duty from duty where succeeded_at is null or succeeded_at < clock_timestamp() - make_interval(secs => $1)',
)
/** The names of duties without a success for this long. */
export async function findStaleDuties(database: Pick<Database, 'run'>, olderThanMs: number): Promise<string[]> {
  const rows = await database.run<{ duty: string }>(STALE_DUTIES, [olderThanMs / 1_000])
  return rows.map(({ duty }) => duty)
}

const HOLD_DUTY = statement(
  'duty_hold',
  `update duty set holder = $2, held_until = clock_timestamp() + make_interval(secs => $3), started_at = clock_timestamp()
   where duty = $1 and (holder = $2 or held_until is null or held_until < clock_timestamp()) returning duty`,
)
/** Acquires or renews the lease of a duty; false if another process has it. */
export async function holdDuty(
  database: Pick<Database, 'run'>,
  duty: string,
  holder: string,
  leaseMs: number,
): Promise<boolean> {
  const rows = await database.run(HOLD_DUTY, [duty, holder, leaseMs / 1_000])
  return rows.length > 0
}

/** One turn of a duty under its lease. */
export type DutyTurn = {
  /** Items done so far, for the turn to count up: recorded with its result, also with a failure. */
  items: number
  /** Renews the lease; false once another process has it. */
  renew: () => Promise<boolean>
}

/**
 * Runs one turn of a duty under its lease, and records its result.
 * @returns how many items it did; undefined while another process has the lease
 */
export async function runDuty(
  database: Pick<Database, 'run'>,
  { duty, holder, leaseMs }: { duty: string; holder: string; leaseMs: number },
  act: (turn: DutyTurn) => Promise<void>,
): Promise<number | undefined> {
  const renew = (): Promise<boolean> => holdDuty(database, duty, holder, leaseMs)
  if (!(await renew())) return undefined
  const turn: DutyTurn = { items: 0, renew }
  try {
    await act(turn)
    await recordDutyResult(database, duty, holder, true, turn.items)
    return turn.items
  } catch (error) {
    // The first failure says more than one of the record.
    await recordDutyResult(database, duty, holder, false, turn.items).catch(() => undefined)
    throw error
  }
}

const RELEASE_DUTY = statement('duty_release', 'update duty set held_until = null where duty = $1 and holder = $2')
/** Releases a lease before it expires, so that the next process need not wait. */
export const releaseDuty = async (database: Pick<Database, 'run'>, duty: string, holder: string): Promise<void> =>
  void (await database.run(RELEASE_DUTY, [duty, holder]))

const RECORD_DUTY = statement(
  'duty_done',
  `update duty set succeeded_at = case when $3 then clock_timestamp() else succeeded_at end,
     failures = case when $3 then 0 else failures + 1 end, items = items + $4
   where duty = $1 and holder = $2`,
)
export const recordDutyResult = async (
  database: Pick<Database, 'run'>,
  duty: string,
  holder: string,
  isSuccess: boolean,
  items: number,
): Promise<void> => void (await database.run(RECORD_DUTY, [duty, holder, isSuccess, items]))
