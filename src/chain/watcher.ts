// Follows one chain's tip: each block's effects are stored with the cursor, a branch that lost is taken back to the
// last common block, and what it all means is reported. Nothing is kept in memory that a kill -9 could lose.

import { setTimeout as delay } from 'node:timers/promises'
import {
  appendBlock,
  countReports,
  createCursor,
  findBranch,
  readCursor,
  rewind,
  stampStatus,
  type Cursor,
} from '../db/chain.ts'
import type { Database } from '../db/pool.ts'
import type { Logger } from '../telemetry.ts'
import type { ChainClient, Tip } from './client.ts'
import { createDelivery, type Report } from './delivery.ts'
import type { ChainMetrics } from './metrics.ts'

/** After so many blocks what they held is delivered before going on. */
const MAX_BLOCKS_PER_STEP = 100
const MAX_RETRY_MS = 10_000

/**
 * The node's chain contradicts what was reported as final. Nothing is scanned, sent or stamped until the node is back
 * on our branch, or an operator lets the reorganisation pass (chain_status.rewind_to).
 */
export class DeepReorgError extends Error {
  override readonly name = 'DeepReorgError'
}

export type WatcherOptions = {
  client: ChainClient
  database: Database
  /** Depth at which a transfer is final; its own block counts as 1. */
  confirmations: number
  /** The first block ever looked at; without it, the tip at the very first start. Later starts go on from the cursor. */
  startHeight?: number | undefined
  /** A tip older than this by its own time means a node that stands still: nothing expires on its word. */
  maxBlockAgeMs: number
  report: Report
  metrics: ChainMetrics
  logger: Logger
}

export type Watcher = {
  /** One look at the chain: scan, deliver, stamp. Returns whether there is more to scan at once. */
  step: () => Promise<boolean>
  /** Steps until aborted; failures are logged and tried again. */
  run: (pollMs: number, signal: AbortSignal) => Promise<void>
  /** Milliseconds since the node named a current tip that is scanned now; Infinity before the first. */
  ageMs: () => number
}

export function createWatcher(options: WatcherOptions): Watcher {
  const { client, database, confirmations, metrics, logger } = options
  const { network } = client
  const deliver = createDelivery({ ...options, network })
  let freshAt = Number.NEGATIVE_INFINITY

  async function follow(from: Cursor, tip: Tip): Promise<Cursor> {
    let cursor = from
    const isTipAhead = tip.height > cursor.scannedHeight
    if (!isTipAhead && cursor.scannedHash !== null && tip.hash !== cursor.scannedHash) cursor = await takeBack(cursor, tip)
    for (let blocks = 0; blocks < MAX_BLOCKS_PER_STEP && cursor.scannedHeight < tip.height; blocks += 1) {
      const block = await client.findBlock(cursor.scannedHeight + 1)
      // The node moved to another branch since it named its tip: the next step asks again.
      if (block === undefined) break
      const isNext = cursor.scannedHash === null || block.parentHash === cursor.scannedHash
      cursor = isNext ? await appendBlock(database, network, block, confirmations) : await takeBack(cursor, tip)
    }
    return cursor
  }

  /**
   * Back to the last block the node's branch shares with ours. Where that is the first one looked at, the node is
   * merely behind us and nothing is lost. A hash that changes between two questions is found by the next parent check.
   */
  async function takeBack(cursor: Cursor, tip: Tip): Promise<Cursor> {
    const top = Math.min(cursor.scannedHeight, tip.height)
    const floor = Math.min(cursor.settledHeight, cursor.rewindTo ?? Infinity)
    const branch = await findBranch(database, network, floor)
    for (let height = top; height >= floor; height -= 1) {
      const ours = branch.get(height)
      const isCommon = height < cursor.startHeight || (ours !== undefined && ours === (await client.findHash(height)))
      if (!isCommon) continue
      if (height === top) return cursor
      metrics.reorgs.inc({ network })
      metrics.lostBlocks.inc({ network }, cursor.scannedHeight - height)
      logger.warn({ network, height, lostBlocks: cursor.scannedHeight - height }, 'the chain was reorganised')
      return rewind(database, network, cursor, height)
    }
    throw new DeepReorgError(`the node's branch shares no block with ours from ${floor} up, and those below are final`)
  }

  async function scan(): Promise<{ askedAt: Date; tip: Tip; cursor: Cursor; hasMore: boolean }> {
    // Read before the node is asked: whatever the chain held at this instant is in the tip it then names.
    const { now: askedAt, cursor: stored } = await readCursor(database, network)
    const tip = await client.getTip()
    const from = stored ?? (await createCursor(database, network, options.startHeight ?? tip.height))
    const cursor = await follow(from, tip)
    const lagBlocks = tip.height - cursor.scannedHeight
    metrics.isHalted.set({ network }, 0)
    metrics.tipHeight.set({ network }, tip.height)
    metrics.scannedHeight.set({ network }, cursor.scannedHeight)
    metrics.lagBlocks.set({ network }, lagBlocks)
    metrics.tipAge.set({ network }, (askedAt.getTime() - tip.minedAt.getTime()) / 1_000)
    return { askedAt, tip, cursor, hasMore: lagBlocks > 0 && cursor.scannedHeight !== from.scannedHeight }
  }

  async function step(): Promise<boolean> {
    const startedAt = performance.now()
    const { askedAt, tip, cursor, hasMore } = await scan().catch(async (error: unknown) => {
      // What was seen stays true while the node is away; after a deep reorganisation it may not be.
      if (error instanceof DeepReorgError) metrics.isHalted.set({ network }, 1)
      else await deliver()
      throw error
    })
    await deliver()
    const isCurrent = askedAt.getTime() - tip.minedAt.getTime() <= options.maxBlockAgeMs
    if (isCurrent && cursor.scannedHash === tip.hash) freshAt = startedAt
    const isCaughtUp = await stampStatus(database, network, { tip, askedAt, isCurrent })
    if (isCaughtUp) metrics.caughtUpAt.set({ network }, askedAt.getTime() / 1_000)
    const { waiting, refused } = await countReports(database, network)
    metrics.outboxDepth.set({ network }, waiting)
    metrics.refusedDepth.set({ network }, refused)
    return hasMore
  }

  async function run(pollMs: number, signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      let waitMs = pollMs
      try {
        if (await step()) waitMs = 0
        failures = 0
      } catch (error) {
        failures += 1
        waitMs = Math.min(MAX_RETRY_MS, pollMs * 2 ** Math.min(failures, 16))
        metrics.failures.inc({ network })
        logger.error({ network, err: error, failures }, error instanceof DeepReorgError ? error.message : 'a look at the chain failed')
      }
      await delay(waitMs, undefined, { signal }).catch(() => undefined)
    }
  }

  return { step, run, ageMs: () => performance.now() - freshAt }
}
