// Chooses the first block to read of a network, where the configuration does not: the block at the time of the oldest
// order that waits for money there. A watcher that is new, or has a new network name, then misses no earlier payment.

import { createCursor, findOldestOpening, type Cursor } from '../db/chain/cursor.ts'
import type { Database } from '../db/connection/pool.ts'
import type { Header } from '../domain/chain.ts'
import { ChainError, type ChainClient } from './client.ts'

/** How far a block's time may be off: two hours on Bitcoin, where chain time is an hour older besides. */
const CLOCK_TOLERANCE_MS = 3 * 3_600_000

export type FirstCursorOptions = {
  client: ChainClient
  database: Database
  /** The first block to read. Default: that of the oldest open order, or the tip where there is none. */
  startHeight?: number | undefined
  /** A tip older than this by its own time means a node that is stuck, or is still syncing. */
  maxBlockAgeMs: number
}

/**
 * Creates a network's cursor. The tip of a node that is still syncing may be block 0, or years old. No start is chosen by
 * such a tip, because the cursor keeps its start.
 * @throws {ChainError}
 */
export async function createFirstCursor(options: FirstCursorOptions, tip: Header, askedAt: Date): Promise<Cursor> {
  const { client, database, startHeight, maxBlockAgeMs } = options
  if (startHeight !== undefined) return createCursor(database, client.network, startHeight)
  if (askedAt.getTime() - tip.minedAt.getTime() > maxBlockAgeMs)
    throw new ChainError(`the node's newest block, ${tip.height}, is too old to begin at: it may still be syncing`)
  const since = await findOldestOpening(database, client.network)
  const height =
    since === undefined ? tip.height : await findHeightAt(client, tip, since.getTime() - CLOCK_TOLERANCE_MS)
  return createCursor(database, client.network, height)
}

/** The highest block whose chain time is not after `timeMs`, or 0. Bisection: about 25 calls on Ethereum. */
async function findHeightAt(client: ChainClient, tip: Header, timeMs: number): Promise<number> {
  let [low, high] = [0, tip.height]
  while (low < high) {
    const middle = Math.ceil((low + high) / 2)
    const header = await client.findHeader(middle)
    if (header === undefined) throw new ChainError(`block ${middle} is not there, below the tip ${tip.height}`)
    if (header.chainTime.getTime() <= timeMs) low = middle
    else high = middle - 1
  }
  return low
}
