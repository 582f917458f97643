// Batches reads of orders: at most one statement at a time serves all pages and streams of the process, so that they
// never hold more than one database session. One order is read once, however many look at it.

import { setTimeout as delay } from 'node:timers/promises'
import type { PaymentFacts } from '../db/payment_page.ts'

/** Reads that arrive within this time share a statement. */
const GATHER_MS = 20
/** Orders per statement; the others wait for the next. */
const MAX_BATCH = 500

type Waiting = {
  promise: Promise<PaymentFacts | undefined>
  resolve: (facts: PaymentFacts | undefined) => void
  reject: (error: unknown) => void
}

export type FindFacts = (orderId: string) => Promise<PaymentFacts | undefined>

/** @param findAll one statement */
export function createFactsReader(
  findAll: (orderIds: readonly string[]) => Promise<readonly PaymentFacts[]>,
  gatherMs = GATHER_MS,
): FindFacts {
  const waiting = new Map<string, Waiting>()
  let isRunning = false

  async function run(): Promise<void> {
    isRunning = true
    while (waiting.size > 0) {
      await delay(gatherMs)
      const batch = [...waiting].slice(0, MAX_BATCH)
      for (const [orderId] of batch) waiting.delete(orderId)
      try {
        const found = new Map((await findAll(batch.map(([orderId]) => orderId))).map((facts) => [facts.orderId, facts]))
        for (const [orderId, { resolve }] of batch) resolve(found.get(orderId))
      } catch (error) {
        for (const [, { reject }] of batch) reject(error)
      }
    }
    isRunning = false
  }

  return (orderId) => {
    const known = waiting.get(orderId)
    if (known !== undefined) return known.promise
    const mine: Waiting = Promise.withResolvers<PaymentFacts | undefined>()
    waiting.set(orderId, mine)
    if (!isRunning) void run()
    return mine.promise
  }
}
