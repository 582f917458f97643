// Routes of the payment page. A link that is wrong, altered or expired gets the same answer as any path that does not
// exist.

import type { HttpBindings } from '@hono/node-server'
import { Hono, type Context, type Next } from 'hono'
import { Counter, createLineLimit, Gauge, type Logger, type Registry } from '../telemetry.ts'
import { languageOf, type Language } from './pay_language.ts'
import type { PayLimits } from './pay_limit.ts'
import { renderError, renderPage, renderParts, type PageAssets, type PayError } from './pay_page.ts'
import type { FindFacts } from './pay_reader.ts'
import { readStaticFiles, type StaticFile } from './pay_static.ts'
import { createPayStream, STREAM_TIMES, type StreamTimes } from './pay_stream.ts'
import { isFinished, payViewOf } from './pay_view.ts'

const YEAR_S = 31_536_000
const MS_PER_S = 1_000
/** Far above a link. What mail programs and trackers add to its query counts only to the limit of headers. */
const MAX_PATH_LENGTH = 512
/** Wait after a failure, before a browser or program asks again. */
const RETRY_FAILED_S = '60'

export const PAY_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'x-robots-tag': 'noindex, nofollow',
}

export type PayAppOptions = {
  /** Whether customers reach the page by https: browsers are then told to use nothing else. */
  isSecure: boolean
  /** The order of a link; undefined for any other text. */
  openLink: (token: string) => string | undefined
  /** The token of an order's link. */
  tokenOf: (order: { orderId: string; createdAt: Date }) => string
  findFacts: FindFacts
  /** Of the chain that ETH is paid on. */
  chainId: number
  /** Where a customer signs in to give a refund address; without it, the page only says so. */
  refundUrlOf?: ((orderId: string) => string) | undefined
  limits: PayLimits
  /** Ends the streams. */
  closing: AbortSignal
  registry: Registry
  logger: Logger
  times?: Partial<StreamTimes>
}

type Env = { Bindings: HttpBindings }
type PayContext = Context<Env>
type Outcome = 'page' | 'stream' | 'file' | 'missing' | 'limited' | 'failed'

type Parts = PayAppOptions & {
  assets: PageAssets
  files: ReadonlyMap<string, StaticFile>
  count: (outcome: Outcome) => void
  streamTimes: StreamTimes
}

export function createPayApp(options: PayAppOptions): Hono<Env> {
  const parts: Parts = {
    ...options,
    ...readStaticFiles(),
    count: createMetrics(options),
    streamTimes: { ...STREAM_TIMES, ...options.times },
  }
  const { logger } = options
  const limitLines = createLineLimit((kind, suppressed) => logger.warn({ kind, suppressed }, 'payment page failed'))
  const app = new Hono<Env>()
  app.use((c, next) => admit(parts, c, next))
  app.get('/pay/static/:name', (c) => answerFile(parts, c, c.req.param('name')))
  app.get('/pay/:token', (c) => answerPage(parts, c, c.req.param('token')))
  app.get('/pay/:token/events', (c) => answerStream(parts, c, c.req.param('token')))
  // Browsers ask for it by themselves.
  app.get('/favicon.ico', (c) => c.body(null, 204))
  app.notFound((c) => answerMissing(parts, c))
  app.onError((error, c) => {
    limitLines('request', () => logger.warn({ err: error }, 'payment page failed'))
    c.header('retry-after', RETRY_FAILED_S)
    return answerError(parts, c, 'failed')
  })
  return app
}

/** Sets the headers of all answers, and refuses what no route needs to look at. */
async function admit(parts: Parts, c: PayContext, next: Next): Promise<Response | void> {
  for (const [name, value] of Object.entries(PAY_HEADERS)) c.header(name, value)
  if (parts.isSecure) c.header('strict-transport-security', `max-age=${YEAR_S}`)
  const { incoming } = c.env
  if (incoming.method !== 'GET' && incoming.method !== 'HEAD') {
    // Its body is not read.
    c.header('connection', 'close')
    return c.body(null, 405, { allow: 'GET, HEAD' })
  }
  const waitMs = parts.limits.take(incoming)
  if (waitMs > 0) return answerBusy(parts, c, waitMs)
  if (pathLengthOf(incoming.url ?? '') > MAX_PATH_LENGTH) return answerMissing(parts, c)
  return next()
}

function pathLengthOf(url: string): number {
  const end = url.indexOf('?')
  return end < 0 ? url.length : end
}

const STATUS = { missing: 404, busy: 429, failed: 503 } as const satisfies Record<PayError, number>
const OUTCOME = { missing: 'missing', busy: 'limited', failed: 'failed' } as const satisfies Record<PayError, Outcome>

async function answerError({ assets, count }: Parts, c: PayContext, error: PayError): Promise<Response> {
  count(OUTCOME[error])
  const language = languageFor(c)
  return c.html(await renderError(error, { language, assets }), STATUS[error])
}

const answerMissing = (parts: Parts, c: PayContext): Promise<Response> => answerError(parts, c, 'missing')

function answerBusy(parts: Parts, c: PayContext, waitMs: number): Promise<Response> {
  c.header('retry-after', String(Math.max(1, Math.ceil(waitMs / MS_PER_S))))
  return answerError(parts, c, 'busy')
}

async function answerFile(parts: Parts, c: PayContext, name: string): Promise<Response> {
  const file = parts.files.get(name)
  if (file === undefined) return answerMissing(parts, c)
  parts.count('file')
  return c.body(file.body, 200, {
    'content-type': file.type,
    'cache-control': `public, max-age=${YEAR_S}, immutable`,
  })
}

async function answerPage(parts: Parts, c: PayContext, token: string): Promise<Response> {
  const orderId = parts.openLink(token)
  const facts = orderId === undefined ? undefined : await parts.findFacts(orderId)
  if (facts === undefined) return answerMissing(parts, c)
  parts.count('page')
  const options = { ...pageOptions(parts, c), assets: parts.assets, path: `/pay/${token}` }
  return c.html(await renderPage(payViewOf(facts), options))
}

async function answerStream(parts: Parts, c: PayContext, token: string): Promise<Response> {
  const { findFacts, streamTimes: times, closing } = parts
  const { incoming, outgoing } = c.env
  const orderId = parts.openLink(token)
  if (orderId === undefined || incoming.method !== 'GET') return answerMissing(parts, c)
  const leave = parts.limits.enterStream(incoming, orderId)
  if (leave === undefined) return answerBusy(parts, c, times.lookEveryMs)
  parts.count('stream')
  const options = pageOptions(parts, c)
  const look = async () => {
    const facts = await findFacts(orderId)
    if (facts === undefined) return undefined
    return { data: JSON.stringify(await renderParts(payViewOf(facts), options)), isLast: isFinished(facts) }
  }
  const body = createPayStream({ look, times, closing, outgoing, onEnd: leave })
  return c.body(body, 200, { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' })
}

const pageOptions = ({ chainId, refundUrlOf, tokenOf }: Parts, c: PayContext) => ({
  ...{ language: languageFor(c), chainId, refundUrlOf },
  pathOf: (order: Parameters<typeof tokenOf>[0]) => `/pay/${tokenOf(order)}`,
})

const languageFor = (c: PayContext): Language => languageOf(c.req.query('lang'), c.req.header('accept-language'))

function createMetrics({ registry, limits }: PayAppOptions): Parts['count'] {
  const requests = new Counter({
    name: 'holdfast_pay_requests_total',
    help: 'Requests to the payment page, by what they were answered with.',
    labelNames: ['outcome'],
    registers: [registry],
  })
  registry.registerMetric(
    new Gauge({
      name: 'holdfast_pay_streams',
      help: 'Open streams of the payment page.',
      registers: [],
      collect() {
        this.set(limits.openStreams())
      },
    }),
  )
  return (outcome) => requests.inc({ outcome })
}
