// From where we left a chain to the tip its node names: block by block, each linked to the one before, and back to the
// last common block where the branch we followed has lost.

import { appendBlock, findBranch, rewind, type Cursor } from '../db/chain.ts'
import type { Database } from '../db/pool.ts'
import type { Logger } from '../telemetry.ts'
import type { ChainClient, Tip } from './client.ts'
import type { ChainMetrics } from './metrics.ts'

/** Then what they held is delivered before going on. */
const MAX_BLOCKS = 100

/**
 * The node's chain contradicts what was reported as final. Nothing is scanned, sent or stamped until the node is back
 * on our branch, or an operator lets the reorganisation pass (chain_status.rewind_to).
 */
export class DeepReorgError extends Error {
  override readonly name = 'DeepReorgError'
}

export type FollowOptions = {
  client: ChainClient
  database: Database
  /** Depth at which a transfer is final; its own block counts as 1. */
  confirmations: number
  metrics: ChainMetrics
  logger: Logger
}

/**
 * Stores the next blocks up to the tip and returns the cursor, which stops short of a tip that is far, or whose branch
 * the node has left meanwhile.
 * @throws {DeepReorgError}
 */
export async function follow(options: FollowOptions, from: Cursor, tip: Tip): Promise<Cursor> {
  const { client, database, confirmations } = options
  let cursor = from
  const isTipAhead = tip.height > cursor.scannedHeight
  if (!isTipAhead && cursor.scannedHash !== null && tip.hash !== cursor.scannedHash)
    cursor = await takeBack(options, cursor, tip)
  for (let blocks = 0; blocks < MAX_BLOCKS && cursor.scannedHeight < tip.height; blocks += 1) {
    const block = await client.findBlock(cursor.scannedHeight + 1)
    if (block === undefined) break
    const isNext = cursor.scannedHash === null || block.parentHash === cursor.scannedHash
    cursor = isNext
      ? await appendBlock(database, client.network, block, confirmations)
      : await takeBack(options, cursor, tip)
  }
  return cursor
}

/**
 * Back to the last block the node's branch shares with ours. Where that is the first one looked at, the node is merely
 * behind us and nothing is lost. A hash that changes between two questions is found by the next parent check.
 */
async function takeBack(options: FollowOptions, cursor: Cursor, tip: Tip): Promise<Cursor> {
  const { client, database, metrics, logger } = options
  const { network } = client
  const top = Math.min(cursor.scannedHeight, tip.height)
  const floor = Math.min(cursor.settledHeight, cursor.rewindTo ?? Infinity)
  const branch = await findBranch(database, network, floor)
  for (let height = top; height >= floor; height -= 1) {
    const ours = branch.get(height)
    const isCommon = height < cursor.startHeight || (ours !== undefined && ours === (await client.findHash(height)))
    if (!isCommon) continue
    if (height === top) return cursor
    const lostBlocks = cursor.scannedHeight - height
    metrics.reorgs.inc({ network })
    metrics.lostBlocks.inc({ network }, lostBlocks)
    logger.warn({ network, height, lostBlocks }, 'the chain was reorganised')
    return rewind(database, network, cursor, height)
  }
  throw new DeepReorgError(`the node's branch shares no block with ours from ${floor} up, and those below are final`)
}
