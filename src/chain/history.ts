// Watches for a gap in the history of a node: a block far below its tip that it does not give, because it was pruned. The
// watcher never skips a block. It stops there and raises an alarm until a node gives the block, since a payment in a
// skipped block would never be seen.

import type { Logger } from '../telemetry.ts'
import type { ChainMetrics } from './metrics.ts'

/** One of several nodes behind an address may lack a block for a moment. After so many steps it is logged. */
const STEPS_BEFORE_WARNING = 4
/** A node behind another one lags by fewer blocks than this: a block so deep is not there any more. */
const HISTORY_DEPTH = 128

type Place = { height: number; tip: number }

export type HistoryWatch = {
  /** The node gave the next block, or has none above the scanned ones. */
  noteGiven: () => void
  /** The node did not give the block at a height up to its tip. */
  noteMissing: (place: Place) => void
}

export function createHistoryWatch(network: string, metrics: ChainMetrics, logger: Logger): HistoryWatch {
  /** Steps in a row in which the node did not give the next block, and its height. */
  let missed = 0
  let missing: number | undefined
  return {
    noteGiven: () => {
      missed = 0
      metrics.isHistoryGone.set({ network }, 0)
    },
    noteMissing: ({ height, tip }) => {
      missed = missing === height ? missed + 1 : 1
      missing = height
      const isGone = missed >= STEPS_BEFORE_WARNING && tip - height >= HISTORY_DEPTH
      metrics.isHistoryGone.set({ network }, isGone ? 1 : 0)
      if (!isWarningDue(missed)) return
      const place = { network, height, tip, missed }
      if (isGone) logger.error(place, 'the node no longer has a block: the watcher skips none, and stops here')
      else logger.warn(place, 'the node does not give a block')
    },
  }
}

/** After STEPS_BEFORE_WARNING in a row, and then after twice as many each time. */
export const isWarningDue = (steps: number): boolean =>
  steps >= STEPS_BEFORE_WARNING && Number.isInteger(Math.log2(steps))
