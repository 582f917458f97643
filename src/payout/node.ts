// What payouts need of an Ethereum node. Each answer is checked by its schema (chain/rpc.ts).

import { z } from 'zod'
import { ChainError } from '../chain/client.ts'
import { readTraces, TRACES } from '../chain/ethereum_trace.ts'
import { createRpc, RpcRefusal, type OnMessage, type Rpc } from '../chain/rpc.ts'

const RPC_TIMEOUT_MS = 10_000

const amount = z
  .string()
  .regex(/^0x[0-9a-f]{1,64}$/i)
  .transform(BigInt)
const count = amount.transform(Number).pipe(z.number().int().nonnegative())
const hash = z.string().regex(/^0x[0-9a-f]{64}$/i)
const HEADER = z.object({ number: count, hash, baseFeePerGas: amount.default(0n) })
const RECEIPT = z.object({
  transactionHash: hash,
  blockNumber: count,
  blockHash: hash,
  status: z.enum(['0x0', '0x1']),
  gasUsed: amount,
  effectiveGasPrice: amount,
})

const SENT = z.object({
  hash,
  blockHash: hash.nullable(),
  from: z.string().toLowerCase(),
  to: z.string().toLowerCase().nullable(),
  value: amount,
})

/** A transaction in a block of the node's present branch. */
export type Inclusion = { height: number; hash: string; isReverted: boolean; networkFee: bigint }
/** Coins that an executed transaction moved to an address, itself or by a call of a contract inside it. */
export type Transfer = { from: string; to: string; value: bigint; inclusion: Inclusion }
export type Sending = 'taken' | 'nonce_used' | 'refused'

export type PayoutNode = {
  /** @throws {ChainError} when the node is on another chain */
  getHead: () => Promise<{ height: number; baseFee: bigint }>
  /** The usual fee for the block's producer, per gas. */
  getTip: () => Promise<bigint>
  /** At the head or at a height. */
  getBalance: (address: string, height?: number) => Promise<bigint>
  /** How many transactions of the account are executed, at the head or at a height: its next free nonce. */
  countTransactions: (address: string, height?: number) => Promise<number>
  /** Gas for a transfer. Undefined: it would revert. */
  estimateGas: (transfer: { from: string; to: string; value: bigint }) => Promise<bigint | undefined>
  /** By receipt, pinned to the block that the branch has at its height. Undefined: in no block. */
  findInclusion: (txId: string) => Promise<Inclusion | undefined>
  /**
   * One output of an executed transaction, numbered as ChainOutput says. Undefined: it is in no block, had no effect, or
   * has no such output, or the node shows no calls of contracts.
   */
  findTransfer: (txId: string, outputIndex: number) => Promise<Transfer | undefined>
  /** Whether the node knows it, in a block or waiting for one. */
  hasTransaction: (txId: string) => Promise<boolean>
  send: (raw: string) => Promise<Sending>
}

/** Nodes have no common codes for these. */
const KNOWN = /already known|known transaction|already imported|already exists/i
const NONCE_USED = /nonce too low|nonce is too low|old nonce/i
const REVERTS = /revert/i

const quantityOf = (value: bigint | number): string => `0x${value.toString(16)}`
const blockOf = (height: number | undefined): string => (height === undefined ? 'latest' : quantityOf(height))

/** The node's own text of a refusal. @throws any other error */
const refused = (error: unknown): string => {
  if (error instanceof RpcRefusal) return error.reason
  throw error
}

export type PayoutNodeOptions = { url: string; chainId: number; onMessage?: OnMessage }

export function createPayoutNode({ url, chainId, onMessage }: PayoutNodeOptions): PayoutNode {
  const rpc = createRpc(url, RPC_TIMEOUT_MS, onMessage)
  let isChainKnown = false
  const findInclusion = async (txId: string): Promise<Inclusion | undefined> => {
    const receipt = await rpc('eth_getTransactionReceipt', [txId], RECEIPT.nullable())
    if (receipt === null) return undefined
    if (receipt.transactionHash !== txId) throw new ChainError('eth_getTransactionReceipt: of another transaction')
    const header = await rpc('eth_getBlockByNumber', [quantityOf(receipt.blockNumber), false], HEADER.nullable())
    if (header?.hash !== receipt.blockHash) return undefined
    return {
      height: receipt.blockNumber,
      hash: receipt.blockHash,
      isReverted: receipt.status === '0x0',
      networkFee: receipt.gasUsed * receipt.effectiveGasPrice,
    }
  }
  return {
    getHead: async () => {
      if (!isChainKnown) {
        const found = await rpc('eth_chainId', [], count)
        if (found !== chainId) throw new ChainError(`the node is on chain ${found}, not on ${chainId}`)
        isChainKnown = true
      }
      const head = await rpc('eth_getBlockByNumber', ['latest', false], HEADER)
      return { height: head.number, baseFee: head.baseFeePerGas }
    },
    getTip: () => rpc('eth_maxPriorityFeePerGas', [], amount),
    getBalance: (address, height) => rpc('eth_getBalance', [address, blockOf(height)], amount),
    countTransactions: (address, height) => rpc('eth_getTransactionCount', [address, blockOf(height)], count),
    estimateGas: async ({ from, to, value }) => {
      try {
        return await rpc('eth_estimateGas', [{ from, to, value: quantityOf(value) }], amount)
      } catch (error) {
        if (REVERTS.test(refused(error))) return undefined
        throw error
      }
    },
    findInclusion,
    findTransfer: async (txId, outputIndex) => {
      const inclusion = await findInclusion(txId)
      if (inclusion === undefined || inclusion.isReverted) return undefined
      const sent = await rpc('eth_getTransactionByHash', [txId], SENT.nullable())
      if (sent?.hash !== txId || sent.blockHash !== inclusion.hash) return undefined
      const { from, to, value } = sent
      if (outputIndex === 0) return to === null ? undefined : { from, to, value, inclusion }
      const inside = (await traceOf(rpc, txId)).find((output) => output.outputIndex === outputIndex)
      return inside && { from, to: inside.address, value: inside.amount, inclusion }
    },
    hasTransaction: async (txId) =>
      (await rpc('eth_getTransactionByHash', [txId], z.object({ hash }).nullable())) !== null,
    send: async (raw) => {
      try {
        await rpc('eth_sendRawTransaction', [raw], hash)
        return 'taken'
      } catch (error) {
        const reason = refused(error)
        if (KNOWN.test(reason)) return 'taken'
        return NONCE_USED.test(reason) ? 'nonce_used' : 'refused'
      }
    },
  }
}

/** What calls of contracts moved inside a transaction. None where the node does not show it. */
async function traceOf(rpc: Rpc, txId: string) {
  try {
    const result = await rpc('debug_traceTransaction', [txId, { tracer: 'callTracer' }], TRACES.element.shape.result)
    return readTraces([{ txHash: txId, result }], [txId])
  } catch (error) {
    refused(error)
    return []
  }
}
