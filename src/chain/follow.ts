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
  const { client, database, confirmations } = options
  let cursor = from
  if (tip.height <= cursor.scannedHeight && tip.hash !== cursor.scannedHash)
    cursor = await rewindToCommonBlock(options, cursor, tip)
  for (let blocks = 0; blocks < MAX_BLOCKS && cursor.scannedHeight < tip.height; blocks += 1) {
    const block = await client.findBlock(cursor.scannedHeight + 1)
    if (block === undefined) {
      options.metrics.missingBlocks.inc({ network: client.network })
      break
    }
    const isNext = cursor.scannedHash === null || block.parentHash === cursor.scannedHash
    if (isNext) await assertReadable(options, block)
    const next = isNext
      ? await appendBlock(database, client.network, block, confirmations)
      : await rewindToCommonBlock(options, cursor, tip)
    // Two nodes disagree. The next step may reach only one of them.
    if (next === cursor) break
    cursor = next
  }
  return cursor
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

/** @throws {ChainError} where an output to an address of the shop cannot be read */
async function assertReadable({ client, database }: FollowOptions, { height, unreadable = [] }: Block): Promise<void> {
  if (unreadable.length === 0) return
  const addresses = unreadable.map(({ address }) => address)
  const shopAddresses = await findShopAddresses(database, client.network, addresses)
  const found = unreadable.find(({ address }) => shopAddresses.has(address))
  if (found !== undefined)
    throw new ChainError(`block ${height}: ${found.flaw}, in a transfer to an address of the shop`)
}
