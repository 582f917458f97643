// Clears away answers that nobody may ask for again, a small transaction at a time.

import { step } from './policy.ts'

/** A run ends here even where more is left: the next one goes on. */
const MAX_BATCHES = 200

/** @returns how many answers were removed */
export async function forgetAnswers(): Promise<number> {
  let forgotten = 0
  for (let batch = 0; batch < MAX_BATCHES; batch += 1) {
    const { count, isDone } = await step('forgetAnswers')
    forgotten += count
    if (isDone) break
  }
  return forgotten
}
