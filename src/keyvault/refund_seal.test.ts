// Seals of refunds: each field is under the seal, and only trusted keys make one.

import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from '@jest/globals'
import { loadPublicKeys, loadTextSigner } from './ed25519.ts'
import { createRefundSealCheck, createRefundSealer } from './refund_seal.ts'

const makePair = () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  return {
    sealer: createRefundSealer(loadTextSigner('key', privateKey, 'production')),
    check: createRefundSealCheck(loadPublicKeys('keys', publicKey)),
  }
}
const DESTINATION = {
  refundId: '5e0c2f4e-6a0c-4c0a-9b1f-2f7f5f0f4a11',
  orderId: '0d9e1c6e-22bb-4f8a-8b7d-0a4b3a2f9c10',
  network: 'ethereum',
  asset: 'ETH',
  destination: `0x${'1f'.repeat(20)}`,
}
const APPROVAL = { ...DESTINATION, version: '3', units: '1000', feeBearer: 'shop', approver: 'user:8' }

test('a seal is good for exactly what was sealed, whichever field is changed', () => {
  const { sealer, check } = makePair()
  const seal = sealer.sealApproval(APPROVAL)
  expect(check.isApprovalSealed(APPROVAL, seal)).toBe(true)
  for (const field of Object.keys(APPROVAL))
    expect([field, check.isApprovalSealed({ ...APPROVAL, [field]: 'other' }, seal)]).toEqual([field, false])
  const confirmed = sealer.sealDestination(DESTINATION)
  expect(check.isDestinationSealed(DESTINATION, confirmed)).toBe(true)
  for (const field of Object.keys(DESTINATION))
    expect([field, check.isDestinationSealed({ ...DESTINATION, [field]: 'other' }, confirmed)]).toEqual([field, false])
})

test('neither a missing seal, one of another key, nor one of the other kind counts', () => {
  const { sealer, check } = makePair()
  const seal = sealer.sealApproval(APPROVAL)
  const others = [null, '', 'none', seal.slice(1), `${seal}A`, makePair().sealer.sealApproval(APPROVAL)]
  for (const other of [...others, sealer.sealDestination(APPROVAL)])
    expect(check.isApprovalSealed(APPROVAL, other)).toBe(false)
})

test('a value with a line feed is not sealed, for it could be two fields', () => {
  const { sealer, check } = makePair()
  const odd = { ...APPROVAL, approver: 'user:8\nkey 0' }
  expect(() => sealer.sealApproval(odd)).toThrow('several lines')
  expect(check.isApprovalSealed(odd, sealer.sealApproval(APPROVAL))).toBe(false)
})
