// Pseudonyms of peer addresses for the audit: a keyed hash, the same for one address, that reveals the address only
// with the key. A plain hash could be reversed by trying all addresses.

import { createHmac } from 'node:crypto'
import { createExpiringCache } from './cache.ts'
import { contextOf } from './seal.ts'

/** One entry per connection of some hundred bytes. */
const CAPACITY = 1_000
const LIFE_MS = 60_000

/** Creates `peerHashOf(address)`, in hexadecimal, for addresses in canonical form (grpc/peer.ts). The secret may have other uses: each has its own context. */
export function createPeerHash(secret: Buffer): (address: string) => string {
  // One hash per connection, not per call.
  const known = createExpiringCache<string>({ capacity: CAPACITY, now: Date.now })
  return (address) => {
    const before = known.find(address)
    if (before !== undefined) return before
    const hash = createHmac('sha256', secret)
      .update(contextOf(['holdfast peer', address]))
      .digest('hex')
    known.put(address, hash, Date.now() + LIFE_MS)
    return hash
  }
}
