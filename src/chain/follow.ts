// Follows a chain from the cursor to the node's tip, block by block, each linked to the one before. After a
// reorganisation it rewinds to the last block that both branches share. Only another hash at a stored height proves a
// reorganisation. A height unknown to the node does not: one address may hide many nodes, and some lag behind others.

import { appendBlock, findBranch, rewind, type Cursor } from '../db/chain/cursor.ts'
import { findShopAddresses } from '../db/chain/output.ts'
import type { Database } from '../db/connection/pool.ts'
import type { Block, Header } from '../domain/chain.ts'
import type { Logger } from '../telemetry.ts'
import { ChainError, type ChainClient } from './client.ts'
import type { ChainMetrics } from './metrics.ts'
import { readBlocks } from './read_ahead.ts'

/** Blocks scanned in one step. Their reports are delivered before the next step. */
const MAX_BLOCKS = 100

/**
 * The node's chain contradicts outputs that were reported as final. Nothing is scanned, sent or stamped until the node
 * is back on the scanned branch, or an operator permits the reorganisation (`holdfast chain rewind`).
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
 * Stores the next blocks up to the tip and returns the cursor. The cursor stops before a tip that is more than
 * MAX_BLOCKS away, or whose branch the node has left meanwhile. A tip below the cursor on the scanned branch changes
 * nothing: the node lags.
 * @throws {DeepReorgError}
 */
export async function followChain(options: FollowOptions, from: Cursor, tip: Header): Promise<Cursor> {
  let cursor = from
  if (tip.height <= cursor.scannedHeight && tip.hash !== cursor.scannedHash)
    cursor = await rewindToCommonBlock(options, cursor, tip)
  for (let left = MAX_BLOCKS; left > 0 && cursor.scannedHeight < tip.height;) {
    const { reached, isFork } = await appendBranch(options, cursor, Math.min(tip.height, cursor.scannedHeight + left))
    left -= reached.scannedHeight - cursor.scannedHeight + 1
    if (!isFork) return reached
    cursor = await rewindToCommonBlock(options, reached, tip)
    // Two nodes disagree. The next step may reach only one of them.
    if (cursor === reached) return cursor
  }
  return cursor
}

/** Stores the blocks that follow the cursor, up to `last`, as long as each is there and is linked to the one before. */
async function appendBranch(
  options: FollowOptions,
  from: Cursor,
  last: number,
): Promise<{ reached: Cursor; isFork: boolean }> {
  const { client, database, confirmations, metrics } = options
  let reached = from
  for await (const block of readBlocks(client, from.scannedHeight + 1, last)) {
    if (block === undefined) {
      metrics.missingBlocks.inc({ network: client.network })
      return { reached, isFork: false }
    }
    const isFork = reached.scannedHash !== null && block.parentHash !== reached.scannedHash
    if (isFork) return { reached, isFork }
    reached = await appendBlock(database, client.network, await keepShopOutputs(options, block), confirmations)
  }
  return { reached, isFork: false }
}

/**
 * Rewinds to the last block that the node's branch shares with the scanned one, where the node has another block at a
 * scanned height. Otherwise the cursor stays the same.
 */
async function rewindToCommonBlock(options: FollowOptions, cursor: Cursor, tip: Header): Promise<Cursor> {
  const { client, database, metrics, logger } = options
  const { network } = client
  const top = Math.min(cursor.scannedHeight, tip.height)
  const floor = Math.min(cursor.settledHeight, cursor.rewindTo ?? Infinity)
  const branch = await findBranch(database, network, Math.min(floor, top))
  for (let height = top; ; height -= 1) {
    const scanned = branch.get(height)
    const theirs = height === tip.height ? tip.hash : (await client.findHeader(height))?.hash
    const isUnknown = theirs === undefined || (scanned === undefined && height === top)
    const isCommon = scanned === theirs || (scanned === undefined && height < cursor.startHeight)
    if (isUnknown || (isCommon && height === top)) return cursor
    if (isCommon && height >= floor) {
      const lostBlocks = cursor.scannedHeight - height
      metrics.reorgs.inc({ network })
      metrics.lostBlocks.inc({ network }, lostBlocks)
      metrics.reorgDepth.observe({ network }, lostBlocks)
      logger.warn({ network, height, lostBlocks }, 'the chain was reorganised')
      return rewind(database, network, cursor, height)
    }
    if (height <= floor) break
  }
  throw new DeepReorgError(
    `the node's branch shares no block with the scanned one from ${floor} up, and those below are final`,
  )
}

/**
 * The block with the outputs to addresses of the shop, found by one indexed query over the block's own recipients: no
 * watched address is loaded, however many there are. An address that is issued from now on has no money in this block.
 * @throws {ChainError} where an output to an address of the shop cannot be read
 */
async function keepShopOutputs({ client, database }: FollowOptions, block: Block): Promise<Block> {
  const { height, outputs, unreadable = [], tokenTransfers = [] } = block
  const addresses = new Set([...outputs, ...unreadable, ...tokenTransfers].map(({ address }) => address))
  if (addresses.size === 0) return block
  const ours = await findShopAddresses(database, client.network, [...addresses])
  const flawed = unreadable.find(({ address }) => ours.has(address))
  if (flawed !== undefined)
    throw new ChainError(`block ${height}: ${flawed.flaw}, in a transfer to an address of the shop`)
  return {
    ...block,
    outputs: outputs.filter(({ address }) => ours.has(address)),
    tokenTransfers: tokenTransfers.filter(({ address }) => ours.has(address)),
  }
}
