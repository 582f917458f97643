// Following orders: one look at the database for everything that is watched, whoever watches it (design rule 22).
// Followers keep only the newest standing, so a slow reader costs nothing and misses nothing that still holds.

import type { Database } from '../db/connection/pool.ts'
import { findMoved, type OrderStanding } from '../db/read.ts'

const INTERVAL_MS = 500

type Follower = {
  orderId: string
  version: bigint
  newest: OrderStanding | undefined
  failure: { error: unknown } | undefined
  notify: () => void
}

export type OrderWatch = {
  /** Standings later than `version`, until the signal. Rejects when the database cannot be read. */
  follow: (orderId: string, version: bigint, signal: AbortSignal) => AsyncGenerator<OrderStanding>
}

export function createOrderWatch(database: Pick<Database, 'run'>): OrderWatch {
  const followers = new Set<Follower>()
  let timer: NodeJS.Timeout | undefined

  async function look(): Promise<void> {
    try {
      const moved = new Map(
        (await findMoved(database, oldestVersions(followers))).map((standing) => [standing.orderId, standing]),
      )
      for (const follower of followers) {
        const standing = moved.get(follower.orderId)
        if (standing === undefined || standing.version <= follower.version) continue
        follower.version = standing.version
        follower.newest = standing
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

  async function* follow(orderId: string, version: bigint, signal: AbortSignal): AsyncGenerator<OrderStanding> {
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
