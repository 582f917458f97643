// At most so many at a time, and nobody waits for long: slonik's own pool lets its callers wait without end.

import type { DatabasePool } from 'slonik'
import { DomainError, RETRY_HINT_MS } from '../../domain/failure.ts'

/** Every way to take a connection of a pool. */
const DOORS: ReadonlySet<string | symbol> = new Set(
  'any anyFirst exists many manyFirst maybeOne maybeOneFirst one oneFirst record query stream transaction connect'.split(
    ' ',
  ),
)

/** The same pool, each of whose calls is made by `around`. */
export const wrapCalls = (
  pool: DatabasePool,
  around: (act: () => Promise<unknown>) => Promise<unknown>,
): DatabasePool =>
  new Proxy(pool, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      if (!DOORS.has(name) || typeof value !== 'function') return value
      return (...args: unknown[]) => around(async () => Reflect.apply(value, target, args) as unknown)
    },
  })

/**
 * Lets `width` calls through at a time, those that came first before the others.
 * The function rejects with DATABASE_UNAVAILABLE when its turn has not come within `waitMs`.
 */
export function createGate(width: number, waitMs: number): <T>(act: () => Promise<T>) => Promise<T> {
  /** In the order of coming. */
  const waiting = new Set<() => void>()
  let free = width

  const enter = (): Promise<void> | undefined => {
    if (free > 0) return void (free -= 1)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.delete(takeTurn)
        reject(
          new DomainError('DATABASE_UNAVAILABLE', 'Too many calls want the database; try again.', {
            retryAfterMs: RETRY_HINT_MS.outage,
          }),
        )
      }, waitMs)
      const takeTurn = (): void => {
        clearTimeout(timer)
        resolve()
      }
      waiting.add(takeTurn)
    })
  }
  const leave = (): void => {
    const [next] = waiting
    if (next === undefined) return void (free += 1)
    waiting.delete(next)
    next()
  }

  return async (act) => {
    await enter()
    try {
      return await act()
    } finally {
      leave()
    }
  }
}

/** The same pool, whose callers wait for one of its connections no longer than that. */
export const withGate = (pool: DatabasePool, width: number, waitMs: number): DatabasePool =>
  wrapCalls(pool, createGate(width, waitMs))
