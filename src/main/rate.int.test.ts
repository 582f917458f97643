// The api process with price sources instead of a fixed rate, and with its quote key.

import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals'
import {
  API_FILES,
  createApiFixture,
  customerToken,
  QUOTE_PUBLIC_KEY,
  type ApiFixture,
} from '../../test/support/api_process.ts'
import { putProduct } from '../../test/support/builder.ts'
import { failureOf } from '../../test/support/front.ts'
import { until } from '../../test/support/until.ts'
import { createClient, isQuoteGenuine, type CreateOrderResponse } from '../grpc/client.ts'
import { loadPublicKeys } from '../keyvault/ed25519.ts'
import { ensureSecrets, type SecretFiles } from '../servers/secret.ts'

jest.setTimeout(240_000)

const WITHIN = { withinMs: 90_000 }
/** Coinbase and Bitstamp, by their paths. */
const market = { isOpen: true, coinbase: '2000.019', bitstamp: '2000.05' }
const exchange = createServer((request, response) => {
  const body = request.url?.startsWith('/v2/prices/ETH-EUR/')
    ? { data: { amount: market.coinbase, base: 'ETH', currency: 'EUR' } }
    : { last: market.bitstamp, timestamp: String(Math.floor(Date.now() / 1_000)) }
  response.writeHead(market.isOpen ? 200 : 500).end(JSON.stringify(body))
})

let fixture: ApiFixture
let development: SecretFiles
let base: string

beforeAll(async () => {
  fixture = await createApiFixture()
  development = await ensureSecrets(join(fixture.folder, 'development'), 'watcher-1')
  await fixture.followChain()
  await new Promise<void>((resolve) => exchange.listen(0, '127.0.0.1', resolve))
  base = `http://127.0.0.1:${(exchange.address() as AddressInfo).port}`
})
afterEach(() => fixture.killAll())
afterAll(async () => {
  exchange.closeAllConnections()
  exchange.close()
  await fixture.close()
})

const start = (changes: Readonly<Record<string, string | undefined>>) => fixture.start(API_FILES, changes)

test('an api quotes at the median of its sources, stores where the rate came from, and stops when they are gone', async () => {
  const api = await start({
    HOLDFAST_RATE_SOURCES: `coinbase=${base},bitstamp=${base}/`,
    HOLDFAST_RATE_EVERY_MS: '1000',
    HOLDFAST_RATE_MAX_AGE_MS: '10000',
  })
  await until(async () => (await api.get('/readyz')).ok, WITHIN)
  const { productId, unitPrice } = await putProduct(fixture.database)
  const client = createClient({ address: api.address, token: () => customerToken(7) })
  const create = (): Promise<CreateOrderResponse> =>
    client.order.createOrder({
      ...{ idempotencyKey: randomUUID(), userId: 7n, asset: 'ETH', shippingAddress: 'Quay 1' },
      lines: [{ productId, quantity: 1, expectedUnitPrice: unitPrice }],
    })
  let order: CreateOrderResponse | undefined
  await until(async () => {
    order = await create().catch(() => undefined)
    return order !== undefined
  }, WITHIN)
  const { orderId = '', paymentRequest } = order ?? {}
  if (paymentRequest === undefined) throw new Error('no payment request')
  // The mean of the two, rounded down to a cent.
  expect(paymentRequest.rate).toBe('2000.03')
  // A chain id that nobody has set is Ethereum's in production.
  expect(paymentRequest.uri).toContain('@1?value=')
  expect(isQuoteGenuine(orderId, paymentRequest, loadPublicKeys('quote keys', QUOTE_PUBLIC_KEY))).toBe(true)
  const stored = await fixture.database.query(
    `select r.rate, r.prices from invoice join quoted_rate r using (rate_id) where order_id = $1`,
    [orderId],
  )
  const prices = [
    { source: 'coinbase', price: '2000.019' },
    { source: 'bitstamp', price: '2000.05' },
  ]
  expect(stored).toMatchObject([{ rate: '2000.03', prices }])
  expect(await (await api.get('/metrics')).text()).toMatch(/holdfast_rate_available\{asset="ETH",process="api"\} 1/)

  market.isOpen = false
  await until(
    async () => (await (await api.get('/metrics')).text()).includes('rate_available{asset="ETH",process="api"} 0'),
    WITHIN,
  )
  const refused = await failureOf(create())
  market.isOpen = true
  expect(refused).toMatchObject({ reason: 'RATE_UNAVAILABLE', metadata: { asset: 'ETH' } })
  expect(refused.retryAfterMs).toBeGreaterThanOrEqual(1_000)
  expect(refused.retryAfterMs).toBeLessThanOrEqual(10_000)
  client.close()
  expect((await api.stop()).code).toBe(0)
})

test.each([
  ['no quote key', { HOLDFAST_QUOTE_KEY_FILE: undefined }, 'HOLDFAST_QUOTE_KEY_FILE: is not set'],
  ['fewer sources than must agree', { HOLDFAST_RATE_SOURCES: 'kraken' }, 'HOLDFAST_RATE_SOURCES: fewer sources'],
  [
    'a source in clear',
    { HOLDFAST_RATE_SOURCES: 'kraken,coinbase=http://prices.example' },
    'HOLDFAST_RATE_SOURCES: coinbase must be https',
  ],
  ['an unknown source', { HOLDFAST_RATE_SOURCES: 'kraken,mtgox' }, 'HOLDFAST_RATE_SOURCES: must be sources out of'],
])('an api does not start in production with %s', async (_what, changes, problem) => {
  const { code, output } = await (await start(changes)).ended
  expect(code).toBe(1)
  expect(output).toContain(`  ${problem}`)
})

test('an api does not start in production with the quote key of a development stack', async () => {
  const { code, output } = await (await start({ HOLDFAST_QUOTE_KEY_FILE: development.quoteKey })).ended
  expect(code).toBe(1)
  expect(output).toContain('  HOLDFAST_QUOTE_KEY_FILE is a development key')
})
