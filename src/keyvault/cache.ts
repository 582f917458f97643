// Expiring LRU cache of verified or decrypted values. It is bounded, and a periodic sweep evicts expired values even if
// they are never read again.

const SWEEP_EVERY_MS = 5_000

export type ExpiringCache<Value> = {
  find: (key: string) => Value | undefined
  put: (key: string, value: Value, endsAtMs: number) => void
  clear: () => void
}

export type ExpiringCacheOptions<Value> = {
  capacity: number
  now: () => number
  /** Called for each evicted value, whatever the cause. */
  onEvict?: (value: Value) => void
}

export function createExpiringCache<Value>(options: ExpiringCacheOptions<Value>): ExpiringCache<Value> {
  const entries = new Map<string, { value: Value; endsAtMs: number }>()
  let sweeper: NodeJS.Timeout | undefined

  const evict = (key: string): void => {
    const entry = entries.get(key)
    if (entry === undefined) return
    entries.delete(key)
    options.onEvict?.(entry.value)
  }
  const sweep = (): void => {
    for (const [key, entry] of entries) if (entry.endsAtMs <= options.now()) evict(key)
    if (entries.size > 0) return
    clearInterval(sweeper)
    sweeper = undefined
  }

  return {
    find: (key) => {
      const entry = entries.get(key)
      if (entry === undefined) return undefined
      if (entry.endsAtMs <= options.now()) return void evict(key)
      // A Map keeps insertion order: moving an entry to the end makes the first one the least recently used.
      entries.delete(key)
      entries.set(key, entry)
      return entry.value
    },
    put: (key, value, endsAtMs) => {
      evict(key)
      const [oldest] = entries.keys()
      if (entries.size >= options.capacity && oldest !== undefined) evict(oldest)
      entries.set(key, { value, endsAtMs })
      sweeper ??= setInterval(sweep, SWEEP_EVERY_MS).unref()
    },
    clear: () => {
      for (const key of [...entries.keys()]) evict(key)
      sweep()
    },
  }
}
