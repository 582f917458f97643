// Ethereum's own coin, read from whole blocks: native transfers leave no log. What contracts send is read from traces
// where the node offers them, and shows in balances where it does not.

import { z } from 'zod'
import { ChainError, type Block, type ChainClient, type Header } from './client.ts'
import { BLOCK, hash256, quantity, readBlock, RECEIPTS } from './ethereum_block.ts'
import { readTraces, TRACES } from './ethereum_trace.ts'
import { createBatchRpc, createRpc, RpcError, RpcRefusal, type Rpc } from './rpc.ts'

const RPC_TIMEOUT_MS = 10_000

/** Answers of a node that has no such method, by code or in words, or that keeps no state so old: asking again is no use. */
const METHOD_UNKNOWN = [-32_601, -32_004]
const NO_TRACES =
  /\bmethod\b|\bdebug_|unsupported|not supported|\btier\b|\bplan\b|pruned|missing trie node|historical state|state (is )?not available/i
/** So many times in a row an error may be one of the moment; then a block passes without traces. */
const MAX_TRACE_TRIES = 5

const count = quantity.transform(Number).pipe(z.number().int().nonnegative())
const HEADER = z.object({ number: count, hash: hash256, timestamp: count })

export type EthereumOptions = {
  /** JSON-RPC over HTTP; needs eth_getBlockReceipts, and eth_getBalance by block hash (EIP-1898). */
  url: string
  network: string
  /** A node of another chain is refused: the same address exists on all of them. */
  chainId: number
  /** Told of each block whose traces could not be read: what contracts sent in it shows in balances alone. */
  onUntraced?: (height: number, cause: string) => void
}

/** The real adapter. */
export function createEthereumClient({ url, network, chainId, onUntraced }: EthereumOptions): ChainClient {
  const rpc = createRpc(url, RPC_TIMEOUT_MS)
  const batch = createBatchRpc(url, RPC_TIMEOUT_MS)
  const trace = createTracer(rpc, onUntraced)
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
      return headerOf(await rpc('eth_getBlockByNumber', ['latest', false], HEADER))
    },
    findHeader: async (height) => {
      const header = await rpc('eth_getBlockByNumber', [hexOfHeight(height), false], HEADER.nullable())
      if (header === null) return undefined
      assertHeight(header, height)
      return headerOf(header)
    },
    findBlock: async (height) => {
      const block = await named(height, findBlock(rpc, height))
      if (block === undefined || block.txIds.length === 0) return block?.found
      const inside = await named(height, trace(block.found, block.txIds))
      if (inside === undefined) return { ...block.found, untracedTxIds: block.txIds }
      return { ...block.found, transfers: [...block.found.transfers, ...inside] }
    },
    findBalances: async (addresses, blockHash) => {
      const params = addresses.map((address) => [address, { blockHash }])
      const balances = await batch('eth_getBalance', params, quantity)
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

/** An error says which block it was about. */
const named = async <T>(height: number, work: Promise<T>): Promise<T> =>
  work.catch((error: unknown) => {
    if (error instanceof ChainError) throw new RpcError(`block ${height}: ${error.message}`, { cause: error })
    throw error
  })

/** Receipts are asked for by the block's hash: by its number, the answer could be another fork's. */
async function findBlock(rpc: Rpc, height: number): Promise<{ found: Block; txIds: readonly string[] } | undefined> {
  const block = await rpc('eth_getBlockByNumber', [hexOfHeight(height), true], HEADER.extend(BLOCK.shape).nullable())
  if (block === null) return undefined
  assertHeight(block, height)
  const receipts =
    block.transactions.length === 0 ? [] : await rpc('eth_getBlockReceipts', [{ blockHash: block.hash }], RECEIPTS)
  if (receipts === null)
    throw new RpcError('eth_getBlockReceipts: none for this block, which was pruned or has left the branch')
  const { transfers, doubts } = readBlock(block, receipts)
  const found = { ...headerOf(block), parentHash: block.parentHash, transfers, doubts }
  return { found, txIds: block.transactions.map(({ hash }) => hash) }
}

/**
 * A node without traces, or one that has them no longer, holds nothing up: balances tell what was missed. Any other error
 * is one of the look, which comes to the same block again, until it has happened too often. From then on each block is
 * tried once, until one is traced.
 */
function createTracer(rpc: Rpc, onUntraced: EthereumOptions['onUntraced']) {
  let failures = 0
  return async ({ height, hash }: Block, txIds: readonly string[]): Promise<Block['transfers'] | undefined> => {
    try {
      const traces = await rpc('debug_traceBlockByHash', [hash, { tracer: 'callTracer' }], TRACES)
      const inside = readTraces(traces, txIds)
      failures = 0
      return inside
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      failures += isUntraceable(error) ? 0 : 1
      if (!isUntraceable(error) && failures < MAX_TRACE_TRIES) throw error
      onUntraced?.(height, error.message)
      return undefined
    }
  }
}

const isUntraceable = (error: ChainError): boolean =>
  error instanceof RpcRefusal && (METHOD_UNKNOWN.includes(error.code) || NO_TRACES.test(error.reason))
