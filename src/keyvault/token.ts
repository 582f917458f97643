// Access tokens, verified by jose with every policy explicit (requirement D-21): HS256 under our own secrets, or the one
// algorithm of an asymmetric issuer, never both. jose alone would accept a short secret, another HMAC, and a token
// without exp, iss or aud. Every rejection has the same text; its cause names the check that failed, for the log.

import { createSecretKey, hash, type KeyObject, type webcrypto } from 'node:crypto'
import { errors, jwtVerify, SignJWT, type JWTPayload } from 'jose'
import { z } from 'zod'
import { ROLES, type Principal, type Role } from '../domain/access.ts'
import { DomainError } from '../domain/failure.ts'
import { MACHINE_PATTERN } from '../domain/identifier.ts'
import { credentialsInvalid, findTokenCheck, TokenCheckError, type TokenCheck } from '../domain/token_check.ts'
import { createExpiringCache } from './cache.ts'
import { assertStrict } from './compact.ts'
import type { IssuerKeys } from './jwks.ts'
import { hasDuplicates, parseSecret, parseSecretFile, SecretError, type RunMode } from './secret.ts'

const SECRET_ALGORITHM = 'HS256'
const TYPE = 'at+jwt'
const MAX_SECRETS = 3
const MAX_TOKEN_BYTES = 4_096
const TOKEN_SHAPE = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/
const CLOCK_TOLERANCE_S = 5
/** Of a token without the role admin. */
export const MAX_TOKEN_AGE_S = 15 * 60
const MAX_ADMIN_AGE_S = 5 * 60
const CACHE_CAPACITY = 10_000
const CACHE_LIFE_MS = 60_000
const MAX_USER_ID = 2n ** 63n - 1n
/** The end of the year 9999. */
const MAX_TIME_S = 253_402_300_799
const MAX_METHODS = 16
const MAX_AUDIENCES = 16

const SECRETS_FILE = z.strictObject({
  keys: z
    .array(z.strictObject({ kid: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/), secret: z.string() }))
    .min(1)
    .max(MAX_SECRETS),
})
const timeS = z.number().int().min(0).max(MAX_TIME_S)
const CLAIMS = z.object({
  exp: timeS,
  iat: timeS,
  nbf: timeS.optional(),
  aud: z.union([z.string(), z.array(z.string()).max(MAX_AUDIENCES)]),
  jti: z.string().regex(/^[\x21-\x7e]{1,128}$/),
  sub: z.string().max(63),
  roles: z.array(z.enum(ROLES)).min(1).max(ROLES.length),
  amr: z
    .array(z.string().regex(/^[\x21-\x7e]{1,64}$/))
    .max(MAX_METHODS)
    .optional(),
  auth_time: timeS.optional(),
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

/** Who may sign: holders of a secret, or an issuer with public keys. */
export type TokenKeys = { secrets: TokenSecrets } | { issuerKeys: IssuerKeys }
export type TokenVerifierOptions = TokenKeys & {
  issuer: string
  audience: string
  /** Milliseconds since the epoch: what a token is judged by. */
  now?: () => number
  /** Monotonic milliseconds: how long it stays in the cache. A clock that is set back must not prolong a token's life. */
  elapsed?: () => number
}

type Verified = { principal: Principal; endsAtMs: number }

/**
 * Creates a function from a compact JWT to its principal. Rejects with CREDENTIALS_INVALID, whatever is wrong with the
 * token, or with ISSUER_UNAVAILABLE while no key of the issuer is known.
 */
export function createTokenVerifier(options: TokenVerifierOptions): (token: string) => Promise<Principal> {
  const { issuer, audience, now = Date.now, elapsed = () => performance.now() } = options
  const { algorithm, find } = 'secrets' in options ? keysOf(options.secrets) : options.issuerKeys
  const cache = createExpiringCache<Verified>({ capacity: CACHE_CAPACITY, now: elapsed })

  // The kid only selects one of the known keys; jku, x5u, x5c and jwk are ignored.
  const keyOf = async ({ kid }: { kid?: string }): Promise<webcrypto.CryptoKey> => {
    const key = typeof kid === 'string' ? await find(kid) : undefined
    if (key === undefined) throw new TokenCheckError('kid')
    return key
  }

  const check = async (token: string): Promise<Verified> => {
    const nowMs = now()
    const { payload } = await jwtVerify(token, keyOf, {
      algorithms: [algorithm],
      typ: TYPE,
      issuer,
      audience,
      requiredClaims: ['exp', 'iat', 'sub', 'jti'],
      maxTokenAge: MAX_TOKEN_AGE_S,
      clockTolerance: CLOCK_TOLERANCE_S,
      currentDate: new Date(nowMs),
    })
    // Only what the right key has signed is worth a closer look.
    assertStrict(token)
    const { exp, iat, principal } = readClaims(payload)
    const maxAgeS = maxAgeOf(principal.roles)
    if (nowMs > (iat + maxAgeS + CLOCK_TOLERANCE_S) * 1_000) throw new TokenCheckError('age')
    if ((principal.authTimeS ?? 0) > nowMs / 1_000 + CLOCK_TOLERANCE_S) throw new TokenCheckError('auth_time')
    return { principal, endsAtMs: Math.min(exp, iat + maxAgeS) * 1_000 }
  }

  return async (token) => {
    if (token.length > MAX_TOKEN_BYTES || !TOKEN_SHAPE.test(token)) throw credentialsInvalid('shape')
    const digest = hash('sha256', token, 'base64')
    const known = cache.find(digest)
    if (known !== undefined && now() < known.endsAtMs) return known.principal
    // Some failures inside jose are not jose errors: every exception but our own is a rejection.
    const verified = await check(token).catch((cause: unknown) => {
      throw cause instanceof DomainError ? cause : credentialsInvalid(checkOf(cause))
    })
    cache.put(digest, verified, elapsed() + Math.min(CACHE_LIFE_MS, verified.endsAtMs - now()))
    return verified.principal
  }
}

/** Which check failed. What is not one of a known name is wrong in how the token is written. */
function checkOf(error: unknown): TokenCheck {
  if (error instanceof TokenCheckError) return error.check
  if (error instanceof errors.JOSEAlgNotAllowed) return 'alg'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature'
  // jose's only expiry by `iat` is the maximum age.
  if (error instanceof errors.JWTExpired) return error.claim === 'iat' ? 'age' : 'exp'
  const name =
    error instanceof errors.JWTClaimValidationFailed
      ? error.claim
      : error instanceof z.ZodError && error.issues[0]?.path[0]
  return findTokenCheck(name) ?? 'encoding'
}

const maxAgeOf = (roles: readonly Role[]): number => (roles.includes('admin') ? MAX_ADMIN_AGE_S : MAX_TOKEN_AGE_S)

/** C-25: a user's subject is the user id; a watcher's or service's is a name. No token may be for both kinds. */
function readClaims(payload: JWTPayload): { exp: number; iat: number; principal: Principal } {
  const { exp, iat, jti, sub, roles, amr, auth_time: authTimeS } = CLAIMS.parse(payload)
  const machineRoles = roles.filter((role) => MACHINE_ROLES.includes(role)).length
  if (hasDuplicates(roles) || (machineRoles > 0 && machineRoles < roles.length)) throw new TokenCheckError('roles')
  const isMachine = machineRoles > 0
  if (!(isMachine ? MACHINE_PATTERN : USER_ID).test(sub)) throw new TokenCheckError('sub')
  const userId = isMachine ? undefined : BigInt(sub)
  if (userId !== undefined && userId > MAX_USER_ID) throw new TokenCheckError('sub')
  const principal: Principal = {
    ...{ subject: sub, userId, roles: Object.freeze(roles), tokenId: jti, issuedAtS: iat },
    ...(amr !== undefined && { amr: Object.freeze(amr) }),
    ...(authTimeS !== undefined && { authTimeS }),
  }
  return { exp, iat, principal: Object.freeze(principal) }
}

function keysOf(secrets: TokenSecrets) {
  const keys = new Map(secrets.keys.map(({ kid, key }) => [kid, hmacKeyOf(key, 'verify')]))
  return { algorithm: SECRET_ALGORITHM, find: async (kid: string) => keys.get(kid) }
}

const hmacKeyOf = (key: KeyObject, use: 'sign' | 'verify'): webcrypto.CryptoKey =>
  key.toCryptoKey({ name: 'HMAC', hash: 'SHA-256' }, false, [use])

type TokenContent = {
  issuer: string
  audience: string
  roles: readonly Role[]
  subject: string
}

/** Signs with one secret, from now on. */
async function sign(
  signer: TokenSecrets['keys'][number],
  { roles, issuer, audience, subject }: TokenContent,
  { lifetimeS, claims }: { lifetimeS: number; claims: (issuedAtS: number) => JWTPayload },
): Promise<string> {
  const issuedAtS = Math.floor(Date.now() / 1_000)
  return new SignJWT({ roles: [...roles], ...claims(issuedAtS) })
    .setProtectedHeader({ alg: SECRET_ALGORITHM, typ: TYPE, kid: signer.kid })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(subject)
    .setJti(crypto.randomUUID())
    .setIssuedAt(issuedAtS)
    .setExpirationTime(issuedAtS + lifetimeS)
    .sign(hmacKeyOf(signer.key, 'sign'))
}

export type DevelopmentTokenOptions = TokenContent & {
  secrets: TokenSecrets
  /** Absent: the longest that its roles allow. */
  lifetimeS?: number
  /** How the person signed in. Absent: with two factors. */
  amr?: readonly string[]
  /** Absent: the person signs in now. */
  authTimeS?: number
}

const DEVELOPMENT_METHODS = ['pwd', 'otp', 'mfa']

/** Signs a token for the development stack and its CLI. With secrets of production: SecretError. */
export async function signDevelopmentToken(options: DevelopmentTokenOptions): Promise<string> {
  const [signer] = options.secrets.keys
  if (options.secrets.mode === 'production' || signer === undefined)
    throw new SecretError('tokens are signed here in development only')
  const { roles, amr = DEVELOPMENT_METHODS, authTimeS, lifetimeS = maxAgeOf(roles) } = options
  const claims = (issuedAtS: number): JWTPayload => ({ amr: [...amr], auth_time: authTimeS ?? issuedAtS })
  return sign(signer, options, { lifetimeS, claims })
}

export type TokenOptions = TokenContent & {
  secrets: TokenSecrets
  /** Absent: the first secret signs. */
  kid?: string
  /** Absent: the longest that its roles allow. */
  lifetimeS?: number
  /** How the person has signed in just now. Absent: the token does not say. */
  amr?: readonly string[]
}

/**
 * Signs a token that an api with these secrets, issuer and audience accepts. It says nothing of a second factor unless
 * it is told. Throws SecretError for what the api would refuse, and for a longer life than the roles allow.
 */
export async function signToken(options: TokenOptions): Promise<string> {
  const { secrets, kid, roles, issuer, audience, amr, lifetimeS = maxAgeOf(roles) } = options
  const signer = kid === undefined ? secrets.keys[0] : secrets.keys.find((key) => key.kid === kid)
  if (signer === undefined) throw new SecretError('token secrets: no secret has this kid')
  if (!(lifetimeS > 0 && lifetimeS <= maxAgeOf(roles)))
    throw new SecretError(`a token of these roles is valid for ${maxAgeOf(roles)} s at most`)
  const claims = (issuedAtS: number): JWTPayload => (amr === undefined ? {} : { amr: [...amr], auth_time: issuedAtS })
  const token = await sign(signer, options, { lifetimeS, claims })
  // The api's own verifier decides: no rule is written down twice.
  await createTokenVerifier({ secrets, issuer, audience })(token).catch((error: unknown) => {
    const check = error instanceof DomainError && error.cause instanceof TokenCheckError ? error.cause.check : 'shape'
    throw new SecretError(`the api would refuse this token: see the check of ${check} in docs/tokens.md`)
  })
  return token
}
