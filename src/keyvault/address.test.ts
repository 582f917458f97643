import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { isAddress } from 'viem'
import { privateKeyToAddress } from 'viem/accounts'
import { seed } from '../../test/support/scale.ts'
import { ADDRESS_MAKERS, formatAddress } from './address.ts'

describe('an Ethereum address', () => {
  it('belongs to its private key, by another implementation', () => {
    const addresses = Array.from({ length: 20 }, () => {
      const made = ADDRESS_MAKERS.ETH?.make()
      if (made === undefined) throw new Error('no maker')
      expect(made.address).toMatch(/^0x[0-9a-f]{40}$/)
      expect(made.privateKey).toHaveLength(32)
      const owner = privateKeyToAddress(`0x${made.privateKey.toString('hex')}`)
      expect(formatAddress('ETH', made.address)).toBe(owner)
      return made.address
    })
    expect(new Set(addresses).size).toBe(20)
  })

  /** The examples of EIP-55. */
  it.each([
    '0x52908400098527886E0F7030069857D2E4169EE7',
    '0xde709f2102306220921060314715629080e2fb77',
    '0x27b1fdb04752bbc536007a920d24acb045561c26',
    '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed',
    '0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359',
    '0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB',
    '0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb',
  ])('is shown with the checksum of EIP-55: %s', (shown) => {
    expect(formatAddress('ETH', shown.toLowerCase())).toBe(shown)
  })

  it('is shown in a form that wallets accept, whatever it is', () => {
    const address = fc
      .uint8Array({ minLength: 20, maxLength: 20 })
      .map((bytes) => `0x${Buffer.from(bytes).toString('hex')}`)
    fc.assert(
      fc.property(address, (canonical) => {
        expect(isAddress(formatAddress('ETH', canonical), { strict: true })).toBe(true)
      }),
      { seed },
    )
  })
})

it('shows the address of an asset without a maker as it is stored', () => {
  expect(formatAddress('BTC', 'bc1qexample')).toBe('bc1qexample')
})
