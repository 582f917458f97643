// The payment page's listener: the only HTTP that customers reach. It reads, and changes nothing.

import { createServer, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import type { PeerOf } from '../grpc/peer.ts'
import { createPayApp, PAY_HEADERS, type PayAppOptions } from './pay_app.ts'
import { createPayLimits, PAY_BOUNDS, type PayBounds } from './pay_limit.ts'

const MAX_HEADER_BYTES = 8_192
const REQUEST_TIMEOUT_MS = 10_000
const KEEP_ALIVE_MS = 10_000
/** Above the silence of a healthy stream. A connection that takes nothing for so long is closed. */
const IDLE_MS = 40_000
const STOP_WITHIN_MS = 2_000

export type PayIdentity = { cert: Buffer; key: Buffer }

export type PayListenerOptions = Omit<PayAppOptions, 'limits' | 'closing'> & {
  bind: string
  /** 0 selects a free one. */
  port: number
  /** Without it, requests are in clear. */
  identity?: PayIdentity
  peerOf: PeerOf
  isProxy: (address: string) => boolean
  bounds?: Partial<PayBounds>
}

export type PayListener = {
  port: number
  /** Uses another certificate for new connections. */
  setIdentity: (identity: PayIdentity) => void
  stop: () => Promise<void>
}

/** Serves GET /pay/<link> until stopped. Rejects if the port is in use. */
export async function startPayListener(options: PayListenerOptions): Promise<PayListener> {
  const closing = new AbortController()
  const bounds = { ...PAY_BOUNDS, ...options.bounds }
  const limits = createPayLimits(bounds, options.peerOf, options.isProxy)
  const app = createPayApp({ ...options, limits, closing: closing.signal })
  const listener = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    errorHandler: () => new Response(null, { status: 400, headers: PAY_HEADERS }),
  })
  const settings: ServerOptions = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
  }
  const secure = options.identity && createTlsServer({ ...settings, ...options.identity })
  const server = secure ?? createServer(settings)
  server.on('request', (request, response) => void listener(request, response))
  server.maxConnections = bounds.connections
  server.on('connection', (socket: Socket) => {
    if (!limits.enterConnection(socket)) socket.destroy()
  })
  server.setTimeout(IDLE_MS)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.bind, resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    setIdentity: (identity) => secure?.setSecureContext(identity),
    stop: () =>
      new Promise((resolve) => {
        closing.abort()
        const timer = setTimeout(() => server.closeAllConnections(), STOP_WITHIN_MS)
        server.close(() => {
          clearTimeout(timer)
          resolve()
        })
        server.closeIdleConnections()
      }),
  }
}
