// Deadlines of calls, counted from their headers: a default for callers that set none, and a maximum for the others.

import { DomainError } from '../domain/failure.ts'
import type { CallRecord } from './call.ts'

/** For callers that set no deadline. */
export const DEFAULT_DEADLINE_MS = 10_000
/** Longer than any step takes; a call that waits longer only holds what others need. */
export const MAX_DEADLINE_MS = 60_000
/** A watch ends before the server's maximum connection age would cut it off; its client opens the next one. */
export const WATCH_MAX_MS = 120_000
/** For a stream whose handler does not end it. */
const MAX_STREAM_MS = WATCH_MAX_MS + 30_000
/** A client that does not read for this long loses its stream. */
export const READ_WITHIN_MS = 30_000

/** Milliseconds since the epoch. @param given the caller's own deadline; Infinity if it has none */
export function deadlineOf(record: Pick<CallRecord, 'startedAt'>, given: number, isStream: boolean): number {
  const begunAt = Date.now() - (performance.now() - record.startedAt)
  if (isStream) return Math.min(given, begunAt + MAX_STREAM_MS)
  return Number.isFinite(given) ? Math.min(given, begunAt + MAX_DEADLINE_MS) : begunAt + DEFAULT_DEADLINE_MS
}

/** Reads have no key. */
export const deadlineExceeded = (cause?: unknown): DomainError =>
  new DomainError('DEADLINE_EXCEEDED', 'The deadline passed. Repeat the call, with the same key if it has one.', {
    cause,
  })
