// Step-up authentication (requirement D-22, RFC 9470): some acts need a token whose holder signed in with two
// factors a short time ago. The factors themselves are the identity provider's work.

import { isSteppedUp, type Principal } from '../domain/access.ts'
import { DomainError } from '../domain/failure.ts'

const STEP_UP_MAX_AGE_MS = 300_000
const MS_PER_S = 1_000
/** The authentication context that a client asks its identity provider for. */
const NEEDED_ACR = 'mfa'

/** Throws STEP_UP_REQUIRED, whose metadata say what the client must ask its identity provider for. */
export function assertSteppedUp(principal: Principal, { maxAgeMs = STEP_UP_MAX_AGE_MS, now = Date.now } = {}): void {
  if (isSteppedUp(principal, now(), maxAgeMs)) return
  throw new DomainError('STEP_UP_REQUIRED', 'This needs a recent sign-in with a second factor. Sign in, then repeat.', {
    metadata: { acr: NEEDED_ACR, max_age: String(maxAgeMs / MS_PER_S) },
  })
}
