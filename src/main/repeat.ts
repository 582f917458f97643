// Work that is done again: what comes round every so often, and what must succeed once.

import { setTimeout as delay } from 'node:timers/promises'

/** Back within seconds of whatever was away. */
const RETRY_FROM_MS = 200
const RETRY_TO_MS = 5_000

/** Acts at once and then every so often, until stopped. A turn that fails is told, and the next comes all the same. */
export async function repeat(
  act: () => Promise<unknown>,
  everyMs: number,
  signal: AbortSignal,
  onError: (error: unknown) => void,
): Promise<void> {
  while (!signal.aborted) {
    await act().catch(onError)
    await delay(everyMs, undefined, { signal }).catch(() => undefined)
  }
}

export type PersistOptions = {
  signal: AbortSignal
  /** May the same act succeed later, with nothing changed by a person? */
  isPassing: (error: unknown) => boolean
  /** Told of each failure that is followed by another try. */
  onRetry: (error: unknown) => void
  fromMs?: number
}

/**
 * Acts until it succeeds, with growing pauses.
 * @throws what will not pass by itself; the signal's reason, when stopped
 */
export async function persist<T>(act: () => Promise<T>, options: PersistOptions): Promise<T> {
  const { signal, isPassing, onRetry } = options
  for (let pauseMs = options.fromMs ?? RETRY_FROM_MS; ; pauseMs = Math.min(RETRY_TO_MS, pauseMs * 2)) {
    signal.throwIfAborted()
    try {
      return await act()
    } catch (error) {
      if (!isPassing(error)) throw error
      onRetry(error)
    }
    await delay(pauseMs, undefined, { signal }).catch(() => undefined)
  }
}
