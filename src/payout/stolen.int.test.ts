// What a stolen credential of the payer's role cannot make the payer do: send twice, elsewhere, or more.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { z } from 'zod'
import { startAnvil, type Anvil } from '../servers/anvil.ts'
import { freePorts } from '../servers/port.ts'
import { CONFIRMATIONS, createTestPayer, findPayout, playUntilPaid, type TestPayer } from '../../test/support/payout.ts'
import { approveRefund, makeDestination, type ApprovedRefund } from '../../test/support/approved_refund.ts'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import { payoutTurn } from './turn.ts'

jest.setTimeout(600_000)

let shop: TestShop
let anvil: Anvil
let dataDir: string
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-payout-'))
  const [port = 0] = await freePorts(1)
  anvil = await startAnvil({ port, dataDir, mining: 'manual' })
  shop = await createTestShop()
})
afterAll(async () => {
  await shop.close()
  await anvil.stop()
  await rm(dataDir, { recursive: true })
})

const makePayer = (): Promise<TestPayer> => createTestPayer(shop, anvil, {})
const payoutOf = (refund: Pick<ApprovedRefund, 'refundId'>) => findPayout(shop, refund)

describe('the database refuses to a stolen credential of the payer', () => {
  const write = (text: string, values: unknown[]) =>
    shop.test.writeAs('app_worker', { actor: 'system:payer', role: 'system' }, text, values)
  const INSERT = `insert into payout (refund_id, order_id, network, sender, chain_id, nonce, destination, amount, fee_bearer)
    select refund_id, order_id, network, $2, 31337, 1000000 + floor(random() * 1000000)::int, coalesce($3, destination),
      coalesce($4, amount), fee_bearer
    from refund where refund_id = $1`

  test('a payout of a refund that is not being paid, a redirected one, and a second one', async () => {
    const { deps, signer } = await makePayer()
    const refund = await approveRefund(shop)
    const make = (to: string | null = null, amount: string | null = null) =>
      write(INSERT, [refund.refundId, signer.sender, to, amount])
    await payoutTurn({ ...deps, maxFee: 1n })
    await expect(make()).rejects.toMatchObject({ code: 'HF054' })
    await write('select begin_payout($1, $2)', [refund.refundId, '{"actor":"system:payer","role":"system"}'])
    await expect(make(makeDestination())).rejects.toMatchObject({ code: 'HF054' })
    await expect(make(null, String(refund.amount * 2n))).rejects.toMatchObject({ code: 'HF054' })
    await payoutTurn(deps)
    expect(await payoutOf(refund)).toMatchObject({ status: 'broadcast' })
    await write(`update payout set status = 'failed', failure = 'nonce_taken' where refund_id = $1`, [refund.refundId])
    await expect(make()).rejects.toMatchObject({ code: 'HF054' })
  })

  test('a signature of a fee that would empty the account', async () => {
    const { deps, chain, signer } = await makePayer()
    const refund = await approveRefund(shop)
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
    expect(await payoutOf(refund)).toMatchObject({ status: 'confirmed' })
    expect(before - (await chain.balanceOf(signer.sender))).toBeLessThan(refund.amount + 10n ** 16n)
  })

  test('a second payout while the first may be executed, and once it was', async () => {
    const { deps, chain } = await makePayer()
    const refund = await approveRefund(shop)
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
    const refund = await approveRefund(shop)
    const payer = await makePayer()
    const unsigned = { ...payer.signer, sign: async () => undefined }
    await payoutTurn({ ...payer.deps, signer: unsigned })
    await payer.chain.rpc('anvil_impersonateAccount', [payer.signer.sender], z.unknown())
    const other = { from: payer.signer.sender, to: makeDestination(), value: '0x1' }
    await payer.chain.rpc('eth_sendTransaction', [other], z.string())
    await payer.chain.mine(2 * CONFIRMATIONS)
    await payoutTurn(payer.deps)
    expect(await payoutOf(refund)).toMatchObject({ failure: 'nonce_taken' })
    await write('update payout set is_released = true where refund_id = $1', [refund.refundId])
    await playUntilPaid(shop, payer, [refund])
    expect(await payer.chain.balanceOf(refund.destination)).toBe(refund.amount)
  })

  test('a transaction that sends another amount, and a payment after the filler', async () => {
    const { deps } = await makePayer()
    const refund = await approveRefund(shop, { bearer: 'customer' })
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
