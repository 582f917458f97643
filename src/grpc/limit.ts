// Token buckets in memory, one per key, with a bounded number of keys.

import { WINDOW_MS } from '../domain/limit.ts'

/** Users, or addresses, that are remembered per class. A forgotten one starts with a full bucket. */
export const MAX_KEYS = 50_000

export type BucketOptions = {
  /** Calls in 60 s; as many may be made at once. */
  perMinute: number
  maxKeys?: number
  /** Monotonic milliseconds. */
  now?: () => number
}

type Bucket = { tokens: number; at: number }

export type Buckets = {
  /** Takes one token. @returns 0, or how many milliseconds until there is one */
  take: (key: string) => number
  /** Gives back a token that was taken. */
  giveBack: (key: string) => void
  size: () => number
}

export function createBuckets({
  perMinute,
  maxKeys = MAX_KEYS,
  now = () => performance.now(),
}: BucketOptions): Buckets {
  const perMs = perMinute / WINDOW_MS
  // Two generations approximate LRU in constant time: a key that is used moves to the young one, and the old one is
  // dropped when the young one is full.
  let young = new Map<string, Bucket>()
  let old = new Map<string, Bucket>()

  function take(key: string): number {
    const at = now()
    const known = young.get(key) ?? old.get(key)
    const tokens = known === undefined ? perMinute : Math.min(perMinute, known.tokens + (at - known.at) * perMs)
    const isTaken = tokens >= 1
    keep(key, { tokens: isTaken ? tokens - 1 : tokens, at })
    return isTaken ? 0 : Math.ceil((1 - tokens) / perMs)
  }

  function giveBack(key: string): void {
    const known = young.get(key) ?? old.get(key)
    if (known !== undefined) known.tokens = Math.min(perMinute, known.tokens + 1)
  }

  function keep(key: string, bucket: Bucket): void {
    if (!young.has(key) && young.size >= maxKeys / 2) {
      old = young
      young = new Map()
    }
    young.set(key, bucket)
  }

  return { take, giveBack, size: () => young.size + old.size }
}

/** Counts what is in progress per key; keys with nothing in progress take no memory. */
export function createInFlight() {
  const counts = new Map<string, number>()
  return {
    /** @returns whether there was room */
    enter: (key: string, max: number): boolean => {
      const count = counts.get(key) ?? 0
      if (count >= max) return false
      counts.set(key, count + 1)
      return true
    },
    leave: (key: string): void => {
      const count = (counts.get(key) ?? 0) - 1
      if (count > 0) counts.set(key, count)
      else counts.delete(key)
    },
    size: () => counts.size,
  }
}
