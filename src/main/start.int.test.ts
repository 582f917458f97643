// Every process started where something is missing: it waits for what comes back by itself, and ends for what does not.

import { createServer, type Server } from 'node:net'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals'
import { workflowBundleFile } from '../../test/support/bundle.ts'
import { createTcpProxy, type TcpProxy } from '../../test/support/tcp_proxy.ts'
import { createTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { killAll, startProcess, type RunningProcess } from '../../test/support/process.ts'
import { testServers } from '../../test/support/servers.ts'
import { until } from '../../test/support/until.ts'
import { NODE_SWITCHES } from '../servers/process.ts'
import { prepareNamespaces, removeNamespace } from '../servers/namespace.ts'
import { ensureSecrets, replaceFile, type SecretFiles } from '../servers/secret.ts'
import { choosePorts, specsOf, WATCHER_SOURCE, type ProcessSpec } from '../servers/wiring.ts'

const DAY_HOURS = 24
const SHAPE = { apis: 1, workers: 1 }
/** What each says once it has all it needs to begin. */
const BEGUN = {
  api: 'api serves',
  worker: 'worker ready',
  keys: 'keys ready',
  watcher: 'watcher started',
  sealer: 'sealer started',
} as const
type Name = keyof typeof BEGUN
const NAMES = Object.keys(BEGUN) as readonly Name[]

let database: TestDatabase
let folder: string
let secrets: SecretFiles
let proxies: Record<'postgres' | 'temporal', TcpProxy>
const namespace = `test-${randomBytes(6).toString('hex')}`
const processes: RunningProcess[] = []
let squatter: Server | undefined

beforeAll(async () => {
  database = await createTestDatabase()
  folder = await mkdtemp(join(tmpdir(), 'holdfast-start-'))
  secrets = await ensureSecrets(join(folder, 'secret'), WATCHER_SOURCE)
  await replaceFile(secrets.watcherToken, 'unused')
  const { postgres, temporalAddress } = testServers()
  proxies = {
    postgres: await createTcpProxy(`${postgres.host}:${postgres.port}`),
    temporal: await createTcpProxy(temporalAddress),
  }
  await prepareNamespaces(temporalAddress, { [namespace]: DAY_HOURS })
})
afterAll(async () => {
  await proxies.postgres.close()
  await proxies.temporal.close()
  await rm(folder, { recursive: true })
  await database.drop()
})
afterEach(async () => {
  await killAll(processes)
  for (const proxy of Object.values(proxies)) proxy.restore()
  squatter?.close()
})

/** How a process is run in a stack, its servers reached by way of the proxies. */
async function specOf(name: Name): Promise<ProcessSpec> {
  const specs = specsOf({
    ports: await choosePorts(SHAPE),
    secrets,
    auditFile: join(folder, `${randomBytes(6).toString('hex')}.jsonl`),
    databaseUrlOf: (role) => {
      const url = new URL(database.urlOf(role))
      url.host = proxies.postgres.address
      return url.href
    },
    temporalAddress: proxies.temporal.address,
    chainUrl: 'http://127.0.0.1:9',
    settings: {
      TEMPORAL_NAMESPACE: namespace,
      TEMPORAL_BACKGROUND_NAMESPACE: namespace,
      HOLDFAST_WORKFLOW_BUNDLE: await workflowBundleFile(),
    },
  })
  const spec = specs.find((each) => each.name === name)
  if (spec === undefined) throw new Error(`no process is called ${name}`)
  return spec
}

function start({ entry, env, metricsPort }: ProcessSpec, changes: Record<string, string> = {}): RunningProcess {
  const started = startProcess(
    [...NODE_SWITCHES, entry],
    { PATH: process.env['PATH'] ?? '', ...env, ...changes },
    metricsPort,
  )
  processes.push(started)
  return started
}

async function occupy(port: number): Promise<void> {
  squatter = createServer().listen(port, '127.0.0.1')
  await once(squatter, 'listening')
}

const PORTS: readonly [Name, string][] = [
  ...NAMES.map((name): [Name, string] => [name, 'HOLDFAST_METRICS_PORT']),
  ['api', 'HOLDFAST_GRPC_PORT'],
  ['api', 'HOLDFAST_ADMIN_PORT'],
  ['worker', 'HOLDFAST_SDK_METRICS_PORT'],
]

describe('a process', () => {
  test.each(NAMES)(
    '%s that starts while Postgres is away waits for it, alive and not ready, and begins',
    async (name) => {
      proxies.postgres.cut()
      const waiting = start(await specOf(name))
      await until(() => waiting.output().includes('opening the database: not yet'))
      expect(await waiting.health()).toEqual({ healthz: 200, readyz: 503 })
      proxies.postgres.restore()
      await until(() => waiting.output().includes(BEGUN[name]))
      expect((await waiting.stop()).code).toBe(0)
    },
  )

  test.each(NAMES)('%s that is told to stop while Postgres is away ends in order', async (name) => {
    proxies.postgres.cut()
    const waiting = start(await specOf(name))
    await until(() => waiting.output().includes('opening the database: not yet'))
    expect((await waiting.stop()).code).toBe(0)
  })

  test.each(NAMES)('%s whose login is refused ends', async (name) => {
    const spec = await specOf(name)
    const url = new URL(spec.env['DATABASE_URL'] ?? '')
    url.password = 'wrong'
    const { code, output } = await start(spec, { DATABASE_URL: url.href }).ended
    expect(code).toBe(1)
    expect(output).toContain('"code":"28P01"')
    expect(output).not.toContain('wrong')
  })

  test.each(PORTS)('%s whose %s is taken ends, and names it', async (name, variable) => {
    const spec = await specOf(name)
    const port = Number(spec.env[variable])
    await occupy(port)
    const { code, output } = await start(spec).ended
    expect(code).toBe(1)
    expect(output).toContain(`${variable}: port ${port} is in use: stop what listens there, or set another port`)
  })
})

describe('a worker', () => {
  test('that starts while Temporal is away waits for it, alive and not ready, and begins', async () => {
    proxies.temporal.cut()
    const waiting = start(await specOf('worker'))
    await until(() => waiting.output().includes('connecting to Temporal: not yet'))
    expect(await waiting.health()).toEqual({ healthz: 200, readyz: 503 })
    proxies.temporal.restore()
    await until(async () => (await waiting.health())?.readyz === 200)
    expect((await waiting.stop()).code).toBe(0)
  })

  test('that has no namespace for its duties ends', async () => {
    const spec = await specOf('worker')
    const { code, output } = await start(spec, { TEMPORAL_BACKGROUND_NAMESPACE: 'no-such-namespace' }).ended
    expect(code).toBe(1)
    expect(output).toContain('worker failed')
  })

  test.each(['TEMPORAL_NAMESPACE', 'TEMPORAL_BACKGROUND_NAMESPACE'])('whose %s is removed ends', async (variable) => {
    const { temporalAddress } = testServers()
    const doomed = `test-${randomBytes(6).toString('hex')}`
    await prepareNamespaces(temporalAddress, { [doomed]: DAY_HOURS })
    const worker = start(await specOf('worker'), { [variable]: doomed })
    await until(async () => (await worker.health())?.readyz === 200)
    await removeNamespace(temporalAddress, doomed)
    const { code, output } = await worker.ended
    expect(code).toBe(1)
    expect(output).toContain('worker failed')
  })
})
