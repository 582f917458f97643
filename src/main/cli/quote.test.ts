import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { loadConfig } from '../../config.ts'
import { paymentRequestMessage } from '../../grpc/quote.ts'
import { loadTextSigner } from '../../keyvault/ed25519.ts'
import { createQuoteSigner } from '../../keyvault/quote.ts'
import { RefusedError, UsageError } from './exit.ts'
import { assertGenuine, findQuoteKeys } from './quote.ts'

const pair = generateKeyPairSync('ed25519', {
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
})
const sign = createQuoteSigner(loadTextSigner('quote key', pair.privateKey, 'production'))
const orderId = '0192b1a0-0000-8000-8000-000000000001'
const request = paymentRequestMessage(
  {
    ...{ orderId, network: 'ethereum', asset: 'ETH', address: `0x${'ab'.repeat(20)}` },
    ...{ amountDue: 12_500_000_000_000_000n, rateMinor: 200_000n, expiresAt: new Date(1_800_000_000_123) },
  },
  { sign, chainId: 1 },
)
const configOf = (path?: string) =>
  loadConfig('cli', path === undefined ? {} : { HOLDFAST_QUOTE_PUBLIC_KEYS_FILE: path })

test('a command refuses a payment request that the shop did not sign', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-quote-'))
  const file = join(folder, 'keys.pem')
  await writeFile(file, pair.publicKey)
  const keys = await findQuoteKeys(configOf(file))
  await rm(folder, { recursive: true })
  expect(() => assertGenuine(keys, orderId, request)).not.toThrow()
  const forged = { ...request, address: `0x${'cd'.repeat(20)}` }
  expect(() => assertGenuine(keys, orderId, forged)).toThrow(RefusedError)
  expect(() => assertGenuine(keys, orderId, { ...request, signature: undefined })).toThrow(/do not pay it/)
})

test('without the shop’s keys a command cannot tell, and shows what it got', async () => {
  expect(await findQuoteKeys(configOf())).toBeUndefined()
  expect(() => assertGenuine(undefined, orderId, { ...request, signature: undefined })).not.toThrow()
})

test('a file without a key is a wrong configuration, not «no keys»', async () => {
  await expect(findQuoteKeys(configOf('/nowhere/keys.pem'))).rejects.toThrow(UsageError)
  await expect(findQuoteKeys(configOf('/dev/null'))).rejects.toThrow(/contains no public key/)
})
