// The webhook channel: a signed POST per change. Only the operator sets the receiver's URL. A name that resolves into a
// private network is still refused, in the DNS lookup of the connection itself, so that no later DNS answer can
// redirect it (DNS rebinding). HTTP redirects are failures.

import { lookup as lookUp, type LookupAddress } from 'node:dns'
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import type { StatusChange } from '../domain/notification.ts'
import type { Channel } from './notify.ts'

/** For connection, TLS and the status line; well inside a claim's lease. */
const TIMEOUT_MS = 5_000
/** Concurrent connections and deliveries. */
const WIDTH = 32
/** The answer's body is ignored, but read up to this size, so that its connection can be reused. */
const MAX_ANSWER_BYTES = 65_536
/** How long the body is read: the connection is one of WIDTH, and the next delivery waits for it. */
const DRAIN_MS = 250

export type WebhookOptions = {
  url: URL
  /** Makes the header webhook-signature. */
  sign: (message: { id: string; timestampS: bigint; body: Buffer }) => string
  allowPrivate: boolean
  timeoutMs?: number
}

/** @throws {Error} that tells the operator why the URL is refused */
export function parseWebhookUrl(text: string, rules: { isProduction: boolean; allowPrivate: boolean }): URL {
  const url = new URL(text)
  if (url.protocol !== 'https:' && (rules.isProduction || url.protocol !== 'http:')) throw new Error('must be https')
  if (url.username !== '' || url.password !== '' || url.hash !== '')
    throw new Error('must hold no credentials and no fragment')
  if (!rules.allowPrivate && isPrivate(hostOf(url))) throw new Error('is a private address')
  return url
}

export function createWebhookChannel({ url, sign, allowPrivate, timeoutMs = TIMEOUT_MS }: WebhookOptions): Channel {
  const isSecure = url.protocol === 'https:'
  const agent = new (isSecure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: WIDTH })
  const send = isSecure ? httpsRequest : httpRequest
  return {
    name: 'webhook',
    width: WIDTH,
    deliver: async (id, change) => {
      const body = Buffer.from(JSON.stringify(bodyOf(change)))
      const timestampS = BigInt(Math.floor(Date.now() / 1_000))
      const headers = {
        'content-type': 'application/json',
        'content-length': body.length,
        'user-agent': 'holdfast',
        'webhook-id': id,
        'webhook-timestamp': String(timestampS),
        'webhook-signature': sign({ id, timestampS, body }),
      }
      const signal = AbortSignal.timeout(timeoutMs)
      const code = await new Promise<number>((resolve, reject) => {
        const request = send(url, {
          method: 'POST',
          agent,
          headers,
          signal,
          ...(!allowPrivate && { lookup: publicLookup }),
        })
        request.once('response', (answer) => (drain(answer), resolve(answer.statusCode ?? 0)))
        request.on('error', (error) => reject(signal.aborted ? new Error(`no answer within ${timeoutMs} ms`) : error))
        request.end(body)
      })
      if (code < 200 || code > 299) throw new Error(`the receiver answered ${code}`)
    },
  }
}

const bodyOf = ({ orderId, version, status, paymentState, cancelReason, changedAt }: StatusChange) => ({
  type: 'order.status_changed',
  timestamp: changedAt,
  data: { orderId, version: String(version), status, paymentState, cancelReason },
})

function drain(answer: IncomingMessage): void {
  let bytes = 0
  answer.on('data', (chunk: Buffer) => {
    if ((bytes += chunk.length) > MAX_ANSWER_BYTES) answer.destroy()
  })
  answer.on('error', () => undefined)
  const timer = setTimeout(() => answer.destroy(), DRAIN_MS).unref()
  answer.once('close', () => clearTimeout(timer))
}

const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, '')

/** Addresses outside the public internet: this host, private, shared, link-local, documentation, multicast. */
const PRIVATE = new BlockList()
for (const [network, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const)
  PRIVATE.addSubnet(network, bits, 'ipv4')
for (const [network, bits] of [
  ['::', 127],
  ['64:ff9b::', 32],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  PRIVATE.addSubnet(network, bits, 'ipv6')

/** False for a name: its addresses are checked when it is resolved. */
export function isPrivate(host: string): boolean {
  const family = isIP(host)
  return family !== 0 && PRIVATE.check(host, family === 4 ? 'ipv4' : 'ipv6')
}

const publicLookup: LookupFunction = (host, options, done) =>
  lookUp(host, { ...options, all: true }, (error, found: LookupAddress[]) => {
    const [first] = found ?? []
    if (error !== null) return done(error, '')
    if (first === undefined || found.some(({ address }) => isPrivate(address)))
      return done(new Error(`${host} is in a private network`), '')
    return options.all === true ? done(null, found) : done(null, first.address, first.family)
  })
