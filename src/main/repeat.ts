import { setTimeout as delay } from 'node:timers/promises'

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
