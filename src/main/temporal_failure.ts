// What a failure of Temporal means to a process: wait for it, or end.

import { status } from '@grpc/grpc-js'
import type { Client } from '@temporalio/client'
import { repeat } from '../repeat.ts'

const NAMESPACE_EVERY_MS = 5_000

/** The gRPC status behind an error of Temporal's client, if it has one. */
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

/** The SDK's native part names the status in its message alone. */
const NATIVE_REFUSAL = /code: (NotFound|PermissionDenied|Unauthenticated|InvalidArgument|Unimplemented)/

/** True when Temporal is unreachable, starting or overloaded, and may answer the same call later. */
export function isTemporalUnavailable(error: unknown): boolean {
  const code = temporalCodeOf(error)
  if (code !== undefined) return AWAY.has(code)
  return error instanceof Error && error.name === 'TransportError' && !NATIVE_REFUSAL.test(error.message)
}

/**
 * Tells when the client's namespace is no longer there: Temporal was emptied or restored. The SDK notices it only when a
 * poll ends, minutes later.
 */
export function watchNamespace(client: Client, signal: AbortSignal, onGone: (error: unknown) => void): void {
  const { namespace } = client.options
  const look = () => client.workflowService.describeNamespace({ namespace })
  // Any other failure passes, or is told by those who need an answer.
  const onError = (error: unknown): void => {
    if (temporalCodeOf(error) === status.NOT_FOUND) onGone(error)
  }
  void repeat(look, { signal, everyMs: NAMESPACE_EVERY_MS, onError })
}
