import { describe, expect, it } from '@jest/globals'
import { randomBytes, randomUUID } from 'node:crypto'
import type { Epoch, PaymentKey } from '../db/key.ts'
import { deriveEpochKek, openKey, sealKey } from './envelope.ts'
import { loadRing } from './ring.ts'
import { SealError } from './seal.ts'

const secretOf = (byte: number): string => Buffer.alloc(32, byte).toString('base64')
const ring = loadRing(
  'key ring',
  JSON.stringify({ primary: 2, versions: [1, 2].map((version) => ({ version, secret: secretOf(version) })) }),
  'production',
)
const EPOCH: Epoch = { epochId: randomUUID(), masterVersion: 2, salt: Buffer.alloc(32, 3), iterations: 100_000 }
const KEK = Buffer.alloc(32, 4)
const PRIVATE_KEY = Buffer.alloc(32, 5)
const IDENTITY = { keyId: randomUUID(), network: 'ethereum', asset: 'ETH', address: `0x${'ab'.repeat(20)}` } as const
const BYTES = ['salt', 'wrapNonce', 'wrapTag', 'wrappedKey', 'nonce', 'tag', 'ciphertext'] as const

const sealOne = (changes: Partial<Parameters<typeof sealKey>[0]> = {}): PaymentKey =>
  sealKey({ epoch: EPOCH, kek: KEK, identity: IDENTITY, envelopeVersion: 1, privateKey: PRIVATE_KEY, ...changes })

describe("an epoch's KEK", () => {
  it('is the same in every process, and another for each salt, count and version', async () => {
    const epochs = [
      EPOCH,
      { ...EPOCH, salt: Buffer.alloc(32, 9) },
      { ...EPOCH, iterations: 100_001 },
      { ...EPOCH, masterVersion: 1 },
    ]
    const keks = await Promise.all(
      [...epochs, EPOCH].map(async (epoch) => (await deriveEpochKek(ring, epoch)).toString('hex')),
    )
    expect(keks[4]).toBe(keks[0])
    expect(new Set(keks).size).toBe(4)
    expect(keks[0]).toHaveLength(64)
  })

  it('is not derived below the floor of iterations, with a short salt, or from a version the ring lacks', async () => {
    await expect(deriveEpochKek(ring, { ...EPOCH, iterations: 99_999 })).rejects.toThrow('at least 100000 iterations')
    await expect(deriveEpochKek(ring, { ...EPOCH, salt: randomBytes(31) })).rejects.toThrow('32 bytes')
    await expect(deriveEpochKek(ring, { ...EPOCH, masterVersion: 3 })).rejects.toThrow('does not contain version 3')
  })
})

describe('an envelope', () => {
  it('opens to the key it was made of, and holds no trace of it', () => {
    const envelope = sealOne()
    expect(openKey(KEK, envelope)).toEqual(PRIVATE_KEY)
    expect(BYTES.map((part) => envelope[part].length)).toEqual([32, 12, 16, 32, 12, 16, 32])
    const stored = Buffer.concat(BYTES.map((part) => envelope[part]))
    expect(stored.includes(PRIVATE_KEY.subarray(0, 8))).toBe(false)
    expect(stored.includes(KEK.subarray(0, 8))).toBe(false)
  })

  it('is other bytes throughout each time, with salts and nonces of its own', () => {
    const envelopes = Array.from({ length: 1_000 }, () => sealOne())
    for (const part of BYTES) {
      expect(new Set(envelopes.map((envelope) => envelope[part].toString('hex'))).size).toBe(1_000)
    }
  })

  it('is refused after any single-bit change of any part', () => {
    const envelope = sealOne()
    for (const part of BYTES) {
      for (let bit = 0; bit < envelope[part].length * 8; bit += 1) {
        const changed = Buffer.from(envelope[part])
        changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
        expect(() => openKey(KEK, { ...envelope, [part]: changed })).toThrow(SealError)
      }
    }
  })

  it.each<[string, Partial<PaymentKey>]>([
    ['key id', { keyId: randomUUID() }],
    ['network', { network: 'ethereum2' }],
    ['address', { address: `0x${'ac'.repeat(20)}` }],
    ['envelope version', { envelopeVersion: 2 }],
    ['master version', { masterVersion: 1 }],
    ['format', { formatVersion: 2 }],
    ['short salt', { salt: randomBytes(16) }],
    ['4-byte tag', { tag: sealOne().tag.subarray(0, 4) }],
    ['4-byte wrap tag', { wrapTag: sealOne().wrapTag.subarray(0, 4) }],
    ['16-byte nonce', { nonce: randomBytes(16) }],
  ])('is refused under another %s', (_case, change) => {
    expect(() => openKey(KEK, { ...sealOne(), ...change })).toThrow(SealError)
  })

  it('is refused under the KEK of another epoch', () => {
    expect(() => openKey(Buffer.alloc(32, 6), sealOne())).toThrow(SealError)
  })

  it('takes no part of another envelope of the same key', () => {
    const [old, renewed] = [sealOne(), sealOne({ envelopeVersion: 2 })]
    for (const part of BYTES) expect(() => openKey(KEK, { ...renewed, [part]: old[part] })).toThrow(SealError)
    expect(openKey(KEK, renewed)).toEqual(PRIVATE_KEY)
  })
})
