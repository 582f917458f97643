import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { count, seed } from '../../test/support/scale.ts'
import { MAX_COIN_UNITS } from './money.ts'
import { ASSET_POLICY, ASSETS } from './payment.ts'
import { paymentUriOf } from './payment_uri.ts'

const MAINNET = 1
const ETH_ADDRESS = '0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359'

describe('a payment URI', () => {
  test.each([
    // The example address of BIP-21, and its amount.
    [
      'BTC',
      '175tWpb8K1S7NmH4Zx6rewF9WQrcZv245W',
      2_030_000_000n,
      'bitcoin:175tWpb8K1S7NmH4Zx6rewF9WQrcZv245W?amount=20.3',
    ],
    [
      'BTC',
      'bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq',
      1n,
      'bitcoin:bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq?amount=0.00000001',
    ],
    [
      'LTC',
      'ltc1qg42tkwuuxefutzxezdkdel39gfstuap288mfea',
      5_000_000_000n,
      'litecoin:ltc1qg42tkwuuxefutzxezdkdel39gfstuap288mfea?amount=50',
    ],
    // The example of EIP-681, with its value written out, and with the chain it is meant for.
    ['ETH', ETH_ADDRESS, 2_014_000_000_000_000_000n, `ethereum:${ETH_ADDRESS}@1?value=2014000000000000000`],
    // The example of Solana Pay.
    [
      'SOL',
      'mvines9iiHiQTysrwkJjGf2gb9Ex9jXJX8ns3qwf2kN',
      1_000_000_000n,
      'solana:mvines9iiHiQTysrwkJjGf2gb9Ex9jXJX8ns3qwf2kN?amount=1',
    ],
    [
      'SOL',
      'mvines9iiHiQTysrwkJjGf2gb9Ex9jXJX8ns3qwf2kN',
      10_000_000n,
      'solana:mvines9iiHiQTysrwkJjGf2gb9Ex9jXJX8ns3qwf2kN?amount=0.01',
    ],
  ] as const)('of %s has the form of its standard', (asset, address, units, uri) => {
    expect(paymentUriOf({ asset, address, units, chainId: MAINNET })).toBe(uri)
  })

  test('of ETH names the chain, so that a wallet on another one does not pay', () => {
    const target = { asset: 'ETH', address: ETH_ADDRESS, units: 1n } as const
    expect(paymentUriOf({ ...target, chainId: 31_337 })).toBe(`ethereum:${ETH_ADDRESS}@31337?value=1`)
  })

  test('has exactly the amount, whatever it is', () => {
    fc.assert(
      fc.property(fc.constantFrom(...ASSETS), fc.bigInt({ min: 1n, max: MAX_COIN_UNITS }), (asset, units) => {
        const uri = paymentUriOf({ asset, address: 'a1', units, chainId: MAINNET })
        const [, text = ''] = uri.split('=')
        expect(uri.split('=')).toHaveLength(2)
        const { decimals } = ASSET_POLICY[asset]
        const [whole = '', fraction = ''] = text.split('.')
        expect(text).toMatch(/^(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$/)
        expect(asset === 'ETH' ? BigInt(text) : BigInt(whole + fraction.padEnd(decimals, '0'))).toBe(units)
      }),
      { numRuns: count(2_000, 100_000), seed },
    )
  })

  test('of an address that is none adds no parameter', () => {
    const uri = paymentUriOf({ asset: 'BTC', address: 'x?amount=1&label=a b', units: 5n, chainId: MAINNET })
    expect(uri).toBe('bitcoin:x%3Famount%3D1%26label%3Da%20b?amount=0.00000005')
  })
})
