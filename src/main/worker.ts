// The worker process: order workflows, their activities, and the relays that start and wake them, on one connection
// to Temporal (an eager start hands the first task to the worker that shares it).

import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Client } from '@temporalio/client'
import {
  bundleWorkflowCode,
  DefaultLogger,
  makeTelemetryFilterString,
  NativeConnection,
  Runtime,
  Worker,
  type WorkerOptions,
} from '@temporalio/worker'
import { createConsistencyActivities } from '../activities/consistency.ts'
import { createActivities } from '../activities/index.ts'
import { ConfigError, loadConfig, type Config } from '../config.ts'
import { newestMigration } from '../db/migrate.ts'
import { findSchemaVersion, openDatabase, type Database } from '../db/pool.ts'
import { findBacklog } from '../db/relay.ts'
import { systemActor } from '../domain/audit.ts'
import { startMetricsListener } from '../http/metrics.ts'
import { SecretError } from '../keyvault/secret.ts'
import { checkConsistency } from '../relay/consistency.ts'
import { startHoldSweeper } from '../relay/duty.ts'
import type { RelayMetrics } from '../relay/loop.ts'
import { startNotifier } from '../relay/notify.ts'
import { ensureSchedules } from '../relay/schedule.ts'
import { startWaker } from '../relay/signal.ts'
import { startStarter } from '../relay/start.ts'
import { Counter, createLogger, createRegistry, Gauge, type Logger, type Registry } from '../telemetry.ts'
import { BACKGROUND_TASK_QUEUE, CONSISTENCY_SCHEDULE, ORDER_TASK_QUEUE } from '../workflows/message.ts'
import { createChannels } from './channel.ts'
import { createSlowReport } from './database.ts'
import { watchConsistency } from './consistency.ts'
import { createHolder } from './holder.ts'
import { repeat } from './repeat.ts'
import { shortenWorkflowStacks } from './stack.ts'
import { watchTrouble } from './trouble.ts'

const DEPLOYMENT = 'holdfast'
/** Above the longest activity (6.5 s), so that a stop does not cut a transaction's answer off. */
const SHUTDOWN_GRACE_MS = 8_000
const SHUTDOWN_FORCE_MS = 12_000
const CONNECT_RETRY_MS = 1_000
const PROMOTE_RETRY_MS = 500
const BACKLOG_EVERY_MS = 2_000
const PARKED_EVERY_MS = 15_000
const HEALTH_WITHIN_MS = 1_000
const TEMPORAL_SERVICE = 'temporal.api.workflowservice.v1.WorkflowService'

async function main(): Promise<void> {
  const config = loadConfig('worker')
  const logger = createLogger({ process: 'worker', level: config.HOLDFAST_LOG_LEVEL })
  const registry = createRegistry('worker')
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopping.abort())

  const channels = createChannels(config, logger)
  shortenWorkflowStacks()
  installRuntime(config, logger)
  const database = await openDatabase({
    url: config.DATABASE_URL,
    poolSize: config.DATABASE_POOL,
    applicationName: 'holdfast-worker',
    report: createSlowReport(registry, logger),
    actor: systemActor('worker'),
  })
  const newest = await newestMigration()
  /** Set while workers poll. */
  let polling: NativeConnection | undefined
  const listener = await startMetricsListener({
    bind: config.HOLDFAST_METRICS_BIND,
    port: config.HOLDFAST_METRICS_PORT,
    registry,
    isReady: async () => (await isServing(polling)) && (await findSchemaVersion(database)) >= newest,
  })
  watchBacklog(database, registry, logger, stopping.signal)
  watchConsistency(database, registry, logger, stopping.signal)

  const connection = await connect(config, logger, stopping.signal)
  if (connection !== undefined) {
    const client = new Client({ connection, namespace: config.TEMPORAL_NAMESPACE })
    const workers = await createWorkers(config, client, connection, database)
    const running = Promise.all(workers.map((worker) => worker.run()))
    // A worker that fails by itself ends the process; whoever supervises it starts another.
    running.catch(() => stopping.abort())
    await promote(client, config, logger, stopping.signal)
    await ensureSchedules(new Client({ connection, namespace: config.TEMPORAL_BACKGROUND_NAMESPACE }), {
      [CONSISTENCY_SCHEDULE]: config.HOLDFAST_CONSISTENCY_EVERY_MS,
    })
    polling = connection
    logger.info({ buildId: config.HOLDFAST_BUILD_ID }, 'worker ready')

    watchParked(client, registry, logger, stopping.signal)
    watchTrouble(database, registry, logger, stopping.signal)
    const holder = createHolder()
    const metrics = createRelayMetrics(registry)
    const waker = startWaker({ database, client, holder, logger, metrics })
    const relays = [
      waker,
      startStarter({ database, client, holder, logger, metrics, wakesUnderWay: waker.underWay }),
      startNotifier({ database, holder, logger, metrics, channels }),
      startHoldSweeper({ database, holder, logger, metrics }),
    ]
    await aborted(stopping.signal)
    polling = undefined
    await Promise.all(relays.map((relay) => relay.stop()))
    for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown()
    await running
    await connection.close()
  }
  await listener.stop()
  await database.close()
  logger.info('worker stopped')
}

function installRuntime(config: Config<'worker'>, logger: Logger): void {
  Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger('INFO', ({ level, message, meta }) => {
      const { error, ...rest } = meta ?? {}
      const write = { TRACE: 'trace', DEBUG: 'debug', INFO: 'debug', WARN: 'warn', ERROR: 'error' } as const
      logger[write[level]]({ sdk: rest, err: error }, message)
    }),
    telemetryOptions: {
      logging: { forward: {}, filter: makeTelemetryFilterString({ core: 'WARN' }) },
      metrics: {
        prometheus: {
          bindAddress: `${config.HOLDFAST_METRICS_BIND}:${config.HOLDFAST_SDK_METRICS_PORT}`,
          countersTotalSuffix: true,
          unitSuffix: true,
          useSecondsForDurations: true,
        },
      },
    },
  })
}

/** Waits for Temporal as long as it takes; undefined when asked to stop meanwhile. */
async function connect(
  config: Config<'worker'>,
  logger: Logger,
  signal: AbortSignal,
): Promise<NativeConnection | undefined> {
  while (!signal.aborted) {
    try {
      return await NativeConnection.connect({ address: config.TEMPORAL_ADDRESS })
    } catch (error) {
      logger.warn({ err: error, address: config.TEMPORAL_ADDRESS }, 'Temporal cannot be reached; trying again')
      await delay(CONNECT_RETRY_MS, undefined, { signal }).catch(() => undefined)
    }
  }
  return undefined
}

/** One worker for orders, and a small one for scheduled duties in their own namespace. */
async function createWorkers(
  config: Config<'worker'>,
  client: Client,
  connection: NativeConnection,
  database: Database,
): Promise<readonly Worker[]> {
  const workflowBundle: WorkerOptions['workflowBundle'] =
    config.HOLDFAST_WORKFLOW_BUNDLE === undefined
      ? await bundleWorkflowCode({ workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)) })
      : { codePath: config.HOLDFAST_WORKFLOW_BUNDLE }
  const common = {
    connection,
    workflowBundle,
    activities: createActivities({ database }),
    shutdownGraceTime: SHUTDOWN_GRACE_MS,
    shutdownForceTime: SHUTDOWN_FORCE_MS,
  }
  const orders = Worker.create({
    ...common,
    namespace: config.TEMPORAL_NAMESPACE,
    taskQueue: ORDER_TASK_QUEUE,
    // More than the pool has sessions would only wait for one inside a workflow task.
    maxConcurrentLocalActivityExecutions: config.DATABASE_POOL,
    maxConcurrentActivityTaskExecutions: config.DATABASE_POOL,
    ...(config.HOLDFAST_MAX_CACHED_WORKFLOWS !== undefined && {
      maxCachedWorkflows: config.HOLDFAST_MAX_CACHED_WORKFLOWS,
    }),
    // Orders live for weeks: a run moves to new code, which patched() and the replay tests keep safe.
    workerDeploymentOptions: {
      version: { deploymentName: DEPLOYMENT, buildId: config.HOLDFAST_BUILD_ID },
      useWorkerVersioning: true,
      defaultVersioningBehavior: 'AUTO_UPGRADE',
    },
  })
  const background = Worker.create({
    ...common,
    namespace: config.TEMPORAL_BACKGROUND_NAMESPACE,
    taskQueue: BACKGROUND_TASK_QUEUE,
    activities: {
      ...common.activities,
      ...createConsistencyActivities({
        database,
        look: (onRange) => checkConsistency({ database, client, onRange }),
      }),
    },
    maxConcurrentWorkflowTaskPolls: 2,
    maxConcurrentActivityTaskPolls: 1,
    maxConcurrentLocalActivityExecutions: 1,
    maxCachedWorkflows: 2,
  })
  return Promise.all([orders, background])
}

/** Does Temporal answer just now? */
async function isServing(connection: NativeConnection | undefined): Promise<boolean> {
  if (connection === undefined) return false
  const check = () => connection.healthService.check({ service: TEMPORAL_SERVICE })
  await connection.withDeadline(Date.now() + HEALTH_WITHIN_MS, check)
  return true
}

/** Makes this build current once the server has seen its workers poll; before that it would get no work at all. */
async function promote(client: Client, config: Config<'worker'>, logger: Logger, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await client.workflowService.setWorkerDeploymentCurrentVersion({
        namespace: config.TEMPORAL_NAMESPACE,
        deploymentName: DEPLOYMENT,
        buildId: config.HOLDFAST_BUILD_ID,
        identity: 'holdfast-worker',
      })
      return
    } catch (error) {
      logger.debug({ err: error }, 'this build is not yet known to Temporal')
      await delay(PROMOTE_RETRY_MS, undefined, { signal }).catch(() => undefined)
    }
  }
}

const createRelayMetrics = (registry: Registry): RelayMetrics => ({
  passed: new Counter({
    name: 'holdfast_relay_passed_total',
    help: 'Items a relay passed on.',
    labelNames: ['relay'],
    registers: [registry],
  }),
  failed: new Counter({
    name: 'holdfast_relay_failed_total',
    help: 'Items a relay could not pass on yet.',
    labelNames: ['relay'],
    registers: [registry],
  }),
  lastSuccess: new Gauge({
    name: 'holdfast_relay_last_success_timestamp_seconds',
    help: 'When a relay or duty last finished a turn.',
    labelNames: ['relay'],
    registers: [registry],
  }),
})

/** Backlogs and slots, to alarm and to scale on. */
function watchBacklog(database: Database, registry: Registry, logger: Logger, signal: AbortSignal): void {
  const rows = new Gauge({
    name: 'holdfast_backlog_rows',
    help: 'Rows that wait to be passed on.',
    labelNames: ['queue'],
    registers: [registry],
  })
  const dead = new Gauge({
    name: 'holdfast_backlog_dead_rows',
    help: 'Rows that wait for a person.',
    labelNames: ['queue'],
    registers: [registry],
  })
  const age = new Gauge({
    name: 'holdfast_start_backlog_age_seconds',
    help: 'Age of the oldest order without a workflow.',
    registers: [registry],
  })
  const notificationAge = new Gauge({
    name: 'holdfast_notification_backlog_age_seconds',
    help: 'Age of the oldest notification that is still tried.',
    registers: [registry],
  })
  const sessions = new Gauge({
    name: 'holdfast_database_sessions',
    help: 'Database sessions by state.',
    labelNames: ['state'],
    registers: [registry],
  })
  const measure = async (): Promise<void> => {
    const { total, idle, waiting } = database.stats()
    sessions.set({ state: 'busy' }, total - idle)
    sessions.set({ state: 'idle' }, idle)
    sessions.set({ state: 'waiting' }, waiting)
    const backlog = await findBacklog(database)
    rows.set({ queue: 'start' }, Number(backlog.starts))
    rows.set({ queue: 'wake' }, Number(backlog.wakes))
    rows.set({ queue: 'notification' }, Number(backlog.notifications))
    dead.set({ queue: 'notification' }, Number(backlog.deadNotifications))
    notificationAge.set(backlog.oldestNotificationS)
    dead.set({ queue: 'start' }, Number(backlog.deadStarts))
    dead.set({ queue: 'wake' }, Number(backlog.deadWakes))
    age.set(backlog.oldestStartS)
  }
  void repeat(measure, BACKLOG_EVERY_MS, signal, (error) =>
    logger.warn({ err: error }, 'backlog could not be measured'),
  )
}

/** Orders whose undo waits for a person: Temporal alone knows of them. */
function watchParked(client: Client, registry: Registry, logger: Logger, signal: AbortSignal): void {
  const parked = new Gauge({
    name: 'holdfast_parked_orders',
    help: 'Orders whose undo waits for a person.',
    registers: [registry],
  })
  const measure = async (): Promise<void> =>
    parked.set((await client.workflow.count("NeedsOperator = true AND ExecutionStatus = 'Running'")).count)
  void repeat(measure, PARKED_EVERY_MS, signal, (error) =>
    logger.warn({ err: error }, 'parked orders could not be counted'),
  )
}

const aborted = (signal: AbortSignal): Promise<void> =>
  signal.aborted
    ? Promise.resolve()
    : new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))

await main().catch((error: unknown) => {
  const isSetUp = error instanceof ConfigError || error instanceof SecretError
  process.stderr.write(`${isSetUp ? error.message : 'worker failed'}\n`)
  if (!isSetUp) createLogger({ process: 'worker', level: 'error' }).fatal({ err: error }, 'worker failed')
  process.exitCode = 1
})
