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

const MAX_FRAMES = 12
/** Longest chain of causes in a log line. */
const MAX_CAUSES = 5
/** A class name, a reason, an errno or an SQLSTATE. Anything else may be text from outside. */
const WORD = /^[A-Za-z0-9_.-]{1,64}$/

/** Errors are logged by name, reason, SQLSTATE and stack frames, without the message: a library's may quote a row. */
const serializeError = (error: unknown, causes = 0): unknown => {
  if (!(error instanceof Error)) return { name: typeof error }
  const { code, reason } = error as { code?: unknown; reason?: unknown }
  const cause: unknown =
    error.cause === undefined || causes >= MAX_CAUSES ? undefined : serializeError(error.cause, causes + 1)
  return { name: wordOf(error.name), code: wordOf(code), reason: wordOf(reason), frames: framesOf(error), cause }
}

/** A line is written whatever was thrown. */
function writeError(error: unknown): unknown {
  try {
    return serializeError(error)
  } catch {
    return { name: 'unreadable' }
  }
}

const wordOf = (value: unknown): string | number | undefined =>
  typeof value === 'number' || (typeof value === 'string' && WORD.test(value)) ? value : undefined

/** The stack frames. A message may contain lines that look like frames, so the search starts after the message. */
function framesOf({ message, stack }: Error): string[] | undefined {
  const at = stack?.indexOf(message) ?? -1
  // A message that was changed after the stack was taken is not where it belongs, in the first line.
  if (stack === undefined || at < 0 || stack.slice(0, at).includes('\n')) return undefined
  return stack
    .slice(at + message.length)
    .split('\n')
    .filter((line) => line.startsWith('    at '))
    .slice(0, MAX_FRAMES)
}

export const createLogger = (options: LoggerOptions): Logger =>
  pino(
    {
      level: options.level,
      base: { process: options.process },
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: writeError, error: writeError },
      redact: { paths: REDACTED_KEYS.flatMap((key) => [key, `*.${key}`]), censor: '[redacted]' },
    },
    options.destination ?? pino.destination({ dest: 2, sync: true }),
  )

/** One window of a rate-limited class. */
const LINE_EVERY_MS = 1_000

export type LineLimit = (kind: string, write: () => void) => void

/**
 * Rate limit for log lines that a stranger can cause: at most one line per second and kind. Lines beyond that are
 * counted, and `onSuppressed` writes the count when the second has passed. `kind` comes from a fixed set of words, never
 * from what a caller sent: the state grows with it.
 */
export function createLineLimit(
  onSuppressed: (kind: string, suppressed: number) => void,
  everyMs = LINE_EVERY_MS,
): LineLimit {
  /** Suppressed lines per kind whose second has not passed. */
  const open = new Map<string, number>()
  const wait = (kind: string): void => {
    open.set(kind, 0)
    setTimeout(() => close(kind), everyMs).unref()
  }
  const close = (kind: string): void => {
    const suppressed = open.get(kind) ?? 0
    open.delete(kind)
    if (suppressed === 0) return
    onSuppressed(kind, suppressed)
    // The count is this second's line.
    wait(kind)
  }
  return (kind, write) => {
    const suppressed = open.get(kind)
    if (suppressed !== undefined) return void open.set(kind, suppressed + 1)
    write()
    wait(kind)
  }
}

/** A registry with Node's default metrics. Every other metric name starts with `holdfast_` or `grpc_server_`. */
export function createRegistry(process: string): Registry {
  const registry = new Registry()
  registry.setDefaultLabels({ process })
  collectDefaultMetrics({ register: registry })
  return registry
}
