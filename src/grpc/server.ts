// The API server: two gRPC servers, one public and one for admins, that share interceptors and dependencies. This layer
// only translates, guards and delegates.

import { Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js'
import { setTimeout as delay } from 'node:timers/promises'
import type { RequestHash } from '../keyvault/request.ts'
import { Counter, type Logger, type Registry } from '../telemetry.ts'
import { addressKeyOf } from './address_key.ts'
import { createAuditHandlers } from './audit.ts'
import type { Authentication } from './authenticate.ts'
import { createCatalogAdminHandlers, createCatalogHandlers } from './catalog.ts'
import { WATCH_MAX_MS } from './deadline.ts'
import { createFulfilmentHandlers } from './fulfilment.ts'
import { createGuard } from './guard.ts'
import { CONNECTION_LIMITS, listen, type ConnectionLimits, type Listener, type ConnectionRefusal } from './listen.ts'
import { createLimiter, type LimiterDeps } from './limiter.ts'
import { addService, MAX_RESPONSE_BYTES } from './handle.ts'
import { gateStreams } from './gate.ts'
import { joinRepeatedHeaders } from './header.ts'
import { createHealthHandlers } from './health.ts'
import { MAX_REQUEST_BYTES } from './library_status.ts'
import { ADMIN_SERVICES, PUBLIC_SERVICES, type RpcService } from './method.ts'
import { createNotificationAdminHandlers } from './notification.ts'
import { createObserver } from './observe.ts'
import { createOrderHandlers, type OrderDeps } from './order.ts'
import { createOrderAdminHandlers, type OrderAdminDeps } from './order_admin.ts'
import { createPaymentHandlers, type PaymentDeps } from './payment.ts'
import { createPaymentAdminHandlers } from './payment_admin.ts'
import { createAddressSet, createAllowList, createPeerOf, type AllowList } from './peer.ts'
import { createReflectionHandlers } from './reflection.ts'
import { createSecurityEvents } from './security_event.ts'
import { createRefundAdminHandlers, createRefundHandlers, type RefundDeps } from './refund.ts'
import { createStockAdminHandlers, createStockHandlers } from './stock.ts'

const MAX_STREAMS_PER_CONNECTION = 100
/** The streams of a dead client are freed within the sum of these. */
export const KEEPALIVE_EVERY_MS = 20_000
export const KEEPALIVE_TIMEOUT_MS = 10_000
/** Closes old connections, so that clients spread over new servers within minutes. */
const CONNECTION_AGE_MS = 300_000
/** Longer than a watch may last, so that it is never cut off. */
const CONNECTION_AGE_GRACE_MS = WATCH_MAX_MS + 30_000
const CONNECTION_IDLE_MS = 300_000
/** Calls still running this long after the stop are aborted. */
const CALLS_END_WITHIN_MS = 5_000
const LOOK_EVERY_MS = 20

const OPTIONS: ServerOptions = {
  'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
  'grpc.max_send_message_length': MAX_RESPONSE_BYTES,
  'grpc.max_concurrent_streams': MAX_STREAMS_PER_CONNECTION,
  'grpc.keepalive_time_ms': KEEPALIVE_EVERY_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  'grpc.max_connection_age_ms': CONNECTION_AGE_MS,
  'grpc.max_connection_age_grace_ms': CONNECTION_AGE_GRACE_MS,
  'grpc.max_connection_idle_ms': CONNECTION_IDLE_MS,
  'grpc.enable_channelz': 0,
}

export type FrontDeps = OrderDeps &
  PaymentDeps &
  OrderAdminDeps &
  RefundDeps &
  Pick<LimiterDeps, 'budgets' | 'takeQuota' | 'reportBudgetOf'> &
  Authentication & {
    logger: Logger
    registry: Registry
    peerHashOf: (address: string) => string
    hashRequest: RequestHash
    /** Is the database reachable, with the migrations of this build? */
    isReady: () => Promise<boolean>
  }

export type FrontOptions = {
  /** An IP address. */
  bind: string
  /** 0 selects a free port. */
  port: number
  adminBind: string
  adminPort: number
  /** Networks whose callers the admin port admits; none: no caller. */
  adminCidrs: readonly string[]
  /** Proxies whose x-forwarded-for counts. */
  trustedProxies: readonly string[]
  /** How long to report NOT_SERVING before calls are rejected, so that load balancers notice. */
  drainMs: number
  connections?: ConnectionLimits
  /** TLS of both ports. Without it, calls are in clear. */
  credentials?: ServerCredentials
  /** Shows the API to admins on the admin port. */
  hasReflection?: boolean
}

export type Front = {
  port: number
  adminPort: number
  /** Reports NOT_SERVING, waits, ends streams, lets calls finish, then aborts the remaining ones. */
  stop: () => Promise<void>
}

/** Starts both servers. Rejects if a port is in use. */
export async function startFront(deps: FrontDeps, options: FrontOptions): Promise<Front> {
  const closing = new AbortController()
  let isDraining = false
  const isServing = async (): Promise<boolean> => !isDraining && (await deps.isReady())
  // As the limits count: a host with an IPv6 network must not look like many.
  const peerHashOf = (address: string): string => deps.peerHashOf(addressKeyOf(address))
  const events = createSecurityEvents({ ...deps, database: deps.priority, peerHashOf })
  const proxies = createAddressSet(options.trustedProxies)
  const limiter = createLimiter({ ...deps, isShared: proxies.has })
  const peerOf = createPeerOf(proxies)
  const observer = createObserver({ ...deps, peerOf, onFinish: events.note })
  const guard = createGuard(deps, limiter)
  const publicServer = new Server({ ...OPTIONS, interceptors: [observer.interceptor, limiter.interceptor, guard] })
  const adminServer = new Server({ ...OPTIONS, interceptors: [observer.interceptor, limiter.interceptor, guard] })
  addPublicServices(publicServer, deps, isServing, closing.signal)
  addAdminServices(adminServer, deps, isServing, closing.signal)
  if (options.hasReflection === true) addReflection(adminServer, closing.signal)

  const servers = [publicServer, adminServer]
  const listeners: Listener[] = []
  try {
    const onRefused = createRefusalCounter(deps.registry)
    const { credentials = ServerCredentials.createInsecure(), connections: limits = CONNECTION_LIMITS } = options
    const shared = { credentials, limits, onRefused, isShared: proxies.has }
    const listenOn = async (server: Server, at: { host: string; port: number }, allow?: AllowList): Promise<number> => {
      const prepare = (): void => {
        gateStreams(server, observer, allow, limiter.isShed)
        // It comes before the gate.
        joinRepeatedHeaders(server)
      }
      const listener = await listen({ server, ...at, ...shared, prepare })
      listeners.push(listener)
      return listener.port
    }
    const port = await listenOn(publicServer, { host: options.bind, port: options.port })
    const admins = createAllowList(peerOf, createAddressSet(options.adminCidrs))
    const adminPort = await listenOn(adminServer, { host: options.adminBind, port: options.adminPort }, admins)
    return {
      port,
      adminPort,
      stop: async () => {
        isDraining = true
        await delay(options.drainMs)
        closing.abort()
        for (const listener of listeners) listener.close()
        await Promise.all(servers.map(shutDown))
        // The library does not wait for the calls of a connection that its client has begun to close.
        const endsBy = performance.now() + CALLS_END_WITHIN_MS
        while (listeners.some(({ calls }) => calls() > 0) && performance.now() < endsBy) await delay(LOOK_EVERY_MS)
        limiter.stop()
        await events.stop()
      },
    }
  } catch (error) {
    for (const listener of listeners) listener.close()
    for (const server of servers) server.forceShutdown()
    limiter.stop()
    await events.stop()
    throw error
  }
}

function addPublicServices(
  server: Server,
  deps: FrontDeps,
  isServing: () => Promise<boolean>,
  closing: AbortSignal,
): void {
  addService(server, PUBLIC_SERVICES.health, createHealthHandlers(isServing, PUBLIC_SERVICES), closing)
  addService(server, PUBLIC_SERVICES.order, createOrderHandlers(deps), closing)
  addService(server, PUBLIC_SERVICES.fulfilment, createFulfilmentHandlers(deps), closing)
  addService(server, PUBLIC_SERVICES.payment, createPaymentHandlers(deps), closing)
  addService(server, PUBLIC_SERVICES.refund, createRefundHandlers(deps), closing)
  addService(server, PUBLIC_SERVICES.stock, createStockHandlers(deps), closing)
  addService(server, PUBLIC_SERVICES.catalog, createCatalogHandlers(deps), closing)
}

function addAdminServices(
  server: Server,
  deps: FrontDeps,
  isServing: () => Promise<boolean>,
  closing: AbortSignal,
): void {
  const { database, shop, cursors } = deps
  addService(server, ADMIN_SERVICES.health, createHealthHandlers(isServing, ADMIN_SERVICES), closing)
  addService(server, ADMIN_SERVICES.stock, createStockAdminHandlers({ database }), closing)
  addService(server, ADMIN_SERVICES.catalog, createCatalogAdminHandlers({ database, currency: shop.currency }), closing)
  addService(server, ADMIN_SERVICES.audit, createAuditHandlers({ database, cursors }), closing)
  addService(server, ADMIN_SERVICES.order, createOrderAdminHandlers(deps), closing)
  addService(server, ADMIN_SERVICES.payment, createPaymentAdminHandlers(deps), closing)
  addService(server, ADMIN_SERVICES.refund, createRefundAdminHandlers(deps), closing)
  addService(server, ADMIN_SERVICES.notification, createNotificationAdminHandlers({ database, cursors }), closing)
}

function addReflection(server: Server, closing: AbortSignal): void {
  const handlers = createReflectionHandlers(ADMIN_SERVICES)
  addService(server, ADMIN_SERVICES.reflection, handlers, closing)
  // The same messages under an older name.
  addService<RpcService>(server, ADMIN_SERVICES.alphaReflection, handlers, closing)
}

function createRefusalCounter(registry: Registry): (refusal: ConnectionRefusal) => void {
  const refused = new Counter({
    name: 'holdfast_grpc_connections_refused_total',
    help: 'Connections refused or closed by a limit.',
    labelNames: ['limit'],
    registers: [registry],
  })
  return (limit) => refused.inc({ limit })
}

async function shutDown(server: Server): Promise<void> {
  const timer = setTimeout(() => server.forceShutdown(), CALLS_END_WITHIN_MS)
  await new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
  clearTimeout(timer)
}
