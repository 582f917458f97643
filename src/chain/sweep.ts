// Address tiers: how often the balance of an address is compared. Addresses of open orders are compared all the time
// (balance.ts). All others are swept in turn, a hundred of a tier at each new tip, so that a block costs the same
// whether a thousand addresses were ever shown or a million. Money to the address of an order that was closed months
// ago is found, however it came.

import {
  findIssuedAddresses,
  moveSweep,
  readSweeps,
  startSweep,
  type Sweep,
  type SweepName,
} from '../db/chain/sweep.ts'
import type { Header } from '../domain/chain.ts'
import { saveFoundBalances } from './balance.ts'
import type { FollowOptions } from './follow.ts'

/** Orders per tier at each new tip: one message to the node. On Ethereum, 720,000 a day. */
const MAX_ORDERS = 100
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Orders younger than this are recent. Refunds, disputes and payments by mistake mostly come in the first days. */
const RECENT_MS = 7 * DAY_MS
/** A round begins this long after the last one began, or when that one is over. */
const TIERS = { recent: HOUR_MS, retired: DAY_MS } as const

export type SweepOptions = FollowOptions & { source: string }

/** Makes the function that sweeps the next part of each tier, once at each tip. The tip is the last scanned block. */
export function createSweep(options: SweepOptions): (tip: Header) => Promise<void> {
  const { client, database, metrics, source } = options
  const { network } = client
  let doneHash: string | undefined

  /** @returns whether the balances were stored */
  async function sweepPart(tip: Header, name: SweepName, found: Sweep | undefined): Promise<boolean> {
    const isUnderWay = found !== undefined && !found.isOver
    if (!isUnderWay && found !== undefined && found.sinceBeganMs < TIERS[name.tier]) return true
    const at = isUnderWay ? found : await startSweep(database, name)
    const part = await findIssuedAddresses(database, name, at.place, { recentMs: RECENT_MS, limit: MAX_ORDERS })
    const addresses = part.filter(({ isOurs }) => isOurs).map(({ address }) => address)
    if (!(await saveFoundBalances(options, tip, addresses))) return false
    const isLast = part.length < MAX_ORDERS
    await moveSweep(database, name, at, isLast ? undefined : part.at(-1)?.orderId)
    return true
  }

  return async (tip) => {
    if (client.findBalances === undefined || doneHash === tip.hash) return
    const sweeps = await readSweeps(database, network, source)
    let isSaved = true
    for (const tier of ['recent', 'retired'] as const) {
      const found = sweeps.find((each) => each.tier === tier)
      const ageMs = found?.sinceSweptMs ?? found?.sinceBeganMs ?? 0
      metrics.sweepAge.set({ network, tier }, ageMs / 1_000)
      isSaved = (await sweepPart(tip, { network, source, tier }, found)) && isSaved
    }
    if (isSaved) doneHash = tip.hash
  }
}
