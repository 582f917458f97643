// Time-limited cache with single-flight loads: concurrent callers share one load.

import { runShared } from '../db/connection/ended.ts'

/**
 * Returns a function that loads a value and caches it for `forMs` from the start of the load. A failed load is not
 * cached.
 */
export function cachedFor<Value>(forMs: number, load: () => Promise<Value>): () => Promise<Value> {
  let loading: { value: Promise<Value>; beganAt: number } | undefined
  return () => {
    const now = performance.now()
    if (loading !== undefined && now - loading.beganAt < forMs) return loading.value
    const mine = { value: runShared(load), beganAt: now }
    loading = mine
    mine.value.catch(() => {
      if (loading === mine) loading = undefined
    })
    return mine.value
  }
}
