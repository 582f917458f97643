// Clears away what nobody may ask for again, a small transaction at a time: answers, and news that was delivered.

import { step } from './policy.ts'

/** Of each kind. A run ends here even where more is left: the next one goes on. */
const MAX_BATCHES = 1_000

/** Named after what it cleared first: schedules know it by that. @returns how many rows were removed */
export async function forgetAnswers(): Promise<number> {
  // New kinds come last: a run that has begun on older code then goes on with them.
  return (await forget('forgetAnswers')) + (await forget('forgetNotifications'))
}

async function forget(kind: 'forgetAnswers' | 'forgetNotifications'): Promise<number> {
  let forgotten = 0
  for (let batch = 0; batch < MAX_BATCHES; batch += 1) {
    const { count, isDone } = await step(kind)
    forgotten += count
    if (isDone) break
  }
  return forgotten
}
