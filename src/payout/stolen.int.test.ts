// What a stolen credential of the payer's role cannot make the payer do: send twice, elsewhere, or more.

import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { z } from 'zod'
import { arriveOn, CONFIRMATIONS, type TestPayer } from '../../test/support/payout.ts'
import {
  approveFurther,
  approveRefund,
  makeDestination,
  type ApprovedRefund,
} from '../../test/support/approved_refund.ts'
import { openPayoutFixture, type PayoutFixture } from '../../test/support/payout_fixture.ts'
import type { TestShop } from '../../test/support/shop.ts'
import { preparePayout } from '../db/payout.ts'
import type { PayoutTransaction } from '../domain/payout.ts'
import { PAYER } from './deps.ts'
import { payoutTurn } from './turn.ts'

jest.setTimeout(600_000)

let fixture: PayoutFixture
let shop: TestShop
beforeAll(async () => {
  fixture = await openPayoutFixture()
  shop = fixture.shop
})
afterAll(() => fixture.close())

type Wanted = Parameters<typeof approveRefund>[1]

describe('the database refuses to a stolen credential of the payer', () => {
  const write = (text: string, values: unknown[]) =>
    shop.test.writeAs('app_worker', { actor: 'system:payer', role: 'system' }, text, values)
  const INSERT = `insert into payout (refund_id, order_id, network, sender, chain_id, nonce, destination, amount, fee_bearer)
    select refund_id, order_id, network, $2, 31337, 1000000 + floor(random() * 1000000)::int, coalesce($3, destination),
      coalesce($4, amount), fee_bearer
    from refund where refund_id = $1`

  test('a payout of a refund that is not being paid, a redirected one, and a second one', async () => {
    const { deps, signer } = await fixture.makePayer()
    const refund = await fixture.approve()
    const make = (to: string | null = null, amount: string | null = null, { refundId } = refund) =>
      write(INSERT, [refundId, signer.sender, to, amount])
    await payoutTurn({ ...deps, maxFee: 1n })
    await expect(make()).rejects.toMatchObject({ code: 'HF054' })
    await write('select begin_payout($1, $2)', [refund.refundId, '{"actor":"system:payer","role":"system"}'])
    await expect(make(makeDestination())).rejects.toMatchObject({ code: 'HF054' })
    await expect(make(null, String(refund.amount * 2n))).rejects.toMatchObject({ code: 'HF054' })
    const sent = await fixture.approve()
    await payoutTurn(deps)
    expect(await fixture.payoutOf(sent)).toMatchObject({ status: 'broadcast' })
    await write(`update payout set status = 'failed', failure = 'nonce_taken' where refund_id = $1`, [sent.refundId])
    await expect(make(null, null, sent)).rejects.toMatchObject({ code: 'HF054' })
  })

  test('a signature of a fee that would empty the account', async () => {
    const { deps, chain, signer } = await fixture.makePayer()
    const refund = await fixture.approve()
    await payoutTurn(deps)
    await write(
      `insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee)
       select p.payout_id, 2, p.order_id, 'pay', p.amount, 1000000, 100000000000000000, 100000000000000000
       from payout p where p.refund_id = $1`,
      [refund.refundId],
    )
    const before = await chain.balanceOf(signer.sender)
    for (let block = 0; block <= CONFIRMATIONS; block += 1) {
      await payoutTurn(deps)
      await chain.mine()
    }
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'confirmed' })
    expect(before - (await chain.balanceOf(signer.sender))).toBeLessThan(refund.amount + 10n ** 16n)
  })

  test('a second payout while the first may be executed, and once it was', async () => {
    const { deps, chain } = await fixture.makePayer()
    const refund = await fixture.approve()
    await payoutTurn(deps)
    await write(`update payout set status = 'failed', failure = 'cancelled', is_released = true where refund_id = $1`, [
      refund.refundId,
    ])
    for (let block = 0; block <= 2 * CONFIRMATIONS; block += 1) {
      await payoutTurn(deps)
      await chain.mine()
    }
    expect(await shop.query('select from payout where refund_id = $1', [refund.refundId])).toHaveLength(1)
    expect(await chain.balanceOf(refund.destination)).toBe(refund.amount)
  })

  test('a second payout, and lets it once the chain proves that the first sent nothing', async () => {
    const refund = await fixture.approve()
    const payer = await fixture.makePayer()
    const unsigned = { ...payer.signer, sign: async () => undefined }
    await payoutTurn({ ...payer.deps, signer: unsigned })
    await payer.chain.rpc('anvil_impersonateAccount', [payer.signer.sender], z.unknown())
    const other = { from: payer.signer.sender, to: makeDestination(), value: '0x1' }
    await payer.chain.rpc('eth_sendTransaction', [other], z.string())
    await payer.chain.mine(2 * CONFIRMATIONS)
    await payoutTurn(payer.deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ failure: 'nonce_taken' })
    await write('update payout set is_released = true where refund_id = $1', [refund.refundId])
    await fixture.turnsUntilPaid(payer, [refund])
    expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
  })

  test('a transaction that sends another amount, and a payment after the filler', async () => {
    const { deps } = await fixture.makePayer()
    const refund = await fixture.approve({ bearer: 'customer' })
    await payoutTurn(deps)
    const add = (kind: string, value: string) =>
      write(
        `insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee)
         select p.payout_id, (select max(attempt) + 1 from payout_attempt a where a.payout_id = p.payout_id), p.order_id,
           $2, $3, 21000, 10, 10 from payout p where p.refund_id = $1`,
        [refund.refundId, kind, value],
      )
    await expect(add('pay', String(refund.amount))).rejects.toMatchObject({ code: 'HF054' })
    await add('pay', String(refund.amount - 210_000n))
    await add('fill', '0')
    await expect(add('pay', String(refund.amount - 210_000n))).rejects.toMatchObject({ code: 'HF054' })
  })
})

describe('the payer gives its signer nothing', () => {
  /** Turns and blocks, after which the signer was asked for `asked` transactions in all. */
  async function play({ deps, chain, signer }: TestPayer): Promise<PayoutTransaction[]> {
    const asked: PayoutTransaction[] = []
    const sign: typeof signer.sign = async (request) => {
      asked.push(request.transaction)
      return signer.sign(request)
    }
    for (let block = 0; block <= CONFIRMATIONS; block += 1) {
      await payoutTurn({ ...deps, signer: { ...signer, sign } })
      await chain.mine()
    }
    return asked
  }
  const write = (text: string, values: unknown[]) =>
    shop.test.writeAs('app_worker', { actor: 'system:payer', role: 'system' }, text, values)

  test('for another chain, where its account may have money too', async () => {
    const payer = await fixture.makePayer()
    const refund = await fixture.approve()
    await payoutTurn({ ...payer.deps, maxFee: 1n })
    await write('select begin_payout($1, $2)', [refund.refundId, '{"actor":"system:payer","role":"system"}'])
    await write(
      `insert into payout (refund_id, order_id, network, sender, chain_id, nonce, destination, amount, fee_bearer)
       select refund_id, order_id, network, $2, 1, 0, destination, amount, fee_bearer from refund where refund_id = $1`,
      [refund.refundId, payer.signer.sender],
    )
    await write(
      `insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee)
       select payout_id, 1, order_id, 'pay', amount, 21000, 10000000000, 1 from payout where refund_id = $1`,
      [refund.refundId],
    )
    expect(await play(payer)).toEqual([])
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'prepared' })
  })

  test('that a superuser wrote past the guards: of a larger value, or to another address once its terms were checked', async () => {
    const add = (value: string) =>
      `with late as (update payout_attempt set broadcast_at = now() - interval '1 hour' where payout_id = (
         select payout_id from payout where refund_id = $1))
       insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee)
       select payout_id, 2, order_id, 'pay', ${value}, 21000, 100000000000, 100000000000 from payout where refund_id = $1`
    const thief = makeDestination()
    for (const changes of [
      [add('amount * 1000')],
      [`update payout set destination = '${thief}' where refund_id = $1`, add('amount')],
    ]) {
      const payer = await fixture.makePayer()
      const refund = await fixture.approve()
      await payoutTurn(payer.deps)
      expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'broadcast' })
      for (const change of changes) await shop.test.forge(change, [refund.refundId])
      expect(await play(payer)).toEqual([])
      expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
    }
    expect(await (await fixture.makePayer()).chain.balanceOf(thief)).toBe(0n)
  })
})

describe('the payer pays nothing that people did not approve', () => {
  /** The seals of another refund, or of another version, as a thief could copy them. */
  const forge = (text: string, refund: ApprovedRefund) => shop.test.forge(text, [refund.refundId])
  const isPaid = async (refund: ApprovedRefund): Promise<boolean> => {
    const { deps } = await fixture.makePayer()
    await payoutTurn(deps)
    return (await fixture.payoutOf(refund)) !== undefined
  }

  test('with the database credential of the api alone: approvals in invented names', async () => {
    const refund = await fixture.approve({ hasSeals: false })
    expect(await isPaid(refund)).toBe(false)
    const [row] = await shop.query('select reason from payout_wait where refund_id = $1', [refund.refundId])
    expect(row).toEqual({ reason: 'not_sealed' })
  })

  test('nor by the seals of another refund', async () => {
    const [good, bad] = [await fixture.approve(), await fixture.approve({ hasSeals: false })]
    await shop.test.forge(
      `update refund r set destination_seal = g.destination_seal from refund g where r.refund_id = $1 and g.refund_id = $2`,
      [bad.refundId, good.refundId],
    )
    await shop.test.forge(
      `update refund_approval a set seal = g.seal from refund_approval g
       where a.refund_id = $1 and g.refund_id = $2 and g.approver = a.approver`,
      [bad.refundId, good.refundId],
    )
    expect(await isPaid(bad)).toBe(false)
    expect(await isPaid(good)).toBe(true)
  })

  test('nor to another address, of another amount, by one person, by two names of one seal, or by two versions', async () => {
    const changes = [
      `update refund set destination = '${makeDestination()}' where refund_id = $1`,
      `update refund set amount = amount - 1 where refund_id = $1`,
      `update refund set fee_bearer = 'customer' where refund_id = $1`,
      `update refund set destination_seal = null where refund_id = $1`,
      `update refund_approval set approver = 'user:77' where refund_id = $1 and approver = 'user:18'`,
      `update refund_approval set seal = null where refund_id = $1 and approver = 'user:18'`,
      `update refund_approval set seal = (select seal from refund_approval x where x.refund_id = $1 and x.approver = 'user:19')
       where refund_id = $1`,
      `update refund_approval set version = version - 1 where refund_id = $1 and approver = 'user:18'`,
    ]
    for (const change of changes) {
      const refund = await fixture.approve()
      await forge(change, refund)
      expect([change, await isPaid(refund)]).toEqual([change, false])
    }
  })
})

describe('the payer pays nothing that its own node does not show', () => {
  const reasonOf = async ({ refundId }: Pick<ApprovedRefund, 'refundId'>) =>
    (await shop.query<{ reason: string }>('select reason from payout_wait where refund_id = $1', [refundId]))[0]?.reason
  /** Reports, an address and approvals, as the credential of the api can write them. */
  const invent = (wanted: Wanted = {}) => approveRefund(shop, wanted)

  test('a refund of money that watchers reported and no block has', async () => {
    const { deps, chain } = await fixture.makePayer()
    const refund = await invent()
    await payoutTurn(deps)
    expect(await fixture.payoutOf(refund)).toBeUndefined()
    expect(await reasonOf(refund)).toBe('money_unproven')
    expect(await chain.balanceOf(refund.destination)).toBe(0n)
  })

  test('nor one whose payout was written past its preparation', async () => {
    const { deps, chain, signer } = await fixture.makePayer()
    const refund = await invent()
    const price = { gasLimit: 21_000n, maxFee: 10n ** 10n, priorityFee: 1n, actor: PAYER }
    const sender = { network: deps.network, chainId: deps.chainId, sender: signer.sender, chainNonce: 0 }
    expect(await preparePayout(shop.worker, refund.refundId, sender, price)).toBe('prepared')
    for (let block = 0; block <= CONFIRMATIONS; block += 1) {
      await payoutTurn(deps)
      await chain.mine()
    }
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'prepared' })
    expect(await chain.balanceOf(refund.destination)).toBe(0n)
    // Once the money is there, it goes on by itself.
    const [order] = await shop.query<{ address: string }>('select address from invoice where order_id = $1', [
      refund.orderId,
    ])
    await arriveOn(fixture.anvil)(order?.address ?? '', refund.amount)
    await fixture.turnsUntilPaid({ deps, signer, chain, node: deps.node }, [refund])
  })

  test('money that is not final yet', async () => {
    const { deps, chain } = await fixture.makePayer()
    const refund = await invent({ arrive: (address, amount) => chain.fund(address, amount) })
    await chain.mine(CONFIRMATIONS - 2)
    await payoutTurn(deps)
    expect(await reasonOf(refund)).toBe('money_unproven')
    await chain.mine(CONFIRMATIONS)
    await payoutTurn(deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'broadcast' })
  })

  test('money that is gone when its signature comes, as by a file after a reorganisation', async () => {
    const { deps, chain, signer } = await fixture.makePayer()
    const refund = await fixture.approve()
    await payoutTurn({ ...deps, signer: { ...signer, sign: async () => undefined } })
    await chain.mine()
    const getBalance: typeof deps.node.getBalance = async (address, height) =>
      address === signer.sender ? deps.node.getBalance(address, height) : 0n
    await payoutTurn({ ...deps, node: { ...deps.node, getBalance, findTransfer: async () => undefined } })
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'prepared' })
    await payoutTurn(deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'broadcast' })
  })

  test('and asks for no transfer while the money is still there', async () => {
    const { deps } = await fixture.makePayer()
    const refund = await fixture.approve()
    const [output] = await shop.query<{ txId: string }>('select tx_id as "txId" from payment where order_id = $1', [
      refund.orderId,
    ])
    const asked: string[] = []
    const findTransfer: typeof deps.node.findTransfer = async (txId, outputIndex) => {
      asked.push(txId)
      return deps.node.findTransfer(txId, outputIndex)
    }
    await payoutTurn({ ...deps, node: { ...deps.node, findTransfer } })
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'broadcast' })
    expect(output?.txId).toMatch(/^0x/)
    expect(asked).not.toContain(output?.txId)
  })

  test('money at an address that the keys process did not make', async () => {
    const { deps } = await fixture.makePayer()
    const refund = await fixture.approve()
    await shop.test.forge(`update invoice set address = '${makeDestination()}' where order_id = $1`, [refund.orderId])
    const [order] = await shop.query<{ address: string }>('select address from invoice where order_id = $1', [
      refund.orderId,
    ])
    await arriveOn(fixture.anvil)(order?.address ?? '', refund.amount)
    await payoutTurn(deps)
    expect(await reasonOf(refund)).toBe('money_unproven')
  })

  test('a second refund of the same money, whatever the reports say', async () => {
    const { deps, chain, signer } = await fixture.makePayer()
    const refund = await fixture.approve()
    await fixture.turnsUntilPaid({ deps, signer, chain, node: deps.node }, [refund])
    const refundId = await approveFurther(shop, refund)
    await payoutTurn(deps)
    expect(await reasonOf({ refundId })).toBe('money_unproven')
  })

  test('more than its limits for one refund and for a day', async () => {
    const { deps } = await fixture.makePayer()
    const [small, large] = [
      await fixture.approve({ amount: 10n ** 17n }),
      await fixture.approve({ amount: 10n ** 18n }),
    ]
    await payoutTurn({ ...deps, limits: { refund: 10n ** 18n - 1n, day: 10n ** 24n } })
    expect(await fixture.payoutOf(small)).toMatchObject({ status: 'broadcast' })
    expect(await reasonOf(large)).toBe('above_limit')
    await payoutTurn({ ...deps, limits: { refund: 10n ** 24n, day: 10n ** 18n } })
    expect(await reasonOf(large)).toBe('above_day_limit')
    await payoutTurn(deps)
    expect(await fixture.payoutOf(large)).toMatchObject({ status: 'broadcast' })
  })

  test('sends money of a transfer that was moved on since, for the transfer was final', async () => {
    const { deps, chain } = await fixture.makePayer()
    const [funded = ''] = await chain.rpc('eth_accounts', [], z.array(z.string()))
    const amount = 10n ** 17n
    const refund = await invent({
      arrive: async (address) => {
        const sent = { from: funded, to: address, value: `0x${amount.toString(16)}` }
        const txId = await chain.rpc('eth_sendTransaction', [sent], z.string())
        await chain.mine(CONFIRMATIONS)
        // The shop moves its money on.
        await chain.fund(address, 0n)
        await chain.mine(CONFIRMATIONS)
        return txId
      },
    })
    await payoutTurn(deps)
    expect(await fixture.payoutOf(refund)).toMatchObject({ status: 'broadcast' })
  })
})
