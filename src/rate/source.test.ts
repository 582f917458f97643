// The adapters against a local server that replays the documented shapes of the exchanges, and everything else that a
// server may answer.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import type { Asset } from '../domain/payment.ts'
import type { RateSourceName } from '../domain/rate.ts'
import { createGetJson, RateSourceError } from './http.ts'
import { createRateSource } from './source.ts'

jest.setTimeout(60_000)

/** Far below what the test waits, far above what a local server takes. */
const PATIENT_MS = 30_000
const NOW_S = 1_800_000_000
const clocks = { now: () => 5_000, wall: () => NOW_S * 1_000 + 400 }

type Answer = (request: IncomingMessage, response: ServerResponse) => void
let answer: Answer
let asked: string[]
const server = createServer((request, response) => {
  asked.push(request.url ?? '')
  answer(request, response)
})
let base = ''

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
beforeEach(() => {
  asked = []
})
afterAll(() => {
  server.closeAllConnections()
  server.close()
})

const text =
  (body: string | Buffer, status = 200, headers: Record<string, string> = {}): Answer =>
  (_request, response) =>
    void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
const json = (value: unknown): Answer => text(JSON.stringify(value))

type Options = { withinMs?: number; url?: string; currency?: string; signal?: AbortSignal }
const read = (name: RateSourceName, asset: Asset = 'ETH', options: Options = {}) => {
  const { withinMs = PATIENT_MS, url = base, currency = 'EUR', signal = new AbortController().signal } = options
  const deps = { get: createGetJson(withinMs), currency, maxAgeMs: 120_000, clocks }
  return createRateSource({ name, base: url }, deps).read(asset, signal)
}
const failureOf = async (reading: Promise<unknown>): Promise<RateSourceError> => {
  const error: unknown = await reading.then(
    () => new Error('it was read'),
    (failure: unknown) => failure,
  )
  if (error instanceof RateSourceError) return error
  throw error
}

const kraken = (pair: string, last: unknown) => ({
  error: [],
  result: {
    [pair]: {
      ...{ a: ['2512.35000', '1', '1.000'], b: ['2512.34000', '3', '3.000'], c: [last, '0.00067643'] },
      ...{ v: ['4083.67001100', '4412.73601799'], p: ['2506.77771', '2489.13205'], t: [34_619, 38_907] },
      ...{ l: ['2468.30000', '2468.30000'], h: ['2631.00000', '2631.00000'], o: '2502.80000' },
    },
  },
})
const coinbase = (amount: unknown, at = 'ETH', currency = 'EUR') => ({ data: { amount, base: at, currency } })
const bitstamp = (last: unknown, extra: object = {}) => ({
  ...{ timestamp: String(NOW_S), open: '2500.00', high: '2600.00', low: '2450.00', last, volume: '213.26801100' },
  ...{ vwap: '2511.00', bid: '2512.00', ask: '2513.00', side: '0', open_24: '2490.00', percent_change_24: '0.90' },
  ...extra,
})

describe('a source', () => {
  test.each<[RateSourceName, Asset, string, unknown, string]>([
    ['kraken', 'ETH', '/0/public/Ticker?pair=XETHZEUR', kraken('XETHZEUR', '2512.34000'), '2512.34000'],
    ['kraken', 'BTC', '/0/public/Ticker?pair=XXBTZEUR', kraken('XXBTZEUR', '91000.1'), '91000.1'],
    ['kraken', 'LTC', '/0/public/Ticker?pair=XLTCZEUR', kraken('XLTCZEUR', '81.23'), '81.23'],
    ['kraken', 'SOL', '/0/public/Ticker?pair=SOLEUR', kraken('SOLEUR', '131.5'), '131.5'],
    ['coinbase', 'ETH', '/v2/prices/ETH-EUR/spot', coinbase('2512.345'), '2512.345'],
    ['bitstamp', 'ETH', '/api/v2/ticker/etheur/', bitstamp('2512.00'), '2512.00'],
    ['bitstamp', 'ETH', '/api/v2/ticker/etheur/', bitstamp('2512.00', { pair: 'ETH/EUR' }), '2512.00'],
  ])('%s reads the price of %s from %s', async (name, asset, path, body, price) => {
    answer = json(body)
    expect(await read(name, asset)).toMatchObject({ source: name, text: price, readAtMs: 5_000 })
    expect(asked).toEqual([path])
  })

  test('asks for the shop’s currency', async () => {
    answer = json(coinbase('2700', 'ETH', 'USD'))
    expect((await read('coinbase', 'ETH', { currency: 'USD' })).text).toBe('2700')
    expect(asked).toEqual(['/v2/prices/ETH-USD/spot'])
  })

  test('reads a number as exactly as a text', async () => {
    answer = text('{"data":{"amount":2512.340000000000000001,"base":"ETH","currency":"EUR"}}')
    const { text: given, price } = await read('coinbase')
    expect([given, price]).toEqual(['2512.340000000000000001', 2_512_340_000_000_000_000_001n])
  })

  test.each<[string, RateSourceName, unknown]>([
    ['another pair', 'kraken', kraken('XXBTZEUR', '91000')],
    ['an error beside a result', 'kraken', { ...kraken('XETHZEUR', '2512'), error: ['EQuery:Unknown asset pair'] }],
    ['no result', 'kraken', { error: [] }],
    ['a pair from the prototype', 'kraken', { error: [], result: {} }],
    ['another coin', 'coinbase', coinbase('91000', 'BTC')],
    ['another currency', 'coinbase', coinbase('2700', 'ETH', 'USD')],
    ['another pair', 'bitstamp', bitstamp('91000', { pair: 'BTC/EUR' })],
    ['no time', 'bitstamp', { ...bitstamp('2512'), timestamp: undefined }],
    ['a negative price', 'coinbase', coinbase('-2512')],
    ['zero', 'coinbase', coinbase('0')],
    ['an exponent', 'coinbase', coinbase('2.5e3')],
    ['no price', 'coinbase', coinbase(null)],
    ['a list', 'coinbase', coinbase(['2512'])],
    ['text around the price', 'coinbase', coinbase('2512 EUR')],
    ['nothing', 'bitstamp', null],
  ])('that answers with %s (%s) is not believed', async (_what, name, body) => {
    answer = json(body)
    expect((await failureOf(read(name))).reason).toBe('answer')
  })

  test.each([
    ['no JSON', '<html>'],
    ['half of it', '{"data":{"amount":"25'],
    ['an exponent as a number', '{"data":{"amount":2.5e3,"base":"ETH","currency":"EUR"}}'],
    ['nothing', ''],
  ])('that answers with %s is not believed', async (_what, body) => {
    answer = text(body)
    expect((await failureOf(read('coinbase'))).reason).toBe('answer')
  })

  test.each([
    [NOW_S - 119, undefined],
    [NOW_S - 120, 'stale'],
    [NOW_S + 120, undefined],
    [NOW_S + 121, 'stale'],
  ])('whose own time is %i is believed or not', async (timestamp, reason) => {
    answer = json(bitstamp('2512.00', { timestamp: String(timestamp) }))
    const outcome = await read('bitstamp').then(
      () => undefined,
      (error: unknown) => (error as RateSourceError).reason,
    )
    expect(outcome).toBe(reason)
  })
})

describe('a server', () => {
  test.each([301, 302, 307, 308])('that redirects with %i is not followed', async (status) => {
    answer = text('', status, { location: `${base}/elsewhere` })
    expect((await failureOf(read('coinbase'))).reason).toBe('redirect')
    expect(asked).toHaveLength(1)
  })

  test('that answers with too much is cut off', async () => {
    answer = text(`{"data":{"amount":"2512","base":"ETH","currency":"EUR"},"more":"${'x'.repeat(70_000)}"}`)
    expect((await failureOf(read('coinbase'))).reason).toBe('size')
  })

  test('that never stops sending is cut off', async () => {
    answer = (_request, response) => {
      response.writeHead(200)
      const more = (): void => {
        while (!response.destroyed && response.write('x'.repeat(8_192)));
        if (!response.destroyed) response.once('drain', more)
      }
      more()
    }
    expect((await failureOf(read('coinbase'))).reason).toBe('size')
  })

  test('that compresses much into little is cut off', async () => {
    answer = text(gzipSync(Buffer.alloc(10_000_000, ' ')), 200, { 'content-encoding': 'gzip' })
    expect((await failureOf(read('coinbase'))).reason).toBe('size')
  })

  test('that does not answer is given up, and one that begins and stops too', async () => {
    answer = () => undefined
    expect((await failureOf(read('coinbase', 'ETH', { withinMs: 50 }))).reason).toBe('timeout')
    answer = (_request, response) => void response.writeHead(200).write('{"data":')
    expect((await failureOf(read('coinbase', 'ETH', { withinMs: 200 }))).reason).toBe('timeout')
  })

  test('that cannot be reached, or hangs up, is a failure without text from outside', async () => {
    expect((await failureOf(read('coinbase', 'ETH', { url: 'http://127.0.0.1:9' }))).reason).toBe('unreachable')
    answer = (_request, response) => void response.destroy()
    const failure = await failureOf(read('coinbase'))
    expect([failure.reason, failure.cause]).toEqual(['unreachable', undefined])
  })

  test.each([
    [404, {}, 'status', 0],
    [500, {}, 'status', 0],
    [204, {}, 'status', 0],
    [429, {}, 'limited', 0],
    [429, { 'retry-after': '30' }, 'limited', 30_000],
    [503, { 'retry-after': '7' }, 'limited', 7_000],
    [429, { 'retry-after': '999999' }, 'limited', 600_000],
    [429, { 'retry-after': 'Wed, 21 Oct 2026 07:28:00 GMT' }, 'limited', 0],
  ])('that answers %i %j is not read, and gets its pause', async (status, headers, reason, pauseMs) => {
    answer = text(status === 204 ? '' : '{"data":{"amount":"1","base":"ETH","currency":"EUR"}}', status, headers)
    expect(await failureOf(read('coinbase'))).toMatchObject({ reason, pauseMs })
  })

  test('is left at once when the process stops', async () => {
    const stopping = new AbortController()
    answer = () => stopping.abort()
    await expect(read('coinbase', 'ETH', { signal: stopping.signal })).rejects.toThrow(RateSourceError)
  })
})
