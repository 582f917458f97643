// The loops of all processes: a turn that is repeated until the process stops, and an act that is retried until it
// succeeds. Every wait between two of them ends at once when the signal is aborted.
//
// Other loops are other ideas: polls of a child until it is ready or gone (servers), streams that yield what they read
// (grpc/health, cli/follow), a poll that many followers share and that stops without them (grpc/watch).

import { setTimeout as delay } from 'node:timers/promises'

/** Exponential back-off: the first wait and the longest one. */
export type BackOff = { fromMs: number; toMs: number }

/** For a neighbour that is away: found within seconds of its return. */
export const NEIGHBOUR_BACK_OFF: BackOff = { fromMs: 200, toMs: 5_000 }

/** Keeps the power finite; every range ends long before. */
const MAX_DOUBLINGS = 30

/** @param retries made before this wait: 0 gives the first wait */
export const backOffMs = (retries: number, { fromMs, toMs }: BackOff): number =>
  Math.min(toMs, fromMs * 2 ** Math.min(retries, MAX_DOUBLINGS))

/** Resolves after the time, or at once when the signal is aborted. */
async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (ms > 0) await delay(ms, undefined, signal && { signal }).catch(() => undefined)
}

export type RepeatOptions<Result> = {
  signal: AbortSignal
  /** From the end of one turn to the begin of the next. */
  everyMs: number
  /** Before the first turn. By default it begins within this call. */
  firstAfterMs?: number
  /** The wait after a good turn, by its result; 0 while there is more work. By default `everyMs`. */
  waitMs?: (result: Result) => number
  /** The wait after a failed turn, by how many have failed in a row. By default `everyMs`. */
  retryMs?: (failures: number) => number
  /** Called before each turn. */
  onTurn?: () => void
  /** Called after each failed turn. The loop goes on, unless this throws. */
  onError: (error: unknown, failures: number) => void
}

/** Takes turns until stopped; a turn that has begun is awaited. @throws what `onError` throws */
export async function repeat<Result>(turn: () => Promise<Result>, options: RepeatOptions<Result>): Promise<void> {
  const { signal, everyMs, waitMs = () => everyMs, retryMs = () => everyMs } = options
  let failures = 0
  if (options.firstAfterMs !== undefined) await pause(options.firstAfterMs, signal)
  while (!signal.aborted) {
    let ms: number
    options.onTurn?.()
    try {
      ms = waitMs(await turn())
      failures = 0
    } catch (error) {
      failures += 1
      options.onError(error, failures)
      ms = retryMs(failures)
    }
    await pause(ms, signal)
  }
}

export type RetryOptions = {
  signal?: AbortSignal
  /** Whether the same act may succeed later without an operator. */
  isTransient: (error: unknown) => boolean
  /** Called after each failure that is followed by another try. */
  onRetry?: (error: unknown) => void
  backOff?: BackOff
}

/**
 * Acts until it succeeds, with exponential back-off.
 * @throws the first error that is not transient; the signal's reason, when stopped
 */
export async function retry<T>(act: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { signal, isTransient, onRetry, backOff = NEIGHBOUR_BACK_OFF } = options
  for (let retries = 0; ; retries += 1) {
    signal?.throwIfAborted()
    try {
      return await act()
    } catch (error) {
      if (!isTransient(error)) throw error
      onRetry?.(error)
    }
    await pause(backOffMs(retries, backOff), signal)
  }
}
