// Ethereum adapter for its own coin. It reads whole blocks, because transfers of ether leave no log. What contracts send
// is read from traces where the node offers them; otherwise only the balance check finds it.

import { z } from 'zod'
import type { Block, Header } from '../domain/chain.ts'
import { BlockGoneError, ChainError, type ChainClient } from './client.ts'
import { BLOCK, hash256, hexQuantity, readBlock, RECEIPTS, senderOf } from './ethereum_block.ts'
import { readTraces, TRACES } from './ethereum_trace.ts'
import { createBatchRpc, createRpc, RpcError, RpcRefusal, type OnMessage, type Rpc } from './rpc.ts'

const RPC_TIMEOUT_MS = 10_000

/** Refusals of a node without this method or without so old a state, by code or by text: a retry does not help. */
const METHOD_UNKNOWN = [-32_601, -32_004]
const NO_TRACES =
  /\bmethod\b|\bdebug_|unsupported|not supported|\btier\b|\bplan\b|pruned|missing trie node|historical state|state (is )?not available/i
/** Refusals of a node that has pruned the block or its receipts (EIP-4444), by code or by text. */
const HISTORY_PRUNED = 4_444
const NO_HISTORY = /pruned|history|historical|ancient|not available|missing/i
/** Tries in a row for an error that may be temporary. After them, a block is stored without traces. */
const MAX_TRACE_TRIES = 5

const count = hexQuantity.transform(Number).pipe(z.number().int().nonnegative())
const HEADER = z.object({ number: count, hash: hash256, timestamp: count })

export type EthereumOptions = {
  /** JSON-RPC over HTTP; needs eth_getBlockReceipts, and eth_getBalance by block hash (EIP-1898). */
  url: string
  network: string
  /** A node of another chain is refused: the same address exists on every such chain. */
  chainId: number
  /** Called for each block without traces: what contracts sent in it, only the balance check finds. */
  onUntraced?: ((height: number, cause: string) => void) | undefined
  /** Called with each message to the node. */
  onMessage?: OnMessage
}

export function createEthereumClient(options: EthereumOptions): ChainClient {
  const { url, network, chainId, onUntraced, onMessage } = options
  const rpc = createRpc(url, RPC_TIMEOUT_MS, onMessage)
  const batch = createBatchRpc(url, RPC_TIMEOUT_MS, onMessage)
  const readInside = createTracer(rpc, onUntraced)
  let isChainKnown = false
  const assertChain = async (): Promise<void> => {
    if (isChainKnown) return
    const found = await rpc('eth_chainId', [], count)
    if (found !== chainId) throw new RpcError(`the node is on chain ${found}, not on ${chainId} (${network})`)
    isChainKnown = true
  }
  return {
    network,
    getTip: async () => {
      await assertChain()
      try {
        return headerOf(await rpc('eth_getBlockByNumber', ['latest', false], HEADER))
      } catch (error) {
        // After an outage, another node may answer at this address.
        isChainKnown = false
        throw error
      }
    },
    findHeader: async (height) => {
      const header = await rpc('eth_getBlockByNumber', [hexOfHeight(height), false], HEADER.nullable())
      if (header === null) return undefined
      assertHeight(header, height)
      return headerOf(header)
    },
    findBlock: async (height) => {
      const block = await withHeight(height, findBlock(createHistoryRpc(rpc, height), height))
      if (block === undefined || block.txIds.length === 0) return block?.found
      const inside = await withHeight(height, readInside(block.found, block.txIds))
      if (inside === undefined) return { ...block.found, untracedTxIds: block.txIds }
      const sent = inside.map((output) => ({ ...output, sender: block.senders.get(output.txId) }))
      return { ...block.found, outputs: [...block.found.outputs, ...sent] }
    },
    findBalances: async (addresses, blockHash) => {
      const params = addresses.map((address) => [address, { blockHash }])
      const balances = await batch('eth_getBalance', params, hexQuantity)
      return new Map(addresses.map((address, at) => [address, balances[at] ?? 0n]))
    },
  }
}

const hexOfHeight = (height: number): string => `0x${height.toString(16)}`

/** Block times strictly increase, so a block's own time is the chain's. */
function headerOf({ number, hash, timestamp }: z.output<typeof HEADER>): Header {
  const minedAt = new Date(timestamp * 1_000)
  return { height: number, hash, minedAt, chainTime: minedAt }
}

function assertHeight({ number }: { number: number }, height: number): void {
  if (number !== height) throw new RpcError(`eth_getBlockByNumber: block ${number} for ${height}`)
}

/** Adds the block's height to the message of an error. */
const withHeight = async <T>(height: number, work: Promise<T>): Promise<T> =>
  work.catch((error: unknown) => {
    if (error instanceof BlockGoneError)
      throw new BlockGoneError(height, `block ${height}: ${error.message}`, { cause: error })
    if (error instanceof ChainError) throw new RpcError(`block ${height}: ${error.message}`, { cause: error })
    throw error
  })

/** As `rpc`, where a refusal because of pruned history is a BlockGoneError. */
const createHistoryRpc =
  (rpc: Rpc, height: number): Rpc =>
  async (...call) =>
    rpc(...call).catch((error: unknown) => {
      const isPruned = error instanceof RpcRefusal && (error.code === HISTORY_PRUNED || NO_HISTORY.test(error.reason))
      throw isPruned ? new BlockGoneError(height, error.message, { cause: error }) : error
    })

/** Receipts are requested by the block's hash: by its number, they could be those of another fork. */
async function findBlock(
  rpc: Rpc,
  height: number,
): Promise<{ found: Block; txIds: readonly string[]; senders: ReadonlyMap<string, string | undefined> } | undefined> {
  const block = await rpc('eth_getBlockByNumber', [hexOfHeight(height), true], HEADER.extend(BLOCK.shape).nullable())
  if (block === null) return undefined
  assertHeight(block, height)
  const receipts =
    block.transactions.length === 0 ? [] : await rpc('eth_getBlockReceipts', [{ blockHash: block.hash }], RECEIPTS)
  if (receipts === null)
    throw new BlockGoneError(
      height,
      'eth_getBlockReceipts: none for this block, which was pruned or has left the branch',
    )
  const found = { ...headerOf(block), parentHash: block.parentHash, ...readBlock(block, receipts) }
  const senders = new Map(block.transactions.map(({ hash, from }) => [hash, senderOf(from)]))
  return { found, txIds: block.transactions.map(({ hash }) => hash), senders }
}

/**
 * Makes the function that reads what contracts sent inside a block; undefined: the node has no traces of it. Such a node
 * does not stop the watcher: the balance check finds what was missed. Any other error fails the step, and the next step
 * tries the same block again, up to MAX_TRACE_TRIES times. From then on each block is tried once, until one succeeds.
 */
function createTracer(rpc: Rpc, onUntraced: EthereumOptions['onUntraced']) {
  /** Failed tries by height: several blocks are read at once, and each has its own tries. */
  const failures = new Map<number, number>()
  let isGivenUp = false
  return async ({ height, hash }: Block, txIds: readonly string[]): Promise<Block['outputs'] | undefined> => {
    try {
      const traces = await rpc('debug_traceBlockByHash', [hash, { tracer: 'callTracer' }], TRACES)
      const inside = readTraces(traces, txIds)
      failures.delete(height)
      isGivenUp = false
      return inside
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      const tries = (failures.get(height) ?? 0) + 1
      failures.set(height, tries)
      isGivenUp ||= tries >= MAX_TRACE_TRIES
      if (!isUntraceable(error) && !isGivenUp) throw error
      failures.delete(height)
      onUntraced?.(height, error.message)
      return undefined
    }
  }
}

const isUntraceable = (error: ChainError): boolean =>
  error instanceof RpcRefusal && (METHOD_UNKNOWN.includes(error.code) || NO_TRACES.test(error.reason))
