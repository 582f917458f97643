// The worker process: order workflows, their activities, and the relays that start and wake them, on one connection to
// Temporal: an eager start hands the first task to the worker that shares the connection.

import { Client } from '@temporalio/client'
import { NativeConnection } from '@temporalio/worker'
import { systemActor } from '../domain/audit.ts'
import { startHoldSweeper } from '../relay/duty.ts'
import { startNotifier } from '../relay/notify.ts'
import { ensureSchedules } from '../relay/schedule.ts'
import { startWaker } from '../relay/wake.ts'
import { createStartedOrders, startOrderStarter } from '../relay/start.ts'
import { CONSISTENCY_SCHEDULE } from '../workflows/message.ts'
import { createLeaseHolder } from './lease_holder.ts'
import { createChannels } from './notification_channel.ts'
import { aborted, runService, type ServiceContext } from './process.ts'
import { promote, type BuildStanding } from './promote.ts'
import { createSchemaCheck } from './readiness.ts'
import { limitStackTraces } from './stack_trace.ts'
import { readTemporalTls } from './temporal_connection.ts'
import { isTemporalUnavailable, watchNamespace } from './temporal_failure.ts'
import { installTemporalRuntime, runWorkers } from './temporal_worker.ts'
import { createRelayMetrics, watchDatabase, watchParkedOrders } from './worker_metrics.ts'

/** Above the time after which a Temporal worker is cut off, and below the 20 s that a supervisor gives. */
const WORKER_STOP_WITHIN_MS = 16_000
const HEALTH_WITHIN_MS = 1_000
const TEMPORAL_SERVICE = 'temporal.api.workflowservice.v1.WorkflowService'

async function main(service: ServiceContext<'worker'>): Promise<void> {
  const { config, logger, registry, stopping } = service
  const channels = createChannels(config, logger)
  limitStackTraces()
  await service.listen()
  installTemporalRuntime(config, logger)
  const database = await service.openDatabase({ actor: systemActor('worker') })
  const watch = { registry, logger, signal: stopping }
  watchDatabase(database, watch)
  const holder = createLeaseHolder()
  const metrics = createRelayMetrics(registry, service.beat)
  // These must work while Temporal is down, so they do not wait for it.
  for (const relay of [
    startNotifier({ database, holder, logger, metrics, channels }),
    startHoldSweeper({ database, holder, logger, metrics }),
  ])
    service.onStop(() => relay.stop())
  const address = config.TEMPORAL_ADDRESS
  const tls = await readTemporalTls(config, address)
  const connect = () => NativeConnection.connect({ address, ...(tls !== undefined && { tls }) })
  const connection = await service.insist('connecting to Temporal', connect, isTemporalUnavailable)
  service.onStop(() => connection.close())
  const client = new Client({ connection, namespace: config.TEMPORAL_NAMESPACE })
  await runWorkers(service, { client, connection, database })
  const standing = await makeCurrent(service, client)
  const background = new Client({ connection, namespace: config.TEMPORAL_BACKGROUND_NAMESPACE })
  const everyMs = { [CONSISTENCY_SCHEDULE]: config.HOLDFAST_CONSISTENCY_EVERY_MS }
  await service.insist('making schedules', () => ensureSchedules(background, everyMs), isTemporalUnavailable)
  logger.info({ buildId: config.HOLDFAST_BUILD_ID }, 'worker ready')

  watchParkedOrders(client, watch)
  for (const each of [client, background]) watchNamespace(each, stopping, service.fail)
  // A build that is not current takes no first task: it would write a history that the current one may not replay.
  const started = createStartedOrders({ database, holder, logger })
  const deps = { database, client, holder, logger, metrics, started, isEager: () => standing !== 'superseded' }
  const waker = startWaker(deps)
  const relays = [waker, startOrderStarter({ ...deps, wakesUnderWay: waker.underWay })]
  service.onStop(() => Promise.all(relays.map((relay) => relay.stop())))
  const isMigrated = await createSchemaCheck(database)
  service.readyWhen(async () => !stopping.aborted && (await isTemporalServing(connection)) && isMigrated())
  await aborted(stopping)
}

/** Makes this build current where it is new. A build that was replaced polls on: an operator may make it current. */
async function makeCurrent(service: ServiceContext<'worker'>, client: Client): Promise<BuildStanding> {
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

/** Whether Temporal answers now. */
async function isTemporalServing(connection: NativeConnection): Promise<boolean> {
  const check = () => connection.healthService.check({ service: TEMPORAL_SERVICE })
  await connection.withDeadline(Date.now() + HEALTH_WITHIN_MS, check)
  return true
}

await runService('worker', main, { stopWithinMs: () => WORKER_STOP_WITHIN_MS })
