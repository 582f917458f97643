import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it, jest } from '@jest/globals'
import { createIssuerKeys, createSetLoader, type IssuerAlgorithm } from './jwks.ts'
import { SecretError } from './secret.ts'

const edwards = generateKeyPairSync('ed25519')
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const shortRsa = generateKeyPairSync('rsa', { modulusLength: 1_024 })
const ED = edwards.publicKey.export({ format: 'jwk' })
const RSA = rsa.publicKey.export({ format: 'jwk' })
const setOf = (...keys: object[]): string => JSON.stringify({ keys })
const ed = (kid: string, extra: object = {}) => ({ ...ED, kid, ...extra })

/** An issuer whose set, and whose clock, a test moves. */
function createIssuer(algorithm: IssuerAlgorithm = 'EdDSA') {
  const issuer = { set: setOf(ed('a')) as string | undefined, requests: 0, nowMs: 0, failures: [] as unknown[] }
  const keys = createIssuerKeys({
    algorithm,
    now: () => issuer.nowMs,
    onFailure: (error) => issuer.failures.push(error),
    load: async () => {
      issuer.requests += 1
      if (issuer.set === undefined) throw new Error('away')
      return issuer.set
    },
  })
  return Object.assign(issuer, { find: keys.find })
}

describe('the keys of an issuer', () => {
  it('are read once, at first use', async () => {
    const issuer = createIssuer()
    const [first, second] = await Promise.all([issuer.find('a'), issuer.find('a')])
    expect(first).toBeDefined()
    expect(second).toBe(first)
    expect(await issuer.find('a')).toBe(first)
    expect(issuer.requests).toBe(1)
  })

  it('are read again for an unknown kid, once in a cool-down', async () => {
    const issuer = createIssuer()
    await issuer.find('a')
    issuer.set = setOf(ed('a'), ed('b'))
    expect(await issuer.find('b')).toBeUndefined()
    issuer.nowMs = 30_000
    const found = await Promise.all([issuer.find('b'), issuer.find('b'), issuer.find('invented')])
    expect(found.map((key) => key !== undefined)).toEqual([true, true, false])
    for (let at = 0; at < 100; at += 1) expect(await issuer.find(`invented-${at}`)).toBeUndefined()
    expect(issuer.requests).toBe(2)
  })

  it('are read again when they are old, and no call waits for that', async () => {
    const issuer = createIssuer()
    await issuer.find('a')
    issuer.set = setOf(ed('b'))
    issuer.nowMs = 299_999
    expect(await issuer.find('a')).toBeDefined()
    expect(issuer.requests).toBe(1)
    issuer.nowMs = 300_000
    expect(await issuer.find('a')).toBeDefined()
    expect(issuer.requests).toBe(2)
    expect(await issuer.find('b')).toBeDefined()
    expect(await issuer.find('a')).toBeUndefined()
  })

  it('that were withdrawn verify nothing after their greatest age, also after a time without calls', async () => {
    const issuer = createIssuer()
    await issuer.find('a')
    issuer.set = setOf(ed('b'))
    issuer.nowMs = 600_000
    expect(await Promise.all([issuer.find('a'), issuer.find('a')])).toEqual([undefined, undefined])
    expect(issuer.requests).toBe(2)
  })

  it('are waited for once while the issuer is away', async () => {
    const issuer = createIssuer()
    await issuer.find('a')
    issuer.set = undefined
    issuer.nowMs = 600_000
    expect(await issuer.find('a')).toBeDefined()
    issuer.set = setOf(ed('b'))
    issuer.nowMs = 630_000
    expect(await issuer.find('a')).toBeDefined()
    expect(await issuer.find('b')).toBeDefined()
    expect(issuer.requests).toBe(3)
  })

  it('are read again in time by a machine whose clock was set back', async () => {
    jest.useFakeTimers({ now: Date.parse('2026-07-02') })
    try {
      let set = setOf(ed('a'))
      const keys = createIssuerKeys({ algorithm: 'EdDSA', load: async () => set })
      await keys.find('a')
      set = setOf(ed('b'))
      jest.setSystemTime(Date.parse('2026-07-01'))
      jest.advanceTimersByTime(30_000)
      expect(await keys.find('b')).toBeDefined()
    } finally {
      jest.useRealTimers()
    }
  })

  it('stay in use while the issuer is away or sends something else', async () => {
    const issuer = createIssuer()
    await issuer.find('a')
    for (const set of [
      undefined,
      '{',
      '{"keys":[]}',
      setOf(ed('a', { x: 'AAAA' })),
      setOf({ kty: 'oct', k: 'AAAA', kid: 'a' }),
      setOf(ed('b'), ed('b')),
    ]) {
      issuer.set = set
      issuer.nowMs += 3_600_000
      expect(await issuer.find('b')).toBeUndefined()
      expect(await issuer.find('a')).toBeDefined()
    }
    expect(issuer.failures).toHaveLength(6)
  })

  it('that were never read make no token wrong: ISSUER_UNAVAILABLE, with one request a second', async () => {
    const issuer = createIssuer()
    issuer.set = undefined
    for (let at = 0; at < 10; at += 1)
      await expect(issuer.find('a')).rejects.toMatchObject({ reason: 'ISSUER_UNAVAILABLE', retryAfterMs: 1_000 })
    expect(issuer.requests).toBe(1)
    issuer.set = setOf(ed('a'))
    issuer.nowMs = 1_000
    expect(await issuer.find('a')).toBeDefined()
    expect(issuer.requests).toBe(2)
  })

  it.each<[string, IssuerAlgorithm, object]>([
    ['for encryption', 'EdDSA', ed('x', { use: 'enc' })],
    ['for signing only', 'EdDSA', ed('x', { key_ops: ['sign'] })],
    ['of another algorithm', 'EdDSA', ed('x', { alg: 'ES256' })],
    ['of another curve', 'EdDSA', ed('x', { crv: 'X25519' })],
    ['that is cut off', 'EdDSA', ed('x', { x: 'AAAA' })],
    ['of another family', 'EdDSA', { ...RSA, kid: 'x' }],
    ['that is a secret', 'EdDSA', { kty: 'oct', k: 'AAAA', kid: 'x' }],
    ['that is private', 'EdDSA', { ...edwards.privateKey.export({ format: 'jwk' }), kid: 'x' }],
    ['without an id', 'EdDSA', ED],
    ['of 1,024 bits', 'RS256', { ...shortRsa.publicKey.export({ format: 'jwk' }), kid: 'x' }],
    ['with an exponent of 1', 'RS256', { ...RSA, e: 'AQ', kid: 'x' }],
    ['that is an Ed25519 key', 'RS256', ed('x')],
  ])('leave out a key %s', async (_case, algorithm, key) => {
    const issuer = createIssuer(algorithm)
    issuer.set = setOf(algorithm === 'RS256' ? { ...RSA, kid: 'good' } : ed('good'), key)
    expect(await issuer.find('good')).toBeDefined()
    expect(await issuer.find('x')).toBeUndefined()
  })
})

describe('the place of a key set', () => {
  it.each(['http://issuer.example/keys', 'ftp://issuer.example/keys', 'data:,{}', 'keys.json', ''])(
    'is refused in production: %s',
    (location) => {
      expect(() => createSetLoader(location, 'production')).toThrow(SecretError)
    },
  )

  it('may be a file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'jwks-'))
    await writeFile(join(folder, 'keys.json'), setOf(ed('a')))
    const load = createSetLoader(pathToFileURL(join(folder, 'keys.json')).href, 'production')
    expect(await load()).toBe(setOf(ed('a')))
    await rm(folder, { recursive: true })
    await expect(load()).rejects.toThrow('ENOENT')
  })

  it('answers with a set of bounded size, itself and with success', async () => {
    const server = createServer((request, response) => {
      if (request.url === '/large') return response.end('x'.repeat(70_000))
      if (request.url === '/moved') return response.writeHead(302, { location: '/keys' }).end()
      if (request.url === '/broken') return response.writeHead(500).end(setOf(ed('a')))
      return response.end(setOf(ed('a')))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const load = (path: string) =>
      createSetLoader(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`, 'development')()
    expect(await load('/keys')).toBe(setOf(ed('a')))
    await expect(load('/large')).rejects.toThrow('too large')
    await expect(load('/moved')).rejects.toThrow()
    await expect(load('/broken')).rejects.toThrow('answered 500')
    server.closeAllConnections()
    server.close()
  })
})
