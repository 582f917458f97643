// Tokens that must be refused (requirement D-21), for either family of signatures. Most of them are signed by the right
// key, as a careless issuer would: what counts is then the policy alone.

import { createHmac, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'

export type TokenFamily = {
  alg: 'HS256' | 'EdDSA' | 'RS256'
  kid: string
  /** Signs the two encoded parts with the right key; the signature in base64url. */
  sign: (text: string) => string
  /** What is public about the right key, as an attacker would use it for an HMAC secret. */
  publicTexts: readonly (string | Buffer)[]
}
export type TokenFrame = {
  issuer: string
  audience: string
  nowS: number
  /** Where headers such as `jku` point to: nothing may ever be fetched from it. */
  url: string
}

type Signer = (text: string) => string

export const encodePart = (part: unknown): string => Buffer.from(JSON.stringify(part)).toString('base64url')

export const hmacSigner =
  (secret: string | Buffer, digest = 'sha256'): Signer =>
  (text) =>
    createHmac(digest, secret).update(text).digest('base64url')

export const keySigner =
  (key: KeyObject): Signer =>
  (text) =>
    sign(key.asymmetricKeyType === 'rsa' ? 'sha256' : null, Buffer.from(text), key).toString('base64url')

export const goodHeader = ({ alg, kid }: TokenFamily) => ({ alg, typ: 'at+jwt', kid })
export const goodClaims = ({ issuer, audience, nowS }: TokenFrame) => ({
  iss: issuer,
  aud: audience,
  sub: '7',
  jti: 'token-1',
  roles: ['customer'],
  iat: nowS - 10,
  exp: nowS + 240,
})

/** Signs header and claims, each with what it overrides; undefined removes a member. */
export const createForge =
  (family: TokenFamily, frame: TokenFrame) =>
  (header: object = {}, claims: object = {}, signer: Signer = family.sign): string => {
    const text = `${encodePart({ ...goodHeader(family), ...header })}.${encodePart({ ...goodClaims(frame), ...claims })}`
    return `${text}.${signer(text)}`
  }

/** The same parts, given as JSON text. */
const createTextForge =
  (family: TokenFamily, frame: TokenFrame) =>
  ({ header = JSON.stringify(goodHeader(family)), claims = JSON.stringify(goodClaims(frame)) as string | Buffer }) => {
    const text = [header, claims].map((part) => Buffer.from(part).toString('base64url')).join('.')
    return `${text}.${family.sign(text)}`
  }

/** What is wrong, and the token. */
export function hostileTokens(family: TokenFamily, frame: TokenFrame): [string, string][] {
  return [
    ...misspelled(family, frame),
    ...misencoded(family, frame),
    ...misSigned(family, frame),
    ...misdirected(family, frame),
    ...misclaimed(family, frame),
    ...mistimed(family, frame),
  ]
}

/** The same bytes in another spelling: the last character has bits to spare, unless the length is a multiple of three. */
function respell(signature: string): string {
  const last = signature.charCodeAt(signature.length - 1)
  return signature.slice(0, -1) + String.fromCharCode(last + 1)
}

function misspelled(family: TokenFamily, frame: TokenFrame): [string, string][] {
  const good = createForge(family, frame)()
  const [header = '', claims = '', signature = ''] = good.split('.')
  return [
    [
      'with other claims under the same signature',
      `${header}.${encodePart({ ...goodClaims(frame), sub: '8' })}.${signature}`,
    ],
    [
      'with another header under the same signature',
      `${encodePart({ ...goodHeader(family), x: 1 })}.${claims}.${signature}`,
    ],
    ['empty', ''],
    ['a word', 'token'],
    ['three dots', '...'],
    ['two parts', `${header}.${claims}`],
    ['four parts', `${good}.${signature}`],
    ['without a signature', `${header}.${claims}.`],
    ['without a header', `.${claims}.${signature}`],
    ['without claims', `${header}..${signature}`],
    ['with a dot behind', `${good}.`],
    ['with a dot before', `.${good}`],
    ['with a space before', ` ${good}`],
    ['with a line break', `${good}\n`],
    ['with a NUL', `${good}\0`],
    ['with a letter beyond ASCII', `${good}é`],
    ['with padding', `${good}=`],
    ['with padding in its claims', `${header}.${claims}==.${signature}`],
    ['in plain base64', `${header}.${claims}.${'+'.repeat(43)}`],
    ['percent-encoded', good.replaceAll('.', '%2E')],
    ['truncated in its signature', good.slice(0, -1)],
    ['truncated in its claims', `${header}.${claims.slice(0, -1)}.${signature}`],
    ['with a longer signature', `${good}AA`],
    ['with a respelled signature', `${header}.${claims}.${respell(signature)}`],
    ['longer than 4 KiB', createForge(family, frame)({}, { note: 'x'.repeat(4_096) })],
    ['twice', `${good}${good}`],
  ]
}

function misencoded(family: TokenFamily, frame: TokenFrame): [string, string][] {
  const forgeText = createTextForge(family, frame)
  const header = JSON.stringify(goodHeader(family))
  const claims = JSON.stringify(goodClaims(frame))
  const adding = (text: string, member: string): string => `${text.slice(0, -1)},${member}}`
  const respelledClaims = (): string => {
    const part = Buffer.from(claims.padEnd(claims.length + ((4 - (claims.length % 3)) % 3), ' ')).toString('base64url')
    const text = `${encodePart(goodHeader(family))}.${respell(part)}`
    return `${text}.${family.sign(text)}`
  }
  return [
    ['with claims that are not JSON', forgeText({ claims: '{' })],
    ['with claims that are a list', forgeText({ claims: '[1]' })],
    ['with claims that are null', forgeText({ claims: 'null' })],
    ['with claims that are text', forgeText({ claims: '"sub"' })],
    ['with claims behind a byte order mark', forgeText({ claims: `\uFEFF${claims}` })],
    ['with claims in UTF-16', forgeText({ claims: Buffer.from(claims, 'utf16le') })],
    [
      'with claims in no UTF-8',
      forgeText({
        claims: Buffer.concat([Buffer.from(`${claims.slice(0, -1)},"x":"`), Buffer.from([0xff, 0x22, 0x7d])]),
      }),
    ],
    ['with two sets of claims', forgeText({ claims: `${claims}${claims}` })],
    ['with respelled claims', respelledClaims()],
    ['with roles twice', forgeText({ claims: adding(claims, '"roles":["admin"]') })],
    ['with roles twice, once in escapes', forgeText({ claims: adding(claims, '"rol\\u0065s":["admin"]') })],
    ['with a subject twice', forgeText({ claims: adding(claims, '"sub":"8"') })],
    ['with the same subject twice', forgeText({ claims: adding(claims, '"sub":"7"') })],
    ['with an end twice', forgeText({ claims: adding(claims, `"exp":${frame.nowS + 200}`) })],
    ['with a member twice at depth', forgeText({ claims: adding(claims, '"x":[{"a":1,"a":1}]') })],
    ['with an algorithm twice', forgeText({ header: adding(header, `"alg":"${family.alg}"`) })],
    ['with a kid twice', forgeText({ header: adding(header, `"kid":"${family.kid}"`) })],
    ['with a header that is a list', forgeText({ header: `[${header}]` })],
    ['a JWE', 'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA'],
  ]
}

function misSigned(family: TokenFamily, frame: TokenFrame): [string, string][] {
  const forge = createForge(family, frame)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const edwards = generateKeyPairSync('ed25519')
  const elliptic = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  const publicTexts = [...family.publicTexts, rsa.publicKey.export({ type: 'spki', format: 'pem' })]
  return [
    ['alg none', forge({ alg: 'none' }, {}, () => '')],
    ['alg none with a signature', forge({ alg: 'none' })],
    ['alg None', forge({ alg: 'None' })],
    ['alg NONE', forge({ alg: 'NONE' })],
    [
      'alg in another letter case',
      forge({ alg: family.alg.toLowerCase() === family.alg ? 'x' : family.alg.toLowerCase() }),
    ],
    ['alg missing', forge({ alg: undefined })],
    ['alg empty', forge({ alg: '' })],
    ['alg null', forge({ alg: null })],
    ['alg a number', forge({ alg: 256 })],
    ['alg a list', forge({ alg: [family.alg] })],
    ['alg HS384', forge({ alg: 'HS384' }, {}, hmacSigner(Buffer.alloc(48, 3), 'sha384'))],
    ['alg HS512', forge({ alg: 'HS512' }, {}, hmacSigner(Buffer.alloc(64, 3), 'sha512'))],
    ['alg HS384 over our signature', forge({ alg: 'HS384' })],
    ['alg HS256 under another secret', forge({ alg: 'HS256' }, {}, hmacSigner(Buffer.alloc(32, 3)))],
    ['alg HS256 under an empty secret', forge({ alg: 'HS256' }, {}, hmacSigner(''))],
    ['alg RS256 under another key', forge({ alg: 'RS256' }, {}, keySigner(rsa.privateKey))],
    ['alg PS256 under another key', forge({ alg: 'PS256' }, {}, keySigner(rsa.privateKey))],
    ['alg EdDSA under another key', forge({ alg: 'EdDSA' }, {}, keySigner(edwards.privateKey))],
    ['alg ES256 under another key', forge({ alg: 'ES256' }, {}, keySigner(elliptic.privateKey))],
    ['alg ES256 with a signature of zeros', forge({ alg: 'ES256' }, {}, () => Buffer.alloc(64).toString('base64url'))],
    [
      'with a signature of zeros',
      forge({}, {}, () => Buffer.alloc(family.alg === 'HS256' ? 32 : 64).toString('base64url')),
    ],
    ...publicTexts.map((text, at): [string, string] => [
      `alg HS256 with a public key as secret (${at + 1})`,
      forge({ alg: 'HS256' }, {}, hmacSigner(text)),
    ]),
  ]
}

function misdirected(family: TokenFamily, frame: TokenFrame): [string, string][] {
  const forge = createForge(family, frame)
  const secret = Buffer.alloc(32, 9)
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const own = { alg: 'EdDSA', jwk: publicKey.export({ format: 'jwk' }) }
  const symmetric = { alg: 'HS256', jwk: { kty: 'oct', k: secret.toString('base64url') } }
  const kids: [string, unknown][] = [
    ['that is unknown', 'newer'],
    ['that is empty', ''],
    ['that walks a path', '../../../../dev/null'],
    ['that is a file', 'file:///dev/null'],
    ['that is a URL', frame.url],
    ["that is an object's own", '__proto__'],
    ['that is a method', 'constructor'],
    ['with SQL', `${family.kid}' or '1'='1`],
    ['with a NUL', `${family.kid}\0`],
    ['with a space', ` ${family.kid}`],
    ['in wide letters', family.kid.replace(/[a-z]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) + 0xfee0))],
    ['that is a list', [family.kid]],
    ['that is null', null],
  ]
  return [
    ['without kid', forge({ kid: undefined })],
    ...kids.map(([name, kid]): [string, string] => [`of a kid ${name}`, forge({ kid })]),
    ['of an empty key by a path', forge({ alg: 'HS256', kid: '/dev/null' }, {}, hmacSigner(''))],
    ['with its own key', forge({ ...own, kid: 'own' }, {}, keySigner(privateKey))],
    ['with its own key under our kid', forge(own, {}, keySigner(privateKey))],
    ['with its own secret under our kid', forge(symmetric, {}, hmacSigner(secret))],
    ['with a key to be fetched by jku', forge({ alg: 'EdDSA', kid: 'own', jku: frame.url }, {}, keySigner(privateKey))],
    ['with a key to be fetched by x5u', forge({ alg: 'EdDSA', kid: 'own', x5u: frame.url }, {}, keySigner(privateKey))],
    ['with its own certificate', forge({ alg: 'RS256', x5c: ['MIIB'] }, {}, keySigner(privateKey))],
    ['with a critical extension', forge({ crit: ['exp'] })],
    ['with a critical extension it has', forge({ crit: ['x'], x: 1 })],
    ['with an empty crit', forge({ crit: [] })],
    ['with a crit that is no list', forge({ crit: 'exp' })],
    ['with unencoded claims', forge({ crit: ['b64'], b64: false })],
    ['with unencoded claims, not critical', forge({ b64: false })],
    ['compressed', forge({ zip: 'DEF', enc: 'A256GCM' }, {}, hmacSigner(secret))],
    ['without typ', forge({ typ: undefined })],
    ['an ID token', forge({ typ: 'JWT' })],
    ['a logout token', forge({ typ: 'logout+jwt' })],
    ['a token inside a token', forge({ typ: 'JWT', cty: 'JWT' }, { sub: forge() })],
  ]
}

function misclaimed(family: TokenFamily, frame: TokenFrame): [string, string][] {
  const forge = createForge(family, frame)
  const subjects: [string, unknown, string[]?][] = [
    ['of user 0', '0'],
    ['of user -1', '-1'],
    ['of user 1.0', '1.0'],
    ['of user 07', '07'],
    ['of user 1e3', '1e3'],
    ['of user 0x7', '0x7'],
    ['of user 7 with a space', '7 '],
    ['of user 7 with a line break', '7\n'],
    ['of a user in Arabic digits', '\u0667'],
    ['of user 2^63', '9223372036854775808'],
    ['of a user number', 7],
    ['of a list of users', ['7']],
    ['of a named person', 'eve'],
    ['of a machine in upper case', 'ETH-1', ['watcher']],
    ['of a machine with a path', '../eth-1', ['watcher']],
    ['of a machine with too long a name', 'a'.repeat(64), ['service']],
  ]
  const roles: [string, unknown][] = [
    ['with an unknown role', ['customer', 'root']],
    ['with no role', []],
    ['with a role twice', ['customer', 'customer']],
    ['with a role outside a list', 'admin'],
    ['with roles in an object', { 0: 'admin', length: 1 }],
    ['with a role in upper case', ['Admin']],
    ['with a role in wide letters', ['\uff41\uff44\uff4d\uff49\uff4e']],
    ['of the system, which has no token', ['system']],
    ['of a person and a machine at once', ['customer', 'service']],
  ]
  return [
    ...['iss', 'aud', 'exp', 'iat', 'jti', 'sub', 'roles'].map((name): [string, string] => [
      `without ${name}`,
      forge({}, { [name]: undefined }),
    ]),
    ['of another issuer', forge({}, { iss: frame.issuer.toUpperCase() })],
    ['of several issuers', forge({}, { iss: [frame.issuer] })],
    ['for another audience', forge({}, { aud: `${frame.audience}2` })],
    ['for several other audiences', forge({}, { aud: ['other', `${frame.audience}/`] })],
    ['for no audience', forge({}, { aud: [] })],
    ['for an audience among numbers', forge({}, { aud: [frame.audience, 7] })],
    ['for an audience in a list in a list', forge({}, { aud: [[frame.audience]] })],
    ['with an empty id', forge({}, { jti: '' })],
    ['with an id of several lines', forge({}, { jti: 'a\nb' })],
    ['with too long an id', forge({}, { jti: 'a'.repeat(129) })],
    ['with methods that are no list', forge({}, { amr: 'mfa' })],
    ['with methods of no text', forge({}, { amr: [1] })],
    ...roles.map(([name, value]): [string, string] => [name, forge({}, { roles: value })]),
    ...subjects.map(([name, sub, as]): [string, string] => [name, forge({}, { sub, ...(as && { roles: as }) })]),
  ]
}

function mistimed(family: TokenFamily, frame: TokenFrame): [string, string][] {
  const forge = createForge(family, frame)
  const { nowS } = frame
  const customers: [string, object][] = [
    ['expired', { exp: nowS - 6 }],
    ['that ended before it began', { exp: nowS - 60, nbf: nowS - 30 }],
    ['with an end in words', { exp: 'tomorrow' }],
    ['with an end as text', { exp: String(nowS + 200) }],
    ['with an end in fractions', { exp: nowS + 200.5 }],
    ['with an end in milliseconds', { exp: (nowS + 200) * 1_000_000 }],
    ['with an end beyond all numbers', { exp: 1e300 }],
    ['with a negative end', { exp: -1 }],
    ['with no end', { exp: null }],
    ['not yet valid', { nbf: nowS + 30 }],
    ['valid from a fraction', { nbf: nowS - 0.5 }],
    ['valid from a word', { nbf: 'now' }],
    ['issued in the future', { iat: nowS + 30 }],
    ['issued in fractions', { iat: nowS - 0.5 }],
    ['issued before time', { iat: -1 }],
    ['issued as text', { iat: String(nowS) }],
    ['too old, though its end is far', { iat: nowS - 15 * 60 - 6, exp: nowS + 9_999 }],
    ['of an admin and too old for one', { roles: ['customer', 'admin'], iat: nowS - 5 * 60 - 6 }],
    ['whose holder signs in later', { auth_time: nowS + 30 }],
    ['whose holder signed in at a fraction', { auth_time: nowS - 0.5 }],
  ]
  return customers.map(([name, claims]) => [name, forge({}, claims)])
}
