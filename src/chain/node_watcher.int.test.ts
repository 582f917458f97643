// A watcher on two real nodes, from their blocks to the order.

import { afterAll, afterEach, beforeAll, beforeEach, expect, jest, test } from '@jest/globals'
import { openTestDatabase } from '../../test/support/database.ts'
import { openTestPool, PAIR_CONFIRMATIONS, PAIR_NETWORK, startNodePair } from '../../test/support/node_pair.ts'
import { createTestShop, runOf, type TestShop } from '../../test/support/shop.ts'
import { resumeChain } from '../db/chain/operation.ts'
import { findBlindness } from '../db/chain/sight.ts'
import type { Database } from '../db/connection/pool.ts'
import { assessPayments, recordReport } from '../db/payment.ts'
import { reportIdOf } from '../grpc/report.ts'
import { createLogger, createRegistry } from '../telemetry.ts'
import { NodesDifferError } from './client.ts'
import { createChainMetrics } from './metrics.ts'
import { createWatcher } from './watcher.ts'

jest.setTimeout(180_000)

const SOURCE = 'watcher-1'
const STEP_MS = 3_600_000
const NO_LIMITS = { silenceMs: 100 * STEP_MS, lagMs: 100 * STEP_MS }

let pair: Awaited<ReturnType<typeof startNodePair>>
/** A shop of its own for each test: a network has one cursor. */
let shop: TestShop
let database: Database
beforeAll(async () => {
  pair = await startNodePair()
  await pair.first.mine(20)
})
afterAll(() => pair.stop())
beforeEach(async () => {
  for (const { proxy } of [pair.first, pair.second]) proxy.restore()
  await pair.first.mine(1)
  await pair.copy(pair.first, pair.second)
  shop = await createTestShop()
  database = await openTestDatabase({
    url: shop.test.urlOf('watcher'),
    poolSize: 2,
    applicationName: 'watcher-test',
    source: SOURCE,
  })
})
afterEach(async () => {
  await database.close()
  await shop.close()
})

function startWatcher() {
  const pool = openTestPool(pair.first, pair.second)
  const registry = createRegistry('test')
  let nowMs = 0
  const told: string[] = []
  const watcher = createWatcher({
    source: SOURCE,
    client: pool.client,
    database,
    confirmations: PAIR_CONFIRMATIONS,
    startHeight: 0,
    maxBlockAgeMs: Infinity,
    sendReport: async (observations) => {
      await recordReport(
        shop.api,
        SOURCE,
        observations.map((each) => ({ ...each, reportId: reportIdOf(each) })),
      )
      told.push(...observations.map(({ state }) => state))
      return observations.length
    },
    metrics: createChainMetrics(registry),
    logger: createLogger({ process: 'test', level: 'silent' }),
    now: () => nowMs,
  })
  const step = async (): Promise<void> => {
    nowMs += STEP_MS
    // A step that is not over when the next block comes has more to scan.
    while (await watcher.step());
  }
  const countReorgs = async (): Promise<number> =>
    (await registry.getSingleMetric('holdfast_chain_reorgs_total')?.get())?.values[0]?.value ?? 0
  return { ...pool, step, told, countReorgs }
}
const suspensions = () => shop.query('select cause from suspended_network where network = $1', [PAIR_NETWORK])

test('two nodes with different final blocks suspend the chain: no order is paid until they agree and an operator says so', async () => {
  const { step, told } = startWatcher()
  const order = await shop.order()
  const run = runOf(order)
  const look = async (): Promise<string> => (await assessPayments(shop.worker, run.next())).status
  await pair.second.branchOff()
  await pair.first.pay(order.address, order.amountDue)
  await pair.first.mine(PAIR_CONFIRMATIONS - 1)
  await pair.second.mine(PAIR_CONFIRMATIONS - 1)
  await step()
  await pair.first.mine(1)
  await pair.second.mine(1)
  for (let each = 0; each < 3; each += 1) await expect(step()).rejects.toBeInstanceOf(NodesDifferError)
  expect(told).toEqual(['seen'])
  expect(await suspensions()).toEqual([{ cause: 'nodes_differ' }])
  expect(await findBlindness(shop.api, PAIR_NETWORK, NO_LIMITS)).toBe('nodes_differ')
  const [noted] = await shop.query("select actor from audit_entry where kind = 'chain_suspension'")
  expect(noted).toMatchObject({ actor: `watcher:${SOURCE}` })

  await pair.copy(pair.first, pair.second)
  await step()
  expect(told).toEqual(['seen', 'final'])
  expect(await look()).toBe('pending')
  expect(await resumeChain(database, PAIR_NETWORK, { operator: 'ann', reason: 'node 2 was wrong' })).toBe('done')
  expect(await look()).toBe('processing')
  expect(await suspensions()).toEqual([])
})

test('a node that is behind the cursor is no reorganisation: the watcher waits for it', async () => {
  const { step, told, inUse, countReorgs } = startWatcher()
  const order = await shop.order()
  await pair.first.pay(order.address, order.amountDue)
  await pair.first.mine(3)
  await step()
  expect([told, await inUse()]).toEqual([['seen'], 1])
  pair.first.proxy.cut()
  await step()
  await step()
  expect([told, await inUse(), await countReorgs()]).toEqual([['seen'], 2, 0])
  await pair.first.mine(PAIR_CONFIRMATIONS)
  await pair.copy(pair.first, pair.second)
  await step()
  expect([told, await inUse(), await countReorgs()]).toEqual([['seen', 'final'], 2, 0])
})

test('a node that dies between two blocks of one step leaves nothing half read', async () => {
  const { client, step, told, inUse } = startWatcher()
  const order = await shop.order()
  await step()
  const { height } = await client.getTip()
  await pair.first.pay(order.address, order.amountDue)
  await pair.first.mine(PAIR_CONFIRMATIONS + 1)
  await pair.copy(pair.first, pair.second)
  const findBlock = client.findBlock
  client.findBlock = async (wanted) => {
    if (wanted > height + 3) pair.first.proxy.cut()
    return findBlock(wanted)
  }
  await expect(step()).rejects.toThrow('did not answer')
  client.findBlock = findBlock
  await step()
  expect([told, await inUse()]).toEqual([['seen', 'final'], 2])
})
