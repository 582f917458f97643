// After days off, on a real Ethereum node: every block is read, in order and once, also through kill -9; a few at a time;
// with its progress in log and metrics; and a block that the node no longer has stops the watcher instead of being skipped.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { putOrder, putProduct } from '../../test/support/builder.ts'
import { startCountingNode, type CountingNode } from '../../test/support/counting_node.ts'
import { createTestDatabase, openTestDatabase, type TestDatabase } from '../../test/support/database.ts'
import { killAll, startProcess, type RunningProcess } from '../../test/support/process.ts'
import { until } from '../../test/support/until.ts'
import type { Database } from '../db/connection/pool.ts'
import type { Observation } from '../domain/chain.ts'
import { startAnvil, type Anvil } from '../servers/anvil.ts'
import { freePorts } from '../servers/port.ts'
import { createLogger, createRegistry } from '../telemetry.ts'
import { openDevelopmentChain, type DevelopmentChain } from './development.ts'
import { createEthereumClient } from './ethereum.ts'
import { createChainMetrics } from './metrics.ts'
import { MAX_READ_AHEAD } from './read_ahead.ts'
import { createWatcher } from './watcher.ts'

jest.setTimeout(600_000)

const ENTRY = fileURLToPath(new URL('../main/watcher.ts', import.meta.url))
const SECRET = Buffer.from(`development-${'s'.repeat(32)}`).toString('base64')
const BLOCKS = 300
/** Of so many blocks, one has a payment. */
const PAID_EVERY = 10
const KILLS = 3
const LATENCY_MS = 25
/** pino's number. */
const ERROR_LEVEL = 50

const processes: RunningProcess[] = []
let dataDir: string
let anvil: Anvil
let chain: DevelopmentChain
let node: CountingNode
let shop: TestDatabase
let database: Database
let productId: string
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-backfill-'))
  const [port = 0] = await freePorts(1)
  anvil = await startAnvil({ port, dataDir, mining: 'manual' })
  chain = await openDevelopmentChain(anvil.url)
  node = await startCountingNode(anvil.url)
  shop = await createTestDatabase()
  database = await openTestDatabase({
    url: shop.urlOf('watcher'),
    poolSize: 4,
    applicationName: 'backfill-test',
    source: 'watcher-1',
  })
  productId = (await putProduct(shop, { onHand: 1_000n })).productId
})
afterEach(async () => {
  node.intercept(undefined)
  node.slowDown(0)
  await killAll(processes)
})
afterAll(async () => {
  await database.close()
  await shop.drop()
  node.close()
  await anvil.stop()
  await rm(dataDir, { recursive: true })
})

/** A network with an order, which many blocks pay; nobody has watched them. */
async function missBlocks(blocks: number) {
  const network = `anvil-${randomBytes(4).toString('hex')}`
  const { address } = await putOrder(shop, { network, lines: [{ productId, quantity: 1, unitPriceMinor: 1_250n }] })
  const client = createEthereumClient({ url: node.url, network, chainId: anvil.chainId })
  const start = (await client.getTip()).height + 1
  const txIds: string[] = []
  for (let block = 0; block < blocks; block += PAID_EVERY) {
    txIds.push(await chain.pay(address, 5n))
    await chain.mine(Math.min(PAID_EVERY, blocks - block))
  }
  return { network, client, start, tip: start + blocks - 1, txIds }
}

const scannedOf = async (network: string): Promise<number> => {
  const [row] = await shop.query<{ height: number }>(
    'select scanned_height::int as height from chain_status where network = $1',
    [network],
  )
  return row?.height ?? -1
}

async function startWatcherProcess(network: string, start: number): Promise<RunningProcess> {
  const [metricsPort = 0, apiPort = 0] = await freePorts(2)
  const file = async (name: string, content: string): Promise<string> => {
    await writeFile(join(dataDir, name), content, { mode: 0o600 })
    return join(dataDir, name)
  }
  const started = startProcess(
    [ENTRY],
    {
      HOLDFAST_MODE: 'development',
      DATABASE_URL: shop.urlOf('watcher'),
      // Nothing listens there: the reports wait.
      HOLDFAST_API_ADDRESS: `127.0.0.1:${apiPort}`,
      HOLDFAST_SOURCE: 'watcher-1',
      HOLDFAST_SOURCE_SECRET_FILE: await file('source', SECRET),
      HOLDFAST_WATCHER_TOKEN_FILE: await file('token', 'none'),
      HOLDFAST_ETH_RPC_URL: node.url,
      HOLDFAST_ETH_NETWORK: network,
      HOLDFAST_ETH_CHAIN_ID: String(anvil.chainId),
      HOLDFAST_ETH_START: String(start),
      HOLDFAST_POLL_MS: '20',
      HOLDFAST_METRICS_PORT: String(metricsPort),
    },
    metricsPort,
  )
  processes.push(started)
  return started
}

/** A watcher in this process. `now` is moved by hand. */
function openWatcher({ network, client, start }: Awaited<ReturnType<typeof missBlocks>>) {
  let nowMs = 0
  const delivered: Observation[] = []
  const log: Record<string, unknown>[] = []
  const registry = createRegistry('test')
  const watcher = createWatcher({
    ...{ client, database, confirmations: 3, startHeight: start, maxBlockAgeMs: Infinity, source: 'watcher-1' },
    sendReport: async (observations) => {
      delivered.push(...observations)
      return observations.length
    },
    metrics: createChainMetrics(registry),
    logger: createLogger({
      process: 'test',
      level: 'info',
      destination: { write: (line: string) => void log.push(JSON.parse(line) as Record<string, unknown>) },
    }),
    now: () => nowMs,
  })
  return {
    delivered,
    messages: () => log.map(({ msg }) => msg),
    log,
    step: async (waitMs = 0) => {
      nowMs += waitMs
      return watcher.step()
    },
    gauge: async (name: string) => (await registry.getSingleMetric(`holdfast_chain_${name}`)?.get())?.values[0]?.value,
    network,
  }
}

test('300 missed blocks are read without a gap and once, although the process is killed again and again', async () => {
  const { network, start, tip, txIds } = await missBlocks(BLOCKS)
  node.slowDown(LATENCY_MS)
  const places: number[] = []
  for (let kill = 0; kill < KILLS; kill += 1) {
    const before = await scannedOf(network)
    const watcher = await startWatcherProcess(network, start)
    await until(async () => (await scannedOf(network)) >= Math.max(start, before) + BLOCKS / 10)
    watcher.child.kill('SIGKILL')
    await watcher.ended
    places.push(await scannedOf(network))
  }
  expect(places.at(-1)).toBeLessThan(tip)
  node.slowDown(0)
  await startWatcherProcess(network, start)
  await until(async () => (await scannedOf(network)) === tip)

  const blocks = await shop.query<{ height: number; hash: string }>(
    'select height::int, hash from chain_block where network = $1 order by height',
    [network],
  )
  expect(blocks.map(({ height }) => height)).toEqual(Array.from({ length: BLOCKS }, (_, at) => start + at))
  const outputs = await shop.query<{ txId: string }>(
    'select tx_id as "txId" from chain_output where network = $1 order by block_height',
    [network],
  )
  expect(outputs.map(({ txId }) => txId)).toEqual(txIds)
  const [reports] = await shop.query<{ seen: number }>(
    `select count(*)::int as seen from chain_report where network = $1 and seq = 1 and state = 'seen'`,
    [network],
  )
  expect(reports).toEqual({ seen: txIds.length })
})

describe('a backfill', () => {
  test('reads a few blocks at once, and delivers their payments in the order of the chain', async () => {
    const missed = await missBlocks(120)
    const watcher = openWatcher(missed)
    node.slowDown(LATENCY_MS)
    node.peak()
    expect(await watcher.step()).toBe(true)
    expect(await scannedOf(missed.network)).toBe(missed.start + 99)
    expect(node.peak()).toBe(MAX_READ_AHEAD)
    await watcher.step(60_000)
    expect(await scannedOf(missed.network)).toBe(missed.tip)
    await watcher.step(60_000)
    expect(watcher.delivered.filter(({ state }) => state === 'seen').map(({ txId }) => txId)).toEqual(missed.txIds)
  })

  test('says how many blocks are left, how fast they are read, and when the tip is reached', async () => {
    const missed = await missBlocks(350)
    const watcher = openWatcher(missed)
    await watcher.step()
    expect(watcher.log.at(-1)).toMatchObject({ left: 250, tip: missed.tip })
    expect(await watcher.gauge('backfill_eta_seconds')).toBe(Infinity)
    await watcher.step(50_000)
    expect(watcher.log.at(-1)).toMatchObject({ msg: 'catching up', left: 150, perSecond: 2, etaS: 75 })
    expect(await watcher.gauge('backfill_eta_seconds')).toBe(75)
    await watcher.step(1_000)
    await watcher.step(1_000)
    expect(watcher.messages().filter((message) => message === 'catching up')).toHaveLength(1)
    expect(watcher.log.at(-1)).toMatchObject({ msg: 'caught up', height: missed.tip, blocks: 250, tookS: 52 })
    expect(await watcher.gauge('backfill_eta_seconds')).toBe(0)
  })

  test('that does not keep up with the chain has no end in sight', async () => {
    const missed = await missBlocks(200)
    const watcher = openWatcher(missed)
    await watcher.step()
    await chain.mine(300)
    await watcher.step(60_000)
    expect(watcher.log.at(-1)).toMatchObject({ msg: 'catching up', isGrowing: true })
    expect(await watcher.gauge('backfill_eta_seconds')).toBe(Infinity)
  })
})

describe('a node that no longer has a block', () => {
  const pruned = { error: { code: 4_444, message: 'pruned history unavailable' } }
  const answers = {
    'says that it is pruned': pruned,
    'has none': { result: null },
  }
  test.each(Object.entries(answers))('and %s stops the watcher there until a node has it', async (_how, answer) => {
    const missed = await missBlocks(200)
    const watcher = openWatcher(missed)
    const gone = missed.start + 20
    node.intercept(({ method, params: [height, isWhole] }) =>
      method === 'eth_getBlockByNumber' && isWhole === true && height === `0x${gone.toString(16)}` ? answer : undefined,
    )
    for (let step = 0; step < 6; step += 1) await watcher.step(10_000).catch(() => undefined)
    expect(await scannedOf(missed.network)).toBe(gone - 1)
    expect(await watcher.gauge('history_gone')).toBe(1)
    expect(watcher.log).toContainEqual(
      expect.objectContaining({
        level: ERROR_LEVEL,
        msg: 'the node no longer has a block: the watcher skips none, and stops here',
        height: gone,
      }),
    )
    const [status] = await shop.query<{ caughtUpAt: Date | null }>(
      'select caught_up_at as "caughtUpAt" from chain_status where network = $1',
      [missed.network],
    )
    expect(status?.caughtUpAt).toBeNull()
    node.intercept(undefined)
    for (let step = 0; step < 3; step += 1) await watcher.step(10_000)
    expect(await watcher.gauge('history_gone')).toBe(0)
    expect(await scannedOf(missed.network)).toBe(missed.tip)
    expect(watcher.delivered.filter(({ state }) => state === 'seen').map(({ txId }) => txId)).toEqual(missed.txIds)
  })

  test('near its tip only lags, which is no alarm', async () => {
    const missed = await missBlocks(20)
    const watcher = openWatcher(missed)
    node.intercept(({ method, params: [height, isWhole] }) =>
      method === 'eth_getBlockByNumber' && isWhole === true && height === `0x${missed.tip.toString(16)}`
        ? { result: null }
        : undefined,
    )
    for (let step = 0; step < 6; step += 1) await watcher.step(10_000)
    expect(await watcher.gauge('history_gone')).toBe(0)
    expect(watcher.messages()).toContain('the node does not give a block')
  })
})
