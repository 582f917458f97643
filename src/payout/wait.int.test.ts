// Refunds that wait for their payout, the nonces of the account, and payouts that end without the money.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { sql } from 'slonik'
import { z } from 'zod'
import { RpcRefusal } from '../chain/rpc.ts'
import { findUnpaidRefunds } from '../db/backlog.ts'
import { ledgerFaults } from '../db/ledger_invariant.ts'
import { findOpenPayouts, replacePayout } from '../db/payout.ts'
import { bumpedPriceOf } from '../domain/payout.ts'
import { systemActor } from '../domain/audit.ts'
import { createLogger } from '../telemetry.ts'
import { startAnvil, type Anvil } from '../servers/anvil.ts'
import { freePorts } from '../servers/port.ts'
import {
  arriveOn,
  CONFIRMATIONS,
  createTestPayer,
  findPayout,
  playUntilPaid,
  type TestPayer,
} from '../../test/support/payout.ts'
import { approveRefund, makeDestination, type ApprovedRefund } from '../../test/support/approved_refund.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import type { PayoutDeps } from './deps.ts'
import { payoutTurn } from './turn.ts'

jest.setTimeout(600_000)

let shop: TestShop
let anvil: Anvil
let dataDir: string
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-payout-wait-'))
  const [port = 0] = await freePorts(1)
  anvil = await startAnvil({ port, dataDir, mining: 'manual' })
  shop = await createTestShop()
})
afterAll(async () => {
  await shop.close()
  await anvil.stop()
  await rm(dataDir, { recursive: true })
})

const makePayer = (overrides: Partial<PayoutDeps> = {}): Promise<TestPayer> => createTestPayer(shop, anvil, overrides)
const approve = (wanted: Parameters<typeof approveRefund>[1] = {}): Promise<ApprovedRefund> =>
  approveRefund(shop, { arrive: arriveOn(anvil), ...wanted })
const payoutOf = (refund: Pick<ApprovedRefund, 'refundId'>) => findPayout(shop, refund)
const turnsUntilPaid = (payer: TestPayer, refunds: readonly ApprovedRefund[]) => playUntilPaid(shop, payer, refunds)

describe('refunds that wait', () => {
  test('hide no newer one, are looked at less and less often, and are logged once', async () => {
    const payer = await makePayer({ retry: { firstMs: 60_000, mostMs: 300_000 } })
    const said: string[] = []
    const warn = (_fields: object, text: string): void => void said.push(text)
    payer.deps.logger = Object.assign(createLogger({ process: 'payer', level: 'silent' }), { warn })
    const stuck: ApprovedRefund[] = []
    // More than the payer looks at in a turn.
    for (let made = 0; made < 205; made += 1) stuck.push(await approve({ amount: 10n ** 30n }))
    const newer = await approve()
    await payoutTurn(payer.deps)
    await payoutTurn(payer.deps)
    expect(await payoutOf(newer)).toMatchObject({ status: 'broadcast' })
    for (let turn = 0; turn < 3; turn += 1) await payoutTurn(payer.deps)
    const ids = stuck.map(({ refundId }) => refundId)
    const rows = await shop.query<{ reason: string; tries: number }>(
      'select reason, tries from payout_wait where refund_id = any($1)',
      [ids],
    )
    expect(rows).toHaveLength(stuck.length)
    expect(new Set(rows.map(({ reason, tries }) => `${reason} ${tries}`))).toEqual(new Set(['insufficient_funds 1']))
    expect(said.filter((text) => text === 'a refund waits for its payout')).toHaveLength(stuck.length)
    const { values } = await payer.deps.metrics.waiting.get()
    expect(values.find(({ labels }) => labels.reason === 'insufficient_funds')?.value).toBe(stuck.length)

    // When their time has come, they are looked at again, and the next time is further away; nothing is logged.
    await shop.test.forge(`update payout_wait set next_try_at = now() where refund_id = any($1)`, [ids.slice(0, 2)])
    await payoutTurn(payer.deps)
    const [again] = await shop.query<{ tries: number; inS: number }>(
      `select tries, extract(epoch from next_try_at - now())::float8 as "inS" from payout_wait where refund_id = $1`,
      [ids[0]],
    )
    expect(again?.tries).toBe(2)
    expect(again?.inS).toBeGreaterThan(90)
    expect(said.filter((text) => text === 'a refund waits for its payout')).toHaveLength(stuck.length)
    await shop.test.forge(`update refund set status = 'cancelled' where refund_id = any($1)`, [ids])
  })

  test('that the node refuses to answer about hold up no other one', async () => {
    const payer = await makePayer()
    const [odd, other] = [await approve(), await approve()]
    const estimateGas: PayoutDeps['node']['estimateGas'] = async (transfer) => {
      if (transfer.to === odd.destination) throw new RpcRefusal('eth_estimateGas', -32_000, 'out of gas')
      return payer.node.estimateGas(transfer)
    }
    await payoutTurn({ ...payer.deps, node: { ...payer.node, estimateGas } })
    expect(await payoutOf(odd)).toBeUndefined()
    expect(await payoutOf(other)).toMatchObject({ status: 'broadcast' })
    await turnsUntilPaid(payer, [odd, other])
  })
})

test('a refund that an operator pays manually is not paid once more by the payer', async () => {
  const payer = await makePayer()
  const refund = await approve()
  const by = systemActor('payer')
  await shop.test.writeAs('app_worker', by, 'select begin_payout($1, $2)', [refund.refundId, JSON.stringify(by)])
  await payoutTurn(payer.deps)
  expect(await payoutOf(refund)).toBeUndefined()
  const { values } = await payer.deps.metrics.waiting.get()
  expect(values.find(({ labels }) => labels.reason === 'begun_manually')?.value).toBe(1)
  const finish = 'select finish_payout($1, $2, 0, $3)'
  await shop.test.writeAs('app_worker', by, finish, [refund.refundId, `0x${'a1'.repeat(32)}`, JSON.stringify(by)])
  await payoutTurn(payer.deps)
  expect(await payoutOf(refund)).toBeUndefined()
})

describe('a node without the account state of an earlier block', () => {
  /** As anvil says it after a restart from a saved state, and Geth of a state that it has pruned. */
  const lacking = (payer: TestPayer): PayoutDeps => ({
    ...payer.deps,
    node: {
      ...payer.node,
      countTransactions: async (address, height) => {
        if (height === undefined) return payer.node.countTransactions(address)
        throw new RpcRefusal('eth_getTransactionCount', -32_602, 'BlockOutOfRangeError')
      },
    },
  })

  test('ends a payout by its receipt, and lets the next one go out in the same turn', async () => {
    const payer = await makePayer()
    const [first, next] = [await approve(), await approve()]
    await payoutTurn(payer.deps)
    await payer.chain.mine(2 * CONFIRMATIONS)
    const newer = await approve()
    await payoutTurn(lacking(payer))
    for (const each of [first, next]) expect(await payoutOf(each)).toMatchObject({ status: 'confirmed' })
    expect(await payoutOf(newer)).toMatchObject({ status: 'broadcast' })
    await turnsUntilPaid(payer, [newer])
  })

  test('gives no payout up whose nonce another transaction has: it waits for a node that has the state', async () => {
    const refund = await approve()
    const payer = await makePayer({
      signer: { sender: makeDestination(), sign: async () => undefined, forget: async () => undefined },
    })
    await payoutTurn(payer.deps)
    await payer.chain.rpc('anvil_impersonateAccount', [payer.signer.sender], z.unknown())
    const other = { from: payer.signer.sender, to: makeDestination(), value: '0x1' }
    await payer.chain.rpc('eth_sendTransaction', [other], z.string())
    await payer.chain.mine(2 * CONFIRMATIONS)
    await payoutTurn(lacking(payer))
    expect((await payoutOf(refund))?.status).not.toBe('failed')
    await payoutTurn(payer.deps)
    expect(await payoutOf(refund)).toMatchObject({ status: 'failed', failure: 'nonce_taken' })
  })
})

test('a node that refuses a question about one payout under way holds up no other one', async () => {
  const payer = await makePayer()
  const [odd, other] = [await approve(), await approve()]
  await payoutTurn(payer.deps)
  await payer.chain.mine(2 * CONFIRMATIONS)
  const [row] = await shop.query<{ id: string }>(
    'select a.tx_id as id from payout_attempt a join payout p using (payout_id) where p.refund_id = $1',
    [odd.refundId],
  )
  const findInclusion: PayoutDeps['node']['findInclusion'] = async (txId) => {
    if (txId === row?.id) throw new RpcRefusal('eth_getTransactionReceipt', -32_000, 'indexing is in progress')
    return payer.node.findInclusion(txId)
  }
  await payoutTurn({ ...payer.deps, node: { ...payer.node, findInclusion } })
  expect(await payoutOf(odd)).toMatchObject({ status: 'broadcast' })
  expect(await payoutOf(other)).toMatchObject({ status: 'confirmed', refund: 'paid' })
  const { values } = await payer.deps.metrics.failed.get()
  expect(values.find(({ labels }) => labels.step === 'node')?.value).toBe(1)
  await turnsUntilPaid(payer, [odd])
})

describe('the nonces of the account', () => {
  test('are not left behind by a node that counts too far, and go on once it counts right', async () => {
    const payer = await makePayer()
    const first = await approve()
    await turnsUntilPaid(payer, [first])
    const refund = await approve()
    const countTransactions = async (): Promise<number> => 1_000
    await payoutTurn({ ...payer.deps, node: { ...payer.node, countTransactions } })
    expect(await payoutOf(refund)).toBeUndefined()
    const [row] = await shop.query('select reason from payout_wait where refund_id = $1', [refund.refundId])
    expect(row).toEqual({ reason: 'nonce_ahead' })
    await turnsUntilPaid(payer, [refund])
    expect(await payoutOf(refund)).toMatchObject({ nonce: 1n })
  })
})

describe('the fee of a payout that failed on the chain', () => {
  const feesOf = async ({ orderId }: ApprovedRefund) =>
    (
      await shop.query<{ fees: string; refunded: string }>(
        `select sum(fees) as fees, sum(refunded) as refunded from ledger_posting where order_id = $1 and asset = 'ETH'`,
        [orderId],
      )
    )[0]
  const feeOf = async ({ refundId }: ApprovedRefund) =>
    (await shop.query<{ fee: string }>('select network_fee as fee from payout where refund_id = $1', [refundId]))[0]
      ?.fee

  test('is in the ledger: of one that was reverted, and of the empty one that ended it', async () => {
    const contract = makeDestination()
    const payer = await makePayer()
    const [reverted, cancelled] = [
      await approve({ destination: contract, bearer: 'customer' }),
      await approve({ bearer: 'customer' }),
    ]
    await payoutTurn(payer.deps)
    const before = await payer.chain.balanceOf(payer.signer.sender)
    await payer.chain.rpc('anvil_setCode', [contract, '0x5f5ffd'], z.unknown())
    const [open] = (await findOpenPayouts(shop.worker, { ...payer.deps, sender: payer.signer.sender }, 9)).filter(
      ({ refundId }) => refundId === cancelled.refundId,
    )
    const [newest] = open?.attempts ?? []
    const price = bumpedPriceOf(newest?.transaction ?? { maxFee: 1n, priorityFee: 1n }, { maxFee: 1n, priorityFee: 1n })
    await replacePayout(shop.worker, open?.payoutId ?? '', { attempt: 1, kind: 'fill' }, price)
    await payoutTurn(payer.deps)
    await payer.chain.mine(CONFIRMATIONS)
    await payoutTurn(payer.deps)
    expect(await payoutOf(reverted)).toMatchObject({ failure: 'reverted' })
    expect(await payoutOf(cancelled)).toMatchObject({ failure: 'cancelled' })
    const spent = before - (await payer.chain.balanceOf(payer.signer.sender))
    const fees = [await feeOf(reverted), await feeOf(cancelled)].map((fee) => BigInt(fee ?? 0))
    expect(fees.reduce((sum, fee) => sum + fee, 0n)).toBe(spent)
    for (const [at, refund] of [reverted, cancelled].entries())
      expect(await feesOf(refund)).toEqual({ fees: String(fees[at]), refunded: String(-(fees[at] ?? 0n)) })
    for (const { orderId } of [reverted, cancelled]) {
      const faults = await shop.worker.sql.any(
        sql.type(
          z.object({ subject: z.string(), detail: z.string() }),
        )`${ledgerFaults(sql.fragment`o.order_id = ${orderId}`)}`,
      )
      expect(faults).toEqual([])
    }
  })
})

test('how long the oldest approved refund waits is measured without a payer, and that of one being paid', async () => {
  const refund = await approve()
  const ageOf = async (status: string) =>
    (await findUnpaidRefunds(shop.worker)).find((each) => each.status === status)?.oldestS ?? 0
  await shop.test.forge(`update refund set updated_at = now() - interval '2 hours' where refund_id = $1`, [
    refund.refundId,
  ])
  expect(await ageOf('approved')).toBeGreaterThan(7_000)
  const payer = await makePayer()
  await payoutTurn(payer.deps)
  expect(await ageOf('approved')).toBeLessThan(7_000)
  await shop.test.forge(`update refund set updated_at = now() - interval '2 days' where refund_id = $1`, [
    refund.refundId,
  ])
  expect(await ageOf('paying')).toBeGreaterThan(86_400)
  await turnsUntilPaid(payer, [refund])
  expect(await ageOf('paying')).toBeLessThan(86_400)
})
