// The loop of all relays: claims a batch and passes each item on; again at once while batches are full, else after a
// pause.

import { isDatabaseDown } from '../db/connection/pool.ts'
import { backOffMs, NEIGHBOUR_BACK_OFF, repeat, type BackOff, type RepeatOptions } from '../repeat.ts'
import type { Counter, Gauge, Logger } from '../telemetry.ts'

export const IDLE_MS = 50
/** Of a failed item: it is passed on within ten seconds of the return of the system that refused it. */
const ITEM_BACK_OFF: BackOff = { fromMs: 100, toMs: 10_000 }

export type RelayMetrics = {
  passed: Counter<'relay'>
  failed: Counter<'relay'>
  lastSuccess: Gauge<'relay'>
  /** Called at the begin of each turn. */
  turned?: (relay: string) => void
}

/** `stop` begins no other turn, and resolves when the present one has ended. */
export type Relay = { stop: () => Promise<void> }

/** Repeats a turn until `stop`. */
export function startTurns<Result>(turn: () => Promise<Result>, options: Omit<RepeatOptions<Result>, 'signal'>): Relay {
  const stopping = new AbortController()
  const running = repeat(turn, { ...options, signal: stopping.signal })
  return {
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}

/**
 * @param deps.turn claims and passes on one batch; `claimed` of at most `limit` items
 * @param deps.idleMs the pause after a batch that was not full; longer where nothing urgent waits
 */
export function startLoop(deps: {
  name: string
  logger: Logger
  metrics: RelayMetrics
  turn: () => Promise<{ claimed: number; limit: number }>
  idleMs?: () => number
}): Relay {
  const { name, logger, metrics, idleMs = () => IDLE_MS } = deps
  const turn = async (): Promise<{ isFull: boolean }> => {
    const { claimed, limit } = await deps.turn()
    metrics.lastSuccess.set({ relay: name }, Date.now() / 1_000)
    return { isFull: claimed >= limit }
  }
  return startTurns(turn, {
    everyMs: IDLE_MS,
    waitMs: ({ isFull }) => (isFull ? 0 : idleMs()),
    retryMs: (failures) => backOffMs(failures - 1, NEIGHBOUR_BACK_OFF),
    onTurn: () => metrics.turned?.(name),
    onError: (error) =>
      logger.warn({ relay: name, err: error, isDatabaseDown: isDatabaseDown(error) }, 'relay turn failed'),
  })
}

/** Wait before an item's next try: exponential back-off with jitter, so that items that failed together spread out. */
export const retryDelayMs = (attempts: number): number => backOffMs(attempts, ITEM_BACK_OFF) * (0.5 + Math.random() / 2)
