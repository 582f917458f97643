// The context of one gRPC call, from its headers to its last log line. The caller's identity is stored here and not in
// the call's metadata, which a client can write too.

import type { Metadata } from '@grpc/grpc-js'
import { actorOf, type Principal } from '../domain/access.ts'
import type { Actor } from '../domain/audit.ts'
import type { FailureReason } from '../domain/failure.ts'
import type { ActorRole } from '../domain/order.ts'
import type { RequestHash } from '../keyvault/request.ts'
import type { MethodPath } from './method.ts'

/** The principal before the token is checked, and of the calls that need no token. */
export const ANONYMOUS: Principal = Object.freeze({ subject: '', userId: undefined, roles: [], tokenId: '' })

/** What interceptors and the log know about a call. */
export type CallRecord = {
  readonly path: MethodPath
  readonly requestId: string
  /** The client's address, also behind a trusted proxy: see peer.ts. */
  readonly peer: string
  /** False if a proxy did not say readably for whom it calls; `peer` is then the proxy. */
  readonly isPeerKnown: boolean
  /** Keyed hash of the peer's address, in hexadecimal: the audit must not contain locations of people. */
  readonly peerHash: string
  /** Keyed hash of a request under the server's secret. */
  readonly hashRequest: RequestHash
  /** Monotonic milliseconds. */
  readonly startedAt: number
  principal: Principal
  /** For streams: aborted once the principal's account no longer admits it. */
  revoked?: AbortSignal
  orderId: string | undefined
  /** The stored answer of an earlier attempt with the same key was returned. */
  isReplay: boolean
  failure: { reason: FailureReason; incidentId: string | undefined; cause: unknown } | undefined
}

/** What a handler knows about its call. */
export type Call = {
  record: CallRecord
  principal: Principal
  /** Milliseconds since the epoch; after it, the caller no longer waits for the answer. */
  deadline: number
  /** Aborted when the caller disconnects, the deadline passes or the server stops. */
  signal: AbortSignal
  /** The canonical request: its known fields in our own encoding. */
  requestBytes: () => Buffer
  /**
   * Keyed hash of the canonical request under the server's secret. Throws for a method whose requests have personal
   * data: their hash is made under the customer's key (REQUEST_HASH_KEYS).
   */
  requestHash: () => Buffer
}

/**
 * The actor for the audit. `role` is the caller's role that allows the call.
 * @param requestHash for a request with personal data, the hash under the customer's key
 */
export const auditActorOf = (
  call: Pick<Call, 'record' | 'principal' | 'requestHash'>,
  role: ActorRole,
  requestHash: Buffer = call.requestHash(),
): Actor => ({
  actor: actorOf(call.principal),
  role,
  requestId: call.record.requestId,
  tokenId: call.principal.tokenId,
  ipHash: call.record.peerHash,
  requestHash: requestHash.toString('hex'),
})

// The metadata object of a call is the only object that interceptors and handlers both see.
const records = new WeakMap<Metadata, CallRecord>()

export const keepRecord = (metadata: Metadata, record: CallRecord): void => void records.set(metadata, record)

/** Throws for a call that did not pass the observer: no handler may run for it. */
export function recordOf(metadata: Metadata): CallRecord {
  const record = records.get(metadata)
  if (record === undefined) throw new Error('a call reached the guard without being observed')
  return record
}
