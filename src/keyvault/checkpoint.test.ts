import { describe, expect, it } from '@jest/globals'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { checkpointText, type CheckpointHead } from '../domain/checkpoint.ts'
import { checkpointHash, entryHash, isSealed, leafHash, loadSealer, loadSealerKeys, nodeHash } from './checkpoint.ts'
import { SecretError } from './secret.ts'

const pairOf = () =>
  generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
const pair = pairOf()
const sealer = loadSealer('seal key', pair.privateKey, 'production')
const keys = loadSealerKeys('seal keys', pair.publicKey)

const head: Omit<CheckpointHead, 'keyId'> = {
  no: 2,
  continues: 1,
  size: 300,
  root: 'ab'.repeat(32),
  afterEntryId: 0n,
  lastEntryId: 300n,
  belowTxid: 2n ** 40n,
  at: '2026-01-02T03:04:05.006Z',
  previous: 'cd'.repeat(32),
}

describe('a checkpoint', () => {
  it('is signed in one form for ever', () => {
    expect(checkpointText({ ...head, keyId: '0123456789abcdef' })).toBe(
      [
        'holdfast audit checkpoint 1',
        'no 2',
        'continues 1',
        'size 300',
        `root ${'ab'.repeat(32)}`,
        'after-entry 0',
        'last-entry 300',
        'below-txid 1099511627776',
        'at 2026-01-02T03:04:05.006Z',
        `previous ${'cd'.repeat(32)}`,
        'key 0123456789abcdef',
        '',
      ].join('\n'),
    )
  })

  it('is believed under its own key, as it was signed, and not otherwise', () => {
    const checkpoint = sealer.seal(head)
    expect(isSealed(checkpoint, keys)).toBe(true)
    const other = loadSealerKeys('seal keys', pairOf().publicKey)
    expect(isSealed(checkpoint, other)).toBe(false)
    // Another key under the same id.
    expect(isSealed(checkpoint, new Map([[checkpoint.keyId, [...other.values()][0] as never]]))).toBe(false)
    const changes: Partial<typeof checkpoint>[] = [
      ...[{ no: 3 }, { continues: 0 }, { size: 301 }, { root: 'ac'.repeat(32) }, { afterEntryId: 1n }],
      ...[{ lastEntryId: 301n }, { belowTxid: 1n }, { at: '2026-01-02T03:04:05.007Z' }, { previous: 'ce'.repeat(32) }],
      ...[{ signature: Buffer.alloc(64).toString('base64') }, { signature: '' }],
    ]
    for (const change of changes) expect(isSealed({ ...checkpoint, ...change }, keys)).toBe(false)
  })

  it('goes on being believed after its key was replaced, as long as the old public key is kept', () => {
    const next = pairOf()
    const both = loadSealerKeys('seal keys', `${pair.publicKey}${next.publicKey}`)
    expect(isSealed(sealer.seal(head), both)).toBe(true)
    expect(isSealed(loadSealer('seal key', next.privateKey, 'production').seal(head), both)).toBe(true)
  })

  it('names the one before it by its hash, and the first names nothing', () => {
    const checkpoint = sealer.seal(head)
    expect(checkpointHash(checkpoint)).toBe(createHash('sha256').update(checkpointText(checkpoint)).digest('hex'))
    expect(checkpointHash(undefined)).toBe(createHash('sha256').digest('hex'))
  })
})

describe('a sealing key', () => {
  it.each([
    ['nothing', ''],
    ['another algorithm', generateKeyPairSync('x25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string],
    ['a public key', pair.publicKey],
    ['noise', `-----BEGIN PRIVATE KEY-----\n${'A'.repeat(64)}\n-----END PRIVATE KEY-----\n`],
  ])('is refused when it is %s, in words that show nothing of it', (_what, pem) => {
    expect(() => loadSealer('HOLDFAST_SEAL_KEY_FILE', pem, 'development')).toThrow(
      new SecretError('HOLDFAST_SEAL_KEY_FILE is not an Ed25519 key in PEM'),
    )
  })

  it('has a public side in the same form', () => {
    expect(() => loadSealerKeys('keys', 'none')).toThrow(new SecretError('keys contains no public key'))
    const other = generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'pem' }) as string
    expect(() => loadSealerKeys('keys', other)).toThrow(new SecretError('keys is not an Ed25519 key in PEM'))
    expect([...keys.keys()]).toEqual([sealer.keyId])
  })
})

describe('hashes', () => {
  const hex = (hash: Uint8Array): string => Buffer.from(hash).toString('hex')
  const sha256 = (...parts: (Buffer | string)[]): string =>
    createHash('sha256')
      .update(Buffer.concat(parts.map((part) => Buffer.from(part as string))))
      .digest('hex')

  it('chain an entry to the one before it', () => {
    expect(hex(entryHash(undefined, 'ä'))).toBe(sha256('ä'))
    expect(hex(entryHash(Buffer.alloc(32, 7), 'ä'))).toBe(sha256(Buffer.alloc(32, 7), 'ä'))
  })

  it('keep leaves and nodes apart, and a leaf to its place', () => {
    const place = Buffer.from('00000000000000050000000000000100', 'hex')
    const hash = Buffer.alloc(32, 9)
    expect(hex(leafHash({ entryId: 5n, txid: 256n, hash }))).toBe(sha256(Buffer.of(0), place, hash))
    expect(hex(nodeHash(hash, hash))).toBe(sha256(Buffer.of(1), hash, hash))
  })
})
