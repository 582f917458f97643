// Converts a failure to a gRPC status; the only place that does. Only a DomainError's message reaches a caller;
// everything else becomes INTERNAL with an incident id that is also in the log.

import { randomUUID } from 'node:crypto'
import { Metadata, status, type StatusObject } from '@grpc/grpc-js'
import { databaseFailure } from '../db/connection/pool.ts'
import { DomainError, METADATA_KEYS, RETRY_HINT_MS, type FailureKind } from '../domain/failure.ts'
import type { CallRecord } from './call.ts'
import { DETAILS_KEY, packDetails } from './detail.ts'

/** Requirement C-2. */
export const CODES: Readonly<Record<FailureKind, status>> = {
  invalid: status.INVALID_ARGUMENT,
  unauthenticated: status.UNAUTHENTICATED,
  denied: status.PERMISSION_DENIED,
  not_found: status.NOT_FOUND,
  wrong_state: status.FAILED_PRECONDITION,
  conflict: status.ABORTED,
  limited: status.RESOURCE_EXHAUSTED,
  too_large: status.RESOURCE_EXHAUSTED,
  deadline: status.DEADLINE_EXCEEDED,
  unavailable: status.UNAVAILABLE,
  unimplemented: status.UNIMPLEMENTED,
  bug: status.INTERNAL,
}

const MAX_MESSAGE_CHARACTERS = 256
/** A day. */
const MAX_RETRY_AFTER_MS = 86_400_000

/**
 * Keeps a status under 4 KiB, since trailers have a size limit. A caller with this many invalid fields has enough to
 * fix.
 */
export const MAX_VIOLATIONS = 20

export const REQUEST_ID_KEY = 'x-request-id'
/** Tells a gRPC library with a retry policy when to retry; a negative number: not at all. */
export const PUSHBACK_KEY = 'grpc-retry-pushback-ms'
/**
 * The retries of proto/service_config.json are over within this time and know nothing of RetryInfo. Where a longer wait
 * is advised, they would only be more load, and each would count against the caller's rate limit.
 */
const LIBRARY_RETRIES_WITHIN_MS = 1_000

/** Their callers are always told when to try again. */
const HINTED_KINDS: ReadonlySet<FailureKind> = new Set(['limited', 'unavailable'])
const isHinted = ({ kind, reason }: DomainError): boolean =>
  HINTED_KINDS.has(kind) || reason === 'IDEMPOTENCY_KEY_IN_PROGRESS'

/** Converts any failure to a status, and stores in the record what the log needs. Never throws. */
export function statusOf(error: unknown, record: Pick<CallRecord, 'requestId' | 'failure'>): StatusObject {
  try {
    const known = databaseFailure(error)
    if (known instanceof DomainError && known.kind !== 'bug') return answerOf(known, error, record)
  } catch {
    // A failure that cannot even be read is a bug like any other.
  }
  return answerOf(bugOf(), error, record)
}

function answerOf(
  failure: DomainError,
  error: unknown,
  record: Pick<CallRecord, 'requestId' | 'failure'>,
): StatusObject {
  const code = CODES[failure.kind]
  // A lone half of a surrogate pair cannot be sent.
  const details = failure.message.toWellFormed().slice(0, MAX_MESSAGE_CHARACTERS)
  const retryAfterMs = retryAfterMsOf(failure)
  const packed = packDetails(code, details, {
    reason: failure.reason,
    metadata: publicMetadataOf(failure),
    violations: failure.violations.slice(0, MAX_VIOLATIONS),
    violationKind: failure.kind === 'wrong_state' ? 'precondition' : 'field',
    quota: failure.quota.slice(0, MAX_VIOLATIONS),
    requestId: record.requestId,
    ...(retryAfterMs !== undefined && { retryAfterMs }),
  })
  const metadata = new Metadata()
  metadata.set(REQUEST_ID_KEY, record.requestId)
  metadata.set(DETAILS_KEY, packed)
  const isLong = retryAfterMs !== undefined && retryAfterMs > LIBRARY_RETRIES_WITHIN_MS
  if (failure.kind === 'unavailable' && isLong) metadata.set(PUSHBACK_KEY, '-1')
  record.failure = {
    reason: failure.reason,
    incidentId: failure.metadata['incident_id'],
    cause: failure === error ? failure.cause : error,
  }
  return { code, details, metadata }
}

/** Only keys that error_reason.proto documents. */
function publicMetadataOf({ reason, metadata }: DomainError): Record<string, string> {
  const keys = METADATA_KEYS[reason] ?? []
  return Object.fromEntries(Object.entries(metadata).filter(([key]) => keys.includes(key)))
}

/** The advised wait. Whatever was computed for it, it is a time that a timer can hold. */
function retryAfterMsOf(failure: DomainError): number | undefined {
  const { retryAfterMs } = failure
  if (retryAfterMs === undefined) return isHinted(failure) ? RETRY_HINT_MS.contention : undefined
  if (Number.isNaN(retryAfterMs)) return RETRY_HINT_MS.outage
  return Math.min(MAX_RETRY_AFTER_MS, Math.max(1, retryAfterMs))
}

const bugOf = (): DomainError =>
  new DomainError('INTERNAL', 'Something went wrong on our side.', {
    metadata: { incident_id: randomUUID() },
  })
