// Classifies failures of Temporal: whether a process waits for it or ends.

import { status } from '@grpc/grpc-js'
import type { Client } from '@temporalio/client'
import { repeat } from '../repeat.ts'

const NAMESPACE_EVERY_MS = 5_000

/** The gRPC status code behind an error of Temporal's client, if it has one. */
export function temporalCodeOf(error: unknown): number | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown }
    if (typeof code === 'number') return code
  }
  return undefined
}

const AWAY: ReadonlySet<number | undefined> = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.ABORTED,
  status.CANCELLED,
  status.INTERNAL,
  status.UNKNOWN,
])

/** The SDK's native part has the status only in its message. */
const NATIVE_REFUSAL = /code: (NotFound|PermissionDenied|Unauthenticated|InvalidArgument|Unimplemented)/

/** True when Temporal is unreachable, starting or overloaded: the same call may succeed later. */
export function isTemporalUnavailable(error: unknown): boolean {
  const code = temporalCodeOf(error)
  if (code !== undefined) return AWAY.has(code)
  return error instanceof Error && error.name === 'TransportError' && !NATIVE_REFUSAL.test(error.message)
}

/**
 * Calls `onGone` when the client's namespace no longer exists: Temporal was emptied or restored. The SDK notices that
 * only when a poll ends, minutes later.
 */
export function watchNamespace(client: Client, signal: AbortSignal, onGone: (error: unknown) => void): void {
  const { namespace } = client.options
  const look = () => client.workflowService.describeNamespace({ namespace })
  // Every other failure passes, or shows in the calls that need an answer.
  const onError = (error: unknown): void => {
    if (temporalCodeOf(error) === status.NOT_FOUND) onGone(error)
  }
  void repeat(look, { signal, everyMs: NAMESPACE_EVERY_MS, onError })
}
