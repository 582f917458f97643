// Maps an error to Temporal's reaction: retry, or fail permanently.

import { ApplicationFailure } from '@temporalio/activity'
import { databaseFailure, sqlStateOf } from '../db/connection/pool.ts'
import { DomainError, RETRYABLE_KINDS } from '../domain/failure.ts'

/**
 * A reason of a final kind ends the step. An outage or an unexpected error is retried: a bug then delays an order until
 * it is fixed, and never destroys it. Only reason, kind and SQLSTATE go into the history, since a library's text may
 * quote a row.
 */
export function applicationFailureOf(error: unknown): ApplicationFailure {
  const known = databaseFailure(error)
  if (known instanceof DomainError) {
    return ApplicationFailure.create({
      type: known.reason,
      message: known.message,
      nonRetryable: !RETRYABLE_KINDS.has(known.kind) && known.kind !== 'bug',
    })
  }
  return ApplicationFailure.create({
    type: 'INTERNAL',
    message: `unexpected failure ${sqlStateOf(error) ?? ''}`.trim(),
  })
}
