// The outermost interceptor: a request id, one log line and the rate, error and duration metrics of every call,
// including rejected ones.

import { randomUUID } from 'node:crypto'
import { ServerInterceptingCall, status, type ServerInterceptor } from '@grpc/grpc-js'
import { actorOf } from '../domain/access.ts'
import type { RequestHash } from '../keyvault/request.ts'
import { Counter, Gauge, Histogram, type Logger, type Registry } from '../telemetry.ts'
import { keepRecord, ANONYMOUS, type CallRecord } from './call.ts'
import type { MethodPath } from './method.ts'
import { REQUEST_ID_KEY } from './status.ts'

/** A caller's own request id is used if it is safe in a log line. */
const REQUEST_ID_SHAPE = /^[A-Za-z0-9._-]{1,64}$/
const REPLAY_KEY = 'idempotency-hit'
const SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const MS_PER_S = 1_000
const HEALTH = '/grpc.health.v1.Health/'

type Metrics = ReturnType<typeof createMetrics>

export type ObserverDeps = {
  logger: Logger
  registry: Registry
  /** Pseudonym of a peer's address. */
  peerHashOf: (address: string) => string
  hashRequest: RequestHash
  /** Called once for each finished call. */
  onFinish?: (record: CallRecord, code: status) => void
}

export function createObserver({
  logger,
  registry,
  peerHashOf,
  hashRequest,
  onFinish,
}: ObserverDeps): ServerInterceptor {
  const metrics = createMetrics(registry)
  return (method, call) => {
    const finish = createFinish(metrics, logger, onFinish)
    let record: CallRecord | undefined
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            const [given] = metadata.get(REQUEST_ID_KEY)
            const peer = call.getConnectionInfo().remoteAddress ?? ''
            record = {
              path: method.path as MethodPath,
              requestId: typeof given === 'string' && REQUEST_ID_SHAPE.test(given) ? given : randomUUID(),
              peer,
              peerHash: peerHashOf(peer),
              hashRequest,
              startedAt: performance.now(),
              principal: ANONYMOUS,
              orderId: undefined,
              isReplay: false,
              failure: undefined,
            }
            keepRecord(metadata, record)
            metrics.started.inc(labelsOf(record))
            metrics.inFlight.inc()
            pass(metadata)
          },
          // Also called after a normal end, and when the library itself ended the call: deadline, size, framing.
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
      sendStatus: (sent, pass) => {
        if (record !== undefined) finish(record, sent.code ?? status.OK)
        pass(sent)
      },
    })
  }
}

/** Records the end of a call exactly once, whichever event comes first. */
function createFinish(
  metrics: Metrics,
  logger: Logger,
  onFinish: ObserverDeps['onFinish'],
): (record: CallRecord, code: status) => void {
  let isFinished = false
  return (record, code) => {
    if (isFinished) return
    isFinished = true
    const durationMs = performance.now() - record.startedAt
    metrics.inFlight.dec()
    metrics.handled.inc({ ...labelsOf(record), grpc_code: status[code] })
    metrics.seconds.observe(labelsOf(record), durationMs / MS_PER_S)
    onFinish?.(record, code)
    logger[levelOf(record, code)](lineOf(record, code, durationMs), 'call')
  }
}

function levelOf(record: CallRecord, code: status): 'error' | 'warn' | 'info' | 'debug' {
  if (code === status.INTERNAL || code === status.UNKNOWN) return 'error'
  if (code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED) return 'warn'
  return record.path.startsWith(HEALTH) ? 'debug' : 'info'
}

const lineOf = (record: CallRecord, code: status, durationMs: number) => ({
  requestId: record.requestId,
  method: record.path,
  code: status[code],
  durationMs: Math.round(durationMs * 10) / 10,
  peer: record.peer,
  ...(record.principal !== ANONYMOUS && { actor: actorOf(record.principal), roles: record.principal.roles }),
  ...(record.orderId !== undefined && { orderId: record.orderId }),
  ...(record.isReplay && { isReplay: true }),
  ...(record.failure !== undefined && { reason: record.failure.reason, incidentId: record.failure.incidentId }),
  ...(record.failure?.cause !== undefined && { err: record.failure.cause }),
})

/** Only from the method table, never from what a client sent. */
function labelsOf(record: CallRecord): { grpc_service: string; grpc_method: string } {
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
    inFlight: new Gauge({ name: 'holdfast_grpc_calls_in_flight', help: 'Calls in progress.', registers }),
  }
}
