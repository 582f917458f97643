// Typed client of the gRPC API, for the CLI, the watcher and external programs. Calls return promises, are retried on
// UNAVAILABLE (safe: every mutating request carries an idempotency key), and fail with DomainError.

import { Client, credentials, Metadata, status, type ChannelCredentials, type ServiceError } from '@grpc/grpc-js'
import type { Observation } from '../domain/chain.ts'
import { DomainError, FAILURES, type FailureReason } from '../domain/failure.ts'
import { AuditServiceService } from './gen/holdfast/v1/audit.ts'
import { CatalogServiceService } from './gen/holdfast/v1/catalog.ts'
import { CatalogAdminServiceService } from './gen/holdfast/v1/catalog_admin.ts'
import { FulfilmentServiceService } from './gen/holdfast/v1/fulfilment.ts'
import { NotificationAdminServiceService } from './gen/holdfast/v1/notification_admin.ts'
import { OrderAdminServiceService } from './gen/holdfast/v1/order_admin.ts'
import { OrderServiceService } from './gen/holdfast/v1/order.ts'
import { PaymentServiceService } from './gen/holdfast/v1/payment.ts'
import { PaymentAdminServiceService } from './gen/holdfast/v1/payment_admin.ts'
import { RefundServiceService } from './gen/holdfast/v1/refund.ts'
import { RefundAdminServiceService } from './gen/holdfast/v1/refund_admin.ts'
import { StockServiceService } from './gen/holdfast/v1/stock.ts'
import { StockAdminServiceService } from './gen/holdfast/v1/stock_admin.ts'
import { HealthService } from './gen/grpc/health/v1/health.ts'
import { readDetails, type Detail } from './detail.ts'
import type { Method, RequestOf, ResponseOf } from './method.ts'
import { packReport, type ReportOptions } from './report.ts'
import type { ClientTls } from './tls.ts'

export { HealthCheckResponse_ServingStatus as ServingStatus } from './gen/grpc/health/v1/health.ts'
export type { GetOrderHistoryResponse } from './gen/holdfast/v1/audit.ts'
export type { CreateOrderResponse, Order, OrderSummary } from './gen/holdfast/v1/order.ts'
export type { Product } from './gen/holdfast/v1/catalog.ts'
export type { DeadNotification } from './gen/holdfast/v1/notification_admin.ts'
export type { ProductStock } from './gen/holdfast/v1/stock.ts'
export type { GetPaymentDossierResponse, PaymentFilter, Transfer } from './gen/holdfast/v1/payment_admin.ts'
export type { Refund } from './gen/holdfast/v1/refund.ts'
export type { RequestRefundRequest } from './gen/holdfast/v1/refund_admin.ts'
export { isQuoteGenuine } from './quote.ts'
export { cancelReason, orderHold, orderStatus, paymentFlag, paymentState, transferState } from './enum.ts'
export { feeBearer, rateBasis, refundKind, refundStatus, reportJudgement } from './enum.ts'

const DEFAULT_DEADLINE_MS = 10_000
export const RECONNECT_FROM_MS = 100
/** Longest reconnect back-off. The default of grpc-js is two minutes; it adds up to 20 % jitter. */
export const RECONNECT_TO_MS = 1_500
export const MAX_RECONNECT_MS = RECONNECT_TO_MS * 1.2
/**
 * Detects dead connections: a firewall may drop one, or a machine may be cut off, without any packet. A dead connection
 * is noticed within the sum of both values, also one that only waits for the next change of an order. Servers in
 * between may refuse pings that come more often than every ten seconds.
 */
export const KEEPALIVE: Keepalive = { everyMs: 15_000, withinMs: 5_000 }

/**
 * Four attempts in about half a second: by then a restarting server is back or another one has taken over. The same as
 * proto/service_config.json, which is for clients in other languages.
 */
export const SERVICE_CONFIG = JSON.stringify({
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{}],
      retryPolicy: {
        maxAttempts: 4,
        initialBackoff: '0.05s',
        maxBackoff: '1s',
        backoffMultiplier: 3,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
})

/** The call failed in transport: it has no answer from Holdfast. */
export class TransportError extends Error {
  override readonly name = 'TransportError'
  /** gRPC's name of the status code, such as UNAVAILABLE or CANCELLED. */
  readonly code: string

  constructor(code: string, message: string, cause: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/** Ping interval and the time within which the peer must answer. */
export type Keepalive = { everyMs: number; withinMs: number }

export type ClientOptions = {
  /** host:port. */
  address: string
  /** Called for each RPC, since tokens expire within minutes. */
  token: () => string | Promise<string>
  keepalive?: Keepalive
  /** Of calls that give none; streams have none by themselves. */
  deadlineMs?: number
  /** TLS, with these files; absent: in clear, for this machine and private networks. */
  tls?: ClientTls | undefined
}

export type CallOptions = { deadlineMs?: number; signal?: AbortSignal }

/** Fields that are left out have proto's default value. */
type Call<M extends Method> = (
  request: Partial<RequestOf<M>>,
  options?: CallOptions,
) => M['responseStream'] extends true ? AsyncIterable<ResponseOf<M>> : Promise<ResponseOf<M>>
export type Calls<Service extends Record<string, Method>> = { [Name in keyof Service]: Call<Service[Name]> }

export type HoldfastClient = ReturnType<typeof createClient>

/** Client for the public port. It connects at the first call. */
export function createClient(options: ClientOptions) {
  const channel = openChannel(options)
  return {
    order: callsOf(channel, OrderServiceService),
    fulfilment: callsOf(channel, FulfilmentServiceService),
    payment: callsOf(channel, PaymentServiceService),
    refund: callsOf(channel, RefundServiceService),
    stock: callsOf(channel, StockServiceService),
    catalog: callsOf(channel, CatalogServiceService),
    health: callsOf(channel, HealthService),
    close: () => channel.client.close(),
  }
}

/** Client for the admin port. */
export function createAdminClient(options: ClientOptions) {
  const channel = openChannel(options)
  return {
    stock: callsOf(channel, StockAdminServiceService),
    catalog: callsOf(channel, CatalogAdminServiceService),
    notification: callsOf(channel, NotificationAdminServiceService),
    order: callsOf(channel, OrderAdminServiceService),
    payment: callsOf(channel, PaymentAdminServiceService),
    refund: callsOf(channel, RefundAdminServiceService),
    audit: callsOf(channel, AuditServiceService),
    health: callsOf(channel, HealthService),
    close: () => channel.client.close(),
  }
}

type Channel = { client: Client; token: ClientOptions['token']; deadlineMs: number }

const openChannel = ({
  address,
  token,
  tls,
  keepalive = KEEPALIVE,
  deadlineMs = DEFAULT_DEADLINE_MS,
}: ClientOptions): Channel => ({
  client: new Client(address, credentialsOf(tls), {
    'grpc.service_config': SERVICE_CONFIG,
    'grpc.enable_http_proxy': 0,
    'grpc.initial_reconnect_backoff_ms': RECONNECT_FROM_MS,
    'grpc.max_reconnect_backoff_ms': RECONNECT_TO_MS,
    'grpc.keepalive_time_ms': keepalive.everyMs,
    'grpc.keepalive_timeout_ms': keepalive.withinMs,
    'grpc.keepalive_permit_without_calls': 1,
  }),
  token,
  deadlineMs,
})

const credentialsOf = (tls: ClientTls | undefined): ChannelCredentials =>
  tls === undefined
    ? credentials.createInsecure()
    : credentials.createSsl(tls.ca ?? null, tls.key ?? null, tls.cert ?? null)

const callsOf = <Service extends Record<string, Method>>(channel: Channel, service: Service): Calls<Service> =>
  Object.fromEntries(
    Object.entries(service).map(([name, method]) => [
      name,
      (request: object, options: CallOptions = {}) =>
        method.responseStream
          ? readStream(channel, method, request, options)
          : callOnce(channel, method, request, options),
    ]),
  ) as Calls<Service>

async function callOnce(channel: Channel, method: Method, request: object, options: CallOptions): Promise<unknown> {
  const metadata = await metadataOf(channel)
  const deadline = Date.now() + (options.deadlineMs ?? channel.deadlineMs)
  const { signal } = options
  return new Promise((resolve, reject) => {
    const cancel = (): void => call.cancel()
    const call = channel.client.makeUnaryRequest(
      method.path,
      serializerOf(method),
      method.responseDeserialize,
      request,
      metadata,
      { deadline },
      (error, response) => {
        signal?.removeEventListener('abort', cancel)
        if (error === null) resolve(response)
        else reject(errorOf(error))
      },
    )
    onceAborted(signal, cancel)
  })
}

async function* readStream(channel: Channel, method: Method, request: object, options: CallOptions): AsyncGenerator {
  const metadata = await metadataOf(channel)
  const deadline = options.deadlineMs === undefined ? {} : { deadline: Date.now() + options.deadlineMs }
  const call = channel.client.makeServerStreamRequest(
    method.path,
    serializerOf(method),
    method.responseDeserialize,
    request,
    metadata,
    deadline,
  )
  const cancel = (): void => call.cancel()
  onceAborted(options.signal, cancel)
  try {
    for await (const message of call) yield message
  } catch (error) {
    throw errorOf(error as ServiceError)
  } finally {
    options.signal?.removeEventListener('abort', cancel)
    call.cancel()
  }
}

/** A signal that was aborted before sends no event any more. */
function onceAborted(signal: AbortSignal | undefined, cancel: () => void): void {
  if (signal?.aborted === true) cancel()
  else signal?.addEventListener('abort', cancel, { once: true })
}

/**
 * Decoding an empty buffer gives a message of default values; without them ts-proto would write the word "undefined".
 */
const serializerOf =
  (method: Method) =>
  (request: object): Buffer =>
    method.requestSerialize({ ...(method.requestDeserialize(Buffer.alloc(0)) as object), ...request } as never)

async function metadataOf(channel: Channel): Promise<Metadata> {
  const metadata = new Metadata()
  const token = await channel.token()
  if (token !== '') metadata.set('authorization', `Bearer ${token}`)
  return metadata
}

/** DomainError if Holdfast answered with a known reason, else TransportError. */
function errorOf(error: ServiceError): DomainError | TransportError {
  const detail: Detail = readDetails(error.metadata)
  const reason = Object.keys(FAILURES).find((known): known is FailureReason => known === detail.reason)
  if (reason === undefined) return new TransportError(status[error.code], error.details, error)
  return new DomainError(reason, error.details, { ...detail, cause: error })
}

export type ReporterOptions = ReportOptions & {
  client: Pick<HoldfastClient, 'payment'>
  /** The request's signatures: one per secret the source signs with now. */
  sign: (request: { id: string; timestampS: bigint; report: Buffer }) => string[]
}

/**
 * Makes the function that reports the first observations, as many as fit one request, and returns how many those were.
 * It resolves once they are stored. Sending an observation again is harmless.
 */
export const createReporter =
  ({ client, sign, ...options }: ReporterOptions) =>
  async (observations: readonly Observation[]): Promise<number> => {
    const { report, count } = packReport(options, observations)
    const request = { id: crypto.randomUUID(), timestampS: BigInt(Math.floor(Date.now() / 1_000)), report }
    await client.payment.reportPayments({ ...request, signatures: sign(request) })
    return count
  }
