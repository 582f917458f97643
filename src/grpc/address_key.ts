// Who an address is, for limits: an IPv4 address, or the /64 of an IPv6 one. A host can use all addresses of its /64.

import { isIPv4 } from 'node:net'
import { canonicalAddress } from './peer.ts'

const GROUPS = 8
const NETWORK_GROUPS = 4

/** For example `192.0.2.7` or `2001:db8:0:1::/64`; `unknown` for what is no address. */
export function addressKeyOf(address: string): string {
  const plain = canonicalAddress(address)
  if (plain === undefined) return 'unknown'
  if (isIPv4(plain)) return plain
  const [head = '', tail] = plain.split('::')
  const before = head === '' ? [] : head.split(':')
  const after = tail === undefined || tail === '' ? [] : tail.split(':')
  // A dotted quad at the end takes two groups.
  const missing = GROUPS - before.length - after.length - (after.at(-1)?.includes('.') === true ? 1 : 0)
  const groups = tail === undefined ? before : [...before, ...Array.from({ length: missing }, () => '0'), ...after]
  const network = groups.slice(0, NETWORK_GROUPS).map((group) => Number.parseInt(group, 16).toString(16))
  return `${network.join(':')}::/64`
}
