// Authentication and authorisation of calls, in this order, before the request body is read: a token proves who calls
// (see authenticate.ts), then the permission table decides about its roles (PERMISSION_DENIED). Which orders the caller
// reaches is decided in SQL, with the order's row and the scope that permission.ts derives from the same table.

import type { PeerCertificate } from 'node:tls'
import { ServerInterceptingCall, type Metadata, type ServerInterceptor } from '@grpc/grpc-js'
import type { Principal } from '../domain/access.ts'
import { authenticate, type Authentication } from './authenticate.ts'
import { recordOf, type CallRecord } from './call.ts'
import type { Limiter } from './limiter.ts'
import { findPermission, mayCall, permissionDenied } from './permission.ts'
import { statusOf } from './status.ts'

/** The limits of a caller: see src/grpc/limiter.ts. */
export type CallerLimits = Pick<Limiter, 'admitCaller' | 'admitShared'>

export const createGuard =
  (deps: Authentication, limits: CallerLimits): ServerInterceptor =>
  (method, call) => {
    let stopFollowing: (() => void) | undefined
    let hasEnded = false
    const receive = async (metadata: Metadata, pass: (metadata: Metadata) => void): Promise<void> => {
      const record = recordOf(metadata)
      try {
        const { sslPeerCertificate } = deps.clientSans === undefined ? {} : call.getAuthContext()
        // Kept before its role is checked: a refused call names its caller too.
        const keep = (principal: Principal): void => void (record.principal = principal)
        await admit(deps, method.path, metadata, {
          certificate: sslPeerCertificate,
          keep,
          ...countedBy(limits, record),
        })
        // A caller may be gone before its token is checked: nothing would end what is followed then.
        if (method.responseStream && !hasEnded) {
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
          onCancel: () => {
            hasEnded = true
            stopFollowing?.()
          },
        }),
    })
  }

/** What happens on the way: the caller is kept, and counted before and after its role is checked. */
type Admitting = {
  certificate?: PeerCertificate | undefined
  keep?: (principal: Principal) => void
  beforeRole?: (principal: Principal) => void
  afterRole?: (principal: Principal) => Promise<void>
}

const countedBy = (limits: CallerLimits, record: CallRecord): Pick<Admitting, 'beforeRole' | 'afterRole'> => ({
  beforeRole: (principal) => limits.admitCaller(record, principal),
  afterRole: (principal) => limits.admitShared(record, principal),
})

/**
 * Authenticates, counts and authorises a call. Undefined for a method open to all. Throws what authenticate throws,
 * what the limits throw, PERMISSION_DENIED.
 */
export async function admit(
  deps: Authentication,
  path: string,
  metadata: Metadata,
  { certificate, keep, beforeRole, afterRole }: Admitting = {},
): Promise<Principal | undefined> {
  const permission = findPermission(path)
  if (permission === 'anonymous') return undefined
  const principal = await authenticate(deps, metadata, certificate)
  keep?.(principal)
  beforeRole?.(principal)
  if (permission === undefined || !mayCall(principal, permission)) throw permissionDenied()
  await afterRole?.(principal)
  return principal
}
