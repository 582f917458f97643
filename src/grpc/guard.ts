// Authentication and authorisation of calls, in this order, before the request body is read: a token proves who calls
// (see authenticate.ts), then the permission table decides about its roles (PERMISSION_DENIED). Which orders the caller
// reaches is decided in SQL, with the order's row and the scope that permission.ts derives from the same table.

import type { PeerCertificate } from 'node:tls'
import { ServerInterceptingCall, type Metadata, type ServerInterceptor } from '@grpc/grpc-js'
import type { Principal } from '../domain/access.ts'
import { DomainError } from '../domain/failure.ts'
import { authenticate, type Authentication } from './authenticate.ts'
import { recordOf } from './call.ts'
import { findPermission, mayCall, permissionDenied } from './permission.ts'
import { statusOf } from './status.ts'

const MAX_METADATA_BYTES = 8_192
/** HPACK's overhead per header, in addition to its name and value. */
const HEADER_OVERHEAD_BYTES = 32

export const createGuard =
  (deps: Authentication): ServerInterceptor =>
  (method, call) => {
    let stopFollowing: (() => void) | undefined
    const receive = async (metadata: Metadata, pass: (metadata: Metadata) => void): Promise<void> => {
      const record = recordOf(metadata)
      try {
        const { sslPeerCertificate } = deps.clientSans === undefined ? {} : call.getAuthContext()
        // Kept before its role is checked: a refused call names its caller too.
        const keep = (principal: Principal): void => void (record.principal = principal)
        await admit(deps, method.path, metadata, { certificate: sslPeerCertificate, keep })
        if (method.responseStream) {
          const revoking = new AbortController()
          record.revoked = revoking.signal
          stopFollowing = deps.accounts.follow(record.principal, (reason) => revoking.abort(reason))
        }
      } catch (error) {
        return call.sendStatus(statusOf(error, record))
      }
      // The library reads the body only now: nothing of it is parsed for a rejected caller.
      pass(metadata)
    }
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => void receive(metadata, pass),
          // Also called after a normal end.
          onCancel: () => stopFollowing?.(),
        }),
    })
  }

/**
 * Authenticates and authorises a call. Undefined for a method open to all. Throws MESSAGE_TOO_LARGE, what authenticate
 * throws, PERMISSION_DENIED.
 */
export async function admit(
  deps: Authentication,
  path: string,
  metadata: Metadata,
  { certificate, keep }: { certificate?: PeerCertificate | undefined; keep?: (principal: Principal) => void } = {},
): Promise<Principal | undefined> {
  refuseLargeMetadata(metadata)
  const permission = findPermission(path)
  if (permission === 'anonymous') return undefined
  const principal = await authenticate(deps, metadata, certificate)
  keep?.(principal)
  if (permission === undefined || !mayCall(principal, permission)) throw permissionDenied()
  return principal
}

function refuseLargeMetadata(metadata: Metadata): void {
  let bytes = 0
  for (const [name, values] of Object.entries(metadata.toHttp2Headers())) {
    for (const value of [values].flat()) bytes += name.length + String(value).length + HEADER_OVERHEAD_BYTES
  }
  if (bytes > MAX_METADATA_BYTES)
    throw new DomainError('MESSAGE_TOO_LARGE', 'The metadata of this call is too large.', {
      metadata: { limit_bytes: String(MAX_METADATA_BYTES) },
    })
}
