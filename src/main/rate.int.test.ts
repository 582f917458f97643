// The api process with price sources instead of a fixed rate, and with its quote key.

import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { putProduct } from '../../test/support/builder.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { failureOf } from '../../test/support/front.ts'
import { killAll, startProcess, type RunningProcess } from '../../test/support/process.ts'
import { until } from '../../test/support/until.ts'
import { createClient, isQuoteGenuine, type CreateOrderResponse } from '../grpc/client.ts'
import { loadPublicKeys } from '../keyvault/ed25519.ts'
import { loadTokenSecrets, signDevelopmentToken } from '../keyvault/token.ts'
import { freePorts } from '../servers/port.ts'
import { ensureSecrets, type SecretFiles } from '../servers/secret.ts'

jest.setTimeout(240_000)

const WITHIN = { withinMs: 90_000 }
const ENTRY = fileURLToPath(new URL('./api.ts', import.meta.url))
const secret = (): string => randomBytes(32).toString('base64')
const JWT = JSON.stringify({ keys: [{ kid: 'test', secret: secret() }] })
const pair = generateKeyPairSync('ed25519', {
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
})
const version = (number: number) => ({ version: number, secret: secret() })
const FILES = {
  HOLDFAST_JWT_SECRETS_FILE: JWT,
  HOLDFAST_PII_KEYRING_FILE: JSON.stringify({ primary: 2, versions: [version(1), version(2)] }),
  HOLDFAST_ORDER_ID_SECRET_FILE: secret(),
  HOLDFAST_SOURCES_FILE: JSON.stringify({ sources: [{ name: 'watcher-1', algorithm: 'sha256', secrets: [secret()] }] }),
  HOLDFAST_QUOTE_KEY_FILE: pair.privateKey,
  HOLDFAST_REFUND_KEY_FILE: pair.privateKey,
}

/** Coinbase and Bitstamp, by their paths. */
const market = { isOpen: true, coinbase: '2000.019', bitstamp: '2000.05' }
const exchange = createServer((request, response) => {
  const body = request.url?.startsWith('/v2/prices/ETH-EUR/')
    ? { data: { amount: market.coinbase, base: 'ETH', currency: 'EUR' } }
    : { last: market.bitstamp, timestamp: String(Math.floor(Date.now() / 1_000)) }
  response.writeHead(market.isOpen ? 200 : 500).end(JSON.stringify(body))
})

let database: TestDatabase
let folder: string
let development: SecretFiles
let base: string
const processes: RunningProcess[] = []

beforeAll(async () => {
  database = await createTestDatabase()
  folder = await mkdtemp(join(tmpdir(), 'holdfast-rate-'))
  development = await ensureSecrets(join(folder, 'development'), 'watcher-1')
  await putAddresses(database, 20)
  await database.query(
    `insert into chain_status (network, start_height, settled_height, scanned_height, tip_height, tip_asked_at, caught_up_at)
     select 'ethereum', 1, 1, 1, 1, t, t from (select clock_timestamp() as t) now`,
  )
  await new Promise<void>((resolve) => exchange.listen(0, '127.0.0.1', resolve))
  base = `http://127.0.0.1:${(exchange.address() as AddressInfo).port}`
})
afterEach(() => killAll(processes))
afterAll(async () => {
  exchange.closeAllConnections()
  exchange.close()
  await rm(folder, { recursive: true })
  await database.drop()
})

async function start(changes: Readonly<Record<string, string | undefined>>) {
  const [grpc = 0, admin = 0, metrics = 0] = await freePorts(3)
  const paths: Record<string, string> = {}
  for (const [variable, content] of Object.entries(FILES)) {
    paths[variable] = join(folder, `${variable}-${grpc}`)
    await writeFile(paths[variable], content, { mode: 0o600 })
  }
  const env = {
    DATABASE_URL: database.urlOf('app_api'),
    TEMPORAL_ADDRESS: '127.0.0.1:9',
    HOLDFAST_MODE: 'production',
    HOLDFAST_TLS: 'terminated-by-proxy',
    HOLDFAST_GRPC_PORT: String(grpc),
    HOLDFAST_ADMIN_PORT: String(admin),
    HOLDFAST_METRICS_PORT: String(metrics),
    HOLDFAST_DRAIN_MS: '0',
    ...paths,
    ...changes,
  }
  const started = startProcess([ENTRY], env, metrics)
  processes.push(started)
  return { ...started, address: `127.0.0.1:${grpc}` }
}

const tokenOf = (subject: string): Promise<string> =>
  signDevelopmentToken({
    secrets: loadTokenSecrets(JWT, 'development'),
    ...{ issuer: 'holdfast', audience: 'holdfast', roles: ['customer'], subject, lifetimeS: 240 },
  })

test('an api quotes at the median of its sources, stores where the rate came from, and stops when they are gone', async () => {
  const api = await start({
    HOLDFAST_RATE_SOURCES: `coinbase=${base},bitstamp=${base}/`,
    HOLDFAST_RATE_EVERY_MS: '1000',
    HOLDFAST_RATE_MAX_AGE_MS: '10000',
  })
  await until(async () => (await api.get('/readyz')).ok, WITHIN)
  const { productId, unitPrice } = await putProduct(database)
  const client = createClient({ address: api.address, token: () => tokenOf('7') })
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
  expect(isQuoteGenuine(orderId, paymentRequest, loadPublicKeys('quote keys', pair.publicKey))).toBe(true)
  const stored = await database.query(
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
