// Waiting for something to become true, instead of sleeping for as long as it usually takes.

import { setTimeout as sleep } from 'node:timers/promises'

/** It only ends a wait for what will not come: machines that run tests are shared. */
const DEFAULT_WITHIN_MS = 30_000
const INTERVAL_MS = 20

/**
 * Asks `condition` again and again until it answers with something truthy, and returns that. An error counts as no.
 * @throws {Error} that shows the condition and its last error, when `withinMs` have passed
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  { withinMs = DEFAULT_WITHIN_MS }: { withinMs?: number } = {},
): Promise<NonNullable<T>> {
  const deadline = performance.now() + withinMs
  let cause: unknown
  for (;;) {
    try {
      const answer = await condition()
      if (answer) return answer
      cause = undefined
    } catch (error) {
      cause = error
    }
    if (performance.now() >= deadline)
      throw new Error(`not so within ${withinMs} ms: ${condition.toString()}`, { cause })
    await sleep(INTERVAL_MS)
  }
}
