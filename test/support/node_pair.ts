// Two real nodes of one development chain, each behind a TCP proxy. A node gets the other's chain by `copy` only: so one
// can lag, or follow another branch.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import type { ChainClient } from '../../src/chain/client.ts'
import { openDevelopmentChain, type DevelopmentChain } from '../../src/chain/development.ts'
import { createEthereumClient, type EthereumOptions } from '../../src/chain/ethereum.ts'
import { createNodeMetrics } from '../../src/chain/node_metrics.ts'
import { createNodePool } from '../../src/chain/node_pool.ts'
import { createRpc, type OnMessage } from '../../src/chain/rpc.ts'
import { ANVIL_CHAIN_ID, startAnvil } from '../../src/servers/anvil.ts'
import { freePorts } from '../../src/servers/port.ts'
import { createLogger, createRegistry } from '../../src/telemetry.ts'
import { createTcpProxy } from './tcp_proxy.ts'

const RPC_WITHIN_MS = 60_000
const ADDRESS_BYTES = 20
export const PAIR_NETWORK = 'ethereum'
export const PAIR_CONFIRMATIONS = 12
export const PAIR_MAX_LAG = 5

export type TestNode = Awaited<ReturnType<typeof startNode>>

async function startNode(dataDir: string, port: number) {
  const anvil = await startAnvil({ port, dataDir: join(dataDir, String(port)), mining: 'manual' })
  const proxy = await createTcpProxy(new URL(anvil.url).host)
  const chain: DevelopmentChain = await openDevelopmentChain(anvil.url)
  const rpc = createRpc(anvil.url, RPC_WITHIN_MS)
  return {
    ...chain,
    rpc,
    proxy,
    /** Of the node itself; `url` goes through the proxy. */
    directUrl: anvil.url,
    url: proxy.urlOf(anvil.url),
    /** From now on its blocks have other hashes than the other node's. */
    branchOff: () => rpc('anvil_setCoinbase', [`0x${randomBytes(ADDRESS_BYTES).toString('hex')}`], z.unknown()),
    stop: async () => {
      await proxy.close()
      await anvil.stop()
    },
  }
}

/** Use it in `beforeAll`, and `stop` in `afterAll`. */
export async function startNodePair() {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-node-pair-'))
  const [one = 0, two = 0] = await freePorts(2)
  const [first, second] = [await startNode(dataDir, one), await startNode(dataDir, two)]
  return {
    first,
    second,
    /** Gives a node the other's chain, whatever it had. */
    copy: async (from: TestNode, to: TestNode): Promise<void> => {
      const state = await from.rpc('anvil_dumpState', [], z.string())
      await to.rpc('anvil_loadState', [state], z.unknown())
    },
    stop: async () => {
      await first.stop()
      await second.stop()
      await rm(dataDir, { recursive: true, force: true })
    },
  }
}

type Node = Pick<EthereumOptions, 'url'> & {
  chainId?: number
  /** Changes what the node answers. */
  change?: (node: ChainClient) => ChainClient
}

/** A pool over nodes, in their order of preference, with its log, metrics and messages. Its clock stands still. */
export function openTestPool(first: Node, ...others: readonly Node[]) {
  const registry = createRegistry('test')
  const metrics = createNodeMetrics(registry, PAIR_NETWORK, 1 + others.length)
  const log: string[] = []
  const logger = createLogger({ process: 'test', level: 'info', destination: { write: (line) => void log.push(line) } })
  const messages: (Parameters<OnMessage>[0] & { node: number })[] = []
  let nowMs = 0
  const open = ({ url, chainId = ANVIL_CHAIN_ID, change = (node) => node }: Node, index: number): ChainClient => {
    const node = createEthereumClient({
      ...{ url, network: PAIR_NETWORK, chainId },
      onMessage: (message) => {
        messages.push({ ...message, node: index + 1 })
        metrics.countMessages(index)(message)
      },
    })
    return change(node)
  }
  const client = createNodePool({
    nodes: [open(first, 0), ...others.map((each, at) => open(each, at + 1))],
    confirmations: PAIR_CONFIRMATIONS,
    maxLagBlocks: PAIR_MAX_LAG,
    now: () => nowMs,
    ...{ metrics, logger },
  })
  return {
    client,
    log,
    messages,
    /** Lets time pass. */
    pass: (ms: number): void => void (nowMs += ms),
    /** Which node is in use, from 1. */
    inUse: async () =>
      Number((await valuesOf('holdfast_chain_node_in_use')).find(({ value }) => value === 1)?.labels['node']),
    /** Why nodes are set aside, such as `1 lag`. */
    aside: async () =>
      (await valuesOf('holdfast_chain_node_set_aside'))
        .filter(({ value }) => value === 1)
        .map(({ labels }) => `${labels['node']} ${labels['reason']}`),
    /** The text that an operator's Prometheus reads. */
    exposition: () => registry.metrics(),
  }

  async function valuesOf(name: string) {
    return (await registry.getSingleMetric(name)?.get())?.values ?? []
  }
}
export type TestPool = ReturnType<typeof openTestPool>
