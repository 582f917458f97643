// What the keys process does with keys: makes addresses ahead and seals what opens them, and seals the keys of closed
// orders anew (requirements D-10, D-11). A private key is in memory within one synchronous turn, in one Buffer.

import { randomUUID } from 'node:crypto'
import {
  deferRetirements,
  findDueRetirements,
  insertKeys,
  renewKeys,
  type PaymentKey,
  type Retirement,
} from '../db/key.ts'
import type { Database } from '../db/pool.ts'
import type { Asset } from '../domain/payment.ts'
import { ADDRESS_MAKERS, type AddressMaker } from './address.ts'
import { openKey, sealKey } from './envelope.ts'
import type { EpochBook, OpenEpoch } from './epoch.ts'
import { SealError } from './seal.ts'

/** Keys made or renewed in one turn: small, so that the first addresses are there at once and the loop never stalls. */
export const BATCH_KEYS = 32

export type Custody = {
  /** Makes at most a batch of `wanted` addresses and puts them into the pool. Returns how many. */
  makeAddresses: (network: string, asset: Asset, wanted: number) => Promise<number>
  /** Seals at most a batch of closed orders' keys anew. `failed` are those whose envelope does not open. */
  retireKeys: () => Promise<{ done: readonly string[]; failed: readonly string[] }>
}

export function createCustody({ database, epochs }: { database: Database; epochs: EpochBook }): Custody {
  /** Whatever fails in between, the next turn begins a new epoch: what this one holds is then unknown. */
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
        for (const retirement of batch) {
          const kek = await epochs.kekOf(retirement.epochId)
          const key = renewKey(kek, retirement, current)
          if (key === undefined) failed.push(retirement.orderId)
          else renewed.push({ ...key, orderId: retirement.orderId })
        }
        if (failed.length > 0) await deferRetirements(database, failed)
        const done = renewed.length > 0 ? await renewKeys(database, current.epoch.epochId, renewed) : []
        return { done, failed }
      })
    },
  }
}

function makerOf(asset: Asset): AddressMaker {
  const maker = ADDRESS_MAKERS[asset]
  if (maker === undefined) throw new Error(`no maker of ${asset} addresses`)
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

/** The key's next envelope; undefined when the present one does not open. */
function renewKey(oldKek: Buffer, key: PaymentKey, { epoch, kek }: OpenEpoch): PaymentKey | undefined {
  let privateKey: Buffer | undefined
  try {
    privateKey = openKey(oldKek, key)
    return sealKey({ epoch, kek, identity: key, envelopeVersion: key.envelopeVersion + 1, privateKey })
  } catch (error) {
    if (error instanceof SealError) return undefined
    throw error
  } finally {
    privateKey?.fill(0)
  }
}
