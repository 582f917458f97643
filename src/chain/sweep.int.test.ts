// Address tiers on a real Ethereum node: money to old addresses is found, however it came, and a block costs the same
// however many addresses there are.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { z } from 'zod'
import { loadAddressesSql, loadedAddress, type AddressLoad } from '../../test/support/address_load.ts'
import { countStatements } from '../../test/support/count_statements.ts'
import { startCountingNode, type CountingNode } from '../../test/support/counting_node.ts'
import { openWatcherFixture, type WatcherFixture } from '../../test/support/watcher_fixture.ts'
import type { Observation } from '../domain/chain.ts'
import { startAnvil, type Anvil } from '../servers/anvil.ts'
import { freePorts } from '../servers/port.ts'
import { createLogger, createRegistry } from '../telemetry.ts'
import { openDevelopmentChain, type DevelopmentChain } from './development.ts'
import { createEthereumClient } from './ethereum.ts'
import { createChainMetrics } from './metrics.ts'
import { createRpc, type Rpc } from './rpc.ts'
import { createWatcher } from './watcher.ts'

jest.setTimeout(240_000)

const DEPTH = 3
const SOURCE = 'watcher-1'
const OLD_DAYS = 200

let dataDir: string
let anvil: Anvil
let rpc: Rpc
let chain: DevelopmentChain
let node: CountingNode
let fixture: WatcherFixture
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-anvil-'))
  const [port = 0] = await freePorts(1)
  anvil = await startAnvil({ port, dataDir, mining: 'manual' })
  rpc = createRpc(anvil.url, 30_000)
  chain = await openDevelopmentChain(anvil.url)
  node = await startCountingNode(anvil.url)
  fixture = await openWatcherFixture()
})
afterAll(async () => {
  await fixture.close()
  node.close()
  await anvil.stop()
  await rm(dataDir, { recursive: true })
})

/** A shop on a network of its own, whose watcher begins at the tip of the node. */
async function openShop(load: Omit<AddressLoad, 'network'>) {
  const network = `anvil-${randomBytes(4).toString('hex')}`
  await fixture.query(loadAddressesSql({ network, ...load }))
  await chain.mine(1)
  const client = createEthereumClient({ url: node.url, network, chainId: anvil.chainId })
  const { height } = await client.getTip()
  const { database, count } = countStatements(fixture.database)
  const delivered: Observation[] = []
  const start = () =>
    createWatcher({
      ...{ client, database, confirmations: DEPTH, source: SOURCE },
      startHeight: height,
      maxBlockAgeMs: Infinity,
      sendReport: async (observations) => {
        delivered.push(...observations)
        return observations.length
      },
      metrics: createChainMetrics(createRegistry('test')),
      logger: createLogger({ process: 'test', level: 'silent' }),
    })
  let watcher = start()
  return {
    network,
    delivered,
    countStatements: count,
    step: async () => watcher.step(),
    /** A new process. */
    restart: () => {
      watcher = start()
    },
    mineAndStep: async (blocks = 1) => {
      await chain.mine(blocks)
      await watcher.step()
    },
    compared: async (): Promise<number> => {
      const [row] = await fixture.query<{ n: number }>(
        'select count(*)::int as n from chain_balance where network = $1 and checked_at is not null',
        [network],
      )
      return row?.n ?? 0
    },
    unexplained: () =>
      fixture.query<{ address: string; unexplained: string }>(
        'select address, unexplained::text from chain_balance where network = $1 and unexplained > 0',
        [network],
      ),
    rounds: () =>
      fixture.query<{ tier: string; round: number; isOver: boolean }>(
        'select tier, round::int, is_over as "isOver" from chain_sweep where network = $1 order by tier',
        [network],
      ),
  }
}

const setBalance = async (address: string, amount: bigint): Promise<void> => {
  await rpc('anvil_setBalance', [address, `0x${amount.toString(16)}`], z.unknown())
}

describe('money to the address of an order that was closed months ago', () => {
  test('edge 25: is reported when a transaction sends it', async () => {
    const shop = await openShop({ closed: 30, oldestDays: OLD_DAYS })
    const oldest = loadedAddress(shop.network, 1)
    await shop.step()
    const txId = await chain.pay(oldest, 7n)
    await shop.mineAndStep(DEPTH)
    expect(shop.delivered.map(({ state }) => state)).toEqual(['seen', 'final'])
    expect(shop.delivered[0]).toMatchObject({ txId, address: oldest, amount: 7n })
  })

  test('edge 25: is found by the sweep when no transaction shows it, also after the shop withdrew what was there', async () => {
    const shop = await openShop({ closed: 40, oldestDays: OLD_DAYS })
    const paid = loadedAddress(shop.network, 40)
    await shop.step()
    await chain.pay(paid, 7n)
    await shop.mineAndStep(DEPTH)
    await setBalance(paid, 0n)
    await nextRound(shop.network)
    await shop.mineAndStep()
    expect(await shop.unexplained()).toEqual([])
    // A withdrawal of a validator, or coins of a contract in a block that the node did not trace.
    await setBalance(paid, 5n)
    await nextRound(shop.network)
    await shop.mineAndStep()
    expect(await shop.unexplained()).toEqual([{ address: paid, unexplained: '5' }])
  })

  test('is found within a round, whatever the place of its order in it', async () => {
    const shop = await openShop({ closed: 250, oldestDays: OLD_DAYS })
    const paid = [101, 175, 250].map((number) => loadedAddress(shop.network, number))
    for (const address of paid) await setBalance(address, 3n)
    await shop.step()
    for (let block = 0; block < 4; block += 1) await shop.mineAndStep()
    expect((await shop.unexplained()).map(({ address }) => address).toSorted()).toEqual(paid.toSorted())
  })
})

/** Lets the time until the next round pass. */
const nextRound = (network: string) =>
  fixture.query(`update chain_sweep set began_at = began_at - interval '2 days' where network = $1`, [network])

describe('a round', () => {
  test('goes on after a restart where it was, and compares each address once', async () => {
    const shop = await openShop({ closed: 350, oldestDays: OLD_DAYS })
    const seen: number[] = []
    for (let block = 0; block < 5; block += 1) {
      await shop.mineAndStep()
      shop.restart()
      seen.push(await shop.compared())
    }
    // A hundred of the oldest at each block, and at the first one those of the last week.
    const recent = seen[0] === undefined ? 0 : seen[0] - 100
    expect(recent).toBeGreaterThan(5)
    expect(seen).toEqual([100 + recent, 200 + recent, 300 + recent, 350, 350])
    expect(await shop.rounds()).toEqual([
      { tier: 'recent', round: 1, isOver: true },
      { tier: 'retired', round: 1, isOver: true },
    ])
  })

  test('begins again after its time, and not before', async () => {
    const shop = await openShop({ closed: 5, oldestDays: OLD_DAYS })
    await shop.step()
    node.count()
    await shop.mineAndStep()
    expect(node.count()['eth_getBalance'] ?? 0).toBe(0)
    await nextRound(shop.network)
    await shop.mineAndStep()
    expect(node.count()['eth_getBalance']).toBeGreaterThan(0)
    expect((await shop.rounds()).map(({ round }) => round)).toEqual([2, 2])
  })

  test('stays where it is while the node gives no balance, and stops nothing else', async () => {
    const shop = await openShop({ closed: 5, oldestDays: OLD_DAYS })
    node.intercept(({ method }) =>
      method === 'eth_getBalance' ? { error: { code: -32_000, message: 'busy' } } : undefined,
    )
    await expect(shop.step()).rejects.toThrow('eth_getBalance')
    node.intercept(undefined)
    const [status] = await fixture.query<{ isVouched: boolean }>(
      'select caught_up_at is not null as "isVouched" from chain_status where network = $1',
      [shop.network],
    )
    expect(status).toEqual({ isVouched: true })
    expect(await shop.compared()).toBe(0)
    await shop.step()
    expect(await shop.compared()).toBe(5)
  })
})

describe('the cost of a block', () => {
  /** Statements and messages of three blocks in a row, the first of which begins both rounds. */
  async function costOf(load: Omit<AddressLoad, 'network'>) {
    const shop = await openShop(load)
    await shop.step()
    const blocks = []
    for (let block = 0; block < 3; block += 1) {
      await nextRound(shop.network)
      await fixture.query('update chain_sweep set is_over = true, swept_at = began_at where network = $1', [
        shop.network,
      ])
      await chain.pay(`0x${randomBytes(20).toString('hex')}`, 5n)
      await chain.mine(1)
      shop.countStatements()
      node.count()
      await shop.step()
      blocks.push({ statements: shop.countStatements(), messages: node.count() })
    }
    return blocks
  }

  test('is the same number of statements and messages for ten addresses and for ten thousand', async () => {
    const few = await costOf({ closed: 10, oldestDays: OLD_DAYS, open: 5 })
    const many = await costOf({ closed: 10_000, oldestDays: OLD_DAYS, open: 50 })
    expect(many).toEqual(few)
    for (const { messages } of many) expect(messages).toEqual(PER_BLOCK)
  })
})

/** The two tiers and the open orders make a message each. */
const PER_BLOCK = {
  eth_getBlockByNumber: 2,
  eth_getBlockReceipts: 1,
  debug_traceBlockByHash: 1,
  eth_getBalance: 3,
}
