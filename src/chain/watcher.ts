// Watches one chain: what its blocks hold for us is stored with the cursor, reported, and only then vouched for.
// Nothing is kept in memory that a kill -9 could lose.

import { setTimeout as delay } from 'node:timers/promises'
import { countReports, createCursor, readCursor, stampStatus, type Cursor } from '../db/chain.ts'
import type { Tip } from './client.ts'
import { createDelivery, type Report } from './delivery.ts'
import { DeepReorgError, follow, type FollowOptions } from './follow.ts'

const MAX_RETRY_MS = 10_000

export type WatcherOptions = FollowOptions & {
  /** The first block ever looked at; without it, the tip at the very first start. Later starts go on from the cursor. */
  startHeight?: number | undefined
  /** A tip older than this by its own time means a node that stands still: nothing expires on its word. */
  maxBlockAgeMs: number
  report: Report
  /** Monotonic milliseconds. */
  now?: () => number
}

export type Watcher = {
  /** One look at the chain: scan, deliver, stamp. Returns whether there is more to scan at once. */
  step: () => Promise<boolean>
  /** Steps until aborted; failures are logged and tried again. */
  run: (pollMs: number, signal: AbortSignal) => Promise<void>
  /** Milliseconds since the node named a current tip that is scanned now; Infinity before the first. */
  ageMs: () => number
}

type Scan = { askedAt: Date; tip: Tip; cursor: Cursor; hasMore: boolean }

export function createWatcher(options: WatcherOptions): Watcher {
  const { client, database, metrics, now = () => performance.now() } = options
  const { network } = client
  const deliver = createDelivery({ ...options, network, now })
  let freshAt = Number.NEGATIVE_INFINITY

  async function scan(): Promise<Scan> {
    // Read before the node is asked: whatever the chain held at this instant is in the tip it then names.
    const { now: askedAt, cursor: stored } = await readCursor(database, network)
    const tip = await client.getTip()
    const from = stored ?? (await createCursor(database, network, options.startHeight ?? tip.height))
    const cursor = await follow(options, from, tip)
    const lagBlocks = tip.height - cursor.scannedHeight
    metrics.isHalted.set({ network }, 0)
    metrics.tipHeight.set({ network }, tip.height)
    metrics.scannedHeight.set({ network }, cursor.scannedHeight)
    metrics.lagBlocks.set({ network }, lagBlocks)
    metrics.tipAge.set({ network }, (askedAt.getTime() - tip.minedAt.getTime()) / 1_000)
    return { askedAt, tip, cursor, hasMore: lagBlocks > 0 && cursor.scannedHeight !== from.scannedHeight }
  }

  async function step(): Promise<boolean> {
    const startedAt = now()
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

  return { step, run: (pollMs, signal) => runSteps(step, options, pollMs, signal), ageMs: () => now() - freshAt }
}

async function runSteps(
  step: Watcher['step'],
  { client: { network }, metrics, logger }: FollowOptions,
  pollMs: number,
  signal: AbortSignal,
): Promise<void> {
  let failures = 0
  while (!signal.aborted) {
    let waitMs = pollMs
    try {
      if (await step()) waitMs = 0
      failures = 0
    } catch (error) {
      failures += 1
      waitMs = Math.min(MAX_RETRY_MS, pollMs * 2 ** Math.min(failures, 16))
      metrics.failures.inc({ network })
      const message = error instanceof DeepReorgError ? error.message : 'a look at the chain failed'
      logger.error({ network, err: error, failures }, message)
    }
    await delay(waitMs, undefined, { signal }).catch(() => undefined)
  }
}
