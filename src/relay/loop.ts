// The one loop of all relays: claim a batch, pass each item on, at once again while there is work, else after a pause.

import { setTimeout as delay } from 'node:timers/promises'
import { isDatabaseDown } from '../db/connection/pool.ts'
import type { Counter, Gauge, Logger } from '../telemetry.ts'

export const IDLE_MS = 50
const DOWN_FROM_MS = 200
const DOWN_TO_MS = 5_000
/** First wait after a failed item; doubles per attempt. */
const RETRY_FROM_MS = 100
/** What was refused by a neighbour that is down is passed on within ten seconds of its return. */
const RETRY_TO_MS = 10_000

export type RelayMetrics = {
  passed: Counter<'relay'>
  failed: Counter<'relay'>
  lastSuccess: Gauge<'relay'>
  /** Told of every turn that begins, whatever becomes of it. */
  turned?: (relay: string) => void
}

export type Relay = { stop: () => Promise<void> }

/**
 * @param deps.turn claims and passes on one batch; says how many it claimed and how many a full batch holds
 * @param deps.idleMs how long to pause while there is no full batch; longer where nothing waits for it
 */
export function startLoop(deps: {
  name: string
  logger: Logger
  metrics: RelayMetrics
  turn: () => Promise<{ claimed: number; limit: number }>
  idleMs?: () => number
}): Relay {
  const stopping = new AbortController()
  const pause = (ms: number): Promise<void> => delay(ms, undefined, { signal: stopping.signal }).catch(() => undefined)

  async function run(): Promise<void> {
    let downMs = DOWN_FROM_MS
    while (!stopping.signal.aborted) {
      deps.metrics.turned?.(deps.name)
      try {
        const { claimed, limit } = await deps.turn()
        downMs = DOWN_FROM_MS
        deps.metrics.lastSuccess.set({ relay: deps.name }, Date.now() / 1_000)
        if (claimed < limit) await pause(deps.idleMs?.() ?? IDLE_MS)
      } catch (error) {
        deps.logger.warn({ relay: deps.name, err: error, isDatabaseDown: isDatabaseDown(error) }, 'relay turn failed')
        await pause(downMs)
        downMs = Math.min(DOWN_TO_MS, downMs * 2)
      }
    }
  }

  const running = run()
  return {
    stop: async () => {
      stopping.abort()
      await running
    },
  }
}

/** Wait before an item's next try: doubling with jitter, so that a crowd that failed together does not return together. */
export const retryDelayMs = (attempts: number): number =>
  Math.min(RETRY_TO_MS, RETRY_FROM_MS * 2 ** Math.min(attempts, 16)) * (0.5 + Math.random() / 2)

/** Runs `act` over items, at most `width` at a time. `act` must not throw. */
export async function forEachBounded<Item>(
  items: readonly Item[],
  width: number,
  act: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values()
  const worker = async (): Promise<void> => {
    for (const item of queue) await act(item)
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker))
}
