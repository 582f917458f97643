// The operators' HTTP listener of every process: metrics, liveness, readiness. On its own address, never the one that
// callers use.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Registry } from '../telemetry.ts'

const MAX_HEADER_BYTES = 8_192
const REQUEST_TIMEOUT_MS = 5_000
const KEEP_ALIVE_MS = 5_000

/** Security headers: nothing here is meant for browsers. */
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
}

export type MetricsListener = { host: string; port: number; stop: () => Promise<void> }

export type MetricsListenerOptions = {
  bind: string
  /** 0 chooses a free one. */
  port: number
  registry: Registry
  /** Liveness: false where a restart would help. */
  isAlive: () => boolean
  /** Readiness: whether the process may be given work now. An error counts as false. */
  isReady: () => Promise<boolean>
}

type Answer = { status: number; type: string; body: string }

const text = (status: number, body: string): Answer => ({
  status,
  type: 'text/plain; charset=utf-8',
  body: `${body}\n`,
})

/** Serves GET /metrics, /healthz (200 when alive, else 503) and /readyz (200 when ready, else 503) until stopped. */
export async function startMetricsListener(options: MetricsListenerOptions): Promise<MetricsListener> {
  const server = createServer(
    {
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => void handle(options, request, response),
  )
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.bind, resolve)
  })
  const { address, port } = server.address() as AddressInfo
  return {
    host: address,
    port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function handle(
  options: MetricsListenerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { status, type, body } = await answer(options, request).catch(() => text(500, 'failed'))
  response.writeHead(status, { ...HEADERS, 'content-type': type })
  response.end(request.method === 'HEAD' ? undefined : body)
}

async function answer(options: MetricsListenerOptions, request: IncomingMessage): Promise<Answer> {
  const { registry, isAlive, isReady } = options
  if (request.method !== 'GET' && request.method !== 'HEAD') return text(405, 'only GET')
  switch (request.url) {
    case '/metrics':
      return { status: 200, type: registry.contentType, body: await registry.metrics() }
    case '/healthz':
      return isAlive() ? text(200, 'alive') : text(503, 'not alive')
    case '/readyz':
      return (await isReady().catch(() => false)) ? text(200, 'ready') : text(503, 'not ready')
    default:
      return text(404, 'no such page')
  }
}
