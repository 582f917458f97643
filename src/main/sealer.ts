// The sealer process: signs what the audit holds, every few seconds, and writes it where no database role reaches. The
// only one with the sealing key. `sealer.ts adopt` goes on after a restore (docs/operations.md).

import { setTimeout as delay } from 'node:timers/promises'
import { adoptRestored, REFUSALS, SealRefused, sealTurn, type SealDeps } from '../audit/seal.ts'
import { openWitness, WitnessError } from '../audit/witness.ts'
import { readSecretFile, type Config } from '../config.ts'
import { findLastCheckpoint, makePartitions, readUnsealed } from '../db/audit/seal.ts'
import { newestMigration } from '../db/migrate.ts'
import { findSchemaVersion, type Database } from '../db/connection/pool.ts'
import { recordDutyResult, holdDuty, releaseDuty } from '../db/duty.ts'
import { NOTHING_SEALED } from '../domain/checkpoint.ts'
import { loadSealer, loadSealerKeys } from '../keyvault/checkpoint.ts'
import { SecretError } from '../keyvault/secret.ts'
import { Counter, Gauge, type Logger, type Registry } from '../telemetry.ts'
import { createHolder } from './holder.ts'
import { runService, type Service } from './process.ts'
import { repeat } from './repeat.ts'

const DUTY = 'audit_seal'
/** Another sealer takes over a dead one's duty after this: well within the unsealed window. */
const LEASE_MS = 6_000
/** Partitions of the audit are made so far ahead, and looked after so often. */
const MONTHS_AHEAD = 2
const PARTITIONS_EVERY_MS = 3_600_000
/** Without a good turn for this long, something is wrong that a person should know of. */
const MAX_TURN_AGE_MS = 15_000

type SealerMetrics = ReturnType<typeof createSealerMetrics>

/** Seals until stopped. */
async function seal(service: Service<'sealer'>, deps: SealDeps, database: Database): Promise<void> {
  const { config, logger, registry, stopping } = service
  const metrics = createSealerMetrics(registry)
  const newest = await newestMigration()
  let workedAtMs = Number.NEGATIVE_INFINITY
  service.readyWhen(
    async () => performance.now() - workedAtMs <= MAX_TURN_AGE_MS && (await findSchemaVersion(database)) >= newest,
  )
  const holder = createHolder()
  logger.info({ keyId: deps.sealer.keyId }, 'sealer started')
  const making = keepPartitions(database, logger, stopping)
  while (!stopping.aborted) {
    try {
      await turn(deps, database, { holder, metrics, onStep: () => service.beat('seal') })
      workedAtMs = performance.now()
    } catch (error) {
      metrics.failed.inc()
      const level = error instanceof SealRefused ? 'error' : 'warn'
      // Not by the next turns either: a turn that another sealer took a moment ago says nothing of this one.
      if (error instanceof SealRefused) workedAtMs = Number.NEGATIVE_INFINITY
      // A refusal's words name checkpoints and nothing else.
      logger[level]({ err: error, refused: error instanceof SealRefused ? error.message : undefined }, 'nothing sealed')
    }
    await delay(config.HOLDFAST_SEAL_EVERY_MS, undefined, { signal: stopping }).catch(() => undefined)
  }
  await making
  // Else the next sealer would begin without a look of its own, and call itself ready meanwhile.
  await releaseDuty(database, DUTY, holder).catch(() => undefined)
}

/** What has no partition of its own is kept in the default one: a month that is late is no harm, and tried again. */
const keepPartitions = (database: Database, logger: Logger, signal: AbortSignal): Promise<void> =>
  repeat(
    () => makePartitions(database, MONTHS_AHEAD),
    PARTITIONS_EVERY_MS,
    signal,
    (error) => logger.warn({ err: error }, 'no partitions made; trying again'),
  )

/** Seals all there is, where the duty is ours. */
async function turn(
  deps: SealDeps,
  database: Database,
  { holder, metrics, onStep }: { holder: string; metrics: SealerMetrics; onStep: () => void },
): Promise<void> {
  onStep()
  if (!(await holdDuty(database, DUTY, holder, LEASE_MS))) return
  let entries = 0
  try {
    const before = (await findLastCheckpoint(database))?.size ?? 0
    for (let sealed = await sealTurn(deps); sealed !== undefined; sealed = await sealTurn(deps)) {
      onStep()
      metrics.checkpoints.inc()
      entries = sealed.size - before
      if (!(await holdDuty(database, DUTY, holder, LEASE_MS))) return
    }
    await recordDutyResult(database, DUTY, holder, true, entries)
    for (const reason of REFUSALS) metrics.refused.set({ reason }, 0)
  } catch (error) {
    if (error instanceof SealRefused) metrics.refused.set({ reason: error.reason }, 1)
    await recordDutyResult(database, DUTY, holder, false, entries).catch(() => undefined)
    throw error
  } finally {
    await measure(database, metrics).catch(() => undefined)
  }
}

async function measure(database: Database, metrics: SealerMetrics): Promise<void> {
  const last = await findLastCheckpoint(database)
  const { entries, oldestS } = await readUnsealed(database, last ?? NOTHING_SEALED)
  metrics.lastCheckpoint.set(last === null ? 0 : Date.parse(last.at) / 1_000)
  metrics.unsealed.set(entries)
  metrics.unsealedAge.set(oldestS)
}

/** Throws SecretError when those who verify would not believe this sealer. */
function readKeys(config: Config<'sealer'>) {
  const [secret, shared] = ['HOLDFAST_SEAL_KEY_FILE', 'HOLDFAST_SEAL_PUBLIC_KEYS_FILE'] as const
  const sealer = loadSealer(secret, readSecretFile(secret, config[secret]), config.HOLDFAST_MODE)
  const keys = loadSealerKeys(shared, readSecretFile(shared, config[shared]))
  if (!keys.has(sealer.keyId)) throw new SecretError(`${shared} lacks the public key of ${secret}`)
  return { sealer, keys }
}

function createSealerMetrics(registry: Registry) {
  const counter = (name: string, help: string) =>
    new Counter({ name: `holdfast_audit_${name}`, help, registers: [registry] })
  const gauge = <Label extends string>(name: string, help: string, ...labelNames: Label[]) =>
    new Gauge({ name: `holdfast_audit_${name}`, help, labelNames, registers: [registry] })
  return {
    checkpoints: counter('checkpoints_total', 'Checkpoints signed.'),
    failed: counter('seal_failed_total', 'Turns that ended without sealing what there was.'),
    lastCheckpoint: gauge('last_checkpoint_timestamp_seconds', 'When the last checkpoint was signed.'),
    unsealed: gauge('unsealed_entries', 'Entries that no checkpoint covers yet.'),
    unsealedAge: gauge('unsealed_age_seconds', 'How long the first of them has waited.'),
    refused: gauge('seal_refused', '1 while sealing on would hide something.', 'reason'),
  }
}

await runService(
  'sealer',
  async (service) => {
    const { config, logger } = service
    const { sealer, keys } = readKeys(config)
    const isAdoption = process.argv[2] === 'adopt'
    if (!isAdoption) await service.listen()
    const witness = await openWitness(config.HOLDFAST_AUDIT_FILE)
    service.onStop(witness.close)
    const database = await service.openDatabase()
    const deps: SealDeps = { database, sealer, keys, witness }
    if (!isAdoption) return seal(service, deps, database)
    const checkpoint = await adoptRestored(deps, config.HOLDFAST_AUDIT_FILE)
    logger.warn({ checkpoint: checkpoint?.no, continues: checkpoint?.continues }, 'a restored database is adopted')
  },
  {
    isToldPlainly: (error): error is Error => error instanceof SealRefused || error instanceof WitnessError,
  },
)
