// The edge cases of payments that a real Ethereum node decides: rollback, replacement by fee, failure, contracts, and
// coins that no transaction sends.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { z } from 'zod'
import { startAnvil, type Anvil } from '../servers/anvil.ts'
import { freePorts } from '../servers/port.ts'
import type { ChainClient } from './client.ts'
import { openDevelopmentChain, type DevelopmentChain } from './development.ts'
import { createEthereumClient } from './ethereum.ts'
import { createRpc } from './rpc.ts'

jest.setTimeout(120_000)

const AMOUNT = 10n ** 18n
/** Forwards what it is given to the address in the call data. */
const FORWARDER_CODE = '0x5f5f5f5f345f355af100'
/** Code that fails at once: PUSH0 PUSH0 REVERT. */
const REVERTING_CODE = '0x5f5ffd'
const GWEI = 10n ** 9n

let dataDir: string
let anvil: Anvil
let rpc: ReturnType<typeof createRpc>
let client: ChainClient
let chain: DevelopmentChain
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-anvil-'))
  const [port = 0] = await freePorts(1)
  anvil = await startAnvil({ port, dataDir, mining: 'manual' })
  rpc = createRpc(anvil.url, 10_000)
  client = createEthereumClient({ url: anvil.url, network: 'ethereum', chainId: anvil.chainId })
  chain = await openDevelopmentChain(anvil.url)
})
afterAll(async () => {
  await anvil.stop()
  await rm(dataDir, { recursive: true })
})

const makeAddress = (): string => `0x${randomBytes(20).toString('hex')}`
const hex = (value: bigint): string => `0x${value.toString(16)}`

async function senderWithNonce(): Promise<{ from: string; nonce: string }> {
  const [from = ''] = await rpc('eth_accounts', [], z.array(z.string()))
  return { from, nonce: await rpc('eth_getTransactionCount', [from, 'latest'], z.string()) }
}
const send = (transaction: Readonly<Record<string, string>>): Promise<string> =>
  rpc('eth_sendTransaction', [{ gas: '0x186a0', ...transaction }], z.string())

/** The newest block, and its outputs to this address. */
async function newest(address: string) {
  const { height, hash } = await client.getTip()
  const block = await client.findBlock(height)
  return { height, hash, outputs: block?.outputs.filter((output) => output.address === address) ?? [] }
}

describe('a rollback', () => {
  test('edge 33: takes the block of a payment, another hash is at its height, and the payment is in no block', async () => {
    const ours = makeAddress()
    await chain.pay(ours, AMOUNT)
    await chain.mine(1)
    const before = await newest(ours)
    expect(before.outputs).toHaveLength(1)
    await chain.reorganise(1)
    const after = await newest(ours)
    expect(after.height).toBe(before.height)
    expect(after.hash).not.toBe(before.hash)
    expect(after.outputs).toEqual([])
  })

  test('edge 34: after which the same transaction is mined in another block leaves the same output', async () => {
    const ours = makeAddress()
    const txId = await chain.pay(ours, AMOUNT)
    const raw = await rpc('eth_getRawTransactionByHash', [txId], z.string())
    await chain.mine(1)
    const before = await newest(ours)
    await chain.reorganise(1)
    // The node may have taken it back into its pool by itself.
    await rpc('eth_sendRawTransaction', [raw], z.string()).catch(() => undefined)
    await chain.mine(1)
    const after = await newest(ours)
    expect(after.hash).not.toBe(before.hash)
    expect(after.outputs).toEqual(before.outputs)
    expect(after.outputs).toMatchObject([{ txId, outputIndex: 0, amount: AMOUNT }])
  })
})

describe('a transaction with the nonce of another', () => {
  test('edge 45: and a higher fee replaces it: one of the two is ever in a block', async () => {
    const ours = makeAddress()
    const payment = { ...(await senderWithNonce()), to: ours, value: hex(AMOUNT) }
    const old = await send({ ...payment, gasPrice: hex(20n * GWEI) })
    const faster = await send({ ...payment, gasPrice: hex(40n * GWEI) })
    expect(faster).not.toBe(old)
    await chain.mine(1)
    const { outputs } = await newest(ours)
    expect(outputs.map(({ txId }) => txId)).toEqual([faster])
    expect(await rpc('eth_getTransactionReceipt', [old], z.unknown())).toBeNull()
  })

  test('edge 30: that pays someone else leaves nothing to us', async () => {
    const ours = makeAddress()
    const payment = { ...(await senderWithNonce()), value: hex(AMOUNT) }
    await send({ ...payment, to: ours, gasPrice: hex(20n * GWEI) })
    await send({ ...payment, to: makeAddress(), gasPrice: hex(40n * GWEI) })
    await chain.mine(1)
    expect((await newest(ours)).outputs).toEqual([])
    await chain.mine(1)
    expect((await newest(ours)).outputs).toEqual([])
  })

  test('edge 32: mined in the block that replaces the first one’s takes its place for good', async () => {
    const ours = makeAddress()
    const payment = { ...(await senderWithNonce()), value: hex(AMOUNT) }
    const lost = await send({ ...payment, to: ours })
    const raw = await rpc('eth_getRawTransactionByHash', [lost], z.string())
    await chain.mine(1)
    const before = await newest(ours)
    expect(before.outputs).toHaveLength(1)
    await rpc('anvil_rollback', [1], z.unknown())
    await rpc('anvil_dropAllTransactions', [], z.unknown())
    const rival = await send({ ...payment, to: makeAddress(), gasPrice: hex(40n * GWEI) })
    await chain.mine(1)
    const after = await newest(ours)
    expect(after.hash).not.toBe(before.hash)
    expect(after.outputs).toEqual([])
    expect(await rpc('eth_getTransactionReceipt', [rival], z.object({ status: z.string() }))).toEqual({ status: '0x1' })
    await expect(rpc('eth_sendRawTransaction', [raw], z.string())).rejects.toThrow()
  })
})

test('edge 42: a transaction with status 0 is not money', async () => {
  const ours = makeAddress()
  await rpc('anvil_setCode', [ours, REVERTING_CODE], z.unknown())
  const { from } = await senderWithNonce()
  const txId = await send({ from, to: ours, value: hex(AMOUNT) })
  await chain.mine(1)
  expect((await newest(ours)).outputs).toEqual([])
  const receipt = await rpc('eth_getTransactionReceipt', [txId], z.object({ status: z.string() }))
  expect(receipt.status).toBe('0x0')
})

test('edge 43: what a contract sends in an internal call is credited, with the transaction that made it', async () => {
  const [ours, wallet] = [makeAddress(), makeAddress()]
  await rpc('anvil_setCode', [wallet, FORWARDER_CODE], z.unknown())
  const { from } = await senderWithNonce()
  const txId = await send({ from, to: wallet, value: hex(AMOUNT), data: `0x${'0'.repeat(24)}${ours.slice(2)}` })
  await chain.mine(1)
  expect((await newest(ours)).outputs).toMatchObject([{ txId, amount: AMOUNT }])
})

test('edge 44: what no transaction sends, as to a fee recipient, is in the balance at a block hash and in no output', async () => {
  const ours = makeAddress()
  await chain.mine(1)
  const before = await newest(ours)
  await rpc('anvil_setCoinbase', [ours], z.unknown())
  await send({ ...(await senderWithNonce()), to: makeAddress(), value: '0x1', gasPrice: hex(40n * GWEI) })
  await chain.mine(1)
  const after = await newest(ours)
  expect(after.outputs).toEqual([])
  expect(await client.findBalances?.([ours], before.hash)).toEqual(new Map([[ours, 0n]]))
  expect((await client.findBalances?.([ours], after.hash))?.get(ours)).toBeGreaterThan(0n)
})
