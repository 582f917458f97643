// The skeleton of every process: configuration, logger, metrics, health, signals, and the end. A process that can no
// longer do its work exits with a code other than 0, since only then its supervisor starts another.

import { ConfigError, loadConfig, type Config } from '../config.ts'
import { isDatabaseDown, openDatabase, sqlStateOf, type Database, type DatabaseOptions } from '../db/connection/pool.ts'
import { ServerVersionError } from '../db/connection/session.ts'
import { bindOf } from '../domain/deployment.ts'
import { logLibrary } from '../grpc/library_log.ts'
import { CertificateError } from '../grpc/tls.ts'
import { startMetricsListener } from '../http/metrics.ts'
import { SecretError } from '../keyvault/secret.ts'
import { createLineLimit, createLogger, createRegistry, type Logger, type Registry } from '../telemetry.ts'
import { createSlowReport } from './database_metrics.ts'
import { inspectSecrets } from './preflight.ts'
import { createPulse, type Pulse } from './pulse.ts'
import { retry } from '../repeat.ts'
import { startWatchdog } from './stuck.ts'

/** From a signal or a failure to the end. Work that still runs then is cut off, as by kill -9. */
export const STOP_WITHIN_MS = 8_000
/** Above the longest turn of any loop while the database or Temporal is slow. */
const LIVE_WITHIN_MS = 120_000
/** For a process with a watchdog. A supervisor that asks for the liveness acts before. */
export const STUCK_WITHIN_MS = 60_000
const FAILED = 1
const STARTING = 'start-up'
/** Failures whose message is printed for the operator, without a stack trace. */
const PLAIN = [ConfigError, SecretError, ServerVersionError, CertificateError]

export const SERVICE_NAMES = ['api', 'worker', 'keys', 'watcher', 'sealer', 'payer'] as const
export type ServiceName = (typeof SERVICE_NAMES)[number]

/** `poolSize`: only a part of DATABASE_POOL. */
type SessionsWanted = Partial<Pick<DatabaseOptions, 'actor' | 'forceGenericPlan' | 'poolSize' | 'source'>>

export type ServiceContext<P extends ServiceName> = {
  readonly config: Config<P>
  readonly logger: Logger
  readonly registry: Registry
  /** Aborted when the process is asked to stop, and when it has failed. */
  readonly stopping: AbortSignal
  /** Heartbeat of a loop that must keep running: the process is not alive once one of them stops. */
  readonly beat: Pulse['beat']
  /** For a loop that has ended in order. */
  readonly endBeat: Pulse['end']
  /** Starts the listener for metrics and health. */
  readonly listen: () => Promise<void>
  /** Sets the readiness check. Without one, the process is not ready. */
  readonly readyWhen: (isReady: () => Promise<boolean>) => void
  /** Opens the database, waiting until it can be reached. It is closed at the end. */
  readonly openDatabase: (options?: SessionsWanted) => Promise<Database>
  /** Runs a step of the start, retried while its failures are transient. @param what for the log */
  readonly insist: <T>(what: string, act: () => Promise<T>, isTransient: (error: unknown) => boolean) => Promise<T>
  /** Registers what is closed at the end, the newest first. */
  readonly onStop: (close: () => Promise<unknown>) => void
  /** Ends the process because of a failure that no caller awaits. */
  readonly fail: (error: unknown) => void
}

export type ServiceOptions<P extends ServiceName> = {
  stopWithinMs?: (config: Config<P>) => number
  liveWithinMs?: number
  /** After so long without liveness the process ends itself. Without it, only its supervisor ends it. */
  stuckWithinMs?: number
  /** Failures, besides those of the configuration, whose message is printed for the operator. */
  isPlain?: (error: unknown) => error is Error
}

/** Runs a process until `main` returns, which it does soon after `stopping`. Then what it opened is closed. */
export async function runService<P extends ServiceName>(
  name: P,
  main: (service: ServiceContext<P>) => Promise<void>,
  options: ServiceOptions<P> = {},
): Promise<void> {
  const ending = createEnding(name, options.isPlain)
  try {
    const config = loadConfig<ServiceName>(name, undefined, inspectSecrets(name)) as Config<P>
    ending.stopWithinMs = options.stopWithinMs?.(config) ?? STOP_WITHIN_MS
    const { liveWithinMs = LIVE_WITHIN_MS, stuckWithinMs } = options
    await main(createService(name, config, ending, { liveWithinMs, stuckWithinMs }))
  } catch (error) {
    ending.fail(error)
  }
  await ending.finish()
}

type Ending = ReturnType<typeof createEnding>

function createEnding(name: ServiceName, isPlain: ServiceOptions<ServiceName>['isPlain']) {
  const logger = createLogger({ process: name, level: 'warn' })
  logLibrary(logger)
  logWarnings(logger)
  const stopping = new AbortController()
  const closers: (() => Promise<unknown>)[] = []
  const ending = {
    stopWithinMs: STOP_WITHIN_MS,
    stopping: stopping.signal,
    hasFailed: false,
    onStop: (close: () => Promise<unknown>): void => void closers.push(close),
    stop,
    fail,
    finish,
  }

  /** From here on the time is bounded, whatever is still open or awaited. */
  function stop(): void {
    if (stopping.signal.aborted) return
    stopping.abort()
    setTimeout(() => process.exit(FAILED), ending.stopWithinMs).unref()
  }

  function fail(error: unknown): void {
    // A step that was given up because of the stop is not a failure. Of several failures the first is the cause.
    if ((stopping.signal.aborted && error === stopping.signal.reason) || ending.hasFailed) return
    ending.hasFailed = true
    process.exitCode = FAILED
    const isForOperator = PLAIN.some((kind) => error instanceof kind) || isPlain?.(error) === true
    process.stderr.write(`${isForOperator ? (error as Error).message : `${name} failed`}\n`)
    if (!isForOperator) logger.fatal({ err: error }, `${name} failed`)
    stop()
  }

  async function finish(): Promise<void> {
    stop()
    for (const close of closers.toReversed())
      await close().catch((error: unknown) => logger.warn({ err: error }, 'close failed'))
    // All is closed: handles that native code still holds must not keep the process alive.
    process.exit(ending.hasFailed ? FAILED : 0)
  }

  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
  // Node's own answer to this signal is to open its debugger, which reads and changes all memory.
  process.on('SIGUSR1', () => logger.warn('SIGUSR1 ignored: it opens no debugger here'))
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) process.on(event, fail)
  return ending
}

/** Replaces Node's own printing of warnings: their text may quote what came from outside. */
function logWarnings(logger: Logger): void {
  const limit = createLineLimit((kind, suppressed) => logger.warn({ kind, suppressed }, 'warnings of the process'))
  process.removeAllListeners('warning')
  process.on('warning', (warning) => limit(warning.name, () => logger.warn({ err: warning }, 'warning of the process')))
}

function createService<P extends ServiceName>(
  name: P,
  config: Config<P>,
  ending: Ending,
  { liveWithinMs, stuckWithinMs: withinMs }: { liveWithinMs: number; stuckWithinMs: number | undefined },
): ServiceContext<P> {
  const { stopping, onStop, fail } = ending
  const settings = config as Config<ServiceName>
  const logger = createLogger({ process: name, level: settings.HOLDFAST_LOG_LEVEL })
  const registry = createRegistry(name)
  const pulse = createPulse(liveWithinMs)
  if (withinMs !== undefined) startWatchdog({ isAlive: pulse.isAlive, withinMs, onStuck: fail, signal: stopping })
  let isReady: (() => Promise<boolean>) | undefined

  async function listen(): Promise<void> {
    const { HOLDFAST_METRICS_BIND: bind, HOLDFAST_METRICS_PORT: port } = settings
    const listener = await startMetricsListener({
      ...{ bind, port, registry },
      isAlive: () => !ending.hasFailed && pulse.isAlive(),
      // From the signal on: a load balancer must send nothing new while calls that run are finished.
      isReady: async () => !stopping.aborted && ((await isReady?.()) ?? false),
    }).catch(nameTakenPort({ HOLDFAST_METRICS_PORT: port }))
    onStop(async () => {
      await listener.stop()
      logger.info(`${name} stopped`)
    })
  }

  const insist: ServiceContext<P>['insist'] = async (what, act, isTransient) => {
    const attempt = (): ReturnType<typeof act> => {
      pulse.beat(STARTING)
      return act()
    }
    const onRetry = (error: unknown): void => logger.warn({ err: error }, `${what}: not yet; trying again`)
    const result = await retry(attempt, { signal: stopping, isTransient, onRetry })
    pulse.end(STARTING)
    return result
  }

  let slowReport: ReturnType<typeof createSlowReport> | undefined
  async function open(extra: SessionsWanted = {}): Promise<Database> {
    const report = (slowReport ??= createSlowReport(registry, logger))
    const { DATABASE_URL: url, DATABASE_POOL: poolSize } = settings
    const attempt = () => openDatabase({ url, poolSize, report, applicationName: `holdfast-${name}`, ...extra })
    const database = await insist('opening the database', attempt, isDatabaseAway)
    onStop(database.close)
    return database
  }

  return {
    ...{ config, logger, registry, stopping, onStop, fail, listen, insist },
    beat: pulse.beat,
    endBeat: pulse.end,
    readyWhen: (check) => void (isReady = check),
    openDatabase: open,
  }
}

/** False where the server refuses the login (SQLSTATE class 28): that does not pass by itself. */
const isDatabaseAway = (error: unknown): boolean =>
  isDatabaseDown(error) && sqlStateOf(error)?.startsWith('28') !== true

/** For a `catch` around listen: turns «address in use» into a ConfigError with variable and port, and «no such address» too; rethrows the rest. */
export function nameTakenPort(ports: Readonly<Record<string, number>>): (error: unknown) => never {
  return (error) => {
    const { message } = error as Error
    const entries = Object.entries(ports)
    const [variable = '', port] = entries.find(([, each]) => message.includes(`:${each}`)) ?? entries[0] ?? []
    if (/EADDRNOTAVAIL/.test(message))
      throw new ConfigError(`${bindOf(variable)}: this machine does not have that address: set one that it has`, {
        cause: error,
      })
    if (!/EADDRINUSE|address already in use/i.test(message)) throw error
    throw new ConfigError(`${variable}: port ${port} is in use: stop what listens there, or set another port`, {
      cause: error,
    })
  }
}

/** Settles when the signal is aborted. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  signal.aborted
    ? Promise.resolve()
    : new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
