// Who is calling, as proven by a token. Roles are the token's words (requirements C-25).

export const ROLES = ['customer', 'fulfilment', 'admin', 'auditor', 'watcher', 'service'] as const
export type Role = (typeof ROLES)[number]

export type Principal = {
  /** People: a positive 64-bit integer; watcher and service: a name `[a-z0-9-]{1,63}`. */
  subject: string
  /** Set for people only. */
  userId: bigint | undefined
  roles: readonly Role[]
  tokenId: string
  /** When the token was issued, in seconds since the epoch. Absent: unknown, which counts as before any revocation. */
  issuedAtS?: number
  /** How the person signed in (RFC 8176). Absent: unknown, which is no second factor. */
  amr?: readonly string[]
  /** When the person signed in, in seconds since the epoch. Absent: unknown, which is too long ago. */
  authTimeS?: number
}

const MS_PER_S = 1_000

export const hasRole = (principal: Principal, role: Role): boolean => principal.roles.includes(role)

/** The actor string stored with effects: `user:7`, `watcher:eth-1`. */
export const actorOf = (principal: Principal): string =>
  principal.userId === undefined
    ? `${principal.roles[0] ?? 'service'}:${principal.subject}`
    : `user:${principal.userId}`

/** Methods of RFC 8176 by the factor they prove. */
const FACTOR_OF: ReadonlyMap<string, 'knowledge' | 'possession' | 'inherence'> = new Map([
  ...(['pwd', 'pin', 'kba'] as const).map((method) => [method, 'knowledge'] as const),
  ...(['otp', 'hwk', 'swk', 'pop', 'sc', 'sms', 'tel'] as const).map((method) => [method, 'possession'] as const),
  ...(['fpt', 'face', 'iris', 'retina', 'vbm'] as const).map((method) => [method, 'inherence'] as const),
])
/** The issuer's word that several factors were used. */
const MULTIPLE_FACTORS = 'mfa'

/** Did the person sign in with two different factors? Two passwords are one factor, and so is a one-time code alone. */
export function hasSecondFactor({ amr = [] }: Pick<Principal, 'amr'>): boolean {
  const factors = new Set(amr.map((method) => FACTOR_OF.get(method)))
  factors.delete(undefined)
  return amr.includes(MULTIPLE_FACTORS) || factors.size > 1
}

/** Did the person sign in with two factors, and no longer ago than `maxAgeMs`? (requirement D-22) */
export const isSteppedUp = (principal: Principal, nowMs: number, maxAgeMs: number): boolean =>
  hasSecondFactor(principal) && principal.authTimeS !== undefined && nowMs - principal.authTimeS * MS_PER_S <= maxAgeMs
