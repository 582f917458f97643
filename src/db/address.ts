// Pool of unused payment addresses. A process leases a block at a time and hands it out from memory (design rule 11). A
// lease is never returned: the addresses that a process loses at its end are never shown to another customer.

import { sql } from 'slonik'
import { z } from 'zod'
import { DomainError } from '../domain/failure.ts'
import type { Asset } from '../domain/payment.ts'
import { databaseFailure, type Database } from './connection/pool.ts'

/** The keys process refills within this time, unless it is down. */
const POOL_EMPTY_RETRY_MS = 1_000

export type LeaseOptions = {
  network: string
  asset: Asset
  /** The lease holder: one name per process. */
  holder: string
  count: number
}

/** Removes up to `count` addresses from the pool permanently. */
export async function leaseAddresses(database: Database, options: LeaseOptions): Promise<readonly string[]> {
  const { network, asset, holder, count } = options
  // Concurrent processes take different rows: each skips what the other has locked.
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
  /** An address that no order has. Throws ADDRESS_POOL_EMPTY or DATABASE_UNAVAILABLE, both retryable. */
  take: () => Promise<{ network: string; address: string }>
  /** Returns an address that is certainly in no order, for the next caller. */
  giveBack: (address: string) => void
  /** Addresses in memory, for metrics. */
  size: () => number
}

export type AddressLeaseOptions = Omit<LeaseOptions, 'count'> & { database: Database; blockSize: number }

export function createAddressLease(options: AddressLeaseOptions): AddressLease {
  const { database, blockSize, network } = options
  const free: string[] = []
  let refilling: Promise<number> | undefined

  /** Single-flight refill, shared by all callers; resolves with the number of new addresses. */
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
        // Refills early and ignores the error: a caller that finds the block empty gets it.
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
