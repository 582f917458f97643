import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { createCipheriv, randomBytes } from 'node:crypto'
import { count, seed } from '../../test/support/scale.ts'
import { contextOf, KEY_BYTES, open, packSealed, seal, SealError, unpackSealed, type Sealed } from './seal.ts'

const hex = (text: string): Buffer => Buffer.from(text, 'hex')
const NOTHING = Buffer.alloc(0)

/** McGrew and Viega, «The Galois/Counter Mode of Operation», test cases 13 to 16: AES-256 with a 96-bit IV. */
const CASE_15 = {
  key: 'feffe9928665731c6d6a8f9467308308'.repeat(2),
  nonce: 'cafebabefacedbaddecaf888',
  plaintext:
    'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255',
  ciphertext:
    '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad',
  tag: 'b094dac5d93471bdec1a502270e3cc6c',
}
const ZERO = { key: '00'.repeat(32), nonce: '00'.repeat(12) }
const VECTORS = [
  { name: 'case 13', ...ZERO, plaintext: '', ciphertext: '', tag: '530f8afbc74536b9a963b4f1c4cb738b' },
  {
    name: 'case 14',
    ...ZERO,
    plaintext: '00'.repeat(16),
    ciphertext: 'cea7403d4d606b6e074ec5d3baf39d18',
    tag: 'd0d1c8a799996bf0265b98b5d48ab919',
  },
  { name: 'case 15', ...CASE_15 },
]
/** Case 16: the first 60 bytes of case 15, with associated data. */
const WITH_CONTEXT = {
  key: hex(CASE_15.key),
  context: hex('feedfacedeadbeeffeedfacedeadbeefabaddad2'),
  plaintext: hex(CASE_15.plaintext.slice(0, 120)),
  sealed: {
    nonce: hex(CASE_15.nonce),
    tag: hex('76fc6ece0f4e1768cddf8853bb2d551b'),
    ciphertext: hex(CASE_15.ciphertext.slice(0, 120)),
  },
}

/** The same bytes with one bit turned. */
function flip(bytes: Buffer, bit: number): Buffer {
  const changed = Buffer.from(bytes)
  changed.writeUInt8(changed.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
  return changed
}

describe('open', () => {
  it.each(VECTORS)('opens the published vector of $name', ({ key, nonce, plaintext, ciphertext, tag }) => {
    const sealed = { nonce: hex(nonce), tag: hex(tag), ciphertext: hex(ciphertext) }
    expect(open(hex(key), sealed, NOTHING).toString('hex')).toBe(plaintext)
  })

  it('opens the published vector with associated data', () => {
    const { key, sealed, context, plaintext } = WITH_CONTEXT
    expect(open(key, sealed, context)).toEqual(plaintext)
  })

  it('refuses every single-bit change of key, nonce, tag, ciphertext and context', () => {
    const { key, sealed, context } = WITH_CONTEXT
    const changes = [
      ...bitsOf(key).map((bit) => () => open(flip(key, bit), sealed, context)),
      ...bitsOf(context).map((bit) => () => open(key, sealed, flip(context, bit))),
      ...(['nonce', 'tag', 'ciphertext'] as const).flatMap((part) =>
        bitsOf(sealed[part]).map((bit) => () => open(key, { ...sealed, [part]: flip(sealed[part], bit) }, context)),
      ),
    ]
    expect(changes).toHaveLength(8 * (32 + 12 + 16 + 60 + 20))
    for (const change of changes) expect(change).toThrow(SealError)
  })

  it.each<[string, Partial<Sealed>]>([
    ['a 4-byte tag', { tag: WITH_CONTEXT.sealed.tag.subarray(0, 4) }],
    ['a 15-byte tag', { tag: WITH_CONTEXT.sealed.tag.subarray(0, 15) }],
    ['no tag', { tag: NOTHING }],
    ['a 16-byte nonce', { nonce: Buffer.alloc(16) }],
    ['an 11-byte nonce', { nonce: WITH_CONTEXT.sealed.nonce.subarray(0, 11) }],
    ['a shortened ciphertext', { ciphertext: WITH_CONTEXT.sealed.ciphertext.subarray(1) }],
  ])('refuses %s', (_case, part) => {
    const { key, sealed, context } = WITH_CONTEXT
    expect(() => open(key, { ...sealed, ...part }, context)).toThrow(SealError)
  })

  it('refuses a short tag that would be right, which Node alone would take', () => {
    const { key, context, plaintext } = WITH_CONTEXT
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 4 }).setAAD(context)
    const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
    expect(() => open(key, { nonce, tag: cipher.getAuthTag(), ciphertext }, context)).toThrow('a tag has 16 bytes')
  })
})

describe('seal', () => {
  it('is undone by open, whatever the content', () => {
    const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array))
    const keys = fc.uint8Array({ minLength: KEY_BYTES, maxLength: KEY_BYTES }).map((array) => Buffer.from(array))
    fc.assert(
      fc.property(keys, bytes, bytes, (key, plaintext, context) => {
        const sealed = unpackSealed(packSealed(seal(key, plaintext, context)))
        expect(open(key, sealed, context).equals(plaintext)).toBe(true)
      }),
      { seed },
    )
  })

  it('never uses a nonce twice', () => {
    const rounds = count(10_000, 1_000_000)
    const key = randomBytes(KEY_BYTES)
    const nonces = new Set<string>()
    for (let round = 0; round < rounds; round += 1) nonces.add(seal(key, NOTHING, NOTHING).nonce.toString('latin1'))
    expect(nonces.size).toBe(rounds)
  })

  it('refuses a key of another length', () => {
    expect(() => seal(randomBytes(16), NOTHING, NOTHING)).toThrow('a key has 32 bytes')
  })
})

describe('contextOf', () => {
  it('tells any two lists apart, wherever their parts are cut', () => {
    const part = fc.string({ unit: fc.constantFrom('a', '\0', '\x01'), maxLength: 3 })
    const list = fc.array(part, { maxLength: 4 })
    fc.assert(
      fc.property(list, list, (one, other) => {
        const areEqual = one.length === other.length && one.every((text, index) => text === other[index])
        expect(contextOf(one).equals(contextOf(other))).toBe(areEqual)
      }),
      { seed },
    )
  })

  it('writes each part behind its length', () => {
    expect(contextOf(['ab', 7n, '']).toString('hex')).toBe('000000026162000000013700000000')
  })
})

function bitsOf(bytes: Buffer): number[] {
  return Array.from({ length: bytes.length * 8 }, (_, bit) => bit)
}
