import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { ConfigError } from '../config.ts'
import { SecretError } from '../keyvault/secret.ts'
import { createRegistry } from '../telemetry.ts'
import { createTokenKeys, readClientSans } from './token_keys.ts'

const BASE = { HOLDFAST_MODE: 'production', HOLDFAST_JWT_ALGORITHM: 'EdDSA' } as const
const createKeys = (settings: Parameters<typeof createTokenKeys>[0], registry = createRegistry('api')) =>
  createTokenKeys(settings, { warn: () => undefined }, registry)

let folder: string
const write = async (name: string, content: unknown): Promise<string> => {
  const path = join(folder, name)
  await writeFile(path, JSON.stringify(content))
  return path
}
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'token-keys-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('what tokens are verified with', () => {
  test('is one family: secrets or an issuer, never both and never none', async () => {
    const secret = { kid: 'a', secret: Buffer.alloc(32, 7).toString('base64') }
    const HOLDFAST_JWT_SECRETS_FILE = await write('secrets.json', { keys: [secret] })
    const HOLDFAST_JWKS_URL = 'https://issuer.example/keys'
    expect(createKeys({ ...BASE, HOLDFAST_JWT_SECRETS_FILE })).toHaveProperty('secrets')
    expect(createKeys({ ...BASE, HOLDFAST_JWKS_URL })).toMatchObject({
      issuerKeys: { algorithm: 'EdDSA' },
    })
    for (const settings of [{ ...BASE, HOLDFAST_JWT_SECRETS_FILE, HOLDFAST_JWKS_URL }, BASE]) {
      expect(() => createKeys(settings)).toThrow(ConfigError)
      expect(() => createKeys(settings)).toThrow('set HOLDFAST_JWT_SECRETS_FILE or HOLDFAST_JWKS_URL, and not both')
    }
  })

  test('is not read over a connection that anyone can change', () => {
    const settings = { ...BASE, HOLDFAST_JWKS_URL: 'http://issuer.example/keys' }
    expect(() => createKeys(settings)).toThrow(SecretError)
  })
})

test('a key set that cannot be read is counted', async () => {
  const registry = createRegistry('api')
  const keys = createKeys({ ...BASE, HOLDFAST_JWKS_URL: 'file:///nowhere/keys.json' }, registry)
  if (!('issuerKeys' in keys)) throw new Error('no keys of an issuer')
  await expect(keys.issuerKeys.find('a')).rejects.toMatchObject({ reason: 'ISSUER_UNAVAILABLE' })
  expect(await registry.metrics()).toMatch(/holdfast_issuer_key_failures_total\{process="api"\} 1/)
})

test('bindings to client certificates come from a file, whose form is checked at start', async () => {
  expect(readClientSans(BASE)).toBeUndefined()
  const clients = [{ subject: 'watcher-1', uri: 'spiffe://shop.example/watcher-1' }]
  const good = await write('good.json', { clients })
  expect(readClientSans({ ...BASE, HOLDFAST_CLIENT_SANS_FILE: good })?.get('watcher-1')).toBe(clients[0]?.uri)
  const bad = await write('bad.json', { clients: [{ subject: 'watcher-1' }] })
  expect(() => readClientSans({ ...BASE, HOLDFAST_CLIENT_SANS_FILE: bad })).toThrow('HOLDFAST_CLIENT_SANS_FILE: must')
})
