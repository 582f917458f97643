// From the outbox to whoever takes reports: in order within an output, again until answered, as slowly as asked to.
// A report that is refused goes on alone and later, so that it holds up no other.

import { deleteReports, findDueReports, postponeReport, type Observation } from '../db/chain/cursor.ts'
import type { Database } from '../db/connection/pool.ts'
import { DomainError, type FailureKind } from '../domain/failure.ts'
import { backOffMs, type BackOff } from '../repeat.ts'
import type { Logger } from '../telemetry.ts'
import type { ChainMetrics } from './metrics.ts'

/** At least what one message can hold. */
const BATCH_OBSERVATIONS = 16
/** Then the chain is looked at again. */
const MAX_MESSAGES_PER_DRAIN = 50
/** With the watcher's own pause and the channel's, a recovery of the api is noticed within ten seconds. */
const BACK_OFF: BackOff = { fromMs: 250, toMs: 3_000 }
/** Part of a wait that is drawn by lot, so that watchers sent away together do not come back together. */
const JITTER = 0.25
/** The longest pause between two messages, unless the api asks for more. */
export const MAX_PAUSE_MS = BACK_OFF.toMs * (1 + JITTER)

/** Answers that blame the content: sending the same again soon is pointless. All others pass with time. */
const REFUSALS: readonly FailureKind[] = ['invalid', 'not_found', 'wrong_state', 'conflict', 'bug']

/**
 * Reports the first observations, as many as fit one message, and returns how many those were. Resolves only once they
 * are stored. Rejects with DomainError: `retryAfterMs` is obeyed, a kind of REFUSALS is held against the content.
 */
export type Report = (observations: readonly Observation[]) => Promise<number>

export type DeliveryOptions = {
  database: Database
  network: string
  report: Report
  metrics: ChainMetrics
  logger: Logger
  /** Monotonic milliseconds. */
  now: () => number
}

/** Makes the function that sends what is due now and returns when nothing is, or when it was told to wait. */
export function createDelivery(options: DeliveryOptions): () => Promise<void> {
  const { database, network, report, metrics, logger, now } = options
  let resumesAt = 0
  let failures = 0
  /** After a refusal so many reports go one by one: the cause is among them. */
  let singles = 0

  async function send(due: readonly Observation[]): Promise<void> {
    let taken: number
    try {
      taken = await report(due)
    } catch (error) {
      if (error instanceof DomainError && REFUSALS.includes(error.kind)) return refuse(due, error)
      failures += 1
      resumesAt = now() + waitOf(error, failures)
      metrics.reports.inc({ network, outcome: 'deferred' })
      if (failures === 1) logger.warn({ network, err: error }, 'reports are not taken, trying again')
      return
    }
    failures = 0
    metrics.reports.inc({ network, outcome: 'taken' })
    await deleteReports(
      database,
      due.slice(0, taken).map(({ reportNo }) => reportNo),
    )
  }

  async function refuse(due: readonly Observation[], error: DomainError): Promise<void> {
    metrics.reports.inc({ network, outcome: 'refused' })
    const [first] = due
    if (due.length > 1 || first === undefined) {
      singles = due.length
      return
    }
    logger.error({ network, reportNo: String(first.reportNo), reason: error.reason }, 'a report was refused')
    await postponeReport(database, first.reportNo)
  }

  return async () => {
    for (let sent = 0; sent < MAX_MESSAGES_PER_DRAIN && now() >= resumesAt; sent += 1) {
      const due = await findDueReports(database, network, singles > 0 ? 1 : BATCH_OBSERVATIONS)
      if (due.length === 0) return
      singles = Math.max(0, singles - 1)
      await send(due)
    }
  }
}

function waitOf(error: unknown, failures: number): number {
  const asked = error instanceof DomainError ? error.retryAfterMs : undefined
  const wait = asked ?? backOffMs(failures, BACK_OFF)
  return wait * (1 + Math.random() * JITTER)
}
