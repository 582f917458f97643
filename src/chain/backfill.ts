// Progress of a backfill: how many blocks are left after a time without the watcher, how fast they become fewer, and
// when the tip is reached at that rate. New blocks of the chain count against the rate.

import type { Logger } from '../telemetry.ts'
import type { ChainMetrics } from './metrics.ts'

/** More blocks left than this are a backfill. Ethereum makes as many in ten minutes. */
const BACKFILL_BLOCKS = 50
/** How often the rate is measured and logged. */
const EVERY_MS = 30_000

type Mark = { atMs: number; left: number }

/** Makes the function that is called after each step. `now`: monotonic milliseconds. */
export function createBackfillProgress({
  network,
  metrics,
  logger,
  now,
}: {
  network: string
  metrics: ChainMetrics
  logger: Logger
  now: () => number
}): (place: { height: number; tip: number }) => void {
  let first: (Mark & { height: number }) | undefined
  let last: Mark | undefined

  return ({ height, tip }) => {
    const left = Math.max(0, tip - height)
    const atMs = now()
    if (left === 0 || (first === undefined && left <= BACKFILL_BLOCKS)) {
      metrics.backfillEta.set({ network }, 0)
      if (first !== undefined)
        logger.info({ network, height, blocks: height - first.height, tookS: secondsSince(first, atMs) }, 'caught up')
      first = undefined
      return
    }
    if (first === undefined || last === undefined) {
      first = { atMs, left, height }
      last = first
      metrics.backfillEta.set({ network }, Infinity)
      logger.info({ network, height, tip, left }, 'blocks are read that came while no watcher was there')
      return
    }
    if (atMs - last.atMs < EVERY_MS) return
    const perSecond = ((last.left - left) * 1_000) / (atMs - last.atMs)
    const etaS = perSecond > 0 ? Math.ceil(left / perSecond) : Infinity
    last = { atMs, left }
    metrics.backfillEta.set({ network }, etaS)
    // JSON has no number for «never».
    const eta = Number.isFinite(etaS) ? { etaS } : { isGrowing: true }
    logger.info({ network, height, tip, left, perSecond: Math.round(perSecond * 10) / 10, ...eta }, 'catching up')
  }
}

const secondsSince = ({ atMs }: Mark, nowMs: number): number => Math.round((nowMs - atMs) / 1_000)
