// The keys process: keeps the pools of payment addresses full and reseals the keys of closed orders. The only process
// that holds the `key` ring and may read an envelope; it listens on the operators' port alone.

import { ConfigError, readSecretFile, type Config } from '../config.ts'
import { countFreeAddresses } from '../db/address.ts'
import { readRetireBacklog } from '../db/key.ts'
import type { Database } from '../db/connection/pool.ts'
import { systemActor } from '../domain/audit.ts'
import type { Asset } from '../domain/payment.ts'
import { ADDRESS_MAKERS } from '../keyvault/address.ts'
import { BATCH_KEYS, createCustody, type Custody } from '../keyvault/custody.ts'
import { assertRingFits, createEpochBook } from '../keyvault/epoch.ts'
import { loadRing, type Ring } from '../keyvault/ring.ts'
import { SecretError } from '../keyvault/secret.ts'
import { repeat } from '../repeat.ts'
import { Counter, Gauge, type Registry } from '../telemetry.ts'
import { enabledAssetsOf, networkOf } from './asset.ts'
import { runService, type ServiceContext } from './process.ts'
import { createTurnCheck } from './readiness.ts'

/** Between turns that did not fill a batch: a batch of many keys costs hardly more than a batch of one. */
const IDLE_MS = 1_000
/** Resealing is not urgent, but must happen within a minute of the order's end. */
const RETIRE_EVERY_MS = 5_000

type Pool = { network: string; asset: Asset }
type KeysMetrics = ReturnType<typeof createKeysMetrics>

function readRing(config: Config<'keys'>): Ring {
  const variable = 'HOLDFAST_KEY_KEYRING_FILE'
  return loadRing(variable, readSecretFile(variable, config[variable]), config.HOLDFAST_MODE)
}

/** @throws {ConfigError} for an asset without an address format */
function poolsOf(config: Config<'keys'>): readonly Pool[] {
  const assets = enabledAssetsOf(config.HOLDFAST_ENABLED_ASSETS)
  const unmade = assets.filter((asset) => ADDRESS_MAKERS[asset] === undefined)
  if (unmade.length > 0)
    throw new ConfigError(`HOLDFAST_ENABLED_ASSETS: addresses of ${unmade.join(', ')} are not supported yet`)
  return assets.map((asset) => ({ asset, network: networkOf(config, asset) }))
}

type FillOptions = {
  database: Database
  custody: Custody
  pools: readonly Pool[]
  target: number
  metrics: KeysMetrics
}

/** Makes at most one batch per pool, so that no pool waits for another. @returns how many addresses were made */
async function fillPools({ database, custody, pools, target, metrics }: FillOptions): Promise<number> {
  let total = 0
  for (const { network, asset } of pools) {
    const free = await countFreeAddresses(database, network, asset)
    const made = free < target ? await custody.makeAddresses(network, asset, target - free) : 0
    metrics.free.set({ network, asset }, free + made)
    metrics.made.inc({ asset }, made)
    total += made
  }
  return total
}

type RetireOptions = { database: Database; custody: Custody; metrics: KeysMetrics }

async function retireKeys({ database, custody, metrics }: RetireOptions): Promise<number> {
  const { done, failed } = await custody.retireKeys()
  metrics.retired.inc(done.length)
  metrics.retireFailed.inc(failed.length)
  const { waiting, oldestS } = await readRetireBacklog(database)
  metrics.backlog.set(waiting)
  metrics.backlogAge.set(oldestS)
  return done.length
}

function createKeysMetrics(registry: Registry) {
  const counter = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    new Counter({ name: `holdfast_${name}`, help, labelNames, registers: [registry] })
  const gauge = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    new Gauge({ name: `holdfast_${name}`, help, labelNames, registers: [registry] })
  return {
    free: gauge('address_pool_free', 'Addresses that no process has leased.', 'network', 'asset'),
    made: counter('keys_made_total', 'Payment keys made and sealed.', 'asset'),
    epochs: counter('key_epochs_total', 'Epochs begun, each one run of PBKDF2.'),
    retired: counter('keys_retired_total', 'Keys of closed orders resealed.'),
    retireFailed: counter(
      'keys_retire_failed_total',
      'Times that a stored key did not open or was refused: an operator must look.',
    ),
    backlog: gauge('key_retire_backlog', 'Closed orders whose key is still to be resealed.'),
    backlogAge: gauge('key_retire_backlog_age_seconds', 'How long the oldest of them has waited.'),
  }
}

/** An invalid ring ends the process; every other failure passes. */
const isTransient = (error: unknown): boolean => !(error instanceof SecretError)

async function main(service: ServiceContext<'keys'>): Promise<void> {
  const { config, logger, registry, stopping } = service
  const metrics = createKeysMetrics(registry)
  const ring = readRing(config)
  const pools = poolsOf(config)
  const target = config.HOLDFAST_POOL_TARGET
  await service.listen()
  const database = await service.openDatabase({ actor: systemActor('keys') })
  const epochs = createEpochBook({
    database,
    ring,
    keysPerDerivation: config.HOLDFAST_KEYS_PER_DERIVATION,
    iterations: config.HOLDFAST_PBKDF2_ITERATIONS,
    onEpoch: () => metrics.epochs.inc(),
  })
  service.onStop(async () => epochs.close())
  const custody = createCustody({
    database,
    epochs,
    onFailed: (orderId, reason) => logger.error({ orderId, reason }, 'payment key not resealed'),
  })
  const check = await createTurnCheck(database)
  service.readyWhen(check.isReady)
  await service.insist('comparing the key ring', () => assertRingFits(ring, database), isTransient)
  logger.info({ pools, target }, 'keys ready')

  let retireAtMs = 0
  const turn = async (): Promise<{ isFull: boolean }> => {
    const made = await fillPools({ database, custody, pools, target, metrics })
    const isTime = performance.now() >= retireAtMs
    const retired = isTime ? await retireKeys({ database, custody, metrics }) : 0
    check.noteGoodTurn()
    if (isTime && retired < BATCH_KEYS) retireAtMs = performance.now() + RETIRE_EVERY_MS
    return { isFull: Math.max(made, retired) >= BATCH_KEYS }
  }
  await repeat(turn, {
    signal: stopping,
    everyMs: IDLE_MS,
    waitMs: ({ isFull }) => (isFull ? 0 : IDLE_MS),
    onTurn: () => service.beat('keys'),
    onError: (error) => {
      if (!isTransient(error)) throw error
      logger.warn({ err: error }, 'turn failed; trying again')
    },
  })
}

await runService('keys', main)
