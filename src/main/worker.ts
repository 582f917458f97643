// The worker process: order workflows, their activities, and the relays that start and wake them, on one connection
// to Temporal (an eager start hands the first task to the worker that shares it).

import { fileURLToPath } from 'node:url'
import { Client } from '@temporalio/client'
import {
  bundleWorkflowCode,
  DefaultLogger,
  makeTelemetryFilterString,
  NativeConnection,
  Runtime,
  type RuntimeOptions,
  Worker,
  type WorkerOptions,
} from '@temporalio/worker'
import { createConsistencyActivities } from '../activities/consistency.ts'
import { createActivities } from '../activities/index.ts'
import type { Config } from '../config.ts'
import { newestMigration } from '../db/migrate.ts'
import { findSchemaVersion, type Database } from '../db/connection/pool.ts'
import { systemActor } from '../domain/audit.ts'
import { checkConsistency } from '../relay/consistency.ts'
import { startHoldSweeper } from '../relay/duty.ts'
import type { RelayMetrics } from '../relay/loop.ts'
import { startNotifier } from '../relay/notify.ts'
import { ensureSchedules } from '../relay/schedule.ts'
import { startWaker } from '../relay/wake.ts'
import { startStarter } from '../relay/start.ts'
import { Counter, Gauge, type Logger, type Registry } from '../telemetry.ts'
import { BACKGROUND_TASK_QUEUE, CONSISTENCY_SCHEDULE, ORDER_TASK_QUEUE } from '../workflows/message.ts'
import { watchBacklog, watchParked } from './backlog.ts'
import { createChannels } from './channel.ts'
import { watchConsistency } from './consistency.ts'
import { isEngineAway, watchNamespace } from './engine.ts'
import { createHolder } from './holder.ts'
import { aborted, nameTakenPort, runService, type Service } from './process.ts'
import { DEPLOYMENT, promote, type Standing } from './promote.ts'
import { shortenWorkflowStacks } from './stack.ts'
import { watchTrouble } from './trouble.ts'

/** The grace is above the longest activity (6.5 s), so that a stop does not cut a transaction's answer off. */
const SHUTDOWN = { shutdownGraceTime: 8_000, shutdownForceTime: 12_000 } as const
/** Above the time after which a worker is cut off, and below the 20 s that a supervisor gives. */
const STOP_WITHIN_MS = 16_000
const HEALTH_WITHIN_MS = 1_000
const TEMPORAL_SERVICE = 'temporal.api.workflowservice.v1.WorkflowService'

async function main(service: Service<'worker'>): Promise<void> {
  const { config, logger, registry, stopping } = service
  const channels = createChannels(config, logger)
  shortenWorkflowStacks()
  await service.listen()
  installRuntime(config, logger)
  const database = await service.openDatabase({ actor: systemActor('worker') })
  watchBacklog(database, registry, logger, stopping)
  watchConsistency(database, registry, logger, stopping)
  const holder = createHolder()
  const metrics = createRelayMetrics(registry, service.beat)
  // What must survive Temporal waits for nothing of it.
  for (const relay of [
    startNotifier({ database, holder, logger, metrics, channels }),
    startHoldSweeper({ database, holder, logger, metrics }),
  ])
    service.onStop(() => relay.stop())
  const connect = () => NativeConnection.connect({ address: config.TEMPORAL_ADDRESS })
  const connection = await service.insist('connecting to Temporal', connect, isEngineAway)
  service.onStop(() => connection.close())
  const client = new Client({ connection, namespace: config.TEMPORAL_NAMESPACE })
  await runWorkers(service, { client, connection, database })
  const standing = await takePlace(service, client)
  const background = new Client({ connection, namespace: config.TEMPORAL_BACKGROUND_NAMESPACE })
  const everyMs = { [CONSISTENCY_SCHEDULE]: config.HOLDFAST_CONSISTENCY_EVERY_MS }
  await service.insist('making schedules', () => ensureSchedules(background, everyMs), isEngineAway)
  logger.info({ buildId: config.HOLDFAST_BUILD_ID }, 'worker ready')

  watchParked(client, registry, logger, stopping)
  watchTrouble(database, registry, logger, stopping)
  for (const each of [client, background]) watchNamespace(each, stopping, service.fail)
  // A build that is not current takes no first task: it would write a history that the current one may not replay.
  const deps = { database, client, holder, logger, metrics, isEager: () => standing !== 'superseded' }
  const waker = startWaker(deps)
  const relays = [waker, startStarter({ ...deps, wakesUnderWay: waker.underWay })]
  service.onStop(() => Promise.all(relays.map((relay) => relay.stop())))
  const newest = await newestMigration()
  service.readyWhen(
    async () => !stopping.aborted && (await isServing(connection)) && (await findSchemaVersion(database)) >= newest,
  )
  await aborted(stopping)
}

function installRuntime(config: Config<'worker'>, logger: Logger): void {
  const { HOLDFAST_METRICS_BIND: bind, HOLDFAST_SDK_METRICS_PORT: port } = config
  const options: RuntimeOptions = {
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
          bindAddress: `${bind}:${port}`,
          countersTotalSuffix: true,
          unitSuffix: true,
          useSecondsForDurations: true,
        },
      },
    },
  }
  try {
    Runtime.install(options)
  } catch (error) {
    nameTakenPort({ HOLDFAST_SDK_METRICS_PORT: port })(error)
  }
}

type Parts = { client: Client; connection: NativeConnection; database: Database }

/** Has the workers poll until the process stops. One that ends by itself ends the process. */
async function runWorkers(service: Service<'worker'>, parts: Parts): Promise<void> {
  const { config, insist, onStop, fail } = service
  const workflowBundle: WorkerOptions['workflowBundle'] =
    config.HOLDFAST_WORKFLOW_BUNDLE === undefined
      ? await bundleWorkflowCode({ workflowsPath: fileURLToPath(new URL('../workflows/index.ts', import.meta.url)) })
      : { codePath: config.HOLDFAST_WORKFLOW_BUNDLE }
  const workers: { worker: Worker; running: Promise<void> }[] = []
  onStop(async () => {
    for (const { worker } of workers) if (worker.getState() === 'RUNNING') worker.shutdown()
    await Promise.all(workers.map(({ running }) => running))
  })
  for (const options of [orderWorkerOptions(config, parts), dutyWorkerOptions(config, parts)]) {
    const create = () => Worker.create({ ...options, workflowBundle })
    const worker = await insist(`creating the worker in ${options.namespace}`, create, isEngineAway)
    workers.push({ worker, running: worker.run().catch(fail) })
  }
}

const orderWorkerOptions = (config: Config<'worker'>, { connection, database }: Parts): WorkerOptions => ({
  connection,
  activities: createActivities({ database }),
  namespace: config.TEMPORAL_NAMESPACE,
  taskQueue: ORDER_TASK_QUEUE,
  ...SHUTDOWN,
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

/** A small one for scheduled duties, in their own namespace. */
const dutyWorkerOptions = (config: Config<'worker'>, { client, connection, database }: Parts): WorkerOptions => ({
  connection,
  activities: {
    ...createActivities({ database }),
    ...createConsistencyActivities({ database, look: (onRange) => checkConsistency({ database, client, onRange }) }),
  },
  namespace: config.TEMPORAL_BACKGROUND_NAMESPACE,
  taskQueue: BACKGROUND_TASK_QUEUE,
  ...SHUTDOWN,
  maxConcurrentWorkflowTaskPolls: 2,
  maxConcurrentActivityTaskPolls: 1,
  maxConcurrentLocalActivityExecutions: 1,
  maxCachedWorkflows: 2,
})

/** Has this build run the orders where it is new; one that was replaced polls on, for a person to make it current. */
async function takePlace(service: Service<'worker'>, client: Client): Promise<Standing> {
  const { config, logger, stopping: signal, beat } = service
  const { HOLDFAST_BUILD_ID: buildId } = config
  const onRetry = (error: unknown): void => {
    beat('promotion')
    logger.info({ err: error }, 'Temporal does not know this build yet')
  }
  beat('promotion')
  const standing = await promote({ client, buildId, signal, onRetry })
  service.endBeat('promotion')
  if (standing === 'superseded') logger.warn({ buildId }, 'another build is current, and this one gets no orders')
  return standing
}

/** Does Temporal answer just now? */
async function isServing(connection: NativeConnection): Promise<boolean> {
  const check = () => connection.healthService.check({ service: TEMPORAL_SERVICE })
  await connection.withDeadline(Date.now() + HEALTH_WITHIN_MS, check)
  return true
}

const createRelayMetrics = (registry: Registry, turned: (relay: string) => void): RelayMetrics => ({
  turned,
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

await runService('worker', main, { stopWithinMs: () => STOP_WITHIN_MS })
