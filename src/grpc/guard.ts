// Authentication and authorisation of calls, in this order, before the request body is read: a token proves who calls
// (UNAUTHENTICATED), then the permission table decides about its roles (PERMISSION_DENIED). Which orders the caller
// reaches is decided in SQL, with the order's row and the scope that permission.ts derives from the same table.

import { ServerInterceptingCall, type Metadata, type ServerInterceptor } from '@grpc/grpc-js'
import type { Principal } from '../domain/access.ts'
import { DomainError } from '../domain/failure.ts'
import { ANONYMOUS, recordOf } from './call.ts'
import { findPermission, mayCall, permissionDenied } from './permission.ts'
import { statusOf } from './status.ts'

const MAX_METADATA_BYTES = 8_192
/** HPACK's overhead per header, in addition to its name and value. */
const HEADER_OVERHEAD_BYTES = 32
const MAX_AUTHORIZATION_BYTES = 4_096 + 'Bearer '.length
const BEARER = /^bearer ([A-Za-z0-9._~-]+)$/i

export type TokenVerifier = (token: string) => Promise<Principal>

export const createGuard =
  (verifyToken: TokenVerifier): ServerInterceptor =>
  (method, call) => {
    const receive = async (metadata: Metadata, pass: (metadata: Metadata) => void): Promise<void> => {
      const record = recordOf(metadata)
      try {
        record.principal = (await admit(verifyToken, method.path, metadata)) ?? ANONYMOUS
      } catch (error) {
        return call.sendStatus(statusOf(error, record))
      }
      // The library reads the body only now: nothing of it is parsed for a rejected caller.
      pass(metadata)
    }
    return new ServerInterceptingCall(call, {
      start: (next) => next({ onReceiveMetadata: (metadata, pass) => void receive(metadata, pass) }),
    })
  }

/**
 * Authenticates and authorises a call. Undefined for a method open to all. Throws MESSAGE_TOO_LARGE,
 * CREDENTIALS_INVALID, PERMISSION_DENIED.
 */
export async function admit(
  verifyToken: TokenVerifier,
  path: string,
  metadata: Metadata,
): Promise<Principal | undefined> {
  refuseLargeMetadata(metadata)
  const permission = findPermission(path)
  if (permission === 'anonymous') return undefined
  const principal = await verifyToken(tokenOf(metadata))
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

/** The token of exactly one `authorization: Bearer …`. Throws CREDENTIALS_INVALID. */
function tokenOf(metadata: Metadata): string {
  const [value, ...others] = metadata.get('authorization')
  const token =
    others.length === 0 && typeof value === 'string' && value.length <= MAX_AUTHORIZATION_BYTES
      ? BEARER.exec(value)?.[1]
      : undefined
  if (token === undefined) throw new DomainError('CREDENTIALS_INVALID', 'The call carries no valid access token.')
  return token
}
