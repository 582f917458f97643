// Keeps one child of a development stack running: when it ends by itself or is killed, it is started again, with
// growing pauses while that fails. Production leaves this to its own supervisor.

import { setTimeout as sleep } from 'node:timers/promises'
import { backOffMs, NEIGHBOUR_BACK_OFF } from '../repeat.ts'
import type { Child } from './child.ts'

/** A child that ran this long had nothing wrong with its start: the pauses begin anew. */
const PROVEN_AFTER_MS = 10_000

export type Supervised<C extends Child = Child> = {
  readonly name: string
  /** The running child; undefined while it is down. */
  readonly current: () => C | undefined
  /** Starts it and resolves once it is ready. @throws what the first start threw; later ones are tried again */
  readonly start: () => Promise<C>
  /** Ends it in order; it stays down until `start`. */
  readonly stop: () => Promise<void>
  /** Ends it as a crash would, and leaves its return to the supervision. */
  readonly kill9: () => Promise<void>
  /** Resolves once it is up, at once where it is. */
  readonly ready: () => Promise<void>
}

/**
 * @param launch starts a child and resolves once it is ready
 * @param log told when the child ended unasked, and when it is back
 */
export function supervise<C extends Child>(
  name: string,
  launch: () => Promise<C>,
  log: (line: string) => void,
): Supervised<C> {
  let child: C | undefined
  let isWanted = false
  /** Restarts since one was proven. */
  let restarts = 0
  /** Settles when the start under way has ended, for better or worse. */
  let coming: Promise<void> = Promise.resolve()
  let pause = new AbortController()

  async function start(): Promise<C> {
    if (child !== undefined) return child
    isWanted = true
    pause = new AbortController()
    const first = launch().then(adopt)
    coming = first.then(
      () => undefined,
      () => void (isWanted = false),
    )
    return first
  }

  function adopt(started: C): C {
    child = started
    void watch(started)
    return started
  }

  async function watch({ exited }: C): Promise<void> {
    const startedAt = performance.now()
    const { code, signal } = await exited
    child = undefined
    if (performance.now() - startedAt > PROVEN_AFTER_MS) restarts = 0
    if (!isWanted) return
    log(`${name} ended (${signal ?? `exit ${code}`}) and is started again`)
    coming = revive()
  }

  async function revive(): Promise<void> {
    for (;;) {
      await sleep(backOffMs(restarts, NEIGHBOUR_BACK_OFF), undefined, { signal: pause.signal }).catch(() => undefined)
      if (!isWanted) return
      restarts += 1
      try {
        adopt(await launch())
        log(`${name} is back`)
        return
      } catch (error) {
        log(`${name} did not come back: ${error instanceof Error ? error.message : 'unknown error'}`)
      }
    }
  }

  async function stop(): Promise<void> {
    isWanted = false
    pause.abort()
    // A start under way cannot be taken back: it is awaited, and what it started is stopped.
    await coming
    await child?.stop()
  }

  const isComing = (): boolean => child === undefined && isWanted

  async function ready(): Promise<void> {
    while (isComing()) await coming
  }

  return { name, current: () => child, start, stop, kill9: async () => child?.kill9(), ready }
}
