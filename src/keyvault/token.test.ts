import { describe, expect, it } from '@jest/globals'
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { EncryptJWT } from 'jose'
import {
  createForge,
  hmacSigner,
  hostileTokens,
  keySigner,
  type TokenFamily,
} from '../../test/support/hostile_token.ts'
import { DomainError } from '../domain/failure.ts'
import { TOKEN_CHECKS, TokenCheckError } from '../domain/token_check.ts'
import { createIssuerKeys } from './jwks.ts'
import { SecretError } from './secret.ts'
import { createTokenVerifier, loadTokenSecrets, signDevelopmentToken } from './token.ts'

const SECRETS = { new: Buffer.alloc(32, 1), old: Buffer.alloc(48, 2) }
const FILE = fileOf(Object.entries(SECRETS).map(([kid, secret]) => ({ kid, secret: secret.toString('base64') })))
const NOW_S = 1_800_000_000
const secrets = loadTokenSecrets(FILE, 'development')

const HEADER = { alg: 'HS256', typ: 'at+jwt', kid: 'new' }
const CLAIMS = {
  iss: 'issuer',
  aud: 'shop',
  sub: '7',
  jti: 'token-1',
  roles: ['customer'],
  iat: NOW_S - 10,
  exp: NOW_S + 300,
}
const FRAME = { issuer: 'issuer', audience: 'shop', nowS: NOW_S, url: 'http://127.0.0.1:1/keys' }

const PAIRS = {
  EdDSA: generateKeyPairSync('ed25519'),
  RS256: generateKeyPairSync('rsa', { modulusLength: 2_048 }),
}
const publicTextsOf = ({ publicKey }: (typeof PAIRS)[keyof typeof PAIRS]) => [
  publicKey.export({ type: 'spki', format: 'pem' }),
  publicKey.export({ type: 'spki', format: 'pem' }).toString().trimEnd(),
  publicKey.export({ type: 'spki', format: 'der' }),
  JSON.stringify(publicKey.export({ format: 'jwk' })),
]
const FAMILIES: Readonly<Record<'HS256' | 'EdDSA' | 'RS256', TokenFamily>> = {
  HS256: { alg: 'HS256', kid: 'new', sign: hmacSigner(SECRETS.new), publicTexts: [] },
  EdDSA: {
    alg: 'EdDSA',
    kid: 'new',
    sign: keySigner(PAIRS.EdDSA.privateKey),
    publicTexts: publicTextsOf(PAIRS.EdDSA),
  },
  RS256: {
    alg: 'RS256',
    kid: 'new',
    sign: keySigner(PAIRS.RS256.privateKey),
    publicTexts: publicTextsOf(PAIRS.RS256),
  },
}

function verifierAt(clock = { nowMs: NOW_S * 1_000 }) {
  const clocks = { now: () => clock.nowMs, elapsed: () => clock.nowMs }
  return createTokenVerifier({ secrets, issuer: 'issuer', audience: 'shop', ...clocks })
}

/** A verifier of the issuer's keys, or of our secrets. */
function verifierOf(alg: 'HS256' | 'EdDSA' | 'RS256') {
  if (alg === 'HS256') return verifierAt()
  const set = JSON.stringify({ keys: [{ ...PAIRS[alg].publicKey.export({ format: 'jwk' }), kid: 'new' }] })
  const issuerKeys = createIssuerKeys({ algorithm: alg, load: async () => set })
  return createTokenVerifier({ issuerKeys, issuer: 'issuer', audience: 'shop', now: () => NOW_S * 1_000 })
}

function fileOf(keys: readonly unknown[]): string {
  return JSON.stringify({ keys })
}

const encode = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString('base64url')

/** Signs whatever it is given, as a forger with or without the right secret would. */
function forge(header: object, claims: object, { secret = SECRETS.new, digest = 'sha256' } = {}): string {
  const signed = `${encode({ ...HEADER, ...header })}.${encode({ ...CLAIMS, ...claims })}`
  return `${signed}.${createHmac(digest, secret).update(signed).digest('base64url')}`
}

describe('a token that is good', () => {
  it('speaks for a person by user id', async () => {
    await expect(verifierAt()(forge({}, {}))).resolves.toEqual({
      subject: '7',
      userId: 7n,
      roles: ['customer'],
      tokenId: 'token-1',
      issuedAtS: NOW_S - 10,
    })
  })

  it.each(['watcher', 'service'])('speaks for a %s by name', async (role) => {
    const principal = await verifierAt()(forge({}, { sub: 'eth-1', roles: [role] }))
    expect(principal).toMatchObject({ subject: 'eth-1', userId: undefined, roles: [role] })
  })

  it.each<[string, string]>([
    ['under an older secret', forge({ kid: 'old' }, {}, { secret: SECRETS.old })],
    ['for one of several audiences', forge({}, { aud: ['other', 'shop'] })],
    ['with the largest user id', forge({}, { sub: '9223372036854775807' })],
    ['for a person of two roles', forge({}, { roles: ['customer', 'admin'] })],
    ['a clock tolerance past its end', forge({}, { exp: NOW_S - 4 })],
    ['a clock tolerance before its start', forge({}, { nbf: NOW_S + 5 })],
    ['of an issuer whose clock is ahead', forge({}, { iat: NOW_S + 5 })],
    ['as old as it may be', forge({}, { iat: NOW_S - 15 * 60 })],
    ['of an admin as old as it may be', forge({}, { roles: ['admin'], iat: NOW_S - 5 * 60 })],
    [
      'whose header points elsewhere, which nobody follows',
      forge({ jku: 'http://127.0.0.1:1', x5u: 'http://127.0.0.1:1' }, {}),
    ],
  ])('is taken %s', async (_case, token) => {
    await expect(verifierAt()(token)).resolves.toBeDefined()
  })

  it('is remembered for a minute at most and never past its end', async () => {
    const clock = { nowMs: NOW_S * 1_000 }
    const verify = verifierAt(clock)
    const token = forge({}, { exp: NOW_S + 20 })
    const first = await verify(token)
    clock.nowMs += 19_999
    await expect(verify(token)).resolves.toBe(first)
    clock.nowMs += 5_002
    await expect(verify(token)).rejects.toMatchObject({ reason: 'CREDENTIALS_INVALID' })
    const lasting = forge({}, { iat: NOW_S + 20, exp: NOW_S + 300 })
    const before = await verify(lasting)
    clock.nowMs += 59_999
    await expect(verify(lasting)).resolves.toBe(before)
    clock.nowMs += 1
    const after = await verify(lasting)
    expect(after).toEqual(before)
    expect(after).not.toBe(before)
  })

  it.each([
    ['set back, once its minute is over', -90_000, 60_000],
    ['set forward, beyond its end', 400, 0],
  ])('is not taken from memory by a machine whose clock was %s', async (_case, setByS, elapsedMs) => {
    const clock = { nowMs: NOW_S * 1_000, elapsedMs: 0 }
    const clocks = { now: () => clock.nowMs, elapsed: () => clock.elapsedMs }
    const verify = createTokenVerifier({ secrets, issuer: 'issuer', audience: 'shop', ...clocks })
    const token = forge({}, { exp: NOW_S + 300 })
    await verify(token)
    clock.nowMs += setByS * 1_000
    clock.elapsedMs = elapsedMs
    await expect(verify(token)).rejects.toMatchObject({ reason: 'CREDENTIALS_INVALID' })
  })
})

describe.each(['HS256', 'EdDSA', 'RS256'] as const)(
  'a token that is not right, where tokens are signed by %s',
  (alg) => {
    const family = FAMILIES[alg]
    const hostile = hostileTokens(family, FRAME)

    it('is one of more than sixty', () => {
      expect(hostile.length).toBeGreaterThan(60)
      expect(new Set(hostile.map(([, token]) => token)).size).toBe(hostile.length)
    })

    it.each(hostile)('is refused when %s', async (_case, token) => {
      const error = await verifierOf(alg)(token).catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(DomainError)
      expect(error).toMatchObject({
        reason: 'CREDENTIALS_INVALID',
        message: 'The call carries no valid access token.',
        metadata: {},
      })
      const { cause } = error as DomainError
      expect(cause).toBeInstanceOf(TokenCheckError)
      // Neither the library's error nor a value of the token hangs on it.
      expect(cause).not.toHaveProperty('cause')
      expect(TOKEN_CHECKS.map((check) => new TokenCheckError(check).message)).toContain((cause as Error).message)
    })

    it('would be accepted if nothing were wrong with it', async () => {
      await expect(verifierOf(alg)(createForge(family, FRAME)())).resolves.toMatchObject({ userId: 7n })
    })

    it.each(['HS256', 'EdDSA', 'RS256'] as const)(
      'is right only if its own algorithm signed it, not %s',
      async (other) => {
        const token = createForge(FAMILIES[other], FRAME)({ kid: family.kid })
        const outcome = await verifierOf(alg)(token).catch((thrown: DomainError) => thrown.reason)
        expect(outcome).toEqual(other === alg ? expect.objectContaining({ userId: 7n }) : 'CREDENTIALS_INVALID')
      },
    )
  },
)

it('a token that is sealed for us instead of signed is refused', async () => {
  const jwe = await new EncryptJWT(CLAIMS)
    .setProtectedHeader({ ...HEADER, alg: 'dir', enc: 'A256GCM' })
    .encrypt(SECRETS.new)
  await expect(verifierAt()(jwe)).rejects.toMatchObject({ reason: 'CREDENTIALS_INVALID' })
})

it.each([
  ['signed with the secret of another kid', forge({ kid: 'old' }, {})],
  ['signed with another HMAC under our secret', forge({ alg: 'HS512' }, {}, { digest: 'sha512' })],
  ['that says RS256 over an HMAC of our secret', forge({ alg: 'RS256' }, {})],
])('a token %s is refused', async (_case, token) => {
  await expect(verifierAt()(token)).rejects.toMatchObject({ reason: 'CREDENTIALS_INVALID' })
})

it.each<[string, string]>([
  ['shape', 'two.parts'],
  ['shape', `${forge({}, {})}${'x'.repeat(4_096)}`],
  ['alg', forge({ alg: 'HS512' }, {}, { digest: 'sha512' })],
  ['alg', forge({ alg: 'none' }, {})],
  ['kid', forge({ kid: 'newer' }, {})],
  ['kid', forge({ kid: undefined }, {})],
  ['signature', forge({ kid: 'old' }, {})],
  ['encoding', forge({ crit: ['x'], x: 1 }, {})],
  ['typ', forge({ typ: 'JWT' }, {})],
  ['typ', forge({ typ: undefined }, {})],
  ['iss', forge({}, { iss: 'other' })],
  ['iss', forge({}, { iss: undefined })],
  ['aud', forge({}, { aud: 'other' })],
  ['exp', forge({}, { exp: NOW_S - 6 })],
  ['exp', forge({}, { exp: undefined })],
  ['nbf', forge({}, { nbf: NOW_S + 30 })],
  ['iat', forge({}, { iat: NOW_S + 30 })],
  ['age', forge({}, { iat: NOW_S - 15 * 60 - 6 })],
  ['age', forge({}, { roles: ['admin'], iat: NOW_S - 5 * 60 - 6 })],
  ['jti', forge({}, { jti: '' })],
  ['sub', forge({}, { sub: 'eve' })],
  ['sub', forge({}, { sub: undefined })],
  ['roles', forge({}, { roles: ['root'] })],
  ['roles', forge({}, { roles: ['customer', 'service'] })],
  ['roles', forge({}, { roles: undefined })],
  ['amr', forge({}, { amr: 'mfa' })],
  ['auth_time', forge({}, { auth_time: NOW_S + 30 })],
])('a refused token has the name of the check that failed: %s', async (check, token) => {
  await expect(verifierAt()(token)).rejects.toMatchObject({ reason: 'CREDENTIALS_INVALID', cause: { check } })
})

it('a token says how and when its holder signed in', async () => {
  const token = forge({}, { amr: ['pwd', 'otp'], auth_time: NOW_S - 20 })
  await expect(verifierAt()(token)).resolves.toMatchObject({ amr: ['pwd', 'otp'], authTimeS: NOW_S - 20 })
})

it('without keys of the issuer, no token is judged', async () => {
  const issuerKeys = createIssuerKeys({ algorithm: 'EdDSA', load: () => Promise.reject(new Error('away')) })
  const verify = createTokenVerifier({ issuerKeys, issuer: 'issuer', audience: 'shop', now: () => NOW_S * 1_000 })
  const error = await verify(createForge(FAMILIES.EdDSA, FRAME)()).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ reason: 'ISSUER_UNAVAILABLE', kind: 'unavailable' })
})

describe('token secrets', () => {
  const key = (kid: string, byte = 1, length = 32) => ({ kid, secret: Buffer.alloc(length, byte).toString('base64') })
  const development = { kid: 'dev', secret: Buffer.from('development-'.padEnd(40, 'x')).toString('base64') }

  it.each<[string, string, RegExp]>([
    ['that are not JSON', '{', /token secrets is not JSON/],
    ['without keys', '{}', /invalid or missing: token secrets\.keys/],
    ['none at all', fileOf([]), /token secrets\.keys/],
    ['four of them', fileOf(['a', 'b', 'c', 'd'].map((kid) => key(kid))), /token secrets\.keys/],
    ['of 31 bytes', fileOf([key('a', 1, 31)]), /token secret a has fewer than 32 bytes/],
    ['in loose base64', fileOf([{ kid: 'a', secret: ` ${key('a').secret}` }]), /token secret a is not plain base64/],
    ['of one kid', fileOf([key('a'), key('a', 2)]), /given twice/],
    ['with a kid of several words', fileOf([key('a b')]), /token secrets\.keys\.0\.kid/],
    ['made for development', fileOf([key('a'), development]), /token secret dev is a development value/],
  ])('are refused in production: %s', (_case, json, message) => {
    const act = () => loadTokenSecrets(json, 'production')
    expect(act).toThrow(SecretError)
    expect(act).toThrow(message)
  })

  it('sign development tokens that are taken, and none in production', async () => {
    const options = { issuer: 'issuer', audience: 'shop', roles: ['admin'] as const, subject: '7', lifetimeS: 60 }
    const token = await signDevelopmentToken({ ...options, secrets })
    const verify = createTokenVerifier({ secrets, issuer: 'issuer', audience: 'shop' })
    await expect(verify(token)).resolves.toMatchObject({ userId: 7n, roles: ['admin'] })
    const production = loadTokenSecrets(FILE, 'production')
    await expect(signDevelopmentToken({ ...options, secrets: production })).rejects.toThrow(SecretError)
  })
})
