// The sealer process: signs the audit's new entries every few seconds, and writes the checkpoints to a file that no
// database role can reach. The only process with the sealing key. `sealer.ts adopt` continues after a restore
// (docs/operations.md).

import { adoptRestored, REFUSALS, SealRefused, sealTurn, type SealDeps } from '../audit/seal.ts'
import { openWitness, WitnessError } from '../audit/witness.ts'
import { readSecretFile, type Config } from '../config.ts'
import { findLastCheckpoint, makePartitions, readUnsealed } from '../db/audit/seal.ts'
import type { Database } from '../db/connection/pool.ts'
import { releaseDuty, runDuty, type DutyTurn } from '../db/duty.ts'
import { NOTHING_SEALED } from '../domain/checkpoint.ts'
import { loadSealer, loadSealerKeys } from '../keyvault/checkpoint.ts'
import { SecretError } from '../keyvault/secret.ts'
import { repeat } from '../repeat.ts'
import { Counter, Gauge, type Logger, type Registry } from '../telemetry.ts'
import { createLeaseHolder } from './lease_holder.ts'
import { runService, type ServiceContext } from './process.ts'
import { createTurnCheck } from './readiness.ts'

const DUTY = 'audit_seal'
/** Another sealer takes over the duty of a dead one after this: well within the unsealed window. */
const LEASE_MS = 6_000
/** How far ahead audit partitions are made, and how often. */
const MONTHS_AHEAD = 2
const PARTITIONS_EVERY_MS = 3_600_000

type SealerMetrics = ReturnType<typeof createSealerMetrics>

/** Seals until stopped. */
async function seal(service: ServiceContext<'sealer'>, deps: SealDeps, database: Database): Promise<void> {
  const { config, logger, registry, stopping } = service
  const metrics = createSealerMetrics(registry)
  const check = await createTurnCheck(database)
  service.readyWhen(check.isReady)
  const holder = createLeaseHolder()
  logger.info({ keyId: deps.sealer.keyId }, 'sealer started')
  const making = keepPartitions(database, logger, stopping)
  const takeTurn = async (): Promise<void> => {
    await turn(deps, database, { holder, metrics, onStep: () => service.beat('seal') })
    check.noteGoodTurn()
  }
  await repeat(takeTurn, {
    signal: stopping,
    everyMs: config.HOLDFAST_SEAL_EVERY_MS,
    onError: (error) => {
      const isRefused = error instanceof SealRefused
      metrics.failed.inc()
      // The last good turn may only have found another sealer at work: it says nothing about this refusal.
      if (isRefused) check.forgetGoodTurn()
      // The text of a refusal names checkpoints and nothing else.
      const refused = isRefused ? error.message : undefined
      logger[isRefused ? 'error' : 'warn']({ err: error, refused }, 'nothing sealed')
    },
  })
  await making
  // Otherwise the next sealer would count turns of this one's lease as good, and be ready without a look of its own.
  await releaseDuty(database, DUTY, holder).catch(() => undefined)
}

/** Entries without a partition of their own go to the default one: a month that is late does no harm. */
const keepPartitions = (database: Database, logger: Logger, signal: AbortSignal): Promise<void> =>
  repeat(() => makePartitions(database, MONTHS_AHEAD), {
    signal,
    everyMs: PARTITIONS_EVERY_MS,
    onError: (error) => logger.warn({ err: error }, 'no partitions made; trying again'),
  })

type TurnDeps = { holder: string; metrics: SealerMetrics; onStep: () => void }

/** Seals all unsealed entries, while this process holds the duty's lease. */
async function turn(deps: SealDeps, database: Database, { holder, metrics, onStep }: TurnDeps): Promise<void> {
  onStep()
  await runDuty(database, { duty: DUTY, holder, leaseMs: LEASE_MS }, async (duty) => {
    try {
      await sealAll(deps, database, duty, { metrics, onStep })
    } finally {
      await measure(database, metrics).catch(() => undefined)
    }
  })
}

async function sealAll(
  deps: SealDeps,
  database: Database,
  duty: DutyTurn,
  { metrics, onStep }: Omit<TurnDeps, 'holder'>,
): Promise<void> {
  const before = (await findLastCheckpoint(database))?.size ?? 0
  try {
    for (let sealed = await sealTurn(deps); sealed !== undefined; sealed = await sealTurn(deps)) {
      onStep()
      metrics.checkpoints.inc()
      duty.items = sealed.size - before
      if (!(await duty.renew())) return
    }
    for (const reason of REFUSALS) metrics.refused.set({ reason }, 0)
  } catch (error) {
    if (error instanceof SealRefused) metrics.refused.set({ reason: error.reason }, 1)
    throw error
  }
}

async function measure(database: Database, metrics: SealerMetrics): Promise<void> {
  const last = await findLastCheckpoint(database)
  const { entries, oldestS } = await readUnsealed(database, last ?? NOTHING_SEALED)
  metrics.lastCheckpoint.set(last === null ? 0 : Date.parse(last.at) / 1_000)
  metrics.unsealed.set(entries)
  metrics.unsealedAge.set(oldestS)
}

/** @throws {SecretError} when the public keys lack this sealer's: verification would reject its checkpoints */
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
    failed: counter('seal_failed_total', 'Turns that failed to seal new entries.'),
    lastCheckpoint: gauge('last_checkpoint_timestamp_seconds', 'When the last checkpoint was signed.'),
    unsealed: gauge('unsealed_entries', 'Entries that no checkpoint covers yet.'),
    unsealedAge: gauge('unsealed_age_seconds', 'How long the oldest of them has waited.'),
    refused: gauge('seal_refused', '1 while the sealer refuses to sign, by reason.', 'reason'),
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
    logger.warn({ checkpoint: checkpoint?.no, continues: checkpoint?.continues }, 'restored database adopted')
  },
  {
    isPlain: (error): error is Error => error instanceof SealRefused || error instanceof WitnessError,
  },
)
