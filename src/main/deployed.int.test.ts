// Each of the twelve pre-deployment checks passes against a running front, and turns red when what it checks is broken.

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { admin, createTestFront, customer, type TestFront } from '../../test/support/front.ts'
import { loadConfig } from '../config.ts'
import { createClient } from '../grpc/client.ts'
import { startMetricsListener, type MetricsListener } from '../http/metrics.ts'
import { MAX_BUDGET } from '../domain/limit.ts'
import { checkDeployed, type Deployed } from './deployed.ts'

let database: TestDatabase
let front: TestFront
let listener: MetricsListener
let folder: string
let deployed: Deployed
const closing: (() => void)[] = []

const secret = (): string => randomBytes(32).toString('base64')
const FILES = {
  HOLDFAST_JWT_SECRETS_FILE: JSON.stringify({ keys: [{ kid: 'test', secret: secret() }] }),
  HOLDFAST_PII_KEYRING_FILE: JSON.stringify({
    primary: 1,
    versions: [1, 2].map((version) => ({ version, secret: secret() })),
  }),
  HOLDFAST_ORDER_ID_SECRET_FILE: secret(),
  HOLDFAST_QUOTE_KEY_FILE: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  HOLDFAST_REFUND_KEY_FILE: generateKeyPairSync('ed25519').privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  }) as string,
  HOLDFAST_SOURCES_FILE: JSON.stringify({ sources: [{ name: 'watcher-1', algorithm: 'sha256', secrets: [secret()] }] }),
}

beforeAll(async () => {
  database = await createTestDatabase()
  front = await createTestFront(database)
  listener = await startMetricsListener({
    ...{ bind: '127.0.0.1', port: 0, registry: front.registry },
    isAlive: () => true,
    isReady: async () => true,
  })
  folder = await mkdtemp(join(tmpdir(), 'holdfast-deployed-'))
  const env: NodeJS.ProcessEnv = {
    DATABASE_URL: database.urlOf('app_api'),
    HOLDFAST_TLS: 'terminated-by-proxy',
    HOLDFAST_ETH_RATE: '2000.00',
  }
  for (const [variable, content] of Object.entries(FILES)) {
    env[variable] = join(folder, variable)
    await writeFile(join(folder, variable), content, { mode: 0o600 })
  }
  const clear = createClient({ address: front.address, token: () => '' })
  closing.push(() => clear.close())
  deployed = {
    config: loadConfig('api', env),
    env,
    client: front.as(customer(7)),
    plain: [clear],
    metricsUrl: `http://127.0.0.1:${listener.port}`,
    database: front.database,
  }
})
afterAll(async () => {
  for (const close of closing) close()
  await listener.stop()
  await front.stop()
  await rm(folder, { recursive: true })
  await database.drop()
})

const failedOf = async (given: Deployed): Promise<string[]> =>
  (await checkDeployed(given)).flatMap(({ check, problem }) =>
    problem === undefined ? [] : [check.split(':')[0] ?? ''],
  )

/** The checks that fail while SQL of the owner is in force. */
async function failedUnder(change: string, undo: string): Promise<string[]> {
  await database.query(change)
  try {
    return await failedOf(deployed)
  } finally {
    await database.query(undo)
  }
}

/** The checks that fail with an operators' port that answers so. */
async function failedBehind(headers: Record<string, string>): Promise<string[]> {
  const server = createServer((_request, response) => {
    response.writeHead(200, headers)
    response.end('holdfast_grpc_limited_total')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as AddressInfo
    return await failedOf({ ...deployed, metricsUrl: `http://127.0.0.1:${port}` })
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

const SECURE = {
  'content-security-policy': "default-src 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cache-control': 'no-store',
}
const withConfig = (changes: Partial<Deployed['config']>): Deployed => ({
  ...deployed,
  config: { ...deployed.config, ...changes },
})
const withClient = (changes: object): Deployed => ({ ...deployed, client: { ...deployed.client, ...changes } })
const answering = (name: string, answer: object) => ({ [name]: async () => answer })

test('a deployment in which nothing is broken passes all twelve checks', async () => {
  const findings = await checkDeployed(deployed)
  expect(findings.filter(({ problem }) => problem !== undefined)).toEqual([])
  expect(findings.map(({ check }) => check.split(':')[0])).toEqual(
    Array.from({ length: 12 }, (_, at) => `PRE-${at + 1}`),
  )
})

test.each<[string, () => Promise<string[]>]>([
  [
    'PRE-1',
    async () => {
      const weak = join(folder, 'weak')
      await writeFile(weak, 'short', { mode: 0o600 })
      return failedOf({ ...deployed, env: { ...deployed.env, HOLDFAST_ORDER_ID_SECRET_FILE: weak } })
    },
  ],
  ['PRE-2', () => failedOf(withConfig({ HOLDFAST_TLS: 'here' }))],
  ['PRE-3', () => failedBehind({})],
  ['PRE-4', () => failedBehind({ ...SECURE, 'access-control-allow-origin': '*' })],
  [
    'PRE-5',
    () => {
      const { order } = deployed.client
      const getOrder: typeof order.getOrder = (request) => order.getOrder({ ...request, orderId: crypto.randomUUID() })
      return failedOf(withClient({ order: { ...order, getOrder } }))
    },
  ],
  [
    'PRE-6',
    () => {
      const { order } = deployed.client
      const getOrder: typeof order.getOrder = (request) =>
        request.orderId === 'no id' ? order.getOrder(request) : front.as(admin).order.getOrder(request)
      return failedOf(withClient({ order: { ...order, getOrder } }))
    },
  ],
  ['PRE-7', () => failedOf(withClient({ fulfilment: answering('listOrdersToShip', { orders: [] }) }))],
  [
    'PRE-8',
    () =>
      failedUnder(
        'alter table orders disable trigger orders_guard_update',
        'alter table orders enable trigger orders_guard_update',
      ),
  ],
  [
    'PRE-9',
    () =>
      failedUnder(
        'alter table orders disable trigger orders_guard_status',
        'alter table orders enable trigger orders_guard_status',
      ),
  ],
  ['PRE-10', () => failedOf(withConfig({ HOLDFAST_LIMITS: `order=${MAX_BUDGET}/${MAX_BUDGET}/32` }))],
  [
    'PRE-11',
    () => failedUnder('grant create on schema holdfast to app_api', 'revoke create on schema holdfast from app_api'),
  ],
  ['PRE-11', () => failedOf(withClient({ stock: answering('getAvailability', { stock: [{}] }) }))],
  [
    'PRE-12',
    () =>
      failedUnder(
        'alter table payment disable trigger payment_audit_update',
        'alter table payment enable trigger payment_audit_update',
      ),
  ],
])('%s turns red when what it checks is broken, and no other does', async (id, failed) => {
  expect(await failed()).toEqual([id])
})

test('a check that cannot be made has failed', async () => {
  expect(await failedOf({ ...deployed, metricsUrl: 'http://127.0.0.1:9' })).toEqual(['PRE-3', 'PRE-4', 'PRE-10'])
})
