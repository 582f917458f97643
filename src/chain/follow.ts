// From where we left a chain to the tip its node names: block by block, each linked to the one before, and back to the
// last common block where the branch we followed has lost. Only another hash at a height is evidence of that. A height
// the node does not know is not there yet: behind one address there may be many nodes, and some stand behind others.

import { appendBlock, findBranch, findOurs, rewind, type Cursor } from '../db/chain/cursor.ts'
import type { Database } from '../db/connection/pool.ts'
import type { Logger } from '../telemetry.ts'
import { ChainError, type Block, type ChainClient, type Tip } from './client.ts'
import type { ChainMetrics } from './metrics.ts'

/** Then what they held is delivered before going on. */
const MAX_BLOCKS = 100

/**
 * The node's chain contradicts what was reported as final. Nothing is scanned, sent or stamped until the node is back
 * on our branch, or an operator lets the reorganisation pass (`holdfast chain rewind`).
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
 * the node has left meanwhile. A tip below the cursor on our own branch changes nothing: the node is merely behind.
 * @throws {DeepReorgError}
 */
export async function follow(options: FollowOptions, from: Cursor, tip: Tip): Promise<Cursor> {
  const { client, database, confirmations } = options
  let cursor = from
  if (tip.height <= cursor.scannedHeight && tip.hash !== cursor.scannedHash)
    cursor = await takeBack(options, cursor, tip)
  for (let blocks = 0; blocks < MAX_BLOCKS && cursor.scannedHeight < tip.height; blocks += 1) {
    const block = await client.findBlock(cursor.scannedHeight + 1)
    if (block === undefined) {
      options.metrics.missingBlocks.inc({ network: client.network })
      break
    }
    const isNext = cursor.scannedHash === null || block.parentHash === cursor.scannedHash
    const next = isNext
      ? await appendBlock(database, client.network, await withoutDoubts(options, block), confirmations)
      : await takeBack(options, cursor, tip)
    // Two nodes disagree: the next look may reach one of them alone.
    if (next === cursor) break
    cursor = next
  }
  return cursor
}

/**
 * Back to the last block the node's branch shares with ours, if it holds another block at some height of ours; else the
 * cursor stays as it is.
 */
async function takeBack(options: FollowOptions, cursor: Cursor, tip: Tip): Promise<Cursor> {
  const { client, database, metrics, logger } = options
  const { network } = client
  const top = Math.min(cursor.scannedHeight, tip.height)
  const floor = Math.min(cursor.settledHeight, cursor.rewindTo ?? Infinity)
  const branch = await findBranch(database, network, Math.min(floor, top))
  for (let height = top; ; height -= 1) {
    const ours = branch.get(height)
    const theirs = height === tip.height ? tip.hash : (await client.findHeader(height))?.hash
    const isUnknown = theirs === undefined || (ours === undefined && height === top)
    const isCommon = ours === theirs || (ours === undefined && height < cursor.startHeight)
    if (isUnknown || (isCommon && height === top)) return cursor
    if (isCommon && height >= floor) {
      const lostBlocks = cursor.scannedHeight - height
      metrics.reorgs.inc({ network })
      metrics.lostBlocks.inc({ network }, lostBlocks)
      logger.warn({ network, height, lostBlocks }, 'the chain was reorganised')
      return rewind(database, network, cursor, height)
    }
    if (height <= floor) break
  }
  throw new DeepReorgError(`the node's branch shares no block with ours from ${floor} up, and those below are final`)
}

/** @throws {ChainError} where a transfer that cannot be read for certain is to an address of the shop */
async function withoutDoubts({ client, database }: FollowOptions, block: Block): Promise<Block> {
  if (block.doubts === undefined || block.doubts.length === 0) return block
  const ours = await findOurs(
    database,
    client.network,
    block.doubts.map(({ address }) => address),
  )
  const doubt = block.doubts.find(({ address }) => ours.has(address))
  if (doubt === undefined) return block
  throw new ChainError(`block ${block.height}: ${doubt.flaw}, in a transfer to an address of the shop`)
}
