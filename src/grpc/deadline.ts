// Deadlines of calls, counted from their headers: a default for callers that set none, and a maximum for the others.

import { DomainError } from '../domain/failure.ts'
import type { CallRecord } from './call.ts'

/** For callers that set no deadline. */
const DEFAULT_MS = 10_000
/** Longer than any step takes; a call that waits longer only holds what others need. */
export const MAX_DEADLINE_MS = 60_000
/** Longer than a watch lasts by itself. */
export const MAX_STREAM_MS = 150_000

/** Milliseconds since the epoch. @param given the caller's own deadline; Infinity if it has none */
export function deadlineOf(record: Pick<CallRecord, 'startedAt'>, given: number, isStream: boolean): number {
  const begunAt = Date.now() - (performance.now() - record.startedAt)
  if (isStream) return Math.min(given, begunAt + MAX_STREAM_MS)
  return Number.isFinite(given) ? Math.min(given, begunAt + MAX_DEADLINE_MS) : begunAt + DEFAULT_MS
}

export const deadlineExceeded = (): DomainError =>
  new DomainError('DEADLINE_EXCEEDED', 'The deadline passed. Repeat with the same key to learn the result.')
