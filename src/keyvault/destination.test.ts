import { ed25519 } from '@noble/curves/ed25519.js'
import { describe, expect, test } from '@jest/globals'
import { base58, bech32, bech32m } from '@scure/base'
import { formatAddress } from './address.ts'
import { parseDestination } from './destination.ts'

const CHECKSUM = /correct checksum/
const SHAPE = /address of this asset/
const UNUSABLE = /key of/
const KEY = new Uint8Array(20).fill(7)
const ltc = bech32.encode('ltc', [0, ...bech32.toWords(KEY)])
const regtest = bech32.encode('bcrt', [0, ...bech32.toWords(KEY)])
const solana = base58.encode(ed25519.getPublicKey(new Uint8Array(32).fill(3)))

/** 32 bytes that are no point of the curve, as the accounts of programs are. */
function offCurve(): string {
  for (let first = 0; first < 256; first += 1) {
    const bytes = new Uint8Array(32).fill(9)
    bytes[0] = first
    try {
      ed25519.Point.fromBytes(bytes)
    } catch {
      return base58.encode(bytes)
    }
  }
  throw new Error('every one is a key')
}

describe('a destination', () => {
  test.each([
    ['ETH', 'ethereum', '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed', '0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed'],
    ['BTC', 'bitcoin', '1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa', undefined],
    ['BTC', 'bitcoin', '3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy', undefined],
    ['BTC', 'bitcoin', 'bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4', undefined],
    ['BTC', 'bitcoin', 'BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4', 'bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4'],
    ['BTC', 'bitcoin', 'bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0', undefined],
    ['BTC', 'regtest', regtest, undefined],
    ['LTC', 'litecoin', ltc, undefined],
    ['SOL', 'solana', solana, undefined],
  ] as const)('in %s on %s is accepted and made canonical: %s', (asset, network, text, canonical) => {
    expect(parseDestination(asset, network, text)).toEqual({ ok: true, address: canonical ?? text })
  })

  test.each([
    ['ETH', 'ethereum', '0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed', CHECKSUM],
    ['ETH', 'ethereum', '0x5AAEB6053F3E94C9B9A09F33669435E7EF1BEAED', CHECKSUM],
    ['ETH', 'ethereum', '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD', CHECKSUM],
    ['ETH', 'ethereum', '5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed', SHAPE],
    ['ETH', 'ethereum', ' 0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed', SHAPE],
    ['ETH', 'ethereum', `0x${'0'.repeat(40)}`, UNUSABLE],
    ['BTC', 'bitcoin', '1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb', CHECKSUM],
    ['BTC', 'bitcoin', 'bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5', CHECKSUM],
    ['BTC', 'bitcoin', 'bc1qW508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4', CHECKSUM],
    ['BTC', 'bitcoin', bech32m.encode('bc', [0, ...bech32.toWords(KEY)]), SHAPE],
    ['BTC', 'bitcoin', bech32.encode('bc', [1, ...bech32.toWords(new Uint8Array(32))]), SHAPE],
    ['BTC', 'bitcoin', regtest, SHAPE],
    ['BTC', 'regtest', '1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa', SHAPE],
    ['BTC', 'bitcoin', ltc, SHAPE],
    ['LTC', 'litecoin', '3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy', SHAPE],
    ['LTC', 'litecoin', 'bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4', SHAPE],
    ['SOL', 'solana', '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed', SHAPE],
    ['SOL', 'solana', '11111111111111111111111111111111', UNUSABLE],
    ['SOL', 'solana', offCurve(), UNUSABLE],
    ['SOL', 'solana', base58.encode(new Uint8Array(31).fill(5)), SHAPE],
    ['ETH', 'ethereum', 'x'.repeat(10_000), SHAPE],
  ] as const)('in %s on %s is refused: %s', (asset, network, text, problem) => {
    const parsed = parseDestination(asset, network, text)
    expect(parsed).toEqual({ ok: false, problem: expect.stringMatching(problem) })
  })

  test('with one letter in the other case is refused, whichever letter it is', () => {
    const right = formatAddress('ETH', '0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed')
    for (const [at, letter] of [...right].entries()) {
      if (!/[a-fA-F]/.test(letter)) continue
      const other = letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()
      expect(parseDestination('ETH', 'ethereum', `${right.slice(0, at)}${other}${right.slice(at + 1)}`).ok).toBe(false)
    }
  })
})
