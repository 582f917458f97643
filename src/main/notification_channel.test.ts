import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { ConfigError, loadConfig } from '../config.ts'
import { SecretError } from '../keyvault/secret.ts'
import { createLogger } from '../telemetry.ts'
import { createChannels } from './notification_channel.ts'

const logger = createLogger({ process: 'test', level: 'silent' })
let folder: string
let secretFile: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-channel-'))
  secretFile = join(folder, 'webhook')
  writeFileSync(secretFile, `whsec_${randomBytes(32).toString('base64')}\n`)
})
afterAll(() => rmSync(folder, { recursive: true }))

const channelsOf = (env: Record<string, string>) =>
  createChannels(loadConfig('worker', { DATABASE_URL: 'postgres://127.0.0.1/holdfast', ...env }), logger)
const webhook = (overrides: Record<string, string> = {}) => ({
  HOLDFAST_WEBHOOK_URL: 'https://shop.example/hook',
  HOLDFAST_WEBHOOK_SECRET_FILE: secretFile,
  ...overrides,
})

describe('the channels of a worker', () => {
  test('are its log, and a webhook where one is configured', () => {
    expect(channelsOf({}).map(({ name }) => name)).toEqual(['log'])
    expect(channelsOf(webhook()).map(({ name }) => name)).toEqual(['log', 'webhook'])
  })

  test.each([
    [
      'no encryption in production',
      { HOLDFAST_WEBHOOK_URL: 'http://shop.example/' },
      'HOLDFAST_WEBHOOK_URL: must be https',
    ],
    ['a private address', { HOLDFAST_WEBHOOK_URL: 'https://10.0.0.5/' }, 'HOLDFAST_WEBHOOK_URL is a private address'],
    [
      'a file that is not there',
      { HOLDFAST_WEBHOOK_SECRET_FILE: '/nowhere/secret' },
      'HOLDFAST_WEBHOOK_SECRET_FILE: cannot read',
    ],
  ])('refuse to start with %s', (_what, overrides, words) => {
    expect(() => channelsOf(webhook(overrides))).toThrow(ConfigError)
    expect(() => channelsOf(webhook(overrides))).toThrow(words)
  })

  test('refuse to start with half of a webhook', () => {
    const { HOLDFAST_WEBHOOK_URL: url, HOLDFAST_WEBHOOK_SECRET_FILE: file } = webhook()
    expect(() => channelsOf({ HOLDFAST_WEBHOOK_URL: url })).toThrow('together, or neither')
    expect(() => channelsOf({ HOLDFAST_WEBHOOK_SECRET_FILE: file })).toThrow('together, or neither')
  })

  test('refuse to start with a secret that is none, without a word of it', () => {
    const other = join(folder, 'other')
    writeFileSync(other, 'not-a-secret')
    const start = () => channelsOf(webhook({ HOLDFAST_WEBHOOK_SECRET_FILE: other }))
    expect(start).toThrow(SecretError)
    expect(start).not.toThrow('not-a-secret')
  })

  test('may reach into a private network where that is allowed, and without encryption in development', () => {
    const near = { HOLDFAST_WEBHOOK_URL: 'http://127.0.0.1:9/', HOLDFAST_WEBHOOK_PRIVATE: 'allow' }
    expect(channelsOf(webhook({ ...near, HOLDFAST_MODE: 'development' }))).toHaveLength(2)
  })
})
