// One call, from its headers to its last log line. Who is calling is kept here, beside the call and never in its
// metadata, where a client could write it too.

import type { Metadata } from '@grpc/grpc-js'
import { actorOf, type Principal } from '../domain/access.ts'
import type { Actor } from '../domain/audit.ts'
import type { FailureReason } from '../domain/failure.ts'
import type { ActorRole } from '../domain/order.ts'
import type { MethodPath } from './method.ts'

/** Before the token is checked, and for the one call that needs none. */
export const NOBODY: Principal = Object.freeze({ subject: '', userId: undefined, roles: [], tokenId: '' })

/** What the interceptors and the log know of a call. */
export type CallRecord = {
  readonly path: MethodPath
  readonly requestId: string
  readonly peer: string
  /** Keyed hash of the peer's address, hex: for the audit, which must not name where people are. */
  readonly peerHash: string
  /** Monotonic milliseconds. */
  readonly startedAt: number
  principal: Principal
  orderId: string | undefined
  /** Answered from an earlier attempt with the same key. */
  isReplay: boolean
  failure: { reason: FailureReason; incidentId: string | undefined; cause: unknown } | undefined
}

/** What a handler knows of its call. */
export type Call = {
  record: CallRecord
  principal: Principal
  /** Milliseconds since the epoch; past it nobody waits for the answer. */
  deadline: number
  /** Aborted when the caller has gone, the deadline has passed or the server stops. */
  signal: AbortSignal
  /** SHA-256 of the canonical request: its known fields as we would write them. */
  requestHash: () => Buffer
}

/** Who acts, for the audit. `role` is the one of the caller's that allows it. */
export const auditActorOf = (call: Pick<Call, 'record' | 'principal' | 'requestHash'>, role: ActorRole): Actor => ({
  actor: actorOf(call.principal),
  role,
  requestId: call.record.requestId,
  tokenId: call.principal.tokenId,
  ipHash: call.record.peerHash,
  requestHash: call.requestHash().toString('hex'),
})

// The metadata object of a call is the one thing that interceptors and handlers both see.
const records = new WeakMap<Metadata, CallRecord>()

export const keepRecord = (metadata: Metadata, record: CallRecord): void => void records.set(metadata, record)

/** Throws for a call that did not come through the observer: no such call may be handled. */
export function recordOf(metadata: Metadata): CallRecord {
  const record = records.get(metadata)
  if (record === undefined) throw new Error('a call reached the guard without being observed')
  return record
}
