// Where a call came from, for the audit: a keyed hash that is the same for one address and tells it to nobody without
// the key. A bare hash of an address could be undone by trying them all.

import { createHmac } from 'node:crypto'
import { createExpiringCache } from './cache.ts'
import { contextOf } from './seal.ts'

/** IPv4 as sockets for both families write it. */
const MAPPED = /^::ffff:(?=\d+\.)/i

/** One per connection is plenty, and some hundred bytes each. */
const CAPACITY = 1_000
const LIFE_MS = 60_000

/** Gives `peerHashOf(address)`, in hex. The secret may serve other purposes too: each has a context of its own. */
export function createPeerHash(secret: Buffer): (address: string) => string {
  // A hash per connection, not per call.
  const known = createExpiringCache<string>({ capacity: CAPACITY, now: Date.now })
  return (address) => {
    const before = known.find(address)
    if (before !== undefined) return before
    const hash = createHmac('sha256', secret)
      .update(contextOf(['holdfast peer', address.replace(MAPPED, '')]))
      .digest('hex')
    known.put(address, hash, Date.now() + LIFE_MS)
    return hash
  }
}
