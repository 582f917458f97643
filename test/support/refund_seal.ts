// Seals of refunds in tests: one key pair, whose private half the test's api has and its payer has not.

import { generateKeyPairSync } from 'node:crypto'
import { loadPublicKeys, loadTextSigner } from '../../src/keyvault/ed25519.ts'
import { createRefundSealCheck, createRefundSealer } from '../../src/keyvault/refund_seal.ts'

const pair = generateKeyPairSync('ed25519', {
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
})
export const REFUND_PUBLIC_KEY = pair.publicKey
export const refundSealer = createRefundSealer(loadTextSigner('refund key', pair.privateKey, 'development'))
export const refundSealCheck = createRefundSealCheck(loadPublicKeys('refund keys', pair.publicKey))
