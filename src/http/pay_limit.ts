// Limits of the payment page: a token bucket of requests per address, a number of connections per address, and of open
// streams per link, per address and in all. Behind a trusted proxy that does not name its client, only what counts in all applies.

import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { addressKeyOf } from '../grpc/address_key.ts'
import { createBuckets, createInFlight } from '../grpc/limit.ts'
import { FORWARDED_KEY, type PeerOf } from '../grpc/peer.ts'

export type PayBounds = {
  /** Pages, streams and files in a minute, per address. A page that reloads itself makes four. */
  requestsPerMinute: number
  streams: number
  /** Several devices, and one that has not noticed its end. */
  streamsPerLink: number
  /** People behind one address. */
  streamsPerAddress: number
  connections: number
  connectionsPerAddress: number
}
export const PAY_BOUNDS: PayBounds = {
  requestsPerMinute: 300,
  streams: 1_000,
  streamsPerLink: 8,
  streamsPerAddress: 32,
  connections: 4_000,
  connectionsPerAddress: 128,
}

export type PayLimits = {
  /** @returns 0, or how many milliseconds until the next request is admitted */
  take: (request: IncomingMessage) => number
  /** Enters a stream. @returns the function that leaves it; undefined where there is no room */
  enterStream: (request: IncomingMessage, orderId: string) => (() => void) | undefined
  openStreams: () => number
  /** Enters a connection, which leaves when it closes. @returns whether there was room */
  enterConnection: (socket: Socket) => boolean
}

export function createPayLimits(bounds: PayBounds, peerOf: PeerOf, isProxy: (address: string) => boolean): PayLimits {
  const buckets = createBuckets({ perMinute: bounds.requestsPerMinute })
  const inFlight = createInFlight()
  let streams = 0

  /** Undefined for an address that stands for many. */
  function addressOf({ socket, headers }: IncomingMessage): string | undefined {
    const forwarded = headers[FORWARDED_KEY]
    const peer = peerOf(socket.remoteAddress, forwarded === undefined ? [] : [forwarded].flat())
    return !peer.isKnown || isProxy(peer.address) ? undefined : addressKeyOf(peer.address)
  }

  return {
    take: (request) => {
      const address = addressOf(request)
      return address === undefined ? 0 : buckets.take(address)
    },
    enterStream: (request, orderId) => {
      if (streams >= bounds.streams) return undefined
      const link = `link|${orderId}`
      if (!inFlight.enter(link, bounds.streamsPerLink)) return undefined
      const address = addressOf(request)
      const host = `address|${address}`
      if (address !== undefined && !inFlight.enter(host, bounds.streamsPerAddress)) {
        inFlight.leave(link)
        return undefined
      }
      streams += 1
      return () => {
        streams -= 1
        inFlight.leave(link)
        if (address !== undefined) inFlight.leave(host)
      }
    },
    openStreams: () => streams,
    enterConnection: (socket) => {
      const { remoteAddress = '' } = socket
      if (isProxy(remoteAddress)) return true
      const key = `connection|${addressKeyOf(remoteAddress)}`
      if (!inFlight.enter(key, bounds.connectionsPerAddress)) return false
      socket.once('close', () => inFlight.leave(key))
      return true
    },
  }
}
