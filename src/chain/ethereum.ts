// Ethereum's own coin, read from whole blocks: native transfers leave no log. What a contract sends inside a call is
// not seen here.

import { z } from 'zod'
import type { Block, ChainClient, ChainTransfer } from './client.ts'
import { createRpc, RpcError, type Rpc } from './rpc.ts'

const RPC_TIMEOUT_MS = 10_000

const quantity = z.string().regex(/^0x(0|[1-9a-f][0-9a-f]*)$/i)
const amount = quantity.transform(BigInt)
const count = quantity.transform(Number).pipe(z.number().int().nonnegative())
const hexOf = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^0x[0-9a-f]{${2 * bytes}}$`, 'i'))
    .transform((text) => text.toLowerCase())
const hash256 = hexOf(32)
const minedAt = count.transform((seconds) => new Date(seconds * 1000))

const HEADER = z.object({ number: count, hash: hash256, timestamp: minedAt })
const BLOCK = HEADER.extend({
  parentHash: hash256,
  transactions: z.array(z.object({ hash: hash256, to: hexOf(20).nullish(), value: amount })),
})
const RECEIPTS = z.array(z.object({ transactionHash: hash256, blockHash: hash256, status: count }))
const SUCCEEDED = 1

export type EthereumOptions = {
  /** JSON-RPC over HTTP; needs eth_getBlockReceipts. */
  url: string
  network: string
  /** A node of another chain is refused: the same address exists on all of them. */
  chainId: number
}

/** The real adapter. */
export function createEthereumClient({ url, network, chainId }: EthereumOptions): ChainClient {
  const rpc = createRpc(url, RPC_TIMEOUT_MS)
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
      const { number, hash, timestamp } = await rpc('eth_getBlockByNumber', ['latest', false], HEADER)
      return { height: number, hash, minedAt: timestamp }
    },
    findHash: async (height) =>
      (await rpc('eth_getBlockByNumber', [hexOfHeight(height), false], HEADER.nullable()))?.hash,
    findBlock: (height) => findBlock(rpc, height),
  }
}

const hexOfHeight = (height: number): string => `0x${height.toString(16)}`

async function findBlock(rpc: Rpc, height: number): Promise<Block | undefined> {
  const block = await rpc('eth_getBlockByNumber', [hexOfHeight(height), true], BLOCK.nullable())
  if (block === null) return undefined
  if (block.number !== height) throw new RpcError(`eth_getBlockByNumber: block ${block.number} for ${height}`)
  const transfers = block.transactions.flatMap(({ hash: txId, to, value }): ChainTransfer[] =>
    typeof to !== 'string' || value === 0n ? [] : [{ asset: 'ETH', txId, outputIndex: 0, address: to, amount: value }],
  )
  const succeeded = transfers.length === 0 ? new Set() : await findSucceeded(rpc, block.hash, block.transactions.length)
  if (succeeded === undefined) return undefined
  return {
    height: block.number,
    hash: block.hash,
    parentHash: block.parentHash,
    minedAt: block.timestamp,
    transfers: transfers.filter(({ txId }) => succeeded.has(txId)),
  }
}

/** Asked for by the block's hash: by its number, the answer could be another fork's. Undefined once the block is gone. */
async function findSucceeded(rpc: Rpc, blockHash: string, txCount: number): Promise<Set<string> | undefined> {
  const receipts = await rpc('eth_getBlockReceipts', [{ blockHash }], RECEIPTS.nullable())
  if (receipts === null) return undefined
  if (receipts.length !== txCount || receipts.some((receipt) => receipt.blockHash !== blockHash))
    throw new RpcError('eth_getBlockReceipts: not the receipts of the block that was asked for')
  return new Set(receipts.filter(({ status }) => status === SUCCEEDED).map(({ transactionHash }) => transactionHash))
}
