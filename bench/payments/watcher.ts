// The watcher's part of the payments benchmark: how many full blocks it follows in a second, with a hundred thousand
// addresses, against the pace of the chain. At the tip it takes block by block with all that belongs to one: cursor,
// reports, balances, sweeps. In a backfill it takes all blocks in one step.

import { createEthereumClient } from '../../src/chain/ethereum.ts'
import type { ChainClient } from '../../src/chain/client.ts'
import { createChainMetrics } from '../../src/chain/metrics.ts'
import { createWatcher } from '../../src/chain/watcher.ts'
import { openDatabase } from '../../src/db/connection/pool.ts'
import { startAnvil } from '../../src/servers/anvil.ts'
import { freePorts } from '../../src/servers/port.ts'
import { createLogger, createRegistry } from '../../src/telemetry.ts'
import { loadAddressesSql, loadedAddress } from '../../test/support/address_load.ts'
import { figureOf, type Benchmark, type Options, type Round, type System } from '../benchmark.ts'
import { startAsked } from '../child.ts'
import { SERVER_CORE } from '../pin.ts'
import type { BenchDatabase, BenchServers } from '../servers.ts'
import { mineFullBlocks } from './full_block.ts'
import { BLOCKS_PER_S, byTurns, type Follower } from './passes.ts'
import type { RecordedNodeConfig, RecordedNodeReady } from './recorded_node.ts'

const NETWORK = 'ethereum'
const SOURCE = 'watcher-1'
/** Ethereum makes a block in so many seconds. */
const BLOCK_S = 12
const TRANSFERS = 4_000
const SMOKE_TRANSFERS = 200
const BLOCKS = 8
const SMOKE_BLOCKS = 3
/** Transfers of a block that pay an order of the shop. */
const PAID_PER_BLOCK = 20
const CONFIRMATIONS = 12
/** Orders that wait for money; the others are closed. */
const OPEN = 500
const FEW = 1_000
const MANY = 100_000
/** A smoke run divides the many by this. */
const SMOKE_SHARE = 20
const SMOKE_SECONDS = 0.5
const OLDEST_DAYS = 365
const POOL_SIZE = 4
const nothing = async (): Promise<void> => undefined

const NAMES = {
  node: 'node alone',
  few: 'at the tip, 1,000 addresses',
  many: 'at the tip, 100,000 addresses',
  backfill: 'backfill, 100,000 addresses',
} as const

const paceOf = (round: Round, system: string): number => figureOf(round, system, BLOCKS_PER_S) * BLOCK_S

/** To be spread into those of the benchmark. */
export const WATCHER_RATIOS: Benchmark['ratios'] = {
  'full blocks at the tip / pace of the chain': (round) => paceOf(round, NAMES.many),
  'full blocks in a backfill / pace of the chain': (round) => paceOf(round, NAMES.backfill),
  '100,000 addresses / 1,000 addresses': (round) => paceOf(round, NAMES.many) / paceOf(round, NAMES.few),
  'backfill / node alone': (round) => paceOf(round, NAMES.backfill) / paceOf(round, NAMES.node),
}

/** The slowest backfill that makes up for three days off within a night and a half. */
export const WATCHER_GOALS: Benchmark['goals'] = {
  'a full block in a fifth of its time': { ratio: 'full blocks at the tip / pace of the chain', atLeast: 5 },
  'a backfill is six times as fast as the chain': {
    ratio: 'full blocks in a backfill / pace of the chain',
    atLeast: 6,
  },
  'a hundred times the addresses costs a quarter at most': {
    ratio: '100,000 addresses / 1,000 addresses',
    atLeast: 0.8,
  },
}

type Ground = { nodeUrl: string; chainId: number; first: number; blocks: number }

/** The systems of the watcher's part, and what ends their node. */
export async function measureWatcher(
  { dataDir, isSmoke, seconds, log }: Options,
  servers: Pick<BenchServers, 'createDatabase'>,
): Promise<{ systems: readonly System[]; close: () => Promise<void> }> {
  const [port = 0] = await freePorts(1)
  const anvil = await startAnvil({ port, dataDir, mining: 'manual' })
  const stops = [anvil.stop]
  const close = async (): Promise<void> => {
    for (const stop of stops.toReversed()) await stop()
  }
  try {
    const blocks = isSmoke ? SMOKE_BLOCKS : BLOCKS
    const transfers = isSmoke ? SMOKE_TRANSFERS : TRANSFERS
    const paid = Array.from({ length: PAID_PER_BLOCK }, (_, at) => loadedAddress(NETWORK, 1 + at))
    log(`mining ${blocks} blocks of ${transfers} transfers`)
    const first = await mineFullBlocks(anvil.url, { blocks, transfers, paid })
    const open = async (name: string, addresses: number): Promise<BenchDatabase> => {
      const database = await servers.createDatabase(name)
      const load = { network: NETWORK, closed: addresses - OPEN, open: OPEN, oldestDays: OLDEST_DAYS }
      await database.query(loadAddressesSql(load))
      return database
    }
    const few = await open('bench_watch_few', FEW)
    const many = await open('bench_watch_many', isSmoke ? MANY / SMOKE_SHARE : MANY)
    const node = startAsked('payments/recorded_node.ts', SERVER_CORE)
    stops.push(node.stop)
    const { url: nodeUrl } = await node.ask<RecordedNodeReady>({ nodeUrl: anvil.url } satisfies RecordedNodeConfig)
    const ground = { nodeUrl, chainId: anvil.chainId, first, blocks }
    const atTip = [
      createFollower(ground, few, NAMES.few, 'one by one'),
      createFollower(ground, many, NAMES.many, 'one by one'),
    ]
    const systems = [
      [createNodeAlone(ground)],
      atTip,
      [createFollower(ground, many, NAMES.backfill, 'all at once')],
    ].flatMap((followers) => byTurns(followers, { seconds: isSmoke ? SMOKE_SECONDS : seconds, blocks }))
    return { systems, close }
  } catch (error) {
    await close()
    throw error
  }
}

/** What the node itself needs: the same answers, read as text and thrown away. */
const createNodeAlone = ({ nodeUrl, first, blocks }: Ground): Follower => ({
  name: NAMES.node,
  about: 'The three answers of each block are read from the node, and not even parsed.',
  open: async () => ({
    pass: async () => {
      for (let height = first; height < first + blocks; height += 1) {
        const block = await ask(nodeUrl, 'eth_getBlockByNumber', [`0x${height.toString(16)}`, true])
        const [, hash] = /"hash":"(0x[0-9a-f]{64})","parentHash"/.exec(block) ?? []
        await ask(nodeUrl, 'eth_getBlockReceipts', [{ blockHash: hash }])
        await ask(nodeUrl, 'debug_traceBlockByHash', [hash, { tracer: 'callTracer' }])
      }
    },
    prepare: nothing,
    close: nothing,
  }),
})

async function ask(url: string, method: string, params: readonly unknown[]): Promise<string> {
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  return (await fetch(url, { method: 'POST', headers, body })).text()
}

function createFollower(
  { nodeUrl, chainId, first, blocks }: Ground,
  database: BenchDatabase,
  name: string,
  pace: 'one by one' | 'all at once',
): Follower {
  const client = createEthereumClient({ url: nodeUrl, network: NETWORK, chainId })
  /** The newest block that the watcher may see. */
  let tip = first
  const limited: ChainClient = {
    ...client,
    getTip: async () => {
      const header = await client.findHeader(tip)
      if (header === undefined) throw new Error(`the node has no block ${tip}`)
      return header
    },
  }
  return {
    name,
    about:
      pace === 'one by one'
        ? 'The watcher takes each block as it comes, with its reports, balances and sweeps.'
        : 'The watcher finds all blocks at once, as after days off.',
    open: async () => {
      const pool = await openDatabase({
        url: database.urlOf('watcher'),
        poolSize: POOL_SIZE,
        applicationName: 'bench-watcher',
        source: SOURCE,
      })
      return {
        pass: async () => {
          const watcher = createWatcher({
            ...{ client: limited, database: pool, confirmations: CONFIRMATIONS, startHeight: first, source: SOURCE },
            maxBlockAgeMs: Infinity,
            sendReport: async (observations) => observations.length,
            metrics: createChainMetrics(createRegistry('bench')),
            logger: createLogger({ process: 'bench', level: 'silent' }),
          })
          tip = pace === 'one by one' ? first : first + blocks - 1
          for (; tip < first + blocks; tip += 1) await watcher.step()
        },
        prepare: () => forget(database, PAID_PER_BLOCK * blocks),
        close: pool.close,
      }
    },
  }
}

/** The watcher's memory is deleted, so that the next pass reads the same blocks. @throws {Error} where it read too little */
async function forget(database: BenchDatabase, outputs: number): Promise<void> {
  const [found] = await database.query<{ n: number }>('select count(*)::int as n from chain_output')
  if (found?.n !== outputs) throw new Error(`the watcher found ${found?.n} payments, not ${outputs}`)
  await database.query(`begin;
    set local session_replication_role = replica;
    delete from chain_report; delete from chain_output; delete from chain_balance; delete from chain_block;
    delete from chain_sweep; delete from chain_status;
    commit`)
}
