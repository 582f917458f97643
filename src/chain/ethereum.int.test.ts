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
  expect(block?.outputs.map(({ address }) => address)).toEqual([paid])
  const receipt = await rpc('eth_getTransactionReceipt', [txId], z.object({ status: z.string() }))
  expect(receipt.status).toBe('0x0')
})

/** Forwards what it is given to the address in the call data; the second one then undoes all of it. */
const FORWARDER = '0x5f5f5f5f345f355af100'
const FORWARDER_THAT_REVERTS = '0x5f5f5f5f345f355af15f5ffd'

async function payThrough(code: string, to: string, amount: bigint): Promise<string> {
  const rpc = createRpc(anvil.url, 5_000)
  const wallet = makeAddress()
  await rpc('anvil_setCode', [wallet, code], z.unknown())
  const [from] = await rpc('eth_accounts', [], z.array(z.string()))
  const data = `0x${'0'.repeat(24)}${to.slice(2)}`
  const call = { from, to: wallet, value: `0x${amount.toString(16)}`, gas: '0x186a0', data }
  return rpc('eth_sendTransaction', [call], z.string())
}

test('coins that a contract sends are a transfer of the transaction, where the node traces', async () => {
  const { client, mine } = await open()
  const ours = makeAddress()
  const txId = await payThrough(FORWARDER, ours, 10n ** 18n)
  await mine(1)
  const block = await client.findBlock((await client.getTip()).height)
  const found = block?.outputs.filter(({ address }) => address === ours)
  expect(found).toMatchObject([{ asset: 'ETH', txId, amount: 10n ** 18n }])
  expect(found?.[0]?.outputIndex).toBeGreaterThan(0)
})

test('coins that a contract sent and took back are no transfer', async () => {
  const { client, mine } = await open()
  const ours = makeAddress()
  await payThrough(FORWARDER_THAT_REVERTS, ours, 10n ** 18n)
  await mine(1)
  const block = await client.findBlock((await client.getTip()).height)
  expect(block?.outputs.filter(({ address }) => address === ours)).toEqual([])
})

test('a balance is that of the end of the very block, and unknown for a block the node has lost', async () => {
  const { client, mine, reorganise } = await open()
  const [ours, other] = [makeAddress(), makeAddress()]
  await payThrough(FORWARDER, ours, 7n)
  await mine(1)
  const tip = await client.getTip()
  const before = await client.findHeader(tip.height - 1)
  expect(await client.findBalances?.([ours, other], tip.hash)).toEqual(
    new Map([
      [ours, 7n],
      [other, 0n],
    ]),
  )
  expect(await client.findBalances?.([ours], before?.hash ?? '')).toEqual(new Map([[ours, 0n]]))
  await reorganise(1)
  await expect(client.findBalances?.([ours], tip.hash)).rejects.toThrow('eth_getBalance')
})

test('more addresses than fit one message are asked about in several', async () => {
  const { client } = await open()
  const addresses = Array.from({ length: 250 }, makeAddress)
  const { hash } = await client.getTip()
  expect((await client.findBalances?.(addresses, hash))?.size).toBe(250)
})

test('a new contract is not a transfer, whatever it is given', async () => {
  const { client, mine } = await open()
  const rpc = createRpc(anvil.url, 5_000)
  const [from] = await rpc('eth_accounts', [], z.array(z.string()))
  await rpc('eth_sendTransaction', [{ from, value: '0x5', data: '0x00', gas: '0x186a0' }], z.string())
  await mine(1)
  const block = await client.findBlock((await client.getTip()).height)
  expect(block?.outputs).toEqual([])
})

test('an address in mixed case is the same address', async () => {
  const { client, pay, mine } = await open()
  await pay('0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266', 9n)
  await mine(1)
  const block = await client.findBlock((await client.getTip()).height)
  expect(block?.outputs).toMatchObject([{ address: '0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266', amount: 9n }])
})

test('a node of another chain is refused before it is believed', async () => {
  await expect(makeClient(1).getTip()).rejects.toThrow('the node is on chain 31337, not on 1 (ethereum)')
})

/** A node that answers by rote; one that traces nothing. */
async function openLiar(
  answers: Readonly<Record<string, unknown>>,
  beside: object = {},
): Promise<{ client: ChainClient; close: () => void }> {
  const unknown = { error: { code: -32_601, message: 'no such method' } }
  const server = createServer((request, response) => {
    void json(request)
      .then((body) => body as { id: number; method: string })
      .then(({ id, method }) => {
        const said = method in answers ? { result: answers[method], ...beside } : unknown
        return response.end(JSON.stringify({ jsonrpc: '2.0', id, ...said }))
      })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  return { client: createEthereumClient({ url, network: 'ethereum', chainId: 1 }), close: () => server.close() }
}

const hashOf = (digit: string): string => `0x${digit.repeat(64)}`
const EMPTY_ROOT = '0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421'
const bloomOf = (digits: string): string => `0x${digits.padStart(512, '0')}`
const OURS = `0x${'d'.repeat(40)}`
const TRANSACTION = { hash: hashOf('c'), transactionIndex: '0x1', to: OURS, value: '0x5' }
const STRANGE = { hash: hashOf('9'), transactionIndex: '0x0', to: `0x${'8'.repeat(40)}`, value: '0x5' }
const BLOCK = {
  number: '0x7',
  hash: hashOf('a'),
  parentHash: hashOf('b'),
  timestamp: '0x6b0342cf',
  transactionsRoot: hashOf('1'),
  gasUsed: '0xa410',
  logsBloom: bloomOf('6'),
  transactions: [STRANGE, TRANSACTION],
}
const RECEIPT = {
  transactionHash: hashOf('c'),
  transactionIndex: '0x1',
  blockHash: hashOf('a'),
  status: '0x1',
  cumulativeGasUsed: '0xa410',
  logsBloom: bloomOf('4'),
}
const RECEIPTS = [
  {
    ...RECEIPT,
    transactionHash: hashOf('9'),
    transactionIndex: '0x0',
    cumulativeGasUsed: '0x5208',
    logsBloom: bloomOf('2'),
  },
  RECEIPT,
]
/** The same block, whose own transaction or its receipt differs. */
const withOurs = (changes: object) => ({ ...BLOCK, transactions: [STRANGE, { ...TRANSACTION, ...changes }] })
const withStranger = (changes: object) => ({ ...BLOCK, transactions: [{ ...STRANGE, ...changes }, TRANSACTION] })
const withReceipt = (changes: object) => [RECEIPTS[0], { ...RECEIPT, ...changes }]

test.each([
  ['receipts of another block', BLOCK, withReceipt({ blockHash: hashOf('e') }), /not the receipts of the block/],
  ['receipts in another order', BLOCK, RECEIPTS.toReversed(), /not the receipts of the block/],
  ['too few receipts', BLOCK, [RECEIPT], /not the receipts of the block/],
  ['another height than asked for', { ...BLOCK, number: '0x8' }, RECEIPTS, /block 8 for 7/],
  ['a hash of a wrong length', { ...BLOCK, hash: '0xab' }, RECEIPTS, /unexpected answer at hash: not 32 bytes/],
  ['nothing at all', undefined, RECEIPTS, /unexpected answer/],
  [
    'a block without its transactions',
    { ...BLOCK, transactions: [] },
    [],
    /0 transactions, which its transactionsRoot/,
  ],
  ['transactions under an empty root', { ...BLOCK, transactionsRoot: EMPTY_ROOT }, RECEIPTS, /2 transactions, which/],
  [
    'a block without its last transaction',
    { ...BLOCK, transactions: [STRANGE] },
    RECEIPTS.slice(0, 1),
    /the gas of its/,
  ],
  [
    'a block without a transaction before the last, and without its receipt',
    { ...BLOCK, transactions: [TRANSACTION] },
    [{ ...RECEIPT, logsBloom: bloomOf('6') }],
    /one is left out/,
  ],
  [
    'transactions that were counted again after one was left out',
    { ...BLOCK, transactions: [{ ...TRANSACTION, transactionIndex: '0x0' }] },
    [{ ...RECEIPT, logsBloom: bloomOf('6') }],
    /one is left out/,
  ],
  ['receipts that used less gas', BLOCK, withReceipt({ cumulativeGasUsed: '0xa40f' }), /gas of its receipts/],
  ['receipts that lack a log', BLOCK, withReceipt({ logsBloom: bloomOf('0') }), /blooms of its receipts/],
  ['no receipts, because it pruned the block', BLOCK, null, /none for this block, which was pruned/],
])(
  'a node that answers with %s is not believed, and the error names the block',
  async (_lie, block, receipts, message) => {
    const { client, close } = await openLiar({ eth_getBlockByNumber: block, eth_getBlockReceipts: receipts })
    await expect(client.findBlock(7)).rejects.toThrow(message)
    await expect(client.findBlock(7)).rejects.toThrow(/^block 7: /)
    close()
  },
)

test.each([
  ['a zero-padded amount', withStranger({ value: '0x05' }), RECEIPTS],
  ['an amount that is no number', withStranger({ value: 'five' }), RECEIPTS],
  ['no amount', withStranger({ value: undefined }), RECEIPTS],
  ['an unknown type and no recipient', withStranger({ type: '0x7e', to: undefined }), RECEIPTS],
  ['a recipient that is no address', withStranger({ to: '0xabc' }), RECEIPTS],
  ['a receipt without status', BLOCK, [{ ...RECEIPTS[0], status: undefined }, RECEIPT]],
  ['padded gas', BLOCK, [{ ...RECEIPTS[0], cumulativeGasUsed: '0x05208' }, RECEIPT]],
])("%s in a stranger's transaction stops nothing", async (_oddity, block, receipts) => {
  const { client, close } = await openLiar({ eth_getBlockByNumber: block, eth_getBlockReceipts: receipts })
  const found = await client.findBlock(7)
  expect(found?.outputs).toContainEqual({
    asset: 'ETH',
    txId: hashOf('c'),
    outputIndex: 0,
    address: OURS,
    amount: 5n,
  })
  expect(found?.unreadable?.map(({ address }) => address)).not.toContain(OURS)
  close()
})

test.each([
  ['a zero-padded amount', withOurs({ value: '0x05' }), RECEIPTS, /value of transaction 0xc+ is no quantity/],
  ['an amount that is no number', withOurs({ value: '5' }), RECEIPTS, /value of transaction 0xc+ is no quantity/],
  [
    'a padded recipient',
    withOurs({ to: `0x${'0'.repeat(24)}${OURS.slice(2)}` }),
    RECEIPTS,
    /recipient is not 20 bytes/,
  ],
  ['a receipt without status', BLOCK, withReceipt({ status: undefined }), /does not say whether it succeeded/],
])('%s in a transfer to the shop is returned as an unreadable output', async (_oddity, block, receipts, flaw) => {
  const { client, close } = await openLiar({ eth_getBlockByNumber: block, eth_getBlockReceipts: receipts })
  const found = await client.findBlock(7)
  expect(found?.unreadable).toEqual([{ address: OURS, flaw: expect.stringMatching(flaw) as unknown }])
  close()
})

test('an error that is null is no error', async () => {
  const { client, close } = await openLiar(
    { eth_getBlockByNumber: BLOCK, eth_getBlockReceipts: RECEIPTS },
    { error: null },
  )
  expect((await client.findBlock(7))?.height).toBe(7)
  close()
})

test('an error beside a result is an error, with its code and text', async () => {
  const error = { code: -32_000, message: 'header not found' }
  const { client, close } = await openLiar({ eth_getBlockByNumber: BLOCK }, { error })
  await expect(client.findBlock(7)).rejects.toThrow(
    'block 7: eth_getBlockByNumber: the node refused (-32000 header not found)',
  )
  close()
})

test('a block above the tip of a node is not there yet', async () => {
  const { client, close } = await openLiar({ eth_getBlockByNumber: null })
  expect(await client.findBlock(7)).toBeUndefined()
  expect(await client.findHeader(7)).toBeUndefined()
  close()
})

test('hexadecimal in capitals is the same hash and the same address', async () => {
  const capitals = (text: string): string => `0x${text.slice(2).toUpperCase()}`
  const block = withOurs({ hash: capitals(TRANSACTION.hash), to: capitals(TRANSACTION.to) })
  const { client, close } = await openLiar({ eth_getBlockByNumber: block, eth_getBlockReceipts: RECEIPTS })
  expect((await client.findBlock(7))?.outputs).toContainEqual({
    ...{ asset: 'ETH', txId: TRANSACTION.hash, outputIndex: 0, address: TRANSACTION.to, amount: 5n },
  })
  close()
})

/** A node whose traces fail as often as said, and then show one transfer inside. */
async function openTracer(failures: number, error: object) {
  let left = failures
  const call = { type: 'CALL', to: OURS, value: '0x7' }
  const root = { type: 'CALL', to: STRANGE.to, value: '0x0', calls: [call] }
  const traces = [
    { txHash: STRANGE.hash, result: root },
    { txHash: TRANSACTION.hash, result: { type: 'CALL', to: OURS, value: '0x5' } },
  ]
  const answers: Readonly<Record<string, unknown>> = { eth_getBlockByNumber: BLOCK, eth_getBlockReceipts: RECEIPTS }
  const server = createServer((request, response) => {
    void json(request)
      .then((body) => body as { id: number; method: string })
      .then(({ id, method }) => {
        const isTrace = method === 'debug_traceBlockByHash'
        const said = isTrace && left-- > 0 ? { error } : { result: isTrace ? traces : answers[method] }
        return response.end(JSON.stringify({ jsonrpc: '2.0', id, ...said }))
      })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const untraced: number[] = []
  const onUntraced = (height: number): void => void untraced.push(height)
  const url = `http://127.0.0.1:${port}`
  const client = createEthereumClient({ url, network: 'ethereum', chainId: 1, onUntraced })
  return { client, untraced, close: () => server.close() }
}
const insideOf = (block: Awaited<ReturnType<ChainClient['findBlock']>>) =>
  block?.outputs.filter(({ outputIndex }) => outputIndex > 0).map(({ amount }) => amount)

test('a trace that fails once is asked for again before its block passes', async () => {
  const { client, untraced, close } = await openTracer(1, { code: -32_000, message: 'block not found' })
  await expect(client.findBlock(7)).rejects.toThrow(/^block 7: debug_traceBlockByHash: .*block not found/)
  expect(insideOf(await client.findBlock(7))).toEqual([7n])
  expect(untraced).toEqual([])
  close()
})

test('a trace that fails again and again holds its block up for some looks only', async () => {
  const { client, untraced, close } = await openTracer(6, { code: -32_000, message: 'execution timeout' })
  for (let look = 1; look < 5; look += 1) await expect(client.findBlock(7)).rejects.toThrow('execution timeout')
  expect(insideOf(await client.findBlock(7))).toEqual([])
  expect(insideOf(await client.findBlock(7))).toEqual([])
  expect(insideOf(await client.findBlock(7))).toEqual([7n])
  expect(untraced).toEqual([7, 7])
  close()
})

test.each([
  ['the method', { code: -32_601, message: 'the method debug_traceBlockByHash does not exist/is not available' }],
  ['the method to this user', { code: -32_600, message: 'debug_traceBlockByHash is not available on the Free tier' }],
  ['the state of the block', { code: -32_000, message: 'missing trie node 0xab (path ) state is not available' }],
])('a node that has not %s holds nothing up, and is asked at the next block', async (_what, error) => {
  const { client, untraced, close } = await openTracer(1, error)
  const block = await client.findBlock(7)
  expect(insideOf(block)).toEqual([])
  expect([untraced, block?.untracedTxIds]).toEqual([[7], [STRANGE.hash, TRANSACTION.hash]])
  const traced = await client.findBlock(7)
  expect(insideOf(traced)).toEqual([7n])
  expect(traced).not.toHaveProperty('untracedTxIds')
  close()
})

test('an unreachable node is an error that does not show its address', async () => {
  const client = createEthereumClient({ url: 'http://127.0.0.1:1/secret-key', network: 'ethereum', chainId: 1 })
  await expect(client.getTip()).rejects.toThrow(/^eth_chainId: the node did not answer$/)
})
