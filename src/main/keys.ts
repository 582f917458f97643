// The keys process: keeps the pools of payment addresses full and seals the keys of closed orders anew. The only one
// that holds the `key` ring and may read an envelope; it listens to nobody but its operators.

import { setTimeout as delay } from 'node:timers/promises'
import { ConfigError, enabledAssetsOf, networkOf, readSecretFile, type Config } from '../config.ts'
import { countFreeAddresses } from '../db/address.ts'
import { readRetireBacklog } from '../db/key.ts'
import { newestMigration } from '../db/migrate.ts'
import { findSchemaVersion, type Database } from '../db/connection/pool.ts'
import { systemActor } from '../domain/audit.ts'
import type { Asset } from '../domain/payment.ts'
import { ADDRESS_MAKERS } from '../keyvault/address.ts'
import { BATCH_KEYS, createCustody, type Custody } from '../keyvault/custody.ts'
import { assertRingFits, createEpochBook } from '../keyvault/epoch.ts'
import { loadRing, type Ring } from '../keyvault/ring.ts'
import { SecretError } from '../keyvault/secret.ts'
import { Counter, Gauge, type Logger, type Registry } from '../telemetry.ts'
import { runService } from './process.ts'

/** Between turns that did not fill a batch: a batch of many costs hardly more than a batch of one. */
const IDLE_MS = 1_000
/** Nobody waits for a key to be sealed anew; it must be within a minute of its order's end. */
const RETIRE_EVERY_MS = 5_000
const RETRY_MS = 1_000
/** Without a good turn for this long, something is wrong that a person should know of. */
const MAX_TURN_AGE_MS = 15_000

type Pool = { network: string; asset: Asset }
type KeysMetrics = ReturnType<typeof createKeysMetrics>

/** Takes turns until one is done or the process is told to stop. A wrong ring ends the process; all else passes. */
async function untilStopped(
  { signal, logger, onTurn }: { signal: AbortSignal; logger: Logger; onTurn: () => void },
  turn: () => Promise<'busy' | 'idle' | 'done'>,
): Promise<void> {
  const pause = (ms: number): Promise<void> => delay(ms, undefined, { signal }).catch(() => undefined)
  while (!signal.aborted) {
    onTurn()
    try {
      const result = await turn()
      if (result === 'done') return
      if (result === 'idle') await pause(IDLE_MS)
    } catch (error) {
      if (error instanceof SecretError) throw error
      logger.warn({ err: error }, 'turn failed; trying again')
      await pause(RETRY_MS)
    }
  }
}

function readRing(config: Config<'keys'>): Ring {
  const variable = 'HOLDFAST_KEY_KEYRING_FILE'
  return loadRing(variable, readSecretFile(variable, config[variable]), config.HOLDFAST_MODE)
}

/** Throws ConfigError for an asset that no address can be made of. */
function poolsOf(config: Config<'keys'>): readonly Pool[] {
  const assets = enabledAssetsOf(config.HOLDFAST_ENABLED_ASSETS)
  const unmade = assets.filter((asset) => ADDRESS_MAKERS[asset] === undefined)
  if (unmade.length > 0) throw new ConfigError(`HOLDFAST_ENABLED_ASSETS: no addresses of ${unmade.join(', ')} yet`)
  return assets.map((asset) => ({ asset, network: networkOf(config, asset) }))
}

type FillOptions = {
  database: Database
  custody: Custody
  pools: readonly Pool[]
  target: number
  metrics: KeysMetrics
}

/** At most one batch per pool, so that none waits for another to be full. Returns how many addresses were made. */
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
    retired: counter('keys_retired_total', 'Keys of closed orders sealed anew.'),
    retireFailed: counter(
      'keys_retire_failed_total',
      'Times that a stored key did not open or was refused: a person must look.',
    ),
    backlog: gauge('key_retire_backlog', 'Closed orders whose key is still to be sealed anew.'),
    backlogAge: gauge('key_retire_backlog_age_seconds', 'How long the first of them has waited.'),
  }
}

await runService('keys', async (service) => {
  const { config, logger, registry, stopping, beat } = service
  const metrics = createKeysMetrics(registry)
  const ring = readRing(config)
  const pools = poolsOf(config)
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
    onFailed: (orderId, reason) => logger.error({ orderId, reason }, 'payment key not sealed anew'),
  })
  const newest = await newestMigration()
  let workedAtMs = Number.NEGATIVE_INFINITY
  service.readyWhen(
    async () => performance.now() - workedAtMs <= MAX_TURN_AGE_MS && (await findSchemaVersion(database)) >= newest,
  )
  const rounds = { signal: stopping, logger, onTurn: () => beat('keys') }

  await untilStopped(rounds, async () => {
    await assertRingFits(ring, database)
    logger.info({ pools, target: config.HOLDFAST_POOL_TARGET }, 'keys ready')
    return 'done'
  })
  let retireAtMs = 0
  await untilStopped(rounds, async () => {
    const made = await fillPools({ database, custody, pools, target: config.HOLDFAST_POOL_TARGET, metrics })
    const isTime = performance.now() >= retireAtMs
    const retired = isTime ? await retireKeys({ database, custody, metrics }) : 0
    workedAtMs = performance.now()
    if (isTime && retired < BATCH_KEYS) retireAtMs = workedAtMs + RETIRE_EVERY_MS
    return Math.max(made, retired) < BATCH_KEYS ? 'idle' : 'busy'
  })
})
