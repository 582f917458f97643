import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { REFUND_PUBLIC_KEY } from '../../test/support/refund_seal.ts'
import { ConfigError, loadConfig } from '../config.ts'
import { inspectSecrets } from './preflight.ts'

/** Public keys of refunds, which the process reads at its start. */
function keysFile(): string {
  const file = join(mkdtempSync(join(tmpdir(), 'holdfast-refund-keys-')), 'keys.pem')
  writeFileSync(file, REFUND_PUBLIC_KEY)
  return file
}

const SENDER = `0x${'ab'.repeat(20)}`
const BASE = {
  DATABASE_URL: 'postgres://app_worker:correct-horse-battery@127.0.0.1/holdfast',
  HOLDFAST_ETH_RPC_URL: 'https://node.example',
  HOLDFAST_PRIVATE_HOSTS: '127.0.0.1',
  HOLDFAST_REFUND_PUBLIC_KEYS_FILE: keysFile(),
}

test.each([
  ['no signer', {}, 'HOLDFAST_PAYOUT_DIR: is not set'],
  ['a folder alone', { HOLDFAST_PAYOUT_DIR: '/payout' }, 'HOLDFAST_PAYOUT_SENDER: is not set'],
  ['an account alone', { HOLDFAST_PAYOUT_SENDER: SENDER }, 'HOLDFAST_PAYOUT_DIR: is not set'],
  ['a key in production', { HOLDFAST_PAYOUT_KEY_FILE: '/key' }, 'a key that is online is for development'],
  ['two signers', { HOLDFAST_PAYOUT_KEY_FILE: '/key', HOLDFAST_PAYOUT_DIR: '/payout' }, 'remove one'],
])('preflight names what is wrong with %s, as the start does', (_what, env, message) => {
  const load = () => loadConfig('payer', { ...BASE, ...env }, inspectSecrets('payer'))
  expect(load).toThrow(ConfigError)
  expect(load).toThrow(message)
})

test('a folder and its account are a signer', () => {
  const env = { ...BASE, HOLDFAST_PAYOUT_DIR: '/payout', HOLDFAST_PAYOUT_SENDER: SENDER }
  expect(() => loadConfig('payer', env, inspectSecrets('payer'))).not.toThrow()
})
