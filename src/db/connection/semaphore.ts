// Semaphore with a wait timeout: slonik's own pool lets its callers wait without limit.

import type { DatabasePool } from 'slonik'
import { DomainError, RETRY_HINT_MS } from '../../domain/failure.ts'
import { assertNotEnded } from './ended.ts'

/** All methods of a pool that take a connection. */
const CONNECTING_METHODS: ReadonlySet<string | symbol> = new Set(
  'any anyFirst exists many manyFirst maybeOne maybeOneFirst one oneFirst record query stream transaction connect'.split(
    ' ',
  ),
)

/** Wraps a pool so that `around` makes each call. */
export const wrapCalls = (
  pool: DatabasePool,
  around: (act: () => Promise<unknown>) => Promise<unknown>,
): DatabasePool =>
  new Proxy(pool, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      if (!CONNECTING_METHODS.has(name) || typeof value !== 'function') return value
      return (...args: unknown[]) => around(async () => Reflect.apply(value, target, args) as unknown)
    },
  })

/**
 * A semaphore for `width` concurrent calls, first come, first served. The function rejects with DATABASE_UNAVAILABLE if
 * its turn does not come within `waitMs`.
 */
export function createSemaphore(width: number, waitMs: number): <T>(act: () => Promise<T>) => Promise<T> {
  /** In order of arrival. */
  const waiting = new Set<() => void>()
  let free = width

  const enter = (): Promise<void> | undefined => {
    if (free > 0) return void (free -= 1)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.delete(takeTurn)
        reject(
          new DomainError('DATABASE_UNAVAILABLE', 'Too many calls wait for the database; try again.', {
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
      assertNotEnded()
      return await act()
    } finally {
      leave()
    }
  }
}

/** Wraps a pool so that callers wait for a connection for `waitMs` at most. */
export const withSemaphore = (pool: DatabasePool, width: number, waitMs: number): DatabasePool =>
  wrapCalls(pool, createSemaphore(width, waitMs))
