// Which build gets the orders, on a real Temporal server: builds come, are replaced, restart and are rolled back.

import { randomBytes } from 'node:crypto'
import { Connection, Client } from '@temporalio/client'
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker'
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { testServers } from '../../test/support/servers.ts'
import { until } from '../../test/support/until.ts'
import { workflowBundleFile } from '../../test/support/bundle.ts'
import { prepareNamespaces, removeNamespace } from '../servers/namespace.ts'
import { createdAtMs, DEPLOYMENT, promote, type BuildStanding } from './promote.ts'

const DAY_HOURS = 24
const namespace = `test-${randomBytes(6).toString('hex')}`
let client: Client
let connection: NativeConnection
const running = new Map<string, () => Promise<void>>()

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR'), shutdownSignals: [] })
  const { temporalAddress: address } = testServers()
  await prepareNamespaces(address, { [namespace]: DAY_HOURS })
  connection = await NativeConnection.connect({ address })
  client = new Client({ connection: await Connection.connect({ address }), namespace })
})
afterEach(() => Promise.all([...running.keys()].map(stopBuild)))
afterAll(async () => {
  await connection.close()
  await client.connection.close()
  await removeNamespace(testServers().temporalAddress, namespace)
})

async function stopBuild(buildId: string): Promise<void> {
  await running.get(buildId)?.()
  running.delete(buildId)
}

const takePlace = (buildId: string): Promise<BuildStanding> =>
  promote({ client, buildId, signal: new AbortController().signal, onRetry: () => undefined })

/** The worker of this build starts, or starts again, and takes its place. */
async function startBuild(buildId: string): Promise<BuildStanding> {
  await stopBuild(buildId)
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue: 'orders',
    workflowBundle: { codePath: await workflowBundleFile() },
    workerDeploymentOptions: {
      version: { deploymentName: DEPLOYMENT, buildId },
      useWorkerVersioning: true,
      defaultVersioningBehavior: 'AUTO_UPGRADE',
    },
  })
  const ended = worker.run()
  running.set(buildId, () => {
    worker.shutdown()
    return ended
  })
  return takePlace(buildId)
}

const describeDeployment = async () =>
  (await client.workflowService.describeWorkerDeployment({ namespace, deploymentName: DEPLOYMENT }))
    .workerDeploymentInfo

const currentBuild = async () => (await describeDeployment())?.routingConfig?.currentDeploymentVersion?.buildId

test('a new build takes over, and a worker of the old one that restarts does not take it back', async () => {
  expect(await startBuild('one')).toBe('new')
  expect(await startBuild('one')).toBe('current')
  expect(await startBuild('two')).toBe('new')
  expect(await startBuild('one')).toBe('superseded')
  expect(await currentBuild()).toBe('two')
})

test('a person takes a build back, and workers of the one that was taken back leave it so', async () => {
  await Promise.all([startBuild('one'), startBuild('two')])
  // What `temporal worker deployment set-current-version` does (docs/operations.md).
  await until(() =>
    client.workflowService.setWorkerDeploymentCurrentVersion({
      namespace,
      deploymentName: DEPLOYMENT,
      buildId: 'one',
      identity: 'a person',
    }),
  )
  expect(await startBuild('two')).toBe('superseded')
  expect(await startBuild('one')).toBe('current')
  expect(await currentBuild()).toBe('one')
  expect(await startBuild('three')).toBe('new')
  expect(await currentBuild()).toBe('three')
})

test('of builds that start at once, the one that came last is current in the end', async () => {
  await Promise.all(['four', 'five'].map(startBuild))
  await Promise.all(['four', 'five', 'four', 'five'].map(takePlace))
  const versions = (await describeDeployment())?.versionSummaries ?? []
  const [newest] = versions.toSorted((a, b) => createdAtMs(b) - createdAtMs(a))
  expect(await currentBuild()).toBe(newest?.deploymentVersion?.buildId)
})
