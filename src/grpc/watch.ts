// Watches orders: one database query serves all watched orders and all followers (design rule 22). A follower buffers
// only the newest snapshot, so a slow reader costs nothing and never misses the latest state.

import type { Database } from '../db/connection/pool.ts'
import { findChangedOrders, type OrderSnapshot } from '../db/read.ts'

const INTERVAL_MS = 500

type Follower = {
  orderId: string
  version: bigint
  newest: OrderSnapshot | undefined
  failure: { error: unknown } | undefined
  notify: () => void
}

export type OrderWatch = {
  /** Snapshots newer than `version`, until the signal. Rejects if the database cannot be read. */
  follow: (orderId: string, version: bigint, signal: AbortSignal) => AsyncGenerator<OrderSnapshot>
}

export function createOrderWatch(database: Pick<Database, 'run'>): OrderWatch {
  const followers = new Set<Follower>()
  let timer: NodeJS.Timeout | undefined

  async function look(): Promise<void> {
    try {
      const changed = new Map(
        (await findChangedOrders(database, oldestVersions(followers))).map((snapshot) => [snapshot.orderId, snapshot]),
      )
      for (const follower of followers) {
        const snapshot = changed.get(follower.orderId)
        if (snapshot === undefined || snapshot.version <= follower.version) continue
        follower.version = snapshot.version
        follower.newest = snapshot
        follower.notify()
      }
    } catch (error) {
      for (const follower of followers) {
        follower.failure = { error }
        follower.notify()
      }
    }
    timer = followers.size > 0 ? setTimeout(() => void look(), INTERVAL_MS) : undefined
  }

  async function* follow(orderId: string, version: bigint, signal: AbortSignal): AsyncGenerator<OrderSnapshot> {
    const follower: Follower = { orderId, version, newest: undefined, failure: undefined, notify: () => undefined }
    const wake = (): void => follower.notify()
    signal.addEventListener('abort', wake)
    followers.add(follower)
    timer ??= setTimeout(() => void look(), INTERVAL_MS)
    try {
      while (!signal.aborted) {
        if (follower.failure !== undefined) throw follower.failure.error
        const { newest } = follower
        follower.newest = undefined
        if (newest === undefined) await new Promise<void>((resolve) => (follower.notify = resolve))
        else yield newest
      }
    } finally {
      followers.delete(follower)
      signal.removeEventListener('abort', wake)
    }
  }

  return { follow }
}

function oldestVersions(followers: Iterable<Follower>): { orderId: string; version: bigint }[] {
  const versions = new Map<string, bigint>()
  for (const { orderId, version } of followers) {
    const known = versions.get(orderId)
    if (known === undefined || version < known) versions.set(orderId, version)
  }
  return [...versions].map(([orderId, version]) => ({ orderId, version }))
}
