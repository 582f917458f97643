// The work of the keys process: creates addresses ahead of need with sealed private keys, and reseals the keys of
// closed orders (requirements D-10, D-11). A private key is in memory for one synchronous turn only, in one Buffer.

import { randomUUID } from 'node:crypto'
import {
  deferRetirements,
  findDueRetirements,
  insertKeys,
  renewKeysApart,
  type PaymentKey,
  type Retirement,
} from '../db/key.ts'
import type { Database } from '../db/connection/pool.ts'
import type { Asset } from '../domain/payment.ts'
import { ADDRESS_MAKERS, type AddressMaker } from './address.ts'
import { openKey, sealKey } from './envelope.ts'
import type { EpochBook, OpenEpoch } from './epoch.ts'
import { SealError } from './seal.ts'

/**
 * Keys created or resealed in one turn: few, so that the first addresses are available at once and the event loop never
 * stalls.
 */
export const BATCH_KEYS = 32

export type Custody = {
  /** Creates at most a batch of `wanted` addresses and adds them to the pool. Returns how many. */
  makeAddresses: (network: string, asset: Asset, wanted: number) => Promise<number>
  /** Reseals at most a batch of closed orders' keys. `failed` are deferred. */
  retireKeys: () => Promise<{ done: readonly string[]; failed: readonly string[] }>
}

export type CustodyOptions = {
  database: Database
  epochs: EpochBook
  /** Called for each deferred key: its envelope cannot be decrypted, or the database rejected its new one. */
  onFailed?: (orderId: string, reason: string) => void
}

export function createCustody({ database, epochs, onFailed = () => undefined }: CustodyOptions): Custody {
  /** After any failure the next turn starts a new epoch, since the number of keys sealed under this one is unknown. */
  const underEpoch = async <T>(work: (current: OpenEpoch) => Promise<T>): Promise<T> => {
    try {
      return await work(await epochs.current())
    } catch (error) {
      epochs.leave()
      throw error
    }
  }

  return {
    makeAddresses: (network, asset, wanted) =>
      underEpoch(async (current) => {
        const maker = makerOf(asset)
        const count = Math.min(wanted, BATCH_KEYS, current.room)
        epochs.use(count)
        const keys = Array.from({ length: count }, () => makeKey(maker, network, asset, current))
        await insertKeys(database, current.epoch.epochId, keys)
        return count
      }),

    retireKeys: async () => {
      const due = await findDueRetirements(database, BATCH_KEYS)
      if (due.length === 0) return { done: [], failed: [] }
      return underEpoch(async (current) => {
        const batch = due.slice(0, current.room)
        epochs.use(batch.length)
        const renewed: Retirement[] = []
        const failed: string[] = []
        const putAside = (orderId: string, reason: string): void => {
          failed.push(orderId)
          onFailed(orderId, reason)
        }
        for (const retirement of batch) {
          const kek = await epochs.kekOf(retirement.epochId)
          const key = renewKey(kek, retirement, current)
          if (key instanceof SealError) putAside(retirement.orderId, key.message)
          else renewed.push({ ...key, orderId: retirement.orderId })
        }
        const done = await renewKeysApart(database, current.epoch.epochId, renewed, putAside)
        if (failed.length > 0) await deferRetirements(database, failed)
        return { done, failed }
      })
    },
  }
}

function makerOf(asset: Asset): AddressMaker {
  const maker = ADDRESS_MAKERS[asset]
  if (maker === undefined) throw new Error(`no generator of ${asset} addresses`)
  return maker
}

function makeKey(maker: AddressMaker, network: string, asset: Asset, { epoch, kek }: OpenEpoch): PaymentKey {
  const { address, privateKey } = maker.make()
  try {
    const identity = { keyId: randomUUID(), network, asset, address }
    return sealKey({ epoch, kek, identity, envelopeVersion: 1, privateKey })
  } finally {
    privateKey.fill(0)
  }
}

/** The key's new envelope, or the reason why the current one cannot be decrypted. */
function renewKey(oldKek: Buffer, key: PaymentKey, { epoch, kek }: OpenEpoch): PaymentKey | SealError {
  let privateKey: Buffer | undefined
  try {
    privateKey = openKey(oldKek, key)
    return sealKey({ epoch, kek, identity: key, envelopeVersion: key.envelopeVersion + 1, privateKey })
  } catch (error) {
    if (error instanceof SealError) return error
    throw error
  } finally {
    privateKey?.fill(0)
  }
}
