// The front (the api's gRPC servers) in the test's own process: the real servers, vaults and database, under the api's
// role. Only Temporal is missing, unless a test passes a client.

import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { Writable } from 'node:stream'
import type { ServerCredentials } from '@grpc/grpc-js'
import { Client, Connection } from '@temporalio/client'
import { createAcceptor } from '../../src/db/accept/accept.ts'
import { createAddressLease } from '../../src/db/address.ts'
import type { Blindness } from '../../src/db/chain/sight.ts'
import type { Database } from '../../src/db/connection/pool.ts'
import { createQuotaWindow } from '../../src/db/quota.ts'
import type { Role } from '../../src/domain/access.ts'
import { DomainError } from '../../src/domain/failure.ts'
import { LIMIT_CLASSES, MAX_BUDGET, type Budgets } from '../../src/domain/limit.ts'
import { ASSET_POLICY, type Asset } from '../../src/domain/payment.ts'
import { cachedFor } from '../../src/grpc/cache.ts'
import { createAccounts } from '../../src/grpc/account.ts'
import { createAdminClient, createClient, type HoldfastClient } from '../../src/grpc/client.ts'
import { createCommander } from '../../src/grpc/command.ts'
import { CONNECTION_LIMITS, type ConnectionLimits } from '../../src/grpc/listen.ts'
import { startFront, type Front, type FrontDeps } from '../../src/grpc/server.ts'
import { createOrderWatch } from '../../src/grpc/watch.ts'
import { createCursorSeal } from '../../src/keyvault/cursor.ts'
import { loadTextSigner } from '../../src/keyvault/ed25519.ts'
import { createOrderIds } from '../../src/keyvault/order_id.ts'
import { createPeerHash } from '../../src/keyvault/peer.ts'
import { createQuoteSigner } from '../../src/keyvault/quote.ts'
import { createRequestHash } from '../../src/keyvault/request.ts'
import { loadRing } from '../../src/keyvault/ring.ts'
import { createReportVerifier, loadSources, signReport } from '../../src/keyvault/signature.ts'
import {
  createTokenVerifier,
  loadTokenSecrets,
  signDevelopmentToken,
  type DevelopmentTokenOptions,
} from '../../src/keyvault/token.ts'
import { createCustomerVault } from '../../src/main/customer_vault.ts'
import { createSchemaCheck } from '../../src/main/readiness.ts'
import { isOrderRunning, startOptionsOf } from '../../src/relay/start.ts'
import { createLogger, createRegistry, type Registry } from '../../src/telemetry.ts'
import { openTestDatabase, type TestDatabase } from './database.ts'
import { CALL_WITHIN_MS } from './until.ts'
import { refundSealer } from './refund_seal.ts'

const HOUR_MS = 3_600_000
const TOKEN_LIFETIME_S = 240
/** The discard port: nothing listens there. */
const NO_ENGINE = '127.0.0.1:9'
const POOL_SIZE = 10
const ADDRESS_BLOCK = 64
const FRESH_MS = 500
const NO_LIMIT = { user: MAX_BUDGET, address: MAX_BUDGET, atOnce: MAX_BUDGET }
const WIDE = Object.fromEntries(LIMIT_CLASSES.map((each) => [each, NO_LIMIT])) as Budgets

/** What a caller is told while there is no rate. */
const RATE_BACK_AFTER_MS = 7_000
/** The key pair that test fronts sign payment requests with, PEM. */
export const QUOTE_PAIR = generateKeyPairSync('ed25519', {
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
})

/**
 * The caller of an RPC: a role, and a user id for people or a name for machines; where it counts, how and when they signed
 * in, which is with two factors and now.
 */
export type Caller = { role: Role; subject: string } & Pick<DevelopmentTokenOptions, 'amr' | 'authTimeS'>
export const customer = (userId: number): Caller => ({ role: 'customer', subject: String(userId) })
export const admin: Caller = { role: 'admin', subject: '1' }
export const fulfilment: Caller = { role: 'fulfilment', subject: '2' }
export const auditor: Caller = { role: 'auditor', subject: '3' }
export const watcher: Caller = { role: 'watcher', subject: 'watcher-1' }

/** The refusal that a call must end with. @throws what else it ended with */
export async function failureOf(call: Promise<unknown>): Promise<DomainError> {
  const error = await call.then(
    () => new Error('the call succeeded'),
    (failure: unknown) => failure,
  )
  if (error instanceof DomainError) return error
  throw new Error('no failure of the domain', { cause: error })
}

export type TestFront = {
  database: Database
  registry: Registry
  /** host:port */
  address: string
  adminAddress: string
  /** All log lines written so far. */
  logLines: () => string[]
  tokenOf: (caller: Caller) => Promise<string>
  as: (caller: Caller) => HoldfastClient
  /** A client with this token, whatever it says. */
  with: (token: string) => HoldfastClient
  asAdmin: () => ReturnType<typeof createAdminClient>
  /** Signs a report as the registered source watcher-1. */
  sign: (request: { id: string; timestampS: bigint; report: Buffer }) => string[]
  /** The hash that the audit keeps of a request; with a customer, the one under that customer's key. In hexadecimal. */
  requestHashOf: (method: { path: string }, request: Buffer, userId?: bigint) => Promise<string>
  setRate: (rateMinor: bigint | undefined) => void
  setBlindness: (cause: Blindness | undefined) => void
  stopServing: () => Promise<void>
  stop: () => Promise<void>
}

export type TestFrontOptions = {
  engine?: Client
  windowMs?: number
  /** Time limits for an answer of the database and of Temporal. */
  answerWithinMs?: number
  engineWithinMs?: number
  /** How long a call waits for a session of the database. */
  poolWaitMs?: number
  adminCidrs?: readonly string[]
  trustedProxies?: readonly string[]
  deps?: Partial<FrontDeps>
  /** The rate limits; without them, wide ones that no test reaches. */
  budgets?: Budgets
  connections?: Partial<ConnectionLimits>
  credentials?: ServerCredentials
}

/** A shop in EUR that takes ETH at 2,000.00 within an hour. Its addresses come from the pool: see putAddresses. */
export async function createTestFront(
  test: Pick<TestDatabase, 'urlOf'>,
  options: TestFrontOptions = {},
): Promise<TestFront> {
  const lines: string[] = []
  const destination = new Writable({
    write: (chunk: Buffer, _encoding, done) => (lines.push(chunk.toString()), done()),
  })
  const logger = createLogger({ process: 'api', level: 'debug', destination })
  const registry = createRegistry('api')
  const open = (): Promise<Database> =>
    openTestDatabase({
      url: test.urlOf('app_api'),
      poolSize: POOL_SIZE / 2,
      applicationName: 'test-api',
      forceGenericPlan: true,
      ...(options.answerWithinMs !== undefined && { answerWithinMs: options.answerWithinMs }),
      ...(options.poolWaitMs !== undefined && { poolWaitMs: options.poolWaitMs }),
    })
  const database = await open()
  const priority = await open()
  const secret = randomBytes(32)
  const issuer = { issuer: 'holdfast-test', audience: 'holdfast-test' }
  const tokens = loadTokenSecrets(
    JSON.stringify({ keys: [{ kid: 'test', secret: secret.toString('base64') }] }),
    'development',
  )
  const source = { name: 'watcher-1', algorithm: 'sha256', secrets: [secret.toString('base64')] } as const
  const ring = JSON.stringify({ primary: 1, versions: [{ version: 1, secret: randomBytes(32).toString('base64') }] })
  const lease = createAddressLease({
    database: priority,
    network: 'ethereum',
    asset: 'ETH',
    holder: 'test-api',
    blockSize: ADDRESS_BLOCK,
  })
  const connection =
    options.engine === undefined ? Connection.lazy({ address: NO_ENGINE, interceptors: [] }) : undefined
  const engine = options.engine ?? new Client({ ...(connection !== undefined && { connection }), namespace: 'none' })
  let rate: bigint | undefined = 200_000n
  let blindness: Blindness | undefined

  const hashRequest = createRequestHash(secret)
  const pii =
    options.deps?.pii ?? createCustomerVault({ ring: loadRing('test ring', ring, 'development'), database, priority })
  const front: Front = await startFront(
    {
      database,
      priority,
      logger,
      registry,
      isReady: cachedFor(FRESH_MS, await createSchemaCheck(priority)),
      verifyToken: createTokenVerifier({ secrets: tokens, ...issuer }),
      accounts: createAccounts(priority),
      verifyReport: createReportVerifier({
        sources: loadSources(JSON.stringify({ sources: [source] }), 'development'),
      }),
      acceptor: createAcceptor({ database: priority, giveBack: (_network, address) => lease.giveBack(address) }),
      command: createCommander({
        database,
        client: engine,
        startOptionsOf,
        ...(options.engineWithinMs !== undefined && { engineWithinMs: options.engineWithinMs }),
      }),
      isRunning: (orderId, deadline) => engine.withDeadline(deadline, () => isOrderRunning(engine, orderId)),
      watch: createOrderWatch(database),
      shop: {
        currency: 'EUR',
        windowMs: options.windowMs ?? HOUR_MS,
        offers: new Map<Asset, { network: string; policy: (typeof ASSET_POLICY)[Asset] }>([
          ['ETH', { network: 'ethereum', policy: ASSET_POLICY.ETH }],
        ]),
        rateOf: () => (rate === undefined ? { retryAfterMs: RATE_BACK_AFTER_MS } : { rateMinor: rate }),
        stepUpTotalMinor: 100_000n,
        refundFeeBearer: 'shop',
      },
      findBlindness: async () => blindness,
      leaseAddress: async () => (await lease.take()).address,
      orderIdOf: createOrderIds(secret),
      cursors: createCursorSeal(secret),
      refundSealer,
      quoting: {
        sign: createQuoteSigner(loadTextSigner('quote key', QUOTE_PAIR.privateKey, 'development')),
        chainId: 1,
      },
      peerHashOf: createPeerHash(secret),
      hashRequest,
      pii,
      isBacklogFull: async () => false,
      budgets: options.budgets ?? WIDE,
      takeQuota: createQuotaWindow(priority),
      ...options.deps,
    },
    {
      ...{ bind: '127.0.0.1', port: 0, adminBind: '127.0.0.1', adminPort: 0, drainMs: 0, hasReflection: true },
      adminCidrs: options.adminCidrs ?? ['127.0.0.0/8'],
      trustedProxies: options.trustedProxies ?? [],
      connections: { ...CONNECTION_LIMITS, perAddress: CONNECTION_LIMITS.total, ...options.connections },
      ...(options.credentials !== undefined && { credentials: options.credentials }),
    },
  )

  const clients: { close: () => void }[] = []
  const keep = <C extends { close: () => void }>(client: C): C => (clients.push(client), client)
  const tokenOf = ({ role, ...caller }: Caller): Promise<string> =>
    signDevelopmentToken({ secrets: tokens, ...issuer, roles: [role], ...caller, lifetimeS: TOKEN_LIFETIME_S })
  const address = `127.0.0.1:${front.port}`
  const adminAddress = `127.0.0.1:${front.adminPort}`
  return {
    database,
    registry,
    address,
    adminAddress,
    logLines: () => lines,
    tokenOf,
    as: (caller) => keep(createClient({ address, deadlineMs: CALL_WITHIN_MS, token: () => tokenOf(caller) })),
    with: (token) => keep(createClient({ address, deadlineMs: CALL_WITHIN_MS, token: () => token })),
    asAdmin: () =>
      keep(createAdminClient({ address: adminAddress, deadlineMs: CALL_WITHIN_MS, token: () => tokenOf(admin) })),
    sign: (request) => [signReport({ ...request, secret, algorithm: 'sha256' })],
    requestHashOf: async ({ path }, request, userId) => {
      const hash = userId === undefined ? hashRequest(path, request) : await pii.hashRequest(userId, path, request)
      return hash.toString('hex')
    },
    setBlindness: (cause) => {
      blindness = cause
    },
    setRate: (rateMinor) => {
      rate = rateMinor
    },
    stopServing: front.stop,
    stop: async () => {
      for (const client of clients) client.close()
      await front.stop()
      await connection?.close()
      await database.close()
      await priority.close()
    },
  }
}
