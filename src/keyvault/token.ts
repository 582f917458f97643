// Access tokens: HS256 by jose, with every policy explicit (requirement D-21). jose alone would accept a short secret,
// another HMAC, and a token without exp, iss or aud. Every rejection has the same text.

import { createSecretKey, hash, type KeyObject, type webcrypto } from 'node:crypto'
import { jwtVerify, SignJWT, type JWTPayload } from 'jose'
import { z } from 'zod'
import { ROLES, type Principal, type Role } from '../domain/access.ts'
import { DomainError } from '../domain/failure.ts'
import { MACHINE_PATTERN } from '../domain/identifier.ts'
import { createExpiringCache } from './cache.ts'
import { hasDuplicates, parseSecret, parseSecretFile, SecretError, type RunMode } from './secret.ts'

const ALGORITHM = 'HS256'
const TYPE = 'at+jwt'
const MAX_SECRETS = 3
const MAX_TOKEN_BYTES = 4_096
/**
 * Three base64url parts. An HS256 signature has 43 characters, of which the last carries four bits; only one spelling
 * is accepted.
 */
const TOKEN_SHAPE = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/
const CLOCK_TOLERANCE_S = 5
const MAX_AGE_S = 15 * 60
const MAX_ADMIN_AGE_S = 5 * 60
const CACHE_CAPACITY = 10_000
const CACHE_LIFE_MS = 60_000
const MAX_USER_ID = 2n ** 63n - 1n

const SECRETS_FILE = z.strictObject({
  keys: z
    .array(z.strictObject({ kid: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/), secret: z.string() }))
    .min(1)
    .max(MAX_SECRETS),
})
const CLAIMS = z.object({
  exp: z.number().int(),
  iat: z.number().int(),
  jti: z.string().regex(/^[\x21-\x7e]{1,128}$/),
  sub: z.string().max(63),
  roles: z.array(z.enum(ROLES)).min(1).max(ROLES.length),
})
const USER_ID = /^[1-9][0-9]{0,18}$/
const MACHINE_ROLES: readonly Role[] = ['watcher', 'service']

/** The first key signs; all of them verify. */
export type TokenSecrets = { mode: RunMode; keys: readonly { kid: string; key: KeyObject }[] }

/** Reads `{"keys":[{"kid","secret"}]}`: one to three secrets of at least 32 bytes in base64. Throws SecretError. */
export function loadTokenSecrets(json: string, mode: RunMode): TokenSecrets {
  const { keys } = parseSecretFile('token secrets', json, SECRETS_FILE)
  if (hasDuplicates(keys.map(({ kid }) => kid))) throw new SecretError('token secrets: a kid is given twice')
  return {
    mode,
    keys: keys.map(({ kid, secret }) => ({
      kid,
      key: createSecretKey(parseSecret(`token secret ${kid}`, secret, mode)),
    })),
  }
}

export type TokenVerifierOptions = { secrets: TokenSecrets; issuer: string; audience: string; now?: () => number }

/** Creates a function from a compact JWT to its principal; any problem is DomainError CREDENTIALS_INVALID. */
export function createTokenVerifier(options: TokenVerifierOptions): (token: string) => Promise<Principal> {
  const { secrets, issuer, audience, now = Date.now } = options
  const keys = new Map(secrets.keys.map(({ kid, key }) => [kid, hmacKeyOf(key, 'verify')]))
  const cache = createExpiringCache<Principal>({ capacity: CACHE_CAPACITY, now })

  // The kid only selects one of the keys in memory; jku, x5u and jwk are ignored.
  const keyOf = ({ kid }: { kid?: string }): webcrypto.CryptoKey => {
    const key = keys.get(kid ?? '')
    if (key === undefined) throw new Error('unknown kid')
    return key
  }

  const check = async (token: string): Promise<{ principal: Principal; endsAtMs: number }> => {
    const nowMs = now()
    const { payload } = await jwtVerify(token, keyOf, {
      algorithms: [ALGORITHM],
      typ: TYPE,
      issuer,
      audience,
      requiredClaims: ['exp', 'iat', 'sub', 'jti'],
      maxTokenAge: MAX_AGE_S,
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(nowMs),
    })
    const { exp, iat, principal } = readClaims(payload)
    const maxAgeS = maxAgeOf(principal.roles)
    if (nowMs > (iat + maxAgeS + CLOCK_TOLERANCE_S) * 1_000) throw new Error('too old')
    return { principal, endsAtMs: Math.min(nowMs + CACHE_LIFE_MS, exp * 1_000, (iat + maxAgeS) * 1_000) }
  }

  return async (token) => {
    if (token.length > MAX_TOKEN_BYTES || !TOKEN_SHAPE.test(token)) throw refusal()
    const digest = hash('sha256', token, 'base64')
    const known = cache.find(digest)
    if (known !== undefined) return known
    // Some failures inside jose are not jose errors: every exception is a rejection.
    const { principal, endsAtMs } = await check(token).catch((cause: unknown) => {
      throw refusal(cause)
    })
    cache.put(digest, principal, endsAtMs)
    return principal
  }
}

const refusal = (cause?: unknown): DomainError =>
  new DomainError('CREDENTIALS_INVALID', 'The call carries no valid access token.', { cause })

const maxAgeOf = (roles: readonly Role[]): number => (roles.includes('admin') ? MAX_ADMIN_AGE_S : MAX_AGE_S)

/** C-25: a user's subject is the user id; a watcher's or service's is a name. No token may be for both kinds. */
function readClaims(payload: JWTPayload): { exp: number; iat: number; principal: Principal } {
  const { exp, iat, jti, sub, roles } = CLAIMS.parse(payload)
  const machineRoles = roles.filter((role) => MACHINE_ROLES.includes(role)).length
  if (hasDuplicates(roles) || (machineRoles > 0 && machineRoles < roles.length)) throw new Error('roles')
  const isMachine = machineRoles > 0
  if (!(isMachine ? MACHINE_PATTERN : USER_ID).test(sub)) throw new Error('subject')
  const userId = isMachine ? undefined : BigInt(sub)
  if (userId !== undefined && userId > MAX_USER_ID) throw new Error('subject')
  return { exp, iat, principal: Object.freeze({ subject: sub, userId, roles: Object.freeze(roles), tokenId: jti }) }
}

const hmacKeyOf = (key: KeyObject, use: 'sign' | 'verify'): webcrypto.CryptoKey =>
  key.toCryptoKey({ name: 'HMAC', hash: 'SHA-256' }, false, [use])

export type DevelopmentTokenOptions = {
  secrets: TokenSecrets
  issuer: string
  audience: string
  roles: readonly Role[]
  subject: string
  /** Absent: the longest that its roles allow. */
  lifetimeS?: number
}

/**
 * Signs a token for the development stack and its CLI. In production the shop's own issuer signs tokens: SecretError.
 */
export async function signDevelopmentToken(options: DevelopmentTokenOptions): Promise<string> {
  const [signer] = options.secrets.keys
  if (options.secrets.mode === 'production' || signer === undefined)
    throw new SecretError('tokens are signed here in development only')
  const issuedAtS = Math.floor(Date.now() / 1_000)
  const lifetimeS = options.lifetimeS ?? maxAgeOf(options.roles)
  return new SignJWT({ roles: [...options.roles] })
    .setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: signer.kid })
    .setIssuer(options.issuer)
    .setAudience(options.audience)
    .setSubject(options.subject)
    .setJti(crypto.randomUUID())
    .setIssuedAt(issuedAtS)
    .setExpirationTime(issuedAtS + lifetimeS)
    .sign(hmacKeyOf(signer.key, 'sign'))
}
