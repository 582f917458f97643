// What all processes have in common: configuration, logger, metrics, health, signals, and the end. One that can no longer
// do its work ends with a code other than 0, since only then does its supervisor start another.

import { ConfigError, loadConfig, type Config } from '../config.ts'
import { isDatabaseDown, openDatabase, sqlStateOf, type Database, type DatabaseOptions } from '../db/connection/pool.ts'
import { ServerVersionError } from '../db/connection/session.ts'
import { startMetricsListener } from '../http/metrics.ts'
import { SecretError } from '../keyvault/secret.ts'
import { createLogger, createRegistry, type Logger, type Registry } from '../telemetry.ts'
import { createSlowReport } from './database.ts'
import { createPulse, type Pulse } from './pulse.ts'
import { persist } from './repeat.ts'

/** What outlives this after a signal or a failure is cut off, as a kill -9 would. */
const STOP_WITHIN_MS = 8_000
/** Above the longest turn of any loop while a neighbour is slow. */
const LIVE_WITHIN_MS = 120_000
const FAILED = 1
const STARTING = 'start-up'
/** Failures whose message is for the operator. */
const PLAIN = [ConfigError, SecretError, ServerVersionError]

export type ServiceName = 'api' | 'worker' | 'keys' | 'watcher' | 'sealer'

export type Service<P extends ServiceName> = {
  readonly config: Config<P>
  readonly logger: Logger
  readonly registry: Registry
  /** Aborted when the process is told to stop, and when it has failed. */
  readonly stopping: AbortSignal
  /** For each loop that must go on turning: health is false once one of them does not. */
  readonly beat: Pulse['beat']
  /** For a loop that has ended as it should. */
  readonly endBeat: Pulse['end']
  /** Shows metrics and health from now on. */
  readonly listen: () => Promise<void>
  /** From now on the process may be given work when this says so; before, it is not ready. */
  readonly readyWhen: (isReady: () => Promise<boolean>) => void
  /** Opens the database once it can be reached; it is closed at the end. */
  readonly openDatabase: (options?: Pick<DatabaseOptions, 'actor' | 'forceGenericPlan'>) => Promise<Database>
  /** A step of the start: tried until it succeeds, given up when it fails for good. @param what for the log */
  readonly insist: <T>(what: string, act: () => Promise<T>, isPassing: (error: unknown) => boolean) => Promise<T>
  /** Has something closed at the end, the newest first. */
  readonly onStop: (close: () => Promise<unknown>) => void
  /** Ends the process for a failure that no caller awaits. */
  readonly fail: (error: unknown) => void
}

export type ServiceOptions<P extends ServiceName> = {
  stopWithinMs?: (config: Config<P>) => number
  liveWithinMs?: number
  /** Failures, besides those of the configuration, whose message is for the operator. */
  isToldPlainly?: (error: unknown) => error is Error
}

/** Runs a process until `main` returns, which it does soon after `stopping`; then what it opened is closed. */
export async function runService<P extends ServiceName>(
  name: P,
  main: (service: Service<P>) => Promise<void>,
  options: ServiceOptions<P> = {},
): Promise<void> {
  const ending = createEnding(name, options.isToldPlainly)
  try {
    const config = loadConfig<ServiceName>(name) as Config<P>
    ending.stopWithinMs = options.stopWithinMs?.(config) ?? STOP_WITHIN_MS
    await main(createService(name, config, ending, options.liveWithinMs ?? LIVE_WITHIN_MS))
  } catch (error) {
    ending.fail(error)
  }
  await ending.finish()
}

type Ending = ReturnType<typeof createEnding>

function createEnding(name: ServiceName, isToldPlainly: ServiceOptions<ServiceName>['isToldPlainly']) {
  const logger = createLogger({ process: name, level: 'warn' })
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
    // A step that was given up because of a stop is no failure; of several failures the first is the cause.
    if ((stopping.signal.aborted && error === stopping.signal.reason) || ending.hasFailed) return
    ending.hasFailed = true
    process.exitCode = FAILED
    const isPlain = PLAIN.some((kind) => error instanceof kind) || isToldPlainly?.(error) === true
    process.stderr.write(`${isPlain ? (error as Error).message : `${name} failed`}\n`)
    if (!isPlain) logger.fatal({ err: error }, `${name} failed`)
    stop()
  }

  async function finish(): Promise<void> {
    stop()
    for (const close of closers.toReversed())
      await close().catch((error: unknown) => logger.warn({ err: error }, 'not closed in order'))
    // All is closed: what native code still holds open is no reason to live on.
    process.exit(ending.hasFailed ? FAILED : 0)
  }

  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) process.on(event, fail)
  return ending
}

function createService<P extends ServiceName>(
  name: P,
  config: Config<P>,
  ending: Ending,
  liveWithinMs: number,
): Service<P> {
  const { stopping, onStop, fail } = ending
  const settings = config as Config<ServiceName>
  const logger = createLogger({ process: name, level: settings.HOLDFAST_LOG_LEVEL })
  const registry = createRegistry(name)
  const pulse = createPulse(liveWithinMs)
  let isReady: (() => Promise<boolean>) | undefined

  async function listen(): Promise<void> {
    const { HOLDFAST_METRICS_BIND: bind, HOLDFAST_METRICS_PORT: port } = settings
    const listener = await startMetricsListener({
      ...{ bind, port, registry },
      isAlive: () => !ending.hasFailed && pulse.isAlive(),
      isReady: async () => (await isReady?.()) ?? false,
    }).catch(nameTakenPort({ HOLDFAST_METRICS_PORT: port }))
    onStop(async () => {
      await listener.stop()
      logger.info(`${name} stopped`)
    })
  }

  const insist: Service<P>['insist'] = async (what, act, isPassing) => {
    const attempt = (): ReturnType<typeof act> => {
      pulse.beat(STARTING)
      return act()
    }
    const onRetry = (error: unknown): void => logger.warn({ err: error }, `${what}: not yet; trying again`)
    const result = await persist(attempt, { signal: stopping, isPassing, onRetry })
    pulse.end(STARTING)
    return result
  }

  async function open(extra: Pick<DatabaseOptions, 'actor' | 'forceGenericPlan'> = {}): Promise<Database> {
    const report = createSlowReport(registry, logger)
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

/** What refuses the login will go on refusing it. */
const isDatabaseAway = (error: unknown): boolean =>
  isDatabaseDown(error) && sqlStateOf(error)?.startsWith('28') !== true

/** For a `catch`: rethrows the failure to listen, naming the variable and the port where it is one that is taken. */
export function nameTakenPort(ports: Readonly<Record<string, number>>): (error: unknown) => never {
  return (error) => {
    const { message } = error as Error
    if (!/EADDRINUSE|address already in use/i.test(message)) throw error
    const entries = Object.entries(ports)
    const [variable, port] = entries.find(([, each]) => message.includes(`:${each}`)) ?? entries[0] ?? []
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
