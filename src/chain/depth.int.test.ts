// The depth at which a payment pays, from a real Ethereum node to the order: one block less does not pay.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { createTestShop, runOf, type TestShop } from '../../test/support/shop.ts'
import { openDatabase, type Database } from '../db/connection/pool.ts'
import { assessPayments, recordReport } from '../db/payment.ts'
import { ASSET_POLICY } from '../domain/payment.ts'
import { reportIdOf } from '../grpc/report.ts'
import { startAnvil, type Anvil } from '../servers/anvil.ts'
import { freePorts } from '../servers/port.ts'
import { createLogger, createRegistry } from '../telemetry.ts'
import { openDevelopmentChain } from './development.ts'
import { createEthereumClient } from './ethereum.ts'
import { createChainMetrics } from './metrics.ts'
import { createWatcher } from './watcher.ts'

jest.setTimeout(120_000)

const SOURCE = 'watcher-1'
const DEPTH = ASSET_POLICY.ETH.confirmations

let dataDir: string
let anvil: Anvil
let shop: TestShop
let database: Database
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-anvil-'))
  const [port = 0] = await freePorts(1)
  anvil = await startAnvil({ port, dataDir, mining: 'manual' })
  shop = await createTestShop()
  database = await openDatabase({
    url: shop.test.urlOf('watcher'),
    poolSize: 2,
    applicationName: 'test-watcher',
    source: 'watcher-1',
  })
})
afterAll(async () => {
  await database.close()
  await shop.close()
  await anvil.stop()
  await rm(dataDir, { recursive: true })
})

test('a payment of depth n−1 does not pay its order, one of depth n does', async () => {
  expect(DEPTH).toBe(12)
  const chain = await openDevelopmentChain(anvil.url)
  const order = await shop.order()
  const run = runOf(order)
  let nowMs = 0
  const watcher = createWatcher({
    source: SOURCE,
    client: createEthereumClient({ url: anvil.url, network: 'ethereum', chainId: anvil.chainId }),
    database,
    confirmations: DEPTH,
    startHeight: 0,
    maxBlockAgeMs: Infinity,
    sendReport: async (observations) => {
      const facts = observations.map((each) => ({ ...each, reportId: reportIdOf(each) }))
      await recordReport(shop.api, SOURCE, facts)
      return observations.length
    },
    metrics: createChainMetrics(createRegistry('test')),
    logger: createLogger({ process: 'test', level: 'silent' }),
    now: () => nowMs,
  })
  const look = async () => {
    nowMs += 3_600_000
    await watcher.step()
    const { status, paymentState } = await assessPayments(shop.worker, run.next())
    return { status, paymentState }
  }
  await chain.pay(order.address, order.amountDue)
  await chain.mine(1)
  expect(await look()).toEqual({ status: 'pending', paymentState: 'confirming' })
  await chain.mine(DEPTH - 2)
  expect(await look()).toEqual({ status: 'pending', paymentState: 'confirming' })
  await chain.mine(1)
  expect(await look()).toEqual({ status: 'processing', paymentState: 'paid' })
})
