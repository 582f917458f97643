// Transfers that are no income, from a real node to the database: tokens that come to an address of an order, and coins
// that the shop itself sends to one.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { z } from 'zod'
import { openTestDatabase } from '../../test/support/database.ts'
import { PaymentCase } from '../../test/support/payment/case.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import { saveBalances } from '../db/chain/balance.ts'
import { createCursor, readCursor } from '../db/chain/cursor.ts'
import { MAX_TOKEN_TRANSFERS } from '../db/chain/ignored.ts'
import type { Database } from '../db/connection/pool.ts'
import { startAnvil, type Anvil } from '../servers/anvil.ts'
import { freePorts } from '../servers/port.ts'
import { createLogger, createRegistry } from '../telemetry.ts'
import type { ChainClient } from './client.ts'
import { openDevelopmentChain, type DevelopmentChain } from './development.ts'
import { createEthereumClient } from './ethereum.ts'
import { followChain } from './follow.ts'
import { createChainMetrics } from './metrics.ts'
import { createRpc } from './rpc.ts'

jest.setTimeout(180_000)

const NETWORK = 'ethereum'
const ETHER = 10n ** 18n
const GREATEST = 2n ** 256n - 1n
/** Low, so that the blocks of a test are soon final. */
const CONFIRMATIONS = 2
const TRANSFER = 'ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef'
/** Writes a transfer as its call data say: from, to, amount. Any contract may do so. */
const TOKEN_CODE = `0x602060405f376020355f357f${TRANSFER}60205fa300`
/** Forwards what it is given to the address in the call data. */
const FORWARDER_CODE = '0x5f5f5f5f345f355af100'

let dataDir: string
let anvil: Anvil
let shop: TestShop
let watcher: Database
let rpc: ReturnType<typeof createRpc>
let client: ChainClient
let chain: DevelopmentChain
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-anvil-'))
  const [port = 0] = await freePorts(1)
  anvil = await startAnvil({ port, dataDir, mining: 'manual' })
  shop = await createTestShop()
  watcher = await openTestDatabase({
    ...{ url: shop.test.urlOf('watcher'), poolSize: 2, applicationName: 'watcher-test', source: 'watcher-1' },
  })
  rpc = createRpc(anvil.url, 30_000)
  client = createEthereumClient({ url: anvil.url, network: NETWORK, chainId: anvil.chainId })
  chain = await openDevelopmentChain(anvil.url)
  await chain.mine(1)
  await createCursor(watcher, NETWORK, (await client.getTip()).height)
})
afterAll(async () => {
  await watcher.close()
  await shop.close()
  await anvil.stop()
  await rm(dataDir, { recursive: true })
})

const makeAddress = (): string => `0x${randomBytes(20).toString('hex')}`
const word = (value: string | bigint): string =>
  (typeof value === 'bigint' ? value.toString(16) : value.slice(2)).padStart(64, '0')
const open = async (): Promise<PaymentCase> => new PaymentCase(shop, await shop.order())

/** Reads all new blocks, as a step of the watcher does, and returns the tip. */
async function follow() {
  const tip = await client.getTip()
  const { cursor } = await readCursor(watcher, NETWORK)
  if (cursor === undefined) throw new Error('the network has no cursor')
  const options = {
    ...{ client, database: watcher, confirmations: CONFIRMATIONS },
    metrics: createChainMetrics(createRegistry('test')),
    logger: createLogger({ process: 'test', level: 'fatal' }),
  }
  await followChain(options, cursor, tip)
  return tip
}

async function createToken(): Promise<string> {
  const token = makeAddress()
  await rpc('anvil_setCode', [token, TOKEN_CODE], z.unknown())
  return token
}
/** A new account with coins, which anvil signs for. */
async function createAccount(address = makeAddress()): Promise<string> {
  await rpc('anvil_setBalance', [address, `0x${(100n * ETHER).toString(16)}`], z.unknown())
  await rpc('anvil_impersonateAccount', [address], z.unknown())
  return address
}
const send = (from: string, to: string, more: Readonly<Record<string, string>>): Promise<string> =>
  rpc('eth_sendTransaction', [{ from, to, gas: '0x186a0', ...more }], z.string())
const sendToken = (token: string, from: string, to: string, amount: bigint): Promise<string> =>
  send(from, token, { data: `0x${word(from)}${word(to)}${word(amount)}` })

const ignoredOf = (address: string) =>
  shop.query<{ kind: string; txId: string; token: string | null; sender: string; amount: string }>(
    `select kind, tx_id as "txId", token, sender, amount::text from ignored_transfer
     where network = $1 and address = $2 order by block_height, output_index`,
    [NETWORK, address],
  )
const outputsOf = (address: string) =>
  shop.query<{ txId: string }>(`select tx_id as "txId" from chain_output where address = $1`, [address])
const wakesOf = (orderId: string) => shop.query('select order_id from order_wake where order_id = $1', [orderId])

test('edge 57: a token that comes to the address of an order pays nothing, is recorded and flags the order', async () => {
  const it = await open()
  const { address, orderId } = it.order
  const [token, customer] = [await createToken(), await createAccount()]
  const txId = await sendToken(token, customer, address, GREATEST)
  await chain.mine(1)
  await follow()
  expect(await ignoredOf(address)).toEqual([
    { kind: 'wrong_asset', txId, token, sender: customer, amount: GREATEST.toString() },
  ])
  expect(await outputsOf(address)).toEqual([])
  expect(await wakesOf(orderId)).toHaveLength(1)
  await it.assess()
  await it.is('pending', 'awaiting', ['wrong_asset'])
  expect(await wakesOf(orderId)).toEqual([])
  expect(await shop.query('select from payment where order_id = $1', [orderId])).toEqual([])
})

test('edge 57: an order that was sent a token is still paid by its own coin', async () => {
  const it = await open()
  await sendToken(await createToken(), await createAccount(), it.order.address, 1n)
  await chain.mine(1)
  await follow()
  await it.assess()
  await it.hear(it.out())
  await it.is('processing', 'paid', ['wrong_asset'])
})

test('edge 57: any number of worthless tokens cost an address a bounded number of rows, and one assessment', async () => {
  const it = await open()
  const { address, orderId } = it.order
  const [token, attacker] = [await createToken(), await createAccount()]
  await sendToken(token, attacker, address, 1n)
  await chain.mine(1)
  await follow()
  await it.assess()
  for (let sent = 0; sent < MAX_TOKEN_TRANSFERS + 20; sent += 1) await sendToken(token, attacker, address, GREATEST)
  await chain.mine(2)
  const tip = await follow()
  expect((await readCursor(watcher, NETWORK)).cursor?.scannedHeight).toBe(tip.height)
  expect(await ignoredOf(address)).toHaveLength(MAX_TOKEN_TRANSFERS)
  expect(await wakesOf(orderId)).toEqual([])
})

test('edge 57: a token whose block is lost is not recorded, until it is in a block again', async () => {
  const { address } = (await open()).order
  const [token, customer] = [await createToken(), await createAccount()]
  await sendToken(token, customer, address, 5n)
  await chain.mine(1)
  await follow()
  expect(await ignoredOf(address)).toHaveLength(1)
  await chain.reorganise(1)
  await rpc('anvil_dropAllTransactions', [], z.unknown())
  await follow()
  expect(await ignoredOf(address)).toEqual([])
  await rpc('anvil_setCode', [token, TOKEN_CODE], z.unknown())
  const again = await sendToken(token, await createAccount(), address, 5n)
  await chain.mine(1)
  await follow()
  expect(await ignoredOf(address)).toMatchObject([{ txId: again }])
})

const putPayoutAccount = (sender: string) =>
  shop.query(`insert into payout_sender (network, sender, chain_id, next_nonce) values ($1, $2, 31337, 0)`, [
    NETWORK,
    sender,
  ])
const putOwnAccount = (address: string) =>
  shop.query(`insert into own_account (network, address, note) values ($1, $2, 'gas')`, [NETWORK, address])

test.each<[string, () => Promise<string>]>([
  [
    'the account of payouts',
    async () => {
      const account = await createAccount()
      await putPayoutAccount(account)
      return account
    },
  ],
  [
    'an account that the shop has recorded as its own',
    async () => {
      const account = await createAccount()
      await putOwnAccount(account)
      return account
    },
  ],
  ['the address of another order', async () => createAccount((await open()).order.address)],
])('edge 61: what %s sends to an order is no income', async (_which, createSender) => {
  const it = await open()
  const { address, orderId } = it.order
  const own = await createSender()
  const txId = await send(own, address, { value: `0x${it.due.toString(16)}` })
  await chain.mine(CONFIRMATIONS)
  await follow()
  expect(await ignoredOf(address)).toEqual([
    { kind: 'own_transfer', txId, token: null, sender: own, amount: it.due.toString() },
  ])
  expect(await outputsOf(address)).toEqual([])
  expect(await wakesOf(orderId)).toEqual([])
  expect(await shop.query('select from ledger_posting where order_id = $1', [orderId])).toEqual([])
})

test('edge 61: what the shop sends through a contract is no income either', async () => {
  const { address } = (await open()).order
  const [own, contract] = [await createAccount(), makeAddress()]
  await putOwnAccount(own)
  await rpc('anvil_setCode', [contract, FORWARDER_CODE], z.unknown())
  await send(own, contract, { value: `0x${ETHER.toString(16)}`, data: `0x${word(address)}` })
  await chain.mine(1)
  await follow()
  expect(await ignoredOf(address)).toMatchObject([{ kind: 'own_transfer', sender: own }])
  expect(await outputsOf(address)).toEqual([])
})

test('edge 61: what a stranger sends beside it in the same block is income', async () => {
  const { address } = (await open()).order
  const [own, customer] = [await createAccount(), await createAccount()]
  await putOwnAccount(own)
  await send(own, address, { value: '0x5' })
  const txId = await send(customer, address, { value: '0x7' })
  await chain.mine(1)
  await follow()
  expect(await ignoredOf(address)).toMatchObject([{ kind: 'own_transfer', amount: '5' }])
  expect(await outputsOf(address)).toEqual([{ txId }])
})

test('edge 61: coins of our own explain the balance of the address', async () => {
  const { address } = (await open()).order
  const own = await createAccount()
  await putOwnAccount(own)
  await send(own, address, { value: '0x5' })
  await chain.mine(1)
  const tip = await follow()
  // No report may wait while balances are compared.
  await shop.query('delete from chain_report where network = $1', [NETWORK])
  const balances = await client.findBalances?.([address], tip.hash)
  expect(await saveBalances(watcher, NETWORK, tip, balances ?? new Map())).toEqual({ isSaved: true, found: [] })
  expect(
    await shop.query('select balance::text, unexplained::text from chain_balance where address = $1', [address]),
  ).toEqual([{ balance: '5', unexplained: '0' }])
})

test('an own account in mixed case, which no sender would ever equal, is refused', async () => {
  await expect(putOwnAccount(`0x${'aB'.repeat(20)}`)).rejects.toThrow('own_account_address_lower')
})
