// The api process: parses untrusted input, accepts orders, stores payment reports, answers reads. It has none of the
// worker's rights, and starts and serves while Temporal is down: only commands need Temporal.

import { Client, Connection } from '@temporalio/client'
import { adminCidrsOf, readSecretFile, type Config } from '../config.ts'
import { cidrsOf } from '../config_schema.ts'
import { createAcceptor, type Acceptor } from '../db/accept/accept.ts'
import { createAddressLease, type AddressLease } from '../db/address.ts'
import { saveAssetRates } from '../db/asset_rate.ts'
import { findBlindness } from '../db/chain/sight.ts'
import type { Database } from '../db/connection/pool.ts'
import { createQuotaWindow } from '../db/quota.ts'
import { countStarts } from '../db/read.ts'
import { DomainError } from '../domain/failure.ts'
import { DEFAULT_BUDGETS, parseBudgets } from '../domain/limit.ts'
import { parseFiat } from '../domain/money.ts'
import type { Asset } from '../domain/payment.ts'
import { createAccounts } from '../grpc/account.ts'
import { KEEPALIVE } from '../grpc/client.ts'
import { createCommander } from '../grpc/command.ts'
import { cachedFor } from '../grpc/cache.ts'
import type { Offer } from '../grpc/order.ts'
import { startFront, type FrontDeps } from '../grpc/server.ts'
import { createOrderWatch } from '../grpc/watch.ts'
import { createCursorSeal } from '../keyvault/cursor.ts'
import { loadTextSigner } from '../keyvault/ed25519.ts'
import { createOrderIds } from '../keyvault/order_id.ts'
import { createPeerHash } from '../keyvault/peer.ts'
import { createQuoteSigner } from '../keyvault/quote.ts'
import { createRefundSealer } from '../keyvault/refund_seal.ts'
import { createRequestHash } from '../keyvault/request.ts'
import { loadRing } from '../keyvault/ring.ts'
import { parseSecret } from '../keyvault/secret.ts'
import { createReportVerifier, loadSources } from '../keyvault/signature.ts'
import { createTokenVerifier } from '../keyvault/token.ts'
import { isOrderRunning, startOptionsOf } from '../relay/start.ts'
import { repeat } from '../repeat.ts'
import { Gauge, type Registry } from '../telemetry.ts'
import { assetPolicyOf, chainIdOf, enabledAssetsOf, networkOf } from './asset.ts'
import { createCustomerVault } from './customer_vault.ts'
import { registerSessionGauge } from './database_metrics.ts'
import { createLeaseHolder } from './lease_holder.ts'
import { openPayPages, servePayPages, type PayPages } from './pay.ts'
import { aborted, nameTakenPort, runService, STOP_WITHIN_MS, type ServiceContext } from './process.ts'
import { createRates } from './rate.ts'
import { createSchemaCheck } from './readiness.ts'
import { readTemporalTls, temporalOptions } from './temporal_connection.ts'
import { openTls } from './tls.ts'
import { createTokenKeys, readClientSans } from './token_keys.ts'

const FRESH_MS = 500
/** Two batches of new orders, the shared limits, and whatever is read once for all callers. */
const PRIORITY_SHARE = 0.5
/** Well below the age at which a price is unknown. */
const PUBLISH_RATES_EVERY_MS = 60_000
/** A watcher reads its chain each second; after a kill it is back sooner than this. */
const WATCHER_SILENCE_MS = 60_000

async function main(service: ServiceContext<'api'>): Promise<void> {
  const { config, logger, registry } = service
  const secrets = readSecrets(service)
  const payPages = openPayPages(config)
  const tls = await openTls(service)
  await service.listen()
  const sessions = sharesOf(config.DATABASE_POOL)
  const database = await service.openDatabase({ forceGenericPlan: true, poolSize: sessions.callers })
  const priority = await service.openDatabase({ forceGenericPlan: true, poolSize: sessions.priority })
  const temporalTls = await readTemporalTls(config, config.TEMPORAL_ADDRESS)
  const connection = Connection.lazy(temporalOptions(config.TEMPORAL_ADDRESS, KEEPALIVE, temporalTls))
  service.onStop(() => connection.close())
  const client = new Client({ connection, namespace: config.TEMPORAL_NAMESPACE })
  const isReady = cachedFor(FRESH_MS, await createSchemaCheck(priority))
  const ports = { HOLDFAST_GRPC_PORT: config.HOLDFAST_GRPC_PORT, HOLDFAST_ADMIN_PORT: config.HOLDFAST_ADMIN_PORT }
  const rates = createRates(service, priority)
  const deps = createDeps({
    config,
    secrets,
    rateOf: rates.rateOf,
    logger,
    registry,
    database,
    priority,
    client,
    isReady,
    payPages,
  })
  const front = await startFront(deps, {
    bind: config.HOLDFAST_BIND,
    adminBind: config.HOLDFAST_ADMIN_BIND,
    adminCidrs: adminCidrsOf(config),
    trustedProxies: cidrsOf(config.HOLDFAST_TRUSTED_PROXIES),
    port: ports.HOLDFAST_GRPC_PORT,
    adminPort: ports.HOLDFAST_ADMIN_PORT,
    drainMs: config.HOLDFAST_DRAIN_MS,
    ...(tls !== undefined && { credentials: tls.credentials }),
    hasReflection: hasReflection(config),
  }).catch(nameTakenPort(ports))
  service.onStop(front.stop)
  if (payPages !== undefined) await servePayPages(service, payPages, database, tls)
  const refreshing = rates.run()
  service.readyWhen(isReady)
  publishRates(service, priority, deps.shop)
  logger.info({ port: front.port, adminPort: front.adminPort, quoteKeyId: secrets.quoteKey.keyId }, 'api serves')
  await Promise.all([aborted(service.stopping), refreshing])
}

/** Repeats the price of each coin on offer. One without a price gets old, and late money is then not accepted at it. */
function publishRates({ logger, stopping }: ServiceContext<'api'>, database: Database, shop: FrontDeps['shop']): void {
  const publish = async (): Promise<void> => {
    const rates = [...shop.offers.keys()].flatMap((asset) => {
      const rate = shop.rateOf(asset)
      return 'rateMinor' in rate ? [{ asset, rateMinor: rate.rateMinor }] : []
    })
    await saveAssetRates(database, shop.currency, rates)
  }
  const onError = (error: unknown): void => logger.warn({ err: error }, 'prices of coins not published')
  void repeat(publish, { signal: stopping, everyMs: PUBLISH_RATES_EVERY_MS, onError })
}

/** In production only where it is asked for by the value that says so: see findUnsafeSettings. */
const hasReflection = ({ HOLDFAST_REFLECTION: setting, HOLDFAST_MODE: mode }: Config<'api'>): boolean =>
  setting === undefined ? mode === 'development' : setting !== 'off'

type Parts = Pick<FrontDeps, 'logger' | 'registry' | 'database' | 'isReady'> & {
  config: Config<'api'>
  /** The sessions of probes and money: no list, however many there are, can take them. */
  priority: Database
  secrets: ReturnType<typeof readSecrets>
  rateOf: FrontDeps['shop']['rateOf']
  client: Client
  payPages: PayPages | undefined
}

function createDeps({ config, secrets, client, rateOf, payPages, ...parts }: Parts): FrontDeps {
  const { database, priority } = parts
  const offers = offersOf(config)
  const leases = leasesOf(config, priority, offers)
  const acceptor = createAcceptor({
    database: priority,
    giveBack: (network, address) => leases.get(network)?.giveBack(address),
  })
  const limit = config.HOLDFAST_START_BACKLOG_LIMIT
  registerSessionGauge(parts.registry, database, priority)
  registerGauges(parts.registry, acceptor, leases)
  return {
    ...parts,
    ...(secrets.clientSans !== undefined && { clientSans: secrets.clientSans }),
    ...(payPages !== undefined && { payUrlOf: payPages.urlOf }),
    verifyToken: createTokenVerifier({
      ...secrets.tokenKeys,
      issuer: config.HOLDFAST_JWT_ISSUER,
      audience: config.HOLDFAST_JWT_AUDIENCE,
    }),
    accounts: createAccounts(priority),
    verifyReport: createReportVerifier({ sources: secrets.sources }),
    // Configuration that cannot be parsed has refused the start.
    budgets: parseBudgets(config.HOLDFAST_LIMITS) ?? DEFAULT_BUDGETS,
    takeQuota: createQuotaWindow(priority),
    reportBudgetOf: (source) => secrets.sources.get(source)?.reportsPerMinute,
    acceptor,
    command: createCommander({ database, client, startOptionsOf }),
    isRunning: (orderId, deadline) => client.withDeadline(deadline, () => isOrderRunning(client, orderId)),
    watch: createOrderWatch(database),
    shop: {
      currency: config.HOLDFAST_CURRENCY,
      windowMs: config.HOLDFAST_PAYMENT_WINDOW_MS,
      offers,
      rateOf,
      stepUpTotalMinor: parseFiat(config.HOLDFAST_STEP_UP_TOTAL) ?? 0n,
      refundFeeBearer: config.HOLDFAST_REFUND_FEE_BEARER,
    },
    findBlindness: sightOf(priority, offers),
    leaseAddress: (network) => takeAddress(leases, network),
    orderIdOf: createOrderIds(secrets.orderId),
    cursors: createCursorSeal(secrets.orderId),
    refundSealer: createRefundSealer(secrets.refundKey),
    quoting: { sign: createQuoteSigner(secrets.quoteKey), chainId: chainIdOf(config) },
    peerHashOf: createPeerHash(secrets.orderId),
    hashRequest: createRequestHash(secrets.orderId),
    pii: createCustomerVault({ ring: secrets.pii, database, priority }),
    isBacklogFull: cachedFor(FRESH_MS, async () => (await countStarts(priority, limit)) >= limit),
  }
}

/** The sessions of DATABASE_POOL: for what callers read and change, and for probes, new orders and reports. */
function sharesOf(pool: number): { callers: number; priority: number } {
  const priority = Math.max(1, Math.round(pool * PRIORITY_SHARE))
  return { callers: Math.max(1, pool - priority), priority }
}

type SecretVariable = `HOLDFAST_${'SOURCES' | 'PII_KEYRING' | 'ORDER_ID_SECRET' | 'QUOTE_KEY' | 'REFUND_KEY'}_FILE`

function readSecrets({ config, logger, registry }: Pick<ServiceContext<'api'>, 'config' | 'logger' | 'registry'>) {
  const mode = config.HOLDFAST_MODE
  const read = (variable: SecretVariable): string => readSecretFile(variable, config[variable])
  return {
    tokenKeys: createTokenKeys(config, logger, registry),
    clientSans: readClientSans(config),
    sources: loadSources(read('HOLDFAST_SOURCES_FILE'), mode),
    pii: loadRing('HOLDFAST_PII_KEYRING_FILE', read('HOLDFAST_PII_KEYRING_FILE'), mode),
    quoteKey: loadTextSigner('HOLDFAST_QUOTE_KEY_FILE', read('HOLDFAST_QUOTE_KEY_FILE'), mode),
    refundKey: loadTextSigner('HOLDFAST_REFUND_KEY_FILE', read('HOLDFAST_REFUND_KEY_FILE'), mode),
    orderId: parseSecret('HOLDFAST_ORDER_ID_SECRET_FILE', read('HOLDFAST_ORDER_ID_SECRET_FILE'), mode),
  }
}

const offersOf = (config: Config<'api'>): ReadonlyMap<Asset, Offer> =>
  new Map(
    enabledAssetsOf(config.HOLDFAST_ENABLED_ASSETS).map((asset) => [
      asset,
      { network: networkOf(config, asset), policy: assetPolicyOf(config, asset) },
    ]),
  )

/** The circuit breaker of each asset on offer: open while its chain cannot be seen. */
function sightOf(database: Database, offers: ReadonlyMap<Asset, Offer>): FrontDeps['findBlindness'] {
  const looks = new Map(
    [...offers].map(([asset, { network, policy }]) => {
      const limits = { silenceMs: WATCHER_SILENCE_MS, lagMs: policy.maxLagMs }
      return [asset, cachedFor(FRESH_MS, () => findBlindness(database, network, limits))] as const
    }),
  )
  return async (asset) => looks.get(asset)?.()
}

/** One block of addresses per network. */
function leasesOf(
  config: Config<'api'>,
  database: Database,
  offers: ReadonlyMap<Asset, Offer>,
): ReadonlyMap<string, AddressLease> {
  const holder = `api:${createLeaseHolder()}`
  const blockSize = config.HOLDFAST_ADDRESS_BLOCK
  return new Map(
    [...offers].map(([asset, { network }]) => [
      network,
      createAddressLease({ database, network, asset, holder, blockSize }),
    ]),
  )
}

async function takeAddress(leases: ReadonlyMap<string, AddressLease>, network: string): Promise<string> {
  const lease = leases.get(network)
  if (lease === undefined) throw new DomainError('INTERNAL', `no addresses are leased for ${network}`)
  return (await lease.take()).address
}

function registerGauges(registry: Registry, acceptor: Acceptor, leases: ReadonlyMap<string, AddressLease>): void {
  const gauge = (name: string, help: string, labelNames: string[], collect: (this: Gauge) => void): void =>
    registry.registerMetric(new Gauge({ name: `holdfast_${name}`, help, labelNames, registers: [], collect }))
  gauge('accept_queue', 'Orders that wait to be decided.', [], function () {
    this.set(acceptor.queued())
  })
  gauge('leased_addresses', 'Unused payment addresses in memory.', ['network'], function () {
    for (const [network, lease] of leases) this.set({ network }, lease.size())
  })
}

await runService('api', main, {
  stopWithinMs: ({ HOLDFAST_DRAIN_MS: drainMs }) => drainMs + STOP_WITHIN_MS,
})
