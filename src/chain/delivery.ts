// Delivers the outbox: in order within an output, at least once, and as slowly as the receiver requires. A refused
// report is sent alone and later, so that it delays no other. It is never deleted: it stays as a dead letter.

import { deleteReports, findDueReports, postponeReport, type OutboxEntry } from '../db/chain/outbox.ts'
import type { Database } from '../db/connection/pool.ts'
import type { Observation } from '../domain/chain.ts'
import { DomainError, type FailureKind } from '../domain/failure.ts'
import { backOffMs, type BackOff } from '../repeat.ts'
import type { Logger } from '../telemetry.ts'
import type { ChainMetrics } from './metrics.ts'

/**
 * At least as many as one message can hold. A normal payment takes two reports: its states are `seen` and `final`, not
 * its confirmations. More follow only where its block is lost.
 */
const BATCH_OBSERVATIONS = 16
/** Messages sent in one step of the watcher; then it reads the chain again. */
const MAX_MESSAGES_PER_DRAIN = 50
/** Together with the pauses of the watcher and of the channel: a recovery of the api is noticed within ten seconds. */
const BACK_OFF: BackOff = { fromMs: 250, toMs: 3_000 }
/** Random part of a wait, so that watchers that were refused together do not retry together. */
const JITTER = 0.25
/** The longest pause between two messages, unless the api asks for more. */
export const MAX_PAUSE_MS = BACK_OFF.toMs * (1 + JITTER)

/** A longer wait that the api asks for is cut to this: one wrong answer stops no payment for a day. */
const MAX_ASKED_MS = 300_000

/** Failures caused by the content: an early retry is pointless. All other failures pass with time. */
const REFUSALS: readonly FailureKind[] = ['invalid', 'too_large', 'not_found', 'wrong_state', 'conflict', 'bug']

/**
 * Sends the first observations, as many as fit one message, and returns how many those were. Resolves only once they
 * are stored. Rejects with DomainError: `retryAfterMs` is obeyed, and a kind of REFUSALS means that the content is refused.
 */
export type SendReport = (observations: readonly Observation[]) => Promise<number>

export type DeliveryOptions = {
  database: Database
  network: string
  sendReport: SendReport
  metrics: ChainMetrics
  logger: Logger
  /** Monotonic milliseconds. */
  now: () => number
}

/** Makes the function that sends all due reports. It returns early when the receiver asks it to wait. */
export function createDelivery(options: DeliveryOptions): () => Promise<void> {
  const { database, network, sendReport, metrics, logger, now } = options
  let resumesAt = 0
  let failures = 0
  /** After a refusal, so many reports are sent one by one: one of them is the cause. */
  let singles = 0

  async function send(due: readonly OutboxEntry[]): Promise<void> {
    let taken: number
    try {
      taken = await sendReport(due)
    } catch (error) {
      if (error instanceof DomainError && REFUSALS.includes(error.kind)) return isolate(due, error)
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

  async function isolate(due: readonly OutboxEntry[], error: DomainError): Promise<void> {
    metrics.reports.inc({ network, outcome: 'refused' })
    const [first] = due
    if (due.length > 1 || first === undefined) {
      singles = due.length
      return
    }
    logger.error({ network, reportNo: String(first.reportNo), reason: error.reason }, 'a report was refused')
    const isFinal = error.reason === 'REPORT_CONFLICT'
    await postponeReport(database, first.reportNo, { reason: error.reason, isFinal })
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
  const wait = Math.min(asked ?? backOffMs(failures, BACK_OFF), MAX_ASKED_MS)
  return wait * (1 + Math.random() * JITTER)
}
