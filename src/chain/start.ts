// Where the history of a network begins for us, if nobody says so: at the time of the oldest order that waits for money
// there. A new watcher, or one under a new network name, then misses nothing that was paid before it came.

import { createCursor, findOldestOpening, type Cursor } from '../db/chain/cursor.ts'
import type { Database } from '../db/connection/pool.ts'
import { ChainError, type ChainClient, type Tip } from './client.ts'

/** How far a block's own time may be off: two hours on Bitcoin, where its chain time is an hour old besides. */
const CLOCK_TOLERANCE_MS = 3 * 3_600_000

export type StartOptions = {
  client: ChainClient
  database: Database
  /** The first block ever looked at. Without it: that of the oldest open order, or the tip where there is none. */
  startHeight?: number | undefined
  /** A tip older than this by its own time means a node that stands still, or is still syncing. */
  maxBlockAgeMs: number
}

/**
 * Makes a network's cursor. A node that is still syncing may name block 0 or one of years ago: no start is chosen by
 * such a tip, because it would be kept.
 * @throws {ChainError}
 */
export async function start(options: StartOptions, tip: Tip, askedAt: Date): Promise<Cursor> {
  const { client, database, startHeight, maxBlockAgeMs } = options
  if (startHeight !== undefined) return createCursor(database, client.network, startHeight)
  if (askedAt.getTime() - tip.minedAt.getTime() > maxBlockAgeMs)
    throw new ChainError(`the node's newest block, ${tip.height}, is too old to begin at: it may still be syncing`)
  const since = await findOldestOpening(database, client.network)
  const height =
    since === undefined ? tip.height : await findHeightAt(client, tip, since.getTime() - CLOCK_TOLERANCE_MS)
  return createCursor(database, client.network, height)
}

/** The highest block whose chain time is not after `timeMs`, or 0. Halves the chain: about 25 questions on Ethereum. */
async function findHeightAt(client: ChainClient, tip: Tip, timeMs: number): Promise<number> {
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
