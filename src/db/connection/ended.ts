// Calls that have ended: their statements are not sent any more. A read that waits for a session while its caller hangs
// up, or runs out of time, would only keep others waiting.

import { AsyncLocalStorage } from 'node:async_hooks'
import { DomainError } from '../../domain/failure.ts'

const signals = new AsyncLocalStorage<AbortSignal>()

/** Runs `work` so that its statements are sent only until the signal. Within it, batches and shared loads need `runShared`. */
export const untilEnded = <T>(signal: AbortSignal, work: () => T): T => signals.run(signal, work)

const NEVER = new AbortController().signal

/** Runs `work` for all who wait for its result: it does not end with the call that happened to begin it. */
export const runShared = <T>(work: () => T): T => signals.run(NEVER, work)

/** Throws DEADLINE_EXCEEDED if the call on whose behalf this runs has ended. */
export function assertNotEnded(): void {
  if (signals.getStore()?.aborted === true)
    throw new DomainError('DEADLINE_EXCEEDED', 'The call ended before the database was asked.')
}
