// Where a call came from, for the audit: a keyed hash that is the same for one address and tells it to nobody without
// the key. A bare hash of an address could be undone by trying them all.

import { createHmac } from 'node:crypto'
import { contextOf } from './seal.ts'

/** IPv4 as sockets for both families write it. */
const MAPPED = /^::ffff:(?=\d+\.)/i

/** Gives `peerHashOf(address)`, in hex. The secret may serve other purposes too: each has a context of its own. */
export const createPeerHash =
  (secret: Buffer) =>
  (address: string): string =>
    createHmac('sha256', secret)
      .update(contextOf(['holdfast peer', address.replace(MAPPED, '')]))
      .digest('hex')
