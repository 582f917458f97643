// holdfast payout: transactions go to a signer outside and come back, and an operator ends or releases a payout.

import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, jest, test } from '@jest/globals'
import { parseTransaction, type TransactionSerializedEIP1559 } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { z } from 'zod'
import { CONFIRMATIONS, makeKey, type TestPayer } from '../../../test/support/payout.ts'
import type { ApprovedRefund } from '../../../test/support/approved_refund.ts'
import { openPayoutFixture, type PayoutFixture } from '../../../test/support/payout_fixture.ts'
import type { TestShop } from '../../../test/support/shop.ts'
import { loadConfig } from '../../config.ts'
import { SIGNED_FORMAT } from '../../payout/file_signer.ts'
import { payoutTurn } from '../../payout/turn.ts'
import { RefusedError, UsageError } from './exit.ts'
import { createProgram } from './program.ts'

jest.setTimeout(120_000)

const BY = ['--operator', 'ann', '--reason', 'carried by hand']
const PAYOUTS = z.object({
  payouts: z.array(
    z.object({ payoutId: z.string(), refundId: z.string(), status: z.string(), failure: z.string().nullable() }),
  ),
})
const FILES = z.object({ files: z.array(z.string()) })
const UNSIGNED = z.object({
  payoutId: z.string(),
  attempt: z.number(),
  refundId: z.string(),
  unsigned: z.custom<TransactionSerializedEIP1559>((text) => typeof text === 'string' && text.startsWith('0x02')),
})

let fixture: PayoutFixture
let shop: TestShop
beforeAll(async () => {
  fixture = await openPayoutFixture()
  shop = fixture.shop
})
afterAll(() => fixture.close())

let key: string
let payer: TestPayer
let refund: ApprovedRefund
beforeEach(async () => {
  key = makeKey()
  const sender = privateKeyToAccount(key as `0x${string}`).address.toLowerCase()
  // It has no key and no folder: what is signed comes by the commands.
  payer = await fixture.makePayer({
    signer: { sender, sign: async () => undefined, forget: async () => undefined },
  })
  refund = await fixture.approve()
  await payoutTurn(payer.deps)
})

async function holdfast(...args: string[]): Promise<unknown> {
  const said: string[] = []
  const write = (text: string): void => void said.push(text)
  const config = loadConfig('cli', { DATABASE_URL: shop.test.urlOf('app_worker') })
  const untilInterrupted = () => AbortSignal.timeout(1)
  const program = createProgram({ config, write, complain: write, untilInterrupted })
  await program.parseAsync(['--json', 'payout', ...args], { from: 'user' })
  return JSON.parse(said.join(''))
}
const findPayout = async () =>
  PAYOUTS.parse(await holdfast('list')).payouts.find(({ refundId }) => refundId === refund.refundId)

/** A signer outside: it has the exported file and the key, and nothing of Holdfast. */
async function signOutside(change: object = {}): Promise<{ file: string; payoutId: string }> {
  const folder = await mkdtemp(join(fixture.dataDir, 'exported-'))
  const { files } = FILES.parse(await holdfast('export', folder))
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')))
  const asked = texts
    .map((text) => UNSIGNED.parse(JSON.parse(text)))
    .find(({ refundId }) => refundId === refund.refundId)
  if (asked === undefined) throw new Error('the payout was not exported')
  const { payoutId, attempt, unsigned } = asked
  const raw = await privateKeyToAccount(key as `0x${string}`).signTransaction({
    ...{ type: 'eip1559' as const, ...parseTransaction(unsigned), ...change },
  })
  const file = join(folder, 'signed.json')
  await writeFile(file, JSON.stringify({ format: SIGNED_FORMAT, payoutId, attempt, raw }))
  return { file, payoutId }
}
async function finish(): Promise<void> {
  await payoutTurn(payer.deps)
  await payer.chain.mine(CONFIRMATIONS)
  await payoutTurn(payer.deps)
}

test('a payout is exported, signed outside, imported, sent and confirmed', async () => {
  expect(await findPayout()).toMatchObject({ status: 'prepared' })
  const { file, payoutId } = await signOutside()
  expect(await holdfast('import', file, ...BY)).toMatchObject({ payoutId, attempt: 1 })
  // The same file again changes nothing.
  await holdfast('import', file, ...BY)
  await finish()
  expect(await findPayout()).toMatchObject({ payoutId, status: 'confirmed' })
  expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
  const entries = await shop.query(
    `select from audit_entry where actor = 'operator:ann' and body like '%carried by hand%' and body like '%' || $1 || '%'`,
    [payoutId],
  )
  expect(entries).not.toEqual([])
})

test('a signed file that was altered is refused, and nothing is stored', async () => {
  for (const change of [
    { to: `0x${'2e'.repeat(20)}` },
    { value: 1n },
    { nonce: 9 },
    { chainId: 1 },
    { data: '0x01' },
  ]) {
    const { file } = await signOutside(change)
    await expect(holdfast('import', file, ...BY)).rejects.toThrow(RefusedError)
  }
  expect(await findPayout()).toMatchObject({ status: 'prepared' })
  await expect(holdfast('import', join(fixture.dataDir, 'nowhere'), ...BY)).rejects.toThrow(UsageError)
})

test('a payout that is cancelled ends by an empty transaction, and its nonce is no gap', async () => {
  const payoutId = (await findPayout())?.payoutId ?? ''
  await holdfast('cancel', payoutId, ...BY)
  await expect(holdfast('cancel', payoutId, ...BY)).rejects.toThrow(RefusedError)
  await holdfast('import', (await signOutside()).file, ...BY)
  await finish()
  expect(await findPayout()).toMatchObject({ status: 'failed', failure: 'cancelled' })
  expect(await payer.chain.balanceOf(refund.destination)).toBe(0n)

  // Released, the refund gets another payout with the next nonce.
  await holdfast('release', payoutId, ...BY)
  await expect(holdfast('release', payoutId, ...BY)).rejects.toThrow(RefusedError)
  await payoutTurn(payer.deps)
  const { file, payoutId: next } = await signOutside()
  expect(next).not.toBe(payoutId)
  await holdfast('import', file, ...BY)
  await finish()
  expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
  expect(await payer.chain.countOf(payer.signer.sender)).toBe(2)
})

test('a payout that is not over or has failed is not released', async () => {
  await expect(holdfast('release', (await findPayout())?.payoutId ?? '', ...BY)).rejects.toThrow(RefusedError)
  await holdfast('import', (await signOutside()).file, ...BY)
  await finish()
  const payoutId = (await findPayout())?.payoutId ?? ''
  for (const command of ['release', 'cancel'])
    await expect(holdfast(command, payoutId, ...BY)).rejects.toThrow(RefusedError)
})

describe('a refund that an unknown transaction paid', () => {
  /** The account sends this itself, without a payout of its own. */
  async function sendByHand(to: string, value: bigint): Promise<string> {
    await payer.chain.rpc('anvil_impersonateAccount', [payer.signer.sender], z.unknown())
    const sent = { from: payer.signer.sender, to, value: `0x${value.toString(16)}`, gas: '0x5208' }
    const txId = await payer.chain.rpc('eth_sendTransaction', [sent], z.string())
    await payer.chain.mine()
    return txId
  }
  const settle = (txId: string, refundId = refund.refundId) =>
    holdfast(
      ...['settle', refundId, '--transaction', txId, '--node', fixture.anvil.url],
      ...['--confirmations', String(CONFIRMATIONS)],
      ...BY,
    )
  const fail = async (): Promise<void> => {
    await payer.chain.mine(2 * CONFIRMATIONS)
    await payoutTurn(payer.deps)
    expect(await findPayout()).toMatchObject({ status: 'failed', failure: 'nonce_taken' })
  }

  test('is settled by it once it is final, in the name of the operator', async () => {
    const txId = await sendByHand(refund.destination, refund.amount)
    await expect(settle(txId)).rejects.toThrow('not final yet')
    await fail()
    expect(await settle(txId)).toMatchObject({ outcome: 'paid' })
    expect(await settle(txId).catch((error: unknown) => error)).toBeInstanceOf(RefusedError)
    const [row] = await shop.query('select status, tx_id from refund where refund_id = $1', [refund.refundId])
    expect(row).toEqual({ status: 'paid', tx_id: txId })
    await payoutTurn(payer.deps)
    expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
    const entries = await shop.query(
      `select from audit_entry where actor = 'operator:ann' and body like '%' || $1 || '%'`,
      [txId],
    )
    expect(entries).not.toEqual([])
  })

  test('is not settled by a transaction of another amount, destination, sender or refund', async () => {
    const other = await sendByHand(refund.destination, 1n)
    await fail()
    await expect(settle(other)).rejects.toThrow('another amount')
    const elsewhere = await sendByHand(`0x${'2e'.repeat(20)}`, refund.amount)
    const [funded = ''] = await payer.chain.rpc('eth_accounts', [], z.array(z.string()))
    const strange = { from: funded, to: refund.destination, value: `0x${refund.amount.toString(16)}` }
    const foreign = await payer.chain.rpc('eth_sendTransaction', [strange], z.string())
    await payer.chain.mine(CONFIRMATIONS)
    await expect(settle(elsewhere)).rejects.toThrow('another address')
    await expect(settle(foreign)).rejects.toThrow('sends no refunds')
    await expect(settle(`0x${'ab'.repeat(32)}`)).rejects.toThrow('in no block')
    const [row] = await shop.query('select status from refund where refund_id = $1', [refund.refundId])
    expect(row).toEqual({ status: 'paying' })
  })

  test('is not settled while a payout of it may be executed, nor twice by one transaction', async () => {
    const { file } = await signOutside()
    await holdfast('import', file, ...BY)
    await finish()
    const [paid] = await shop.query<{ id: string }>('select tx_id as id from refund where refund_id = $1', [
      refund.refundId,
    ])
    const again = await fixture.approve({ destination: refund.destination })
    await payoutTurn(payer.deps)
    await expect(settle(paid?.id ?? '', again.refundId)).rejects.toThrow('may still be executed')
    await sendByHand(`0x${'2e'.repeat(20)}`, 1n)
    await payer.chain.mine(2 * CONFIRMATIONS)
    await payoutTurn(payer.deps)
    await expect(settle(paid?.id ?? '', again.refundId)).rejects.toThrow('another payout')
  })
})
