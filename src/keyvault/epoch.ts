// Manages the current key epoch and the KEKs of earlier ones. For one caller at a time: the keys process works in
// turns.

import { createHmac, randomBytes, randomUUID } from 'node:crypto'
import { findMasterKeys, getEpoch, insertEpoch, type Epoch } from '../db/key.ts'
import type { Database } from '../db/connection/pool.ts'
import { createExpiringCache } from './cache.ts'
import { deriveEpochKek, SALT_BYTES } from './envelope.ts'
import type { Ring } from './ring.ts'
import { contextOf } from './seal.ts'
import { SecretError } from './secret.ts'

/** The database rejects an epoch older than one hour; the margin is for the running statement. */
const MAX_EPOCH_AGE_MS = 55 * 60_000
const KEPT_KEKS = 32
const KEK_LIFE_MS = 5 * 60_000

export type OpenEpoch = { epoch: Epoch; kek: Buffer; /** Keys it may still seal: at least one. */ room: number }

export type EpochBook = {
  /** The epoch to seal under; a new one starts when the last is full or an hour old. */
  current: () => Promise<OpenEpoch>
  /** Counts keys sealed under the current epoch. */
  use: (keys: number) => void
  /** The KEK of any epoch, to be used in the same turn. */
  kekOf: (epochId: string) => Promise<Buffer>
  /** Starts a new epoch next time: after a failure, the number of keys sealed under the last one is unknown. */
  leave: () => void
  /** Ends the current epoch and fills every KEK with zeros. */
  close: () => void
}

export type EpochBookOptions = {
  database: Database
  ring: Ring
  keysPerDerivation: number
  iterations: number
  /** Called for each new epoch. */
  onEpoch?: () => void
}

export function createEpochBook(options: EpochBookOptions): EpochBook {
  const { database, ring, keysPerDerivation, iterations } = options
  let open: (OpenEpoch & { endsAtMs: number }) | undefined
  const keks = createExpiringCache<Buffer>({
    capacity: KEPT_KEKS,
    now: () => performance.now(),
    onEvict: (kek) => void kek.fill(0),
  })

  const leave = (): void => {
    open?.kek.fill(0)
    open = undefined
  }

  const begin = async (): Promise<OpenEpoch & { endsAtMs: number }> => {
    const masterVersion = ring.primary
    const epoch = { epochId: randomUUID(), masterVersion, salt: randomBytes(SALT_BYTES), iterations }
    const endsAtMs = performance.now() + MAX_EPOCH_AGE_MS
    const fingerprint = fingerprintOf(ring, masterVersion)
    await insertEpoch(database, { epoch, fingerprint, keyLimit: keysPerDerivation })
    options.onEpoch?.()
    return { epoch, kek: await deriveEpochKek(ring, epoch), room: keysPerDerivation, endsAtMs }
  }

  return {
    current: async () => {
      if (open !== undefined && (open.room < 1 || open.endsAtMs <= performance.now())) leave()
      return (open ??= await begin())
    },
    use: (keys) => {
      if (open !== undefined) open.room -= keys
    },
    kekOf: async (epochId) => {
      const known = keks.find(epochId)
      if (known !== undefined) return known
      const kek = await deriveEpochKek(ring, await getEpoch(database, epochId))
      keks.put(epochId, kek, performance.now() + KEK_LIFE_MS)
      return kek
    },
    leave,
    close: () => {
      leave()
      keks.clear()
    },
  }
}

/** Throws SecretError if a version that sealed something is missing from the ring or has another secret there. */
export async function assertRingFits(ring: Ring, database: Database): Promise<void> {
  for (const { version, fingerprint } of await findMasterKeys(database)) {
    if (!fingerprintOf(ring, version).equals(fingerprint))
      throw new SecretError(`version ${version} of the key ring is not the one that sealed the stored keys`)
  }
}

/** Distinguishes versions without revealing anything about a secret of 256 random bits. */
const fingerprintOf = (ring: Ring, version: number): Buffer =>
  createHmac('sha256', ring.secretOf(version))
    .update(contextOf(['holdfast master key', version]))
    .digest()
