// The outermost interceptor: a request id, one log line and the rate, error and duration metrics of every call,
// including rejected ones.

import { randomUUID } from 'node:crypto'
import {
  ServerInterceptingCall,
  status,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type StatusObject,
} from '@grpc/grpc-js'
import { UUID_PATTERN } from '../domain/identifier.ts'
import { actorOf } from '../domain/access.ts'
import { FAILURES, type DomainError } from '../domain/failure.ts'
import { TokenCheckError, type TokenCheck } from '../domain/token_check.ts'
import type { RequestHash } from '../keyvault/request.ts'
import { Counter, createLineLimit, Gauge, Histogram, type LineLimit, type Logger, type Registry } from '../telemetry.ts'
import { keepRecord, ANONYMOUS, type CallRecord } from './call.ts'
import { DETAILS_KEY } from './detail.ts'
import { libraryFailure } from './library_status.ts'
import { limitMessages } from './message_limit.ts'
import type { MethodPath } from './method.ts'
import { FORWARDED_KEY, type Peer, type PeerOf } from './peer.ts'
import { REQUEST_ID_KEY, statusOf } from './status.ts'

/** A caller's own request id is used if it is safe in a log line. */
const REQUEST_ID_SHAPE = /^[A-Za-z0-9._-]{1,64}$/
/** Stands for every path that is not served. */
const UNKNOWN_PATH = '/unknown/unknown'
export const REPLAY_KEY = 'idempotency-hit'
const SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const MS_PER_S = 1_000
const HEALTH = '/grpc.health.v1.Health/'

type Metrics = ReturnType<typeof createMetrics>

export type ObserverDeps = {
  logger: Logger
  registry: Registry
  /** Pseudonym of a peer's address. */
  peerHashOf: (address: string) => string
  peerOf: PeerOf
  hashRequest: RequestHash
  /** Called once for each finished call. */
  onFinish?: ((record: Observed, code: status) => void) | undefined
}

/** A call that is refused before the library sees it. Each value is as the caller sent it. */
export type RefusedCall = {
  /** Undefined if no such method is served. */
  path: string | undefined
  requestId: unknown
  socketAddress: string | undefined
  forwarded: readonly string[]
}

export type Observer = {
  interceptor: ServerInterceptor
  /** Counts and logs a refused call, and returns its answer. */
  refuse: (call: RefusedCall, failure: DomainError) => StatusObject
  /** Counts a call that is refused with the answer to an earlier one: its line would be one too many. */
  countRefused: (path: string, code: status) => void
}

/** What metrics and log need of a call. Its path is one of the method table, or UNKNOWN_PATH. */
type Observed = Omit<CallRecord, 'path'> & { readonly path: string }

export function createObserver({
  logger,
  registry,
  peerHashOf,
  peerOf,
  hashRequest,
  onFinish,
}: ObserverDeps): Observer {
  const metrics = createMetrics(registry)
  const limit = createLineLimit((kind, suppressed) => logger.info({ kind, suppressed }, 'calls not logged'))
  const begin = (given: unknown, { address: peer, isKnown: isPeerKnown }: Peer): Omit<CallRecord, 'path'> => ({
    requestId: typeof given === 'string' && REQUEST_ID_SHAPE.test(given) ? given : randomUUID(),
    peer,
    isPeerKnown,
    peerHash: peerHashOf(peer),
    hashRequest,
    startedAt: performance.now(),
    principal: ANONYMOUS,
    orderId: undefined,
    isReplay: false,
    failure: undefined,
  })
  const start = (record: Observed): void => {
    metrics.started.inc(labelsOf(record))
    metrics.inFlight.inc()
  }

  const interceptor: ServerInterceptor = (method, call) => {
    const finish = createFinish({ metrics, logger, limit, onFinish })
    let record: CallRecord | undefined
    watchStatus(limitMessages(method, call), () => record, finish)
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            const [given] = metadata.get(REQUEST_ID_KEY)
            const peer = peerOf(call.getConnectionInfo().remoteAddress, metadata.get(FORWARDED_KEY))
            record = { path: method.path as MethodPath, ...begin(given, peer) }
            keepRecord(metadata, record)
            start(record)
            pass(metadata)
          },
          // Also called after a normal end. Without a status, the caller went away; at its deadline, because of that.
          onCancel: () => {
            if (record === undefined) return
            const isLate = Number(call.getDeadline()) <= Date.now()
            finish(record, isLate ? status.DEADLINE_EXCEEDED : status.CANCELLED)
          },
        }),
      sendMetadata: (metadata, pass) => {
        if (record !== undefined) {
          metadata.set(REQUEST_ID_KEY, record.requestId)
          if (record.isReplay) metadata.set(REPLAY_KEY, 'true')
        }
        pass(metadata)
      },
    })
  }

  const refuse: Observer['refuse'] = ({ path = UNKNOWN_PATH, requestId, ...from }, failure) => {
    const record: Observed = { path, ...begin(requestId, peerOf(from.socketAddress, from.forwarded)) }
    start(record)
    const answer = statusOf(failure, record)
    createFinish({ metrics, logger, limit, onFinish })(record, answer.code)
    return answer
  }
  const countRefused: Observer['countRefused'] = (path, code) => {
    const labels = labelsOf({ path })
    metrics.started.inc(labels)
    metrics.handled.inc({ ...labels, grpc_code: status[code] })
  }
  return { interceptor, refuse, countRefused }
}

/**
 * Sees every status that leaves, also those that the library sends by itself below the interceptors: it calls the same
 * method of the innermost call. A failure without our details is translated first.
 */
function watchStatus(
  call: ServerInterceptingCallInterface,
  recordOfCall: () => CallRecord | undefined,
  finish: (record: CallRecord, code: status) => void,
): void {
  const send = call.sendStatus.bind(call)
  let isSent = false
  call.sendStatus = (sent) => {
    // By a second status, the library would take the call for ended although its client has not read the answer.
    if (isSent) return
    isSent = true
    const record = recordOfCall()
    if (record === undefined) return send(sent)
    const isOurs = sent.code === status.OK || (sent.metadata?.get(DETAILS_KEY).length ?? 0) > 0
    const answer = isOurs ? sent : statusOf(libraryFailure(sent), record)
    finish(record, answer.code ?? status.UNKNOWN)
    send(answer)
  }
}

type FinishDeps = { metrics: Metrics; logger: Logger; limit: LineLimit; onFinish: ObserverDeps['onFinish'] }

/** Records the end of a call exactly once, whichever event comes first. */
function createFinish({ metrics, logger, limit, onFinish }: FinishDeps): (record: Observed, code: status) => void {
  let isFinished = false
  return (record, code) => {
    if (isFinished) return
    isFinished = true
    const durationMs = performance.now() - record.startedAt
    metrics.inFlight.dec()
    metrics.handled.inc({ ...labelsOf(record), grpc_code: status[code] })
    metrics.seconds.observe(labelsOf(record), durationMs / MS_PER_S)
    const check = checkOf(record)
    if (check !== undefined) metrics.refusedTokens.inc({ check })
    onFinish?.(record, code)
    const level = levelOf(record, code)
    const write = (): void => logger[level](lineOf(record, code, durationMs), 'call')
    if (mayFlood(record, level))
      limit([status[code], record.failure?.reason, check].filter((word) => word !== undefined).join(' '), write)
    else write()
  }
}

/**
 * Lines that a stranger or a limited caller can cause without end are rate limited. A bug is always logged, since its
 * caller was told the incident id.
 */
const mayFlood = ({ principal, failure }: Observed, level: string): boolean =>
  level !== 'error' && (principal === ANONYMOUS || (failure !== undefined && FAILURES[failure.reason] === 'limited'))

function levelOf(record: Observed, code: status): 'error' | 'warn' | 'info' | 'debug' {
  if (code === status.INTERNAL || code === status.UNKNOWN) return 'error'
  if (code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED) return 'warn'
  return record.path.startsWith(HEALTH) ? 'debug' : 'info'
}

const lineOf = (record: Observed, code: status, durationMs: number) => ({
  ...(isLoggedId(record) && { requestId: record.requestId }),
  method: record.path,
  code: status[code],
  durationMs: Math.round(durationMs * 10) / 10,
  peer: record.peer,
  ...(!record.isPeerKnown && { isPeerKnown: false }),
  ...(record.principal !== ANONYMOUS && { actor: actorOf(record.principal), roles: record.principal.roles }),
  ...(record.orderId !== undefined && { orderId: record.orderId }),
  ...(record.isReplay && { isReplay: true }),
  ...(record.failure !== undefined && { reason: record.failure.reason, incidentId: record.failure.incidentId }),
  ...causeOf(record),
})

/** The check that a refused token failed. */
const checkOf = ({ failure }: Observed): TokenCheck | undefined =>
  failure?.cause instanceof TokenCheckError ? failure.cause.check : undefined

/** Of a refused token the name of the check is all: where in the code it failed says no more. */
function causeOf(record: Observed): { check: TokenCheck } | { err: unknown } | Record<string, never> {
  const check = checkOf(record)
  if (check !== undefined) return { check }
  return record.failure?.cause === undefined ? {} : { err: record.failure.cause }
}

/** A stranger's own words are not logged, not even as a request id; one of our shape says nothing. */
const isLoggedId = ({ principal, requestId }: Observed): boolean =>
  principal !== ANONYMOUS || UUID_PATTERN.test(requestId)

/** Only from the method table, never from what a client sent. */
function labelsOf(record: Pick<Observed, 'path'>): { grpc_service: string; grpc_method: string } {
  const [, service = '', method = ''] = record.path.split('/')
  return { grpc_service: service, grpc_method: method }
}

function createMetrics(registry: Registry) {
  const labelNames = ['grpc_service', 'grpc_method'] as const
  const registers = [registry]
  return {
    started: new Counter({ name: 'grpc_server_started_total', help: 'Calls begun.', labelNames, registers }),
    handled: new Counter({
      name: 'grpc_server_handled_total',
      help: 'Calls ended, by status code.',
      labelNames: [...labelNames, 'grpc_code'],
      registers,
    }),
    seconds: new Histogram({
      name: 'grpc_server_handling_seconds',
      help: 'Seconds from headers to status.',
      labelNames,
      buckets: SECONDS_BUCKETS,
      registers,
    }),
    refusedTokens: new Counter({
      name: 'holdfast_auth_failures_total',
      help: 'Calls whose access token was refused, by the check that failed.',
      labelNames: ['check'],
      registers,
    }),
    inFlight: new Gauge({ name: 'holdfast_grpc_calls_in_flight', help: 'Calls in progress.', registers }),
  }
}
