import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { z } from 'zod'
import { startAnvil, type Anvil } from '../servers/anvil.ts'
import { freePorts } from '../servers/port.ts'
import type { ChainClient } from './client.ts'
import { describeAdapter, type ChainUnderTest } from './contract.ts'
import { openDevelopmentChain } from './development.ts'
import { createEthereumClient } from './ethereum.ts'
import { createRpc } from './rpc.ts'

/** Code that runs out of luck at once: PUSH0 PUSH0 REVERT. */
const REVERTING_CODE = '0x5f5ffd'

let dataDir: string
let anvil: Anvil
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-anvil-'))
  const [port = 0] = await freePorts(1)
  anvil = await startAnvil({ port, dataDir, mining: 'manual' })
})
afterAll(async () => {
  await anvil.stop()
  await rm(dataDir, { recursive: true })
})

const makeAddress = (): string => `0x${randomBytes(20).toString('hex')}`
const makeClient = (chainId = anvil.chainId) => createEthereumClient({ url: anvil.url, network: 'ethereum', chainId })

async function open(): Promise<ChainUnderTest> {
  return { client: makeClient(), makeAddress, ...(await openDevelopmentChain(anvil.url)) }
}

describeAdapter('Ethereum', open)

test('a transaction that failed is not money', async () => {
  const { client, pay, mine } = await open()
  const rpc = createRpc(anvil.url, 5_000)
  const contract = makeAddress()
  await rpc('anvil_setCode', [contract, REVERTING_CODE], z.unknown())
  const [from] = await rpc('eth_accounts', [], z.array(z.string()))
  const failing = { from, to: contract, value: '0x5', gas: '0x186a0' }
  const txId = await rpc('eth_sendTransaction', [failing], z.string())
  const paid = makeAddress()
  await pay(paid, 5n)
  await mine(1)
  const block = await client.findBlock((await client.getTip()).height)
  expect(block?.transfers.map(({ address }) => address)).toEqual([paid])
  const receipt = await rpc('eth_getTransactionReceipt', [txId], z.object({ status: z.string() }))
  expect(receipt.status).toBe('0x0')
})

test('a new contract is not a transfer, whatever it is given', async () => {
  const { client, mine } = await open()
  const rpc = createRpc(anvil.url, 5_000)
  const [from] = await rpc('eth_accounts', [], z.array(z.string()))
  await rpc('eth_sendTransaction', [{ from, value: '0x5', data: '0x00', gas: '0x186a0' }], z.string())
  await mine(1)
  const block = await client.findBlock((await client.getTip()).height)
  expect(block?.transfers).toEqual([])
})

test('an address in mixed case is the same address', async () => {
  const { client, pay, mine } = await open()
  await pay('0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266', 9n)
  await mine(1)
  const block = await client.findBlock((await client.getTip()).height)
  expect(block?.transfers).toMatchObject([{ address: '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266', amount: 9n }])
})

test('a node of another chain is refused before it is believed', async () => {
  await expect(makeClient(1).getTip()).rejects.toThrow('the node is on chain 31337, not on 1 (ethereum)')
})

/** A node that answers by rote. */
async function openLiar(
  answers: Readonly<Record<string, unknown>>,
): Promise<{ client: ChainClient; close: () => void }> {
  const server = createServer((request, response) => {
    void json(request)
      .then((body) => body as { id: number; method: string })
      .then(({ id, method }) => response.end(JSON.stringify({ jsonrpc: '2.0', id, result: answers[method] })))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  return { client: createEthereumClient({ url, network: 'ethereum', chainId: 1 }), close: () => server.close() }
}

const hashOf = (digit: string): string => `0x${digit.repeat(64)}`
const BLOCK = {
  number: '0x7',
  hash: hashOf('a'),
  parentHash: hashOf('b'),
  timestamp: '0x6b0342cf',
  transactions: [{ hash: hashOf('c'), to: `0x${'d'.repeat(40)}`, value: '0x5' }],
}
const RECEIPT = { transactionHash: hashOf('c'), blockHash: hashOf('a'), status: '0x1' }

test.each([
  ['receipts of another block', BLOCK, [{ ...RECEIPT, blockHash: hashOf('e') }], /not the receipts of the block/],
  ['too few receipts', BLOCK, [], /not the receipts of the block/],
  ['another height than asked for', { ...BLOCK, number: '0x8' }, [RECEIPT], /block 8 for 7/],
  ['an amount that is no number', { ...BLOCK, transactions: [{ ...BLOCK.transactions[0], value: '5' }] }, [], /value/],
  ['a hash of a wrong length', { ...BLOCK, hash: '0xab' }, [RECEIPT], /unexpected answer at hash/],
  ['nothing at all', undefined, [RECEIPT], /unexpected answer/],
])('a node that answers with %s is not believed', async (_lie, block, receipts, message) => {
  const { client, close } = await openLiar({ eth_getBlockByNumber: block, eth_getBlockReceipts: receipts })
  await expect(client.findBlock(7)).rejects.toThrow(message)
  close()
})

test('a block that leaves the branch before its receipts are read is no block', async () => {
  const { client, close } = await openLiar({ eth_getBlockByNumber: BLOCK, eth_getBlockReceipts: null })
  expect(await client.findBlock(7)).toBeUndefined()
  close()
})

test('hexadecimal in capitals is the same hash and the same address', async () => {
  const capitals = (text: string): string => `0x${text.slice(2).toUpperCase()}`
  const [transaction = { hash: '', to: '', value: '' }] = BLOCK.transactions
  const block = {
    ...BLOCK,
    transactions: [{ ...transaction, hash: capitals(transaction.hash), to: capitals(transaction.to) }],
  }
  const { client, close } = await openLiar({ eth_getBlockByNumber: block, eth_getBlockReceipts: [RECEIPT] })
  expect((await client.findBlock(7))?.transfers).toEqual([
    { asset: 'ETH', txId: transaction.hash, outputIndex: 0, address: transaction.to, amount: 5n },
  ])
  close()
})

test('an unreachable node is an error that does not show its address', async () => {
  const client = createEthereumClient({ url: 'http://127.0.0.1:1/secret-key', network: 'ethereum', chainId: 1 })
  await expect(client.getTip()).rejects.toThrow(/^eth_chainId: the node did not answer$/)
})
