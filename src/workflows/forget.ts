// Scheduled clean-up of expired idempotency answers, old delivered notifications and security events, in small transactions.

import { step } from './policy.ts'

/** Per kind of row. What is left after them is removed by the next run. */
const MAX_BATCHES = 1_000

/** Named after the first kind it removed, since schedules refer to it by this name. @returns the number of removed rows */
export async function forgetAnswers(): Promise<number> {
  // New kinds come last: a run that began on older code then continues with them.
  const forgotten = (await forget('forgetAnswers')) + (await forget('forgetNotifications'))
  return forgotten + (await forget('forgetSecurityEvents'))
}

async function forget(kind: 'forgetAnswers' | 'forgetNotifications' | 'forgetSecurityEvents'): Promise<number> {
  let forgotten = 0
  for (let batch = 0; batch < MAX_BATCHES; batch += 1) {
    const { count, isDone } = await step(kind)
    forgotten += count
    if (isDone) break
  }
  return forgotten
}
