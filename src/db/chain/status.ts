// The time up to which a network is read and reported. Orders expire by this time and not by the wall clock, so that an
// order paid in time does not expire because its watcher is late.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Header } from '../../domain/chain.ts'
import type { Database } from '../connection/pool.ts'
import { lockNetwork } from './cursor.ts'

export type Stamp = {
  tip: Pick<Header, 'height' | 'hash' | 'chainTime'>
  askedAt: Date
  isVouched: boolean
  /** The depth at which this watcher calls a transfer final, which the payment page shows. */
  confirmations: number
  /** True: from now on this source lets no order expire before its balance was read at a time after the order's end. */
  comparesBalances: boolean
}

/**
 * Stores when the node was called (`askedAt`) and which tip it answered. Where that very block is the last one scanned
 * and no report waits, everything up to the tip's chain time is stored and delivered. Expiries may then rely on this
 * chain time, or on `askedAt` where the chain's clock is ahead of the database's. They never rely on `askedAt` otherwise, because a
 * node may lag and a block arrives after its own time. An unpaid order therefore waits for the first block after its end:
 * 12 s on Ethereum, and on Bitcoin an hour and more, since chain time there is a median.
 * `isVouched` false withholds that time. A stored time in the future, left by an error or by a database clock that went
 * back, is reduced to now.
 * @returns the time that expiries may rely on; null: none
 */
export async function stampStatus(
  database: Database,
  network: string,
  { tip, askedAt, isVouched, confirmations, comparesBalances }: Stamp,
): Promise<Date | null> {
  return database.sql.transaction(async (tx) => {
    await lockNetwork(tx, network)
    const { caughtUpAt } = await tx.one(sql.type(z.object({ caughtUpAt: z.date().nullable() }))`
      update chain_status c
      set tip_height = ${tip.height}, tip_asked_at = least(now(), greatest(c.tip_asked_at, ${sql.timestamp(askedAt)})),
        compares_balances = ${comparesBalances}, confirmations = ${confirmations},
        caught_up_at = case
          when ${isVouched} and c.scanned_height = ${tip.height}
            and exists (select from chain_block b where b.network = c.network and b.height = ${tip.height} and b.hash = ${tip.hash})
            and not exists (select from chain_report r where r.network = c.network)
          then least(now(), greatest(c.caught_up_at, least(${sql.timestamp(tip.chainTime)}, ${sql.timestamp(askedAt)})))
          when c.caught_up_at > now() then now() else c.caught_up_at end
      where c.network = ${network}
      returning c.caught_up_at as "caughtUpAt"`)
    return caughtUpAt
  })
}
