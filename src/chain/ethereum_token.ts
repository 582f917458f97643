// Parses logs of token transfers: ERC-20, and ERC-721, whose tokens are one of a kind. Any contract may write such a log
// with any content, so that one that breaks the form is left out and never an error.

import { z } from 'zod'
import type { TokenTransfer } from '../domain/chain.ts'

/** Keccak-256 of `Transfer(address,address,uint256)`. */
const TRANSFER = '0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef'
const ADDRESS = /^0x[0-9a-f]{40}$/
/** A topic that holds an address, padded to 32 bytes. */
const ADDRESS_TOPIC = /^0x0{24}([0-9a-f]{40})$/
const WORD = /^0x[0-9a-f]{64}$/
const INDEX = /^0x[0-9a-f]{1,7}$/
/** With the event's own topic: the amount of ERC-20 is in the data, the number of an ERC-721 token is a topic. */
const [ERC20_TOPICS, ERC721_TOPICS] = [3, 4]

const lower = z.string().transform((text) => text.toLowerCase())
const LOG = z.object({ address: lower, topics: z.array(lower).max(ERC721_TOPICS), data: lower, logIndex: lower })

/** Logs of a receipt are not parsed where they are read: a strange one must not cost the block. */
export function readTokenTransfers(receipts: readonly { transactionHash: string; logs?: unknown }[]): TokenTransfer[] {
  return receipts.flatMap(({ transactionHash, logs }) =>
    Array.isArray(logs) ? logs.flatMap((log: unknown) => readTransfer(transactionHash, log) ?? []) : [],
  )
}

function readTransfer(txId: string, log: unknown): TokenTransfer | undefined {
  const parsed = LOG.safeParse(log)
  if (!parsed.success || parsed.data.topics[0] !== TRANSFER) return undefined
  const { address: token, topics, data, logIndex } = parsed.data
  const [sender, address] = [addressOf(topics[1]), addressOf(topics[2])]
  const amount = amountOf(topics.length, data)
  if (sender === undefined || address === undefined || amount === 0n) return undefined
  if (!ADDRESS.test(token) || !WORD.test(txId) || !INDEX.test(logIndex)) return undefined
  return { txId, logIndex: Number(logIndex), token, sender, address, amount }
}

function addressOf(topic = ''): string | undefined {
  const found = ADDRESS_TOPIC.exec(topic)?.[1]
  return found === undefined ? undefined : `0x${found}`
}

function amountOf(topics: number, data: string): bigint {
  if (topics === ERC721_TOPICS) return 1n
  return topics === ERC20_TOPICS && WORD.test(data) ? BigInt(data) : 0n
}
