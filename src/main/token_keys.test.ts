import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { ConfigError } from '../config.ts'
import { SecretError } from '../keyvault/secret.ts'
import { createTokenKeys, readClientSans } from './token_keys.ts'

const BASE = { HOLDFAST_MODE: 'production', HOLDFAST_JWT_ALGORITHM: 'EdDSA' } as const
const logger = { warn: () => undefined }

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
    expect(createTokenKeys({ ...BASE, HOLDFAST_JWT_SECRETS_FILE }, logger)).toHaveProperty('secrets')
    expect(createTokenKeys({ ...BASE, HOLDFAST_JWKS_URL }, logger)).toMatchObject({
      issuerKeys: { algorithm: 'EdDSA' },
    })
    for (const settings of [{ ...BASE, HOLDFAST_JWT_SECRETS_FILE, HOLDFAST_JWKS_URL }, BASE]) {
      expect(() => createTokenKeys(settings, logger)).toThrow(ConfigError)
      expect(() => createTokenKeys(settings, logger)).toThrow(
        'set HOLDFAST_JWT_SECRETS_FILE or HOLDFAST_JWKS_URL, and not both',
      )
    }
  })

  test('is not read over a connection that anyone can change', () => {
    const settings = { ...BASE, HOLDFAST_JWKS_URL: 'http://issuer.example/keys' }
    expect(() => createTokenKeys(settings, logger)).toThrow(SecretError)
  })
})

test('bindings to client certificates come from a file, whose form is checked at start', async () => {
  expect(readClientSans(BASE)).toBeUndefined()
  const clients = [{ subject: 'watcher-1', uri: 'spiffe://shop.example/watcher-1' }]
  const good = await write('good.json', { clients })
  expect(readClientSans({ ...BASE, HOLDFAST_CLIENT_SANS_FILE: good })?.get('watcher-1')).toBe(clients[0]?.uri)
  const bad = await write('bad.json', { clients: [{ subject: 'watcher-1' }] })
  expect(() => readClientSans({ ...BASE, HOLDFAST_CLIENT_SANS_FILE: bad })).toThrow('HOLDFAST_CLIENT_SANS_FILE: must')
})
