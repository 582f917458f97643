// A Temporal worker in the test's own process and in its own namespace, with the relays that feed it.

import { randomBytes } from 'node:crypto'
import { Client } from '@temporalio/client'
import { DefaultLogger, NativeConnection, Runtime, Worker, type WorkerOptions } from '@temporalio/worker'
import type { ConsistencyActivities } from '../../src/activities/consistency.ts'
import { createActivities, type Activities } from '../../src/activities/index.ts'
import type { Database } from '../../src/db/connection/pool.ts'
import { systemActor } from '../../src/domain/audit.ts'
import { startHoldSweeper } from '../../src/relay/duty.ts'
import type { RelayMetrics } from '../../src/relay/loop.ts'
import { startNotifier } from '../../src/relay/notify.ts'
import { startWaker } from '../../src/relay/wake.ts'
import { startOrderStarter } from '../../src/relay/start.ts'
import { prepareNamespaces } from '../../src/servers/namespace.ts'
import { Counter, createLogger, Gauge, Registry } from '../../src/telemetry.ts'
import { ORDER_TASK_QUEUE } from '../../src/workflows/message.ts'
import { workflowBundleFile } from './bundle.ts'
import { openTestDatabase, type TestDatabase } from './database.ts'
import { testServers } from './servers.ts'

export type TestWorker = {
  database: Database
  client: Client
  namespace: string
  /** Starts a worker with some activities replaced, and stops the previous one. */
  run: (
    replace?: (real: Activities) => Partial<Activities & ConsistencyActivities>,
    options?: Pick<Partial<WorkerOptions>, 'maxCachedWorkflows' | 'taskQueue'>,
  ) => Promise<void>
  /** Shuts the worker down as a deployment would; the relays continue. */
  halt: () => Promise<void>
  stop: () => Promise<void>
}

const DAY_HOURS = 24
const FORCE_AFTER_MS = 5_000

/**
 * @param options.relays which relays run; all by default
 * @param options.observe wraps the database of activities and relays
 */
export async function createTestWorker(
  test: TestDatabase,
  options: {
    relays?: readonly ('start' | 'wake' | 'notify' | 'sweep')[]
    observe?: (database: Database) => Database
  } = {},
): Promise<TestWorker> {
  quietRuntime()
  const namespace = `test-${randomBytes(6).toString('hex')}`
  await prepareNamespaces(testServers().temporalAddress, { [namespace]: DAY_HOURS })
  const connection = await NativeConnection.connect({ address: testServers().temporalAddress })
  const client = new Client({ connection, namespace })
  const opened = await openTestDatabase({
    url: test.urlOf('app_worker'),
    poolSize: 8,
    applicationName: 'test-worker',
    actor: systemActor('worker'),
  })
  const database = options.observe?.(opened) ?? opened
  const logger = createLogger({ process: 'test', level: 'silent' })
  const deps = { database, client, holder: namespace, logger, metrics: createMetrics() }
  const starters = { start: startOrderStarter, wake: startWaker, notify: startNotifier, sweep: startHoldSweeper }
  const relays = (options.relays ?? (['start', 'wake', 'notify', 'sweep'] as const)).map((name) => starters[name](deps))
  let worker: Worker | undefined
  let running: Promise<void> | undefined

  const halt = async (): Promise<void> => {
    if (worker?.getState() === 'RUNNING') worker.shutdown()
    await running
    worker = undefined
    running = undefined
  }
  return {
    database,
    client,
    namespace,
    run: async (replace, runOptions) => {
      await halt()
      const real = createActivities({ database })
      worker = await Worker.create({
        connection,
        namespace,
        taskQueue: ORDER_TASK_QUEUE,
        workflowBundle: { codePath: await workflowBundleFile() },
        activities: { ...real, ...replace?.(real) },
        shutdownGraceTime: 0,
        shutdownForceTime: FORCE_AFTER_MS,
        ...runOptions,
      })
      running = worker.run()
    },
    halt,
    stop: async () => {
      await Promise.all(relays.map((relay) => relay.stop()))
      await halt()
      await connection.close()
      await database.close()
    },
  }
}

let isQuiet = false
function quietRuntime(): void {
  if (isQuiet) return
  Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] })
  isQuiet = true
}

function createMetrics(): RelayMetrics {
  const registers = [new Registry()]
  return {
    passed: new Counter({ name: 'passed', help: 'passed', labelNames: ['relay'], registers }),
    failed: new Counter({ name: 'failed', help: 'failed', labelNames: ['relay'], registers }),
    lastSuccess: new Gauge({ name: 'last_success', help: 'last success', labelNames: ['relay'], registers }),
  }
}
