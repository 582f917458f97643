// The Temporal workers of the worker process: one for orders, and a small one for scheduled duties in a namespace of
// its own. Both share one connection, the SDK's runtime and one bundle of workflow code.

import { fileURLToPath } from 'node:url'
import type { Client } from '@temporalio/client'
import {
  bundleWorkflowCode,
  DefaultLogger,
  makeTelemetryFilterString,
  type NativeConnection,
  Runtime,
  type RuntimeOptions,
  Worker,
  type WorkerOptions,
} from '@temporalio/worker'
import { createConsistencyActivities } from '../activities/consistency.ts'
import { createActivities } from '../activities/index.ts'
import type { Config } from '../config.ts'
import type { Database } from '../db/connection/pool.ts'
import { checkConsistency } from '../relay/consistency.ts'
import type { Logger } from '../telemetry.ts'
import { BACKGROUND_TASK_QUEUE, ORDER_TASK_QUEUE } from '../workflows/message.ts'
import { latePolicyOf } from './asset.ts'
import { nameTakenPort, type ServiceContext } from './process.ts'
import { DEPLOYMENT } from './promote.ts'
import { isTemporalUnavailable } from './temporal_failure.ts'

/** The grace is above the longest activity (6.5 s), so that a stop does not cut a transaction's answer off. */
const SHUTDOWN = { shutdownGraceTime: 8_000, shutdownForceTime: 12_000 } as const

/** Once per process, before any connection. @throws {ConfigError} when the port of the SDK's metrics is taken */
export function installTemporalRuntime(config: Config<'worker'>, logger: Logger): void {
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

/** Has both workers poll until the process stops. A worker that ends by itself ends the process. */
export async function runWorkers(service: ServiceContext<'worker'>, parts: Parts): Promise<void> {
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
    const worker = await insist(`creating the worker in ${options.namespace}`, create, isTemporalUnavailable)
    workers.push({ worker, running: worker.run().catch(fail) })
  }
}

const orderWorkerOptions = (config: Config<'worker'>, { connection, database }: Parts): WorkerOptions => ({
  connection,
  activities: createActivities({ database, latePolicy: latePolicyOf(config) }),
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
