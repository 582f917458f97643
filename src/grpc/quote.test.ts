import { createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { describe, expect, test } from '@jest/globals'
import { loadPublicKeys, loadTextSigner } from '../keyvault/ed25519.ts'
import { createQuoteSigner } from '../keyvault/quote.ts'
import { PaymentRequest } from './gen/holdfast/v1/common.ts'
import { isQuoteGenuine, paymentRequestMessage } from './quote.ts'

const pairOf = () =>
  generateKeyPairSync('ed25519', {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
const pair = pairOf()
const keys = loadPublicKeys('quote keys', pair.publicKey)
const signerOf = ({ privateKey }: { privateKey: string }) =>
  createQuoteSigner(loadTextSigner('quote key', privateKey, 'production'))

const orderId = '0192b1a0-0000-8000-8000-000000000001'
const quote = {
  orderId,
  network: 'ethereum',
  asset: 'ETH',
  address: '0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359',
  amountDue: 12_500_000_000_000_000n,
  rateMinor: 200_000n,
  expiresAt: new Date(1_800_000_000_123),
} as const
const request = paymentRequestMessage(quote, { sign: signerOf(pair), chainId: 1 })
/** As a client gets it. */
const received = (): PaymentRequest => PaymentRequest.decode(PaymentRequest.encode(request).finish())

describe('a payment request', () => {
  test('has the amount in base units and in whole coins, a checksummed address, and a URI for a wallet', () => {
    expect(request).toMatchObject({
      network: 'ethereum',
      address: '0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359',
      amount: { asset: 'ETH', units: '12500000000000000' },
      amountDecimal: '0.0125',
      uri: 'ethereum:0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359@1?value=12500000000000000',
      rate: '2000.00',
    })
  })

  test('is verified from the documented text alone', () => {
    const der = createPublicKey(pair.publicKey).export({ type: 'spki', format: 'der' })
    const keyId = createHash('sha256').update(der).digest('hex').slice(0, 16)
    const text =
      'holdfast quote 1\n' +
      `order ${orderId}\n` +
      'network ethereum\n' +
      'asset ETH\n' +
      'address 0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359\n' +
      'units 12500000000000000\n' +
      'amount 0.0125\n' +
      'uri ethereum:0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359@1?value=12500000000000000\n' +
      'rate 2000.00\n' +
      'expires-ms 1800000000123\n' +
      `key ${keyId}\n`
    const { signature } = received()
    expect(signature?.keyId).toBe(keyId)
    expect(verify(null, Buffer.from(text), pair.publicKey, signature?.signature ?? Buffer.of())).toBe(true)
  })

  test('is genuine as it arrives', () => {
    expect(isQuoteGenuine(orderId, received(), keys)).toBe(true)
  })

  test.each<[string, Partial<PaymentRequest>]>([
    ['network', { network: 'sepolia' }],
    ['address', { address: `0x${'cd'.repeat(20)}` }],
    ['address in another spelling', { address: quote.address }],
    ['asset', { amount: { asset: 'BTC', units: '12500000000000000' } }],
    ['amount', { amount: { asset: 'ETH', units: '12500000000000001' } }],
    ['no amount', { amount: undefined }],
    ['amount in whole coins', { amountDecimal: '0.125' }],
    ['URI', { uri: `ethereum:0x${'cd'.repeat(20)}@1?value=12500000000000000` }],
    ['rate', { rate: '2000.01' }],
    ['end', { expiresAt: new Date(1_800_000_000_124) }],
    ['no end', { expiresAt: undefined }],
    ['no signature', { signature: undefined }],
    ['field that pretends to be two', { network: 'ethereum\nasset ETH', amount: { asset: 'x', units: '1' } }],
  ])('with another %s is not genuine', (_what, change) => {
    expect(isQuoteGenuine(orderId, { ...received(), ...change }, keys)).toBe(false)
  })

  test('of another order is not genuine', () => {
    expect(isQuoteGenuine('0192b1a0-0000-8000-8000-000000000002', received(), keys)).toBe(false)
  })

  test('signed by another key, also under the id of a trusted one, is not genuine', () => {
    const forged = paymentRequestMessage(quote, { sign: signerOf(pairOf()), chainId: 1 })
    expect(isQuoteGenuine(orderId, forged, keys)).toBe(false)
    const keyId = request.signature?.keyId ?? ''
    const signature = forged.signature && { ...forged.signature, keyId }
    expect(isQuoteGenuine(orderId, { ...forged, signature }, keys)).toBe(false)
    const empty = { keyId, signature: Buffer.of() }
    expect(isQuoteGenuine(orderId, { ...request, signature: empty }, keys)).toBe(false)
  })

  test('stays genuine after the key was replaced, as long as the old public key is trusted', () => {
    const next = pairOf()
    const both = loadPublicKeys('quote keys', pair.publicKey + next.publicKey)
    expect(isQuoteGenuine(orderId, received(), both)).toBe(true)
    const later = paymentRequestMessage(quote, { sign: signerOf(next), chainId: 1 })
    expect(isQuoteGenuine(orderId, later, both)).toBe(true)
    expect(isQuoteGenuine(orderId, later, keys)).toBe(false)
  })

  test('has the same bytes each time, so that a replay does too', () => {
    const again = paymentRequestMessage(quote, { sign: signerOf(pair), chainId: 1 })
    expect(PaymentRequest.encode(again).finish()).toEqual(PaymentRequest.encode(request).finish())
  })

  test('is not signed when one of its values has several lines', () => {
    const broken = { ...quote, network: 'ethereum\naddress 0x1' }
    expect(() => paymentRequestMessage(broken, { sign: signerOf(pair), chainId: 1 })).toThrow(/several lines/)
  })
})
