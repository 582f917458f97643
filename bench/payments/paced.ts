// An open-loop load generator: calls begin at a steady rate, whether or not earlier ones have been answered.

import { setTimeout as sleep } from 'node:timers/promises'

const MAX_MESSAGES = 5

export type Paced = { tookMs: number[]; errors: number; messages: string[] }

/** Begins one call per item, at this rate, and waits for all of them. @param act what it throws is counted */
export async function runPaced<Item>(
  items: readonly Item[],
  ratePerS: number,
  act: (item: Item) => Promise<unknown>,
): Promise<Paced> {
  const paced: Paced = { tookMs: [], errors: 0, messages: [] }
  const call = async (item: Item): Promise<void> => {
    const start = performance.now()
    try {
      await act(item)
      paced.tookMs.push(performance.now() - start)
    } catch (error) {
      paced.errors += 1
      if (paced.messages.length < MAX_MESSAGES) paced.messages.push(String(error))
    }
  }
  const startedAt = performance.now()
  const open: Promise<void>[] = []
  for (const [at, item] of items.entries()) {
    const dueMs = (at / ratePerS) * 1_000 - (performance.now() - startedAt)
    if (dueMs > 0) await sleep(dueMs)
    open.push(call(item))
  }
  await Promise.all(open)
  return paced
}
