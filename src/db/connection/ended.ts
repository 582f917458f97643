// Calls that have ended: their statements are not sent any more, and those that run are cut off. A read that goes on while
// its caller hangs up, or runs out of time, would only keep others waiting.

import { AsyncLocalStorage } from 'node:async_hooks'
import { DomainError } from '../../domain/failure.ts'

const signals = new AsyncLocalStorage<AbortSignal>()

/** Runs `work` so that its statements are sent only until the signal. Within it, batches and shared loads need `runShared`. */
export const untilEnded = <T>(signal: AbortSignal, work: () => T): T => signals.run(signal, work)

/** Runs `work` for all who wait for its result: it does not end with the call that happened to begin it. */
export const runShared = <T>(work: () => T): T => signals.exit(work)

/** Throws DEADLINE_EXCEEDED if the call on whose behalf this runs has ended. */
export function assertNotEnded(): void {
  if (signals.getStore()?.aborted === true)
    throw new DomainError('DEADLINE_EXCEEDED', 'The call ended before the database was asked.')
}

/**
 * Calls `cut` if the call on whose behalf this runs ends, and `graceMs` pass before the returned function is called. The
 * grace keeps callers with very short deadlines from costing a session each.
 */
export function cutOnceEnded(cut: () => void, graceMs: number): () => void {
  const signal = signals.getStore()
  if (signal === undefined) return () => undefined
  let timer: NodeJS.Timeout | undefined
  const start = (): void => void (timer = setTimeout(cut, graceMs))
  signal.addEventListener('abort', start, { once: true })
  if (signal.aborted) start()
  return () => {
    signal.removeEventListener('abort', start)
    clearTimeout(timer)
  }
}
