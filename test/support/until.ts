// Polls for a condition: tests wait with `until` instead of sleeping for a fixed time.

import { setTimeout as sleep } from 'node:timers/promises'

/** Only limits a wait for a condition that never holds; long, because machines that run tests are shared. */
const DEFAULT_WITHIN_MS = 120_000
const INTERVAL_MS = 20
/** The deadline of a test's calls, unless a test is about deadlines. The front lets no call take longer. */
export const CALL_WITHIN_MS = 60_000

/**
 * Polls `condition` until it returns a truthy value, and returns that value. An error counts as false.
 * @throws {Error} that shows the condition and its last error, after `withinMs`
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
      throw new Error(`condition not met within ${withinMs} ms: ${condition.toString()}`, { cause })
    await sleep(INTERVAL_MS)
  }
}
