import { describe, expect, it } from '@jest/globals'
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { EncryptJWT } from 'jose'
import { DomainError } from '../domain/failure.ts'
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
const without = (key: keyof typeof CLAIMS) => ({ [key]: undefined })

function verifierAt(clock = { nowMs: NOW_S * 1_000 }) {
  return createTokenVerifier({ secrets, issuer: 'issuer', audience: 'shop', now: () => clock.nowMs })
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
})

describe('a token that is not', () => {
  const good = forge({}, {})
  const [header = '', claims = '', signature = ''] = good.split('.')
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' })
  const rsaSigned = `${encode({ ...HEADER, alg: 'RS256' })}.${claims}`
  const jwk = { kty: 'oct', k: Buffer.alloc(32, 9).toString('base64url') }
  /** Same bytes, other spelling: the last character of a 43-character signature has two bits to spare. */
  const respelled = signature.slice(0, -1) + String.fromCharCode(signature.charCodeAt(42) + 1)

  it.each<[string, string]>([
    ['empty', ''],
    ['a word', 'token'],
    ['two parts', `${header}.${claims}`],
    ['four parts', `${good}.${signature}`],
    ['without a signature', `${header}.${claims}.`],
    ['with a space', ` ${good}`],
    ['with a line break', `${good}\n`],
    ['with padding', `${good}=`],
    ['in plain base64', `${header}.${claims}.${'+'.repeat(43)}`],
    ['truncated in its signature', good.slice(0, -1)],
    ['truncated in its claims', `${header}.${claims.slice(0, -1)}.${signature}`],
    ['with a respelled signature', `${header}.${claims}.${respelled}`],
    ['with other claims under the same signature', `${header}.${encode({ ...CLAIMS, sub: '8' })}.${signature}`],
    ['with another header under the same signature', `${encode({ ...HEADER, x: 1 })}.${claims}.${signature}`],
    ['longer than 4 KiB', forge({}, { note: 'x'.repeat(4_096) })],
    ['with claims that are not JSON', forgeText('{')],
    ['with claims that are a list', forgeText('[1]')],
    ['with claims that are null', forgeText('null')],
    ['a JWE', 'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA'],
    ['a token inside a token', forge({ cty: 'JWT' }, { sub: good })],
    ['alg none', `${encode({ ...HEADER, alg: 'none' })}.${claims}.`],
    ['alg none with a signature', forge({ alg: 'none' }, {})],
    ['alg None', forge({ alg: 'None' }, {})],
    ['alg hs256', forge({ alg: 'hs256' }, {})],
    ['alg missing', forge({ alg: undefined }, {})],
    ['alg a number', forge({ alg: 256 }, {})],
    ['alg HS384', forge({ alg: 'HS384' }, {}, { digest: 'sha384' })],
    ['alg HS512', forge({ alg: 'HS512' }, {}, { digest: 'sha512' })],
    ['alg HS384 over an HS256 signature', forge({ alg: 'HS384' }, {})],
    ['alg RS256', `${rsaSigned}.${sign('sha256', Buffer.from(rsaSigned), privateKey).toString('base64url')}`],
    ['alg RS256 over an HMAC of our secret', forge({ alg: 'RS256' }, {})],
    ['signed with a public key as secret', forge({}, {}, { secret: Buffer.from(publicPem) })],
    ['signed with another secret', forge({}, {}, { secret: Buffer.alloc(32, 3) })],
    ['signed with an empty secret', forge({}, {}, { secret: Buffer.alloc(0) })],
    ['signed with the secret of another kid', forge({ kid: 'old' }, {})],
    ['without kid', forge({ kid: undefined }, {})],
    ['of an unknown kid', forge({ kid: 'newer' }, {})],
    ['of a kid that walks a path', forge({ kid: '../../dev/null' }, {}, { secret: Buffer.alloc(0) })],
    ["of a kid that is an object's own", forge({ kid: '__proto__' }, {})],
    ['of a kid that is a list', forge({ kid: ['new'] }, {})],
    ['of a kid with SQL', forge({ kid: "new' or '1'='1" }, {})],
    ['bringing its own key', forge({ kid: 'own', jwk }, {}, { secret: Buffer.alloc(32, 9) })],
    ['bringing its own key under our kid', forge({ jwk }, {}, { secret: Buffer.alloc(32, 9) })],
    ['with a critical extension', forge({ crit: ['exp'] }, {})],
    ['with an empty crit', forge({ crit: [] }, {})],
    ['with unencoded claims', forge({ crit: ['b64'], b64: false }, {})],
    ['without typ', forge({ typ: undefined }, {})],
    ['an ID token', forge({ typ: 'JWT' }, {})],
    ['of another issuer', forge({}, { iss: 'Issuer' })],
    ['without issuer', forge({}, without('iss'))],
    ['for another audience', forge({}, { aud: 'shop2' })],
    ['without audience', forge({}, without('aud'))],
    ['without end', forge({}, without('exp'))],
    ['without time of issue', forge({}, without('iat'))],
    ['without id', forge({}, without('jti'))],
    ['without subject', forge({}, without('sub'))],
    ['without roles', forge({}, without('roles'))],
    ['expired', forge({}, { exp: NOW_S - 6 })],
    ['with an end in words', forge({}, { exp: 'tomorrow' })],
    ['with an end in fractions', forge({}, { exp: NOW_S + 0.5 })],
    ['not yet valid', forge({}, { nbf: NOW_S + 7 })],
    ['issued in the future', forge({}, { iat: NOW_S + 7 })],
    ['too old, though its end is far', forge({}, { iat: NOW_S - 15 * 60 - 6, exp: NOW_S + 9_999 })],
    ['of an admin and too old for one', forge({}, { roles: ['customer', 'admin'], iat: NOW_S - 5 * 60 - 6 })],
    ['with an empty id', forge({}, { jti: '' })],
    ['with an id of several lines', forge({}, { jti: 'a\nb' })],
    ['with an unknown role', forge({}, { roles: ['customer', 'root'] })],
    ['with no role', forge({}, { roles: [] })],
    ['with a role twice', forge({}, { roles: ['customer', 'customer'] })],
    ['with a role outside a list', forge({}, { roles: 'admin' })],
    ['of the system, which has no token', forge({}, { roles: ['system'] })],
    ['of a person and a machine at once', forge({}, { roles: ['customer', 'service'] })],
    ['of user 0', forge({}, { sub: '0' })],
    ['of user -1', forge({}, { sub: '-1' })],
    ['of user 1.0', forge({}, { sub: '1.0' })],
    ['of user 07', forge({}, { sub: '07' })],
    ['of user 2^63', forge({}, { sub: '9223372036854775808' })],
    ['of a user number', forge({}, { sub: 7 })],
    ['of a named person', forge({}, { sub: 'eve' })],
    ['of a machine in upper case', forge({}, { sub: 'ETH-1', roles: ['watcher'] })],
    ['of a machine with too long a name', forge({}, { sub: 'a'.repeat(64), roles: ['service'] })],
  ])('is refused when %s', async (_case, token) => {
    const error = await verifierAt()(token).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(DomainError)
    expect(error).toMatchObject({
      reason: 'CREDENTIALS_INVALID',
      message: 'The call carries no valid access token.',
      metadata: {},
    })
  })

  it('is refused when sealed for us instead of signed', async () => {
    const jwe = await new EncryptJWT(CLAIMS)
      .setProtectedHeader({ ...HEADER, alg: 'dir', enc: 'A256GCM' })
      .encrypt(SECRETS.new)
    await expect(verifierAt()(jwe)).rejects.toMatchObject({ reason: 'CREDENTIALS_INVALID' })
  })

  function forgeText(claimsText: string): string {
    const signed = `${header}.${Buffer.from(claimsText).toString('base64url')}`
    return `${signed}.${createHmac('sha256', SECRETS.new).update(signed).digest('base64url')}`
  }
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
