// Addresses ready to be paid to. A process leases a block at a time and hands it out from memory (design rule 11);
// a lease is never taken back, so what a process loses when it ends is never shown to anyone else.

import { sql } from 'slonik'
import { z } from 'zod'
import { DomainError } from '../domain/failure.ts'
import type { Asset } from '../domain/payment.ts'
import { databaseFailure, type Database } from './connection/pool.ts'

/** The keys process refills within this, unless it is down. */
const POOL_EMPTY_RETRY_MS = 1_000

export type LeaseOptions = {
  network: string
  asset: Asset
  /** Who takes them: one name per process. */
  holder: string
  count: number
}

/** Takes up to `count` addresses out of the pool for good. */
export async function leaseAddresses(database: Database, options: LeaseOptions): Promise<readonly string[]> {
  const { network, asset, holder, count } = options
  // Two processes that lease at once take different rows: each skips what the other has locked.
  return database.sql.anyFirst(sql.type(z.object({ address: z.string() }))`
    with free as (
      select network, address from address_pool
      where network = ${network} and asset = ${asset} and leased_at is null
      order by pool_no limit ${count} for update skip locked
    )
    update address_pool p set leased_by = ${holder}, leased_at = clock_timestamp()
    from free where (p.network, p.address) = (free.network, free.address)
    returning p.address`)
}

export const countFreeAddresses = (database: Database, network: string, asset: Asset): Promise<number> =>
  database.sql.oneFirst(sql.type(z.object({ free: z.number() }))`
    select count(*)::int as free from address_pool
    where network = ${network} and asset = ${asset} and leased_at is null`)

export type AddressLease = {
  /** An address nobody was given. Throws ADDRESS_POOL_EMPTY or DATABASE_UNAVAILABLE, both worth a retry. */
  take: () => Promise<{ network: string; address: string }>
  /** For an address that certainly stands in no order: it is given to the next one. */
  giveBack: (address: string) => void
  /** Addresses at hand, for metrics. */
  size: () => number
}

export type AddressLeaseOptions = Omit<LeaseOptions, 'count'> & { database: Database; blockSize: number }

export function createAddressLease(options: AddressLeaseOptions): AddressLease {
  const { database, blockSize, network } = options
  const free: string[] = []
  let refilling: Promise<number> | undefined

  /** One lease at a time, whoever asks; resolves with how many came. */
  const refill = (): Promise<number> =>
    (refilling ??= leaseAddresses(database, { ...options, count: blockSize })
      .then((addresses) => {
        free.push(...addresses)
        return addresses.length
      })
      .finally(() => {
        refilling = undefined
      }))

  const take = async (): Promise<{ network: string; address: string }> => {
    for (;;) {
      const address = free.pop()
      if (address !== undefined) {
        // Ahead of need, and whoever finds the block empty is told what is wrong.
        if (free.length < blockSize / 2) refill().catch(() => undefined)
        return { network, address }
      }
      const taken = await refill().catch((error: unknown) => {
        throw databaseFailure(error)
      })
      if (taken === 0 && free.length === 0)
        throw new DomainError('ADDRESS_POOL_EMPTY', 'No payment address is ready; try again.', {
          retryAfterMs: POOL_EMPTY_RETRY_MS,
        })
    }
  }

  return { take, giveBack: (address) => void free.push(address), size: () => free.length }
}
