// Logger and metrics: types and factories. Log lines are JSON, one per event, with ids and words. Secrets and personal
// data are redacted by key name here, and kept out by the callers.

import { pino, type DestinationStream, type Logger } from 'pino'
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'

export type { Logger }
export { Counter, Gauge, Histogram, Registry }

const REDACTED_KEYS = [
  'authorization',
  'token',
  'secret',
  'password',
  'privateKey',
  'shippingAddress',
  'address',
  'signature',
  'report',
]

export type LoggerOptions = { process: string; level: string; destination?: DestinationStream }

/** Errors are logged by name, reason, SQLSTATE and stack frames, without the message: a library's may quote a row. */
const serializeError = (error: unknown): unknown => {
  if (!(error instanceof Error)) return { name: typeof error }
  const { code, reason } = error as { code?: unknown; reason?: unknown }
  const frames = error.stack
    ?.split('\n')
    .filter((line) => line.startsWith('    at '))
    .slice(0, 12)
  const cause: unknown = error.cause === undefined ? undefined : serializeError(error.cause)
  return { name: error.name, code, reason, frames, cause }
}

export const createLogger = (options: LoggerOptions): Logger =>
  pino(
    {
      level: options.level,
      base: { process: options.process },
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: serializeError, error: serializeError },
      redact: { paths: REDACTED_KEYS.flatMap((key) => [key, `*.${key}`]), censor: '[redacted]' },
    },
    options.destination ?? pino.destination({ dest: 2, sync: true }),
  )

/** A registry with Node's default metrics. Every other metric name starts with `holdfast_` or `grpc_server_`. */
export function createRegistry(process: string): Registry {
  const registry = new Registry()
  registry.setDefaultLabels({ process })
  collectDefaultMetrics({ register: registry })
  return registry
}
