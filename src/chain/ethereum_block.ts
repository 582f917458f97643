// Parses an Ethereum block with its receipts. The block's roots, gas and bloom must agree with its content, or the whole
// block is refused. Transactions are read leniently, so that an oddity in one to a foreign address does not stop the
// watcher: an output that breaks the encoding rules is returned as unreadable.

import { z } from 'zod'
import type { ChainOutput, TokenTransfer, UnreadableOutput } from '../domain/chain.ts'
import { readTokenTransfers } from './ethereum_token.ts'
import { RpcError } from './rpc.ts'

/** Root of an empty trie: Keccak-256 of the RLP of an empty string. */
const EMPTY_ROOT = '0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421'
const BLOOM_BYTES = 256
const SUCCEEDED = 1n
const FAILED = 0n

const QUANTITY = /^0x(0|[1-9a-f][0-9a-f]*)$/i
const HEX = /^0x[0-9a-f]+$/i
const HASH = /^0x[0-9a-f]{64}$/
export const ADDRESS = /^0x[0-9a-f]{40}$/
/** An address with a prefix, or without its 0x. */
const PADDED_ADDRESS = /([0-9a-f]{40})$/

export const hexQuantity = z.string().regex(QUANTITY, 'not a quantity').transform(BigInt)
const lenientQuantity = z.string().regex(HEX, 'not a number').transform(BigInt)
const lower = z.string().transform((text) => text.toLowerCase())
export const hexOf = (bytes: number) =>
  z
    .string()
    .regex(new RegExp(`^0x[0-9a-f]{${2 * bytes}}$`, 'i'), `not ${bytes} bytes`)
    .transform((text) => text.toLowerCase())
export const hash256 = hexOf(32)

const TRANSACTION = z.object({
  hash: lower,
  transactionIndex: lenientQuantity,
  from: z.unknown().optional(),
  to: lower.nullish(),
  value: z.unknown().optional(),
})
export const BLOCK = z.object({
  hash: hash256,
  parentHash: hash256,
  transactionsRoot: hash256,
  gasUsed: lenientQuantity,
  logsBloom: hexOf(BLOOM_BYTES),
  transactions: z.array(TRANSACTION),
})
const RECEIPT = z.object({
  transactionHash: lower,
  transactionIndex: lenientQuantity,
  blockHash: hash256,
  status: z.unknown().optional(),
  cumulativeGasUsed: lenientQuantity,
  logsBloom: hexOf(BLOOM_BYTES),
  logs: z.unknown().optional(),
})
export const RECEIPTS = z.array(RECEIPT).nullable()

type RawBlock = z.output<typeof BLOCK>
type Receipt = z.output<typeof RECEIPT>

/** @throws {RpcError} where block and receipts do not belong together */
export function readBlock(
  block: RawBlock,
  receipts: readonly Receipt[],
): { outputs: ChainOutput[]; unreadable: UnreadableOutput[]; tokenTransfers: TokenTransfer[] } {
  assertWhole(block, receipts)
  const outputs: ChainOutput[] = []
  const unreadable: UnreadableOutput[] = []
  for (const [at, transaction] of block.transactions.entries()) {
    const found = readOutput(transaction, receipts[at]?.status)
    if (found === undefined) continue
    if ('flaw' in found) unreadable.push(found)
    else outputs.push(found)
  }
  return { outputs, unreadable, tokenTransfers: readTokenTransfers(receipts) }
}

/** A node may serve a block without some of its transactions, or receipts of another block. */
function assertWhole(block: RawBlock, receipts: readonly Receipt[]): void {
  const { transactions } = block
  const isEmpty = transactions.length === 0
  if (isEmpty !== (block.transactionsRoot === EMPTY_ROOT))
    throw new RpcError(`${transactions.length} transactions, which its transactionsRoot contradicts`)
  if (
    receipts.length !== transactions.length ||
    receipts.some(
      ({ blockHash, transactionHash }, at) => blockHash !== block.hash || transactionHash !== transactions[at]?.hash,
    )
  )
    throw new RpcError('eth_getBlockReceipts: not the receipts of the block that was asked for')
  // A transaction left out with its receipt shifts all later ones.
  if (
    [...transactions, ...receipts].some(
      ({ transactionIndex }, at) => transactionIndex !== BigInt(at % transactions.length),
    )
  )
    throw new RpcError('its transactions or receipts are not in their places: one is left out')
  if ((receipts.at(-1)?.cumulativeGasUsed ?? 0n) !== block.gasUsed)
    throw new RpcError('the gas of its receipts is not the gas it used')
  if (receipts.reduce((bloom, receipt) => bloom | BigInt(receipt.logsBloom), 0n) !== BigInt(block.logsBloom))
    throw new RpcError('the blooms of its receipts do not make its logsBloom')
}

function readOutput(
  { hash, from, to, value }: z.output<typeof TRANSACTION>,
  status: unknown,
): ChainOutput | UnreadableOutput | undefined {
  // The transaction creates a contract: there is no recipient.
  if (typeof to !== 'string') return undefined
  const address = ADDRESS.test(to) ? to : addressWithin(to)
  if (address === undefined) return undefined
  const flawed = (flaw: string): UnreadableOutput => ({ address, flaw })
  const amount = numberOf(value)
  if (amount === 0n) return undefined
  const outcome = numberOf(status)
  if (outcome === FAILED) return undefined
  if (address !== to) return flawed('a recipient is not 20 bytes')
  if (!HASH.test(hash)) return flawed('a transaction hash is not 32 bytes')
  if (amount === undefined || !QUANTITY.test(String(value)))
    return flawed(`the value of transaction ${hash} is no quantity`)
  if (outcome !== SUCCEEDED) return flawed(`the receipt of transaction ${hash} does not say whether it succeeded`)
  return { asset: 'ETH', txId: hash, outputIndex: 0, address, amount, sender: senderOf(from) }
}

/** Undefined where it is no address. */
export function senderOf(from: unknown): string | undefined {
  const sender = typeof from === 'string' ? from.toLowerCase() : ''
  return ADDRESS.test(sender) ? sender : undefined
}

function addressWithin(text: string): string | undefined {
  const found = PADDED_ADDRESS.exec(text)?.[1]
  return found === undefined ? undefined : `0x${found}`
}

/** Undefined where it is no number. A zero-padded number is accepted. */
export const numberOf = (value: unknown): bigint | undefined =>
  typeof value === 'string' && HEX.test(value) ? BigInt(value) : undefined
