// Waits for stock that only has to be given back. One reclaim per product at a time, whoever waits for it, and a few
// products at once, so that one whose rows are locked does not keep the others.

import { setTimeout as delay } from 'node:timers/promises'
import { createGate } from './gate.ts'
import type { Database } from './pool.ts'
import { reclaimHolds } from './sweep.ts'

/** Sessions of the order path that reclaims may take at once. */
const WIDTH = 2
const MAX_TURN_WAIT_MS = 1_000
/** Before the next look when nothing could be given back: another session has the rows. Half of it to all of it. */
const PAUSE_MS = 50

export type Reclaimer = {
  /** Resolves when it is worth deciding again: something came back, or a pause is over. Never rejects. */
  reclaim: (productIds: Iterable<string>) => Promise<void>
}

export function createReclaimer(database: Pick<Database, 'run'>): Reclaimer {
  const gate = createGate(WIDTH, MAX_TURN_WAIT_MS)
  const running = new Map<string, Promise<void>>()

  async function reclaimOne(productId: string): Promise<void> {
    // What fails here, the decision that follows says better.
    const ended = await gate(() => reclaimHolds(database, productId)).catch(() => 0)
    if (ended === 0) await delay(PAUSE_MS * (0.5 + Math.random() / 2))
  }

  const join = (productId: string): Promise<void> => {
    const known = running.get(productId)
    if (known !== undefined) return known
    const begun = reclaimOne(productId).finally(() => running.delete(productId))
    running.set(productId, begun)
    return begun
  }

  return { reclaim: async (productIds) => void (await Promise.all([...productIds].map(join))) }
}

/** Whether `promise` resolves within so many milliseconds. */
export async function isWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  const stopping = new AbortController()
  const late = delay(Math.max(0, ms), false, { signal: stopping.signal }).catch(() => false)
  try {
    return await Promise.race([promise.then(() => true), late])
  } finally {
    stopping.abort()
  }
}
