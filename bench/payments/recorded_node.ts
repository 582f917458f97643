// A node that answers at once: it asks a real node for each answer the first time only. It makes some answers itself.
// Receipts and traces, in the shape of Geth's, because a development node needs minutes for those of a full block. And
// balances, because the watcher asks for others at each pass: a recording would let the real node be measured.
// A process of its own: its CPU time is not the watcher's. Reads the real node's address from stdin, prints its own, and
// ends when stdin closes.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { z } from 'zod'
import { createRpc } from '../../src/chain/rpc.ts'

export type RecordedNodeConfig = { nodeUrl: string }
export type RecordedNodeReady = { url: string }

const RPC_TIMEOUT_MS = 120_000
const CALL = z.object({ id: z.unknown(), method: z.string(), params: z.array(z.unknown()) })
type Call = z.output<typeof CALL>
const TRANSACTIONS = z.array(
  z.object({
    ...{ hash: z.string(), blockNumber: z.string(), from: z.string(), to: z.string() },
    ...{ value: z.string(), gas: z.string() },
  }),
)

const BLOCK = z.object({ number: z.string(), parentHash: z.string(), transactions: TRANSACTIONS })
const BLOCK_PARAM = z.object({ blockHash: z.string() })
const BALANCE_PARAMS = z.tuple([z.string(), BLOCK_PARAM])
/** 21,000. */
const TRANSFER_GAS = '0x5208'
const BLOOM_DIGITS = 512
const hex = (value: number | bigint): string => `0x${value.toString(16)}`

/** What is not asked of the real node, by method. */
const MADE: Readonly<Record<string, (params: readonly unknown[]) => Promise<unknown>>> = {
  eth_getBlockReceipts: receiptsOf,
  debug_traceBlockByHash: tracesOf,
  eth_getBalance: balanceOf,
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const { nodeUrl } = JSON.parse((await lines.next()).value ?? '{}') as RecordedNodeConfig
const rpc = createRpc(nodeUrl, RPC_TIMEOUT_MS)
/** The text of each answer, by its question. */
const known = new Map<string, string>()
/** What addresses have received up to a block, by its hash. */
const received = new Map<string, Promise<ReadonlyMap<string, bigint>>>()

const server = createServer((request, response) => {
  void text(request)
    .then(answer)
    .then((body) => response.setHeader('content-type', 'application/json').end(body))
    .catch(() => response.destroy())
})
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${port}` } satisfies RecordedNodeReady)}\n`)
})
await lines.next()
process.exit(0)

async function answer(body: string): Promise<string> {
  const asked = z.union([CALL, z.array(CALL)]).parse(JSON.parse(body))
  return Array.isArray(asked) ? `[${(await Promise.all(asked.map(answerOne))).join(',')}]` : answerOne(asked)
}

async function answerOne({ id, method, params }: Call): Promise<string> {
  const made = MADE[method]
  const result = await recorded(`${method} ${JSON.stringify(params)}`, async () =>
    JSON.stringify(made === undefined ? await rpc(method, params, z.unknown()) : await made(params)),
  )
  return `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`
}

async function recorded(question: string, ask: () => Promise<string>): Promise<string> {
  const found = known.get(question) ?? (await ask())
  known.set(question, found)
  return found
}

async function blockOf(hash: unknown) {
  return rpc('eth_getBlockByHash', [hash, true], BLOCK)
}

async function transfersOf(hash: unknown) {
  return (await blockOf(hash)).transactions
}

/** Of an address that sends nothing, and had nothing at first. */
async function balanceOf(params: readonly unknown[]): Promise<string> {
  const [address, { blockHash }] = BALANCE_PARAMS.parse(params)
  return hex((await receivedUpTo(blockHash)).get(address) ?? 0n)
}

function receivedUpTo(hash: string): Promise<ReadonlyMap<string, bigint>> {
  const found = received.get(hash) ?? sumUpTo(hash)
  received.set(hash, found)
  return found
}

async function sumUpTo(hash: string): Promise<ReadonlyMap<string, bigint>> {
  const { number, parentHash, transactions } = await blockOf(hash)
  const sums = new Map(Number(number) === 0 ? [] : await receivedUpTo(parentHash))
  for (const { to, value } of transactions) sums.set(to, (sums.get(to) ?? 0n) + BigInt(value))
  return sums
}

/** Plain transfers make one call each. */
async function tracesOf([hash]: readonly unknown[]): Promise<unknown> {
  return (await transfersOf(hash)).map(({ hash: txHash, from, to, value, gas }) => ({
    txHash,
    result: { type: 'CALL', from, to, value, gas, gasUsed: TRANSFER_GAS, input: '0x' },
  }))
}

async function receiptsOf([block]: readonly unknown[]): Promise<unknown> {
  const { blockHash } = BLOCK_PARAM.parse(block)
  return (await transfersOf(blockHash)).map(({ hash, from, to, blockNumber }, at) => ({
    ...{ transactionHash: hash, transactionIndex: hex(at), blockHash, blockNumber, from, to, contractAddress: null },
    ...{ status: '0x1', type: '0x2', gasUsed: TRANSFER_GAS, cumulativeGasUsed: hex((at + 1) * Number(TRANSFER_GAS)) },
    ...{ effectiveGasPrice: '0x3b9aca00', logs: [], logsBloom: `0x${'0'.repeat(BLOOM_DIGITS)}` },
  }))
}
