// Converts a failure to a gRPC status; the only place that does. Only a DomainError's message reaches a caller;
// everything else becomes INTERNAL with an incident id that is also in the log.

import { randomUUID } from 'node:crypto'
import { Metadata, status, type StatusObject } from '@grpc/grpc-js'
import { databaseFailure } from '../db/connection/pool.ts'
import { DomainError, RETRY_HINT_MS, type FailureKind } from '../domain/failure.ts'
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

/**
 * Keeps a status under 4 KiB, since trailers have a size limit. A caller with this many invalid fields has enough to
 * fix.
 */
export const MAX_VIOLATIONS = 20

export const REQUEST_ID_KEY = 'x-request-id'

/** Their callers are always told when to try again. */
const HINTED_KINDS: ReadonlySet<FailureKind> = new Set(['limited', 'unavailable'])

/** Converts any failure to a status, and stores in the record what the log needs. Never throws. */
export function statusOf(error: unknown, record: CallRecord): StatusObject {
  const known = databaseFailure(error)
  const failure = known instanceof DomainError && known.kind !== 'bug' ? known : bugOf()
  const incidentId = failure.metadata['incident_id']
  record.failure = { reason: failure.reason, incidentId, cause: failure === error ? failure.cause : error }
  const code = CODES[failure.kind]
  const retryAfterMs = failure.retryAfterMs ?? (HINTED_KINDS.has(failure.kind) ? RETRY_HINT_MS.contention : undefined)
  const metadata = new Metadata()
  metadata.set(REQUEST_ID_KEY, record.requestId)
  metadata.set(
    DETAILS_KEY,
    packDetails(code, failure.message, {
      reason: failure.reason,
      metadata: failure.metadata,
      violations: failure.violations.slice(0, MAX_VIOLATIONS),
      violationKind: failure.kind === 'wrong_state' ? 'precondition' : 'field',
      quota: failure.quota.slice(0, MAX_VIOLATIONS),
      requestId: record.requestId,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    }),
  )
  return { code, details: failure.message, metadata }
}

const bugOf = (): DomainError =>
  new DomainError('INTERNAL', 'Something went wrong on our side.', {
    metadata: { incident_id: randomUUID() },
  })
