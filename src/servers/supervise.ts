// Supervisor of one child of a development stack: restarts it after a crash or a kill, with exponential back-off while
// that fails. In production the platform's supervisor does this.

import { setTimeout as sleep } from 'node:timers/promises'
import { backOffMs, NEIGHBOUR_BACK_OFF } from '../repeat.ts'
import type { Child } from './child.ts'

/** A child that ran this long has started well: the back-off is reset. */
const PROVEN_AFTER_MS = 10_000

export type Supervised<C extends Child = Child> = {
  readonly name: string
  /** The running child; undefined while it is down. */
  readonly current: () => C | undefined
  /** Starts it and resolves once it is ready. @throws what the first start threw; later starts are retried */
  readonly start: () => Promise<C>
  /** Stops it in order. It stays down until `start`. */
  readonly stop: () => Promise<void>
  /** Kills it as a crash would. The supervision restarts it. */
  readonly kill9: () => Promise<void>
  /** Resolves once it is up. */
  readonly ready: () => Promise<void>
}

/**
 * @param launch starts a child and resolves once it is ready
 * @param log called when the child has ended unexpectedly, and when it is back
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
  /** Resolves when the start under way has succeeded or failed. */
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
    // A start under way cannot be cancelled: it is awaited, and its child stopped.
    await coming
    await child?.stop()
  }

  const isComing = (): boolean => child === undefined && isWanted

  async function ready(): Promise<void> {
    while (isComing()) await coming
  }

  return { name, current: () => child, start, stop, kill9: async () => child?.kill9(), ready }
}
