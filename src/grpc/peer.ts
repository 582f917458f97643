// Client addresses. The address of a call is derived once, from its socket and, behind a trusted proxy only, from
// x-forwarded-for. The audit's pseudonym, the admin port's allow-list and the limits by address all use this one.

import { BlockList, isIPv4, isIPv6, SocketAddress } from 'node:net'
import type { MetadataValue } from '@grpc/grpc-js'

export const FORWARDED_KEY = 'x-forwarded-for'

/** An IPv4 address as a dual-stack socket writes it. */
const MAPPED = /^::ffff:(?=\d+\.)/

/** Networks in CIDR notation. An empty set has no address. */
export type AddressSet = { has: (address: string) => boolean }

/** IPv4 networks match IPv4 addresses alone, and IPv6 networks IPv6 addresses: `::/0` does not hold IPv4. */
export function createAddressSet(cidrs: readonly string[]): AddressSet {
  const [ipv4, ipv6] = [new BlockList(), new BlockList()]
  for (const cidr of cidrs) {
    const [network = '', prefix = ''] = cidr.split('/')
    if (isIPv4(network)) ipv4.addSubnet(network, Number(prefix), 'ipv4')
    else ipv6.addSubnet(network, Number(prefix), 'ipv6')
  }
  return {
    has: (text) => {
      const address = canonicalAddress(text)
      if (address === undefined) return false
      return isIPv4(address) ? ipv4.check(address, 'ipv4') : ipv6.check(address, 'ipv6')
    },
  }
}

/** One spelling per address: IPv4-mapped as IPv4, IPv6 compressed, in lower case, without a zone. */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text
  if (!isIPv6(text)) return undefined
  return new SocketAddress({ address: text, family: 'ipv6' }).address.replace(MAPPED, '')
}

export type Peer = {
  /** In canonical form; empty for a socket without an address. */
  address: string
  /** False if a proxy did not say readably for whom it calls: `address` is then the proxy's. */
  isKnown: boolean
}

export type PeerOf = (socketAddress: string | undefined, forwarded: readonly MetadataValue[]) => Peer

/**
 * Creates the function that derives a client's address. Each proxy appends the address that called it, so the header is
 * read from the right: the first address that is no trusted proxy is the client. What stands left of it is the
 * client's own text. The header of any other socket is ignored.
 */
export function createPeerOf(trustedProxies: AddressSet): PeerOf {
  return (socketAddress = '', forwarded) => {
    const socket = canonicalAddress(socketAddress) ?? ''
    if (forwarded.length === 0 || !trustedProxies.has(socket)) return { address: socket, isKnown: socket !== '' }
    const [value] = forwarded
    if (forwarded.length > 1 || typeof value !== 'string') return { address: socket, isKnown: false }
    let address = socket
    for (const hop of value.split(',').toReversed()) {
      const next = canonicalAddress(hop.trim())
      if (next === undefined) return { address: socket, isKnown: false }
      address = next
      if (!trustedProxies.has(next)) break
    }
    return { address, isKnown: true }
  }
}

/** Does this port admit a call from here? */
export type AllowList = (socketAddress: string | undefined, forwarded: readonly MetadataValue[]) => boolean

/** Creates the allow-list of a port. A caller that its proxy does not name readably is outside of it. */
export const createAllowList =
  (peerOf: PeerOf, admitted: AddressSet): AllowList =>
  (socketAddress, forwarded) => {
    const { address, isKnown } = peerOf(socketAddress, forwarded)
    return isKnown && admitted.has(address)
  }
