// Two sources of one network: two watchers with the name, cursor, outbox and node of their own, in one database. An order
// above the limit of the rule is paid, and expires, by both only; one below it by either. Nodes on different branches
// suspend the network.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { buildLine } from '../../test/support/builder.ts'
import { openTestDatabase } from '../../test/support/database.ts'
import { createTestShop, runOf, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { attributeBalance } from '../db/chain/operation.ts'
import { findDoubts } from '../db/chain/suspension.ts'
import { findPaymentFacts } from '../db/payment_page.ts'
import { assessPayments, recordReport } from '../db/payment.ts'
import type { Observation } from '../domain/chain.ts'
import { reportIdOf } from '../grpc/report.ts'
import { startAnvil, type Anvil } from '../servers/anvil.ts'
import { freePorts } from '../servers/port.ts'
import { createLogger, createRegistry } from '../telemetry.ts'
import { openDevelopmentChain, type DevelopmentChain } from './development.ts'
import type { ChainClient } from './client.ts'
import { createEthereumClient } from './ethereum.ts'
import { createChainMetrics } from './metrics.ts'
import { createWatcher } from './watcher.ts'

jest.setTimeout(180_000)

/** Two watchers may ask for different depths. */
const DEPTHS = { 'watcher-1': 12, 'watcher-2': 14, 'watcher-3': 12, 'watcher-4': 12 } as const
type Source = keyof typeof DEPTHS
/** What payments.md allows for a normal payment: seen, enough confirmed, and one more. */
const MAX_REPORTS = 3

let dataDir: string
let shop: TestShop
let node: Anvil
let otherNode: Anvil
let chain: DevelopmentChain
const closing: (() => Promise<void>)[] = []

async function startNode(name: string): Promise<Anvil> {
  const [port = 0] = await freePorts(1)
  const anvil = await startAnvil({ port, dataDir: join(dataDir, name), mining: 'manual' })
  closing.push(async () => void (await anvil.stop()))
  return anvil
}

/** A watcher of its own: `look` reads the node to its tip and reports; `reports` is what it ever said. */
async function startWatcher(
  source: Source,
  { url, chainId }: Anvil,
  { startHeight = 0, without }: { startHeight?: number; without?: string } = {},
) {
  const reports: Observation[] = []
  const options = { url: shop.test.urlOf('watcher'), poolSize: 2, applicationName: source, source }
  const database = await openTestDatabase(options)
  closing.push(database.close)
  let nowMs = 0
  const watcher = createWatcher({
    source,
    client: blindFor(without, createEthereumClient({ url, network: 'ethereum', chainId })),
    database,
    confirmations: DEPTHS[source],
    startHeight,
    maxBlockAgeMs: Infinity,
    sendReport: async (observations) => {
      const facts = observations.map((each) => ({ ...each, reportId: reportIdOf(each) }))
      await recordReport(shop.api, source, facts)
      reports.push(...observations)
      return observations.length
    },
    metrics: createChainMetrics(createRegistry('test')),
    logger: createLogger({ process: 'test', level: 'silent' }),
    now: () => nowMs,
  })
  const look = async (): Promise<void> => {
    nowMs += 3_600_000
    while (await watcher.step()) nowMs += 3_600_000
  }
  return { reports, look, database }
}

/** A node without traces: it does not show what contracts send to this address. */
const blindFor = (address: string | undefined, client: ChainClient): ChainClient => ({
  ...client,
  findBlock: async (height) => {
    const block = await client.findBlock(height)
    return block && { ...block, outputs: block.outputs.filter((each) => each.address !== address) }
  },
})

beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-anvil-'))
  shop = await createTestShop()
  closing.push(shop.close)
  node = await startNode('node')
  // Its genesis block has another time, and so has each block another hash.
  otherNode = await startNode('other')
  chain = await openDevelopmentChain(node.url)
})
afterAll(async () => {
  for (const close of closing.toReversed()) await close()
  await rm(dataDir, { recursive: true })
})

type Sizes = { quantity: number; windowMs?: number; graceMs?: number }
async function orderOf({ quantity, ...window }: Sizes): Promise<AcceptedOrder> {
  const { productId } = await shop.product()
  return shop.order({ lines: [buildLine({ productId, quantity })], ...window })
}

const isExpirable = async ({ orderId }: AcceptedOrder): Promise<boolean> =>
  (await shop.query('select from expirable where order_id = $1', [orderId])).length === 1

const rowsOf = (source: Source): Promise<{ state: string; seq: number }[]> =>
  shop.query('select state, seq from chain_output where source = $1 order by tx_id', [source])

describe('an order whose amount requires two sources', () => {
  test('is paid only once both have its money final, and one below the limit by the first', async () => {
    const one = await startWatcher('watcher-1', node)
    const two = await startWatcher('watcher-2', node)
    const { amountDue: limit } = await orderOf({ quantity: 1 })
    await shop.query(`select require_sources('ETH', 2, $1, 'two watchers run')`, [limit.toString()])
    const [small, large] = [await orderOf({ quantity: 1 }), await orderOf({ quantity: 2 })]
    const [smallRun, largeRun] = [runOf(small), runOf(large)]
    const assess = async () => ({
      small: (await assessPayments(shop.worker, smallRun.next())).paymentState,
      large: (await assessPayments(shop.worker, largeRun.next())).paymentState,
    })
    for (const { address, amountDue } of [small, large]) await chain.pay(address, amountDue)
    await chain.mine(1)
    await one.look()
    expect(await assess()).toEqual({ small: 'confirming', large: 'confirming' })
    await chain.mine(11)
    await one.look()
    expect(await assess()).toEqual({ small: 'paid', large: 'confirming' })

    const before = await shop.snapshot(small)
    await two.look()
    expect(await assess()).toEqual({ small: 'paid', large: 'confirming' })
    const [facts] = await findPaymentFacts(shop.api, [large.orderId])
    expect(facts).toMatchObject({ depth: 12, needed: 14 })
    await chain.mine(2)
    await two.look()
    expect(await assess()).toEqual({ small: 'paid', large: 'paid' })
    // The second source's word on what one was enough for changes nothing.
    expect(await shop.snapshot(small)).toEqual(before)
    expect(await findDoubts(shop.worker)).toMatchObject({ lone: 0, differing: 0, suspended: [] })

    // Each has its own outputs and its own numbers, and a normal payment took two reports of each.
    for (const source of ['watcher-1', 'watcher-2'] as const)
      expect(await rowsOf(source)).toEqual([
        { state: 'final', seq: 2 },
        { state: 'final', seq: 2 },
      ])
    for (const { reports } of [one, two])
      for (const { address } of [small, large]) {
        const own = reports.filter((each) => each.address === address)
        expect(own.map(({ state }) => state)).toEqual(['seen', 'final'])
        expect(own.length).toBeLessThanOrEqual(MAX_REPORTS)
      }
  })

  test('expires once both have read past its end; a source that stands still holds back no other order', async () => {
    const one = await startWatcher('watcher-1', node)
    const two = await startWatcher('watcher-2', node)
    const lapsing = { windowMs: 1, graceMs: 0 }
    const [small, large] = [await orderOf({ quantity: 1, ...lapsing }), await orderOf({ quantity: 2, ...lapsing })]
    const readPast = (order: AcceptedOrder, { look }: Pick<typeof one, 'look'>) =>
      until(async () => {
        await chain.mine(1)
        await look()
        return isExpirable(order)
      })
    await readPast(small, one)
    expect(await isExpirable(large)).toBe(false)
    await readPast(large, two)
  })

  test('waits while the second source stands still, and the operator is told', async () => {
    const one = await startWatcher('watcher-1', node)
    const order = await orderOf({ quantity: 2 })
    await shop.query(`update reservation set expires_at = clock_timestamp() - interval '1 hour' where order_id = $1`, [
      order.orderId,
    ])
    await shop.query(
      `update chain_status set caught_up_at = at, tip_asked_at = at
       from (select clock_timestamp() - interval '2 hours' as at) past where source = 'watcher-2'`,
    )
    await chain.mine(1)
    await one.look()
    expect(await isExpirable(order)).toBe(false)
    expect(await findDoubts(shop.worker)).toMatchObject({
      short: 1,
      silent: [{ network: 'ethereum', source: 'watcher-2' }],
    })
  })
})

describe('money that another source has reported', () => {
  const unexplainedBy = async (source: Source): Promise<string[]> => {
    const rows = await shop.query<{ address: string }>(
      'select address from chain_balance where source = $1 and unexplained > 0',
      [source],
    )
    return rows.map(({ address }) => address)
  }
  /** An order for which a node without traces shows a balance only, after so many blocks. */
  async function paidInside(quantity: number, blocks: number) {
    const order = await orderOf({ quantity })
    await chain.pay(order.address, order.amountDue)
    await chain.mine(blocks)
    return order
  }
  const by = { operator: 'ann', reason: 'an explorer shows it' }

  test('needs no explanation where a source began after it', async () => {
    const one = await startWatcher('watcher-1', node)
    await paidInside(1, 12)
    await one.look()
    const { height } = await createEthereumClient({ ...node, network: 'ethereum' }).getTip()
    await (await startWatcher('watcher-4', node, { startHeight: height })).look()
    expect(await unexplainedBy('watcher-4')).toEqual([])
  })

  test('is explained once it is final, where one source is enough', async () => {
    const one = await startWatcher('watcher-1', node)
    const { address } = await paidInside(1, 1)
    const blind = await startWatcher('watcher-4', node, { without: address })
    await one.look()
    await blind.look()
    expect(await unexplainedBy('watcher-4')).toEqual([address])
    await chain.mine(11)
    await one.look()
    await blind.look()
    expect(await unexplainedBy('watcher-4')).toEqual([])
  })

  test('is credited once where an operator attributes it at two sources, and confirms an order that needs both', async () => {
    const order = await paidInside(2, 1)
    const run = runOf(order)
    const without = order.address
    const [one, two] = [
      await startWatcher('watcher-1', node, { without }),
      await startWatcher('watcher-4', node, { without }),
    ]
    for (const { look, database } of [one, two]) {
      await look()
      expect(await attributeBalance(database, 'ethereum', order.address, by)).toBe('done')
      await chain.mine(1)
      await look()
    }
    await chain.mine(12)
    await one.look()
    expect(await assessPayments(shop.worker, run.next())).toMatchObject({ paymentState: 'confirming' })
    await two.look()
    expect(await assessPayments(shop.worker, run.next())).toMatchObject({ paymentState: 'paid' })
    const credited = await shop.query('select amount from payment where order_id = $1', [order.orderId])
    expect(credited).toEqual([{ amount: order.amountDue.toString() }])
  })

  test('is not attributed again where it may be other money', async () => {
    const order = await paidInside(1, 1)
    await chain.pay(order.address, 1n)
    await chain.mine(1)
    const one = await startWatcher('watcher-1', node)
    const blind = await startWatcher('watcher-4', node, { without: order.address })
    await one.look()
    await blind.look()
    expect(await attributeBalance(blind.database, 'ethereum', order.address, by)).toBe('elsewhere')
  })
})

describe('a network is suspended', () => {
  beforeAll(async () => {
    const lost = await openDevelopmentChain(otherNode.url)
    await lost.mine(60)
    await chain.mine(60)
    await (await startWatcher('watcher-1', node)).look()
  })
  const suspended = async () => (await findDoubts(shop.worker)).suspended

  test('while two sources have another final block at one height, until one of them is retired', async () => {
    expect(await suspended()).toEqual([])
    const liar = await startWatcher('watcher-3', otherNode)
    await liar.look()
    expect(await suspended()).toEqual([{ network: 'ethereum', cause: 'sources_differ' }])
    await shop.query(`select retire_source('watcher-3', 'its node is on another branch')`)
    expect(await suspended()).toEqual([])
  })

  test('when the node of a source contradicts what it called final, until that source is retired', async () => {
    const two = await startWatcher('watcher-2', otherNode)
    await expect(two.look()).rejects.toThrow('shares no block')
    expect(await suspended()).toEqual([{ network: 'ethereum', cause: 'deep_reorg' }])
    await shop.query(`select retire_source('watcher-2', 'its node is on another branch')`)
    expect(await suspended()).toEqual([])
  })
})
