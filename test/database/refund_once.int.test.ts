// One transaction of the chain pays one refund, whoever says so first: an operator's settlement or a payout of the payer.

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { approveRefund } from '../support/approved_refund.ts'
import { COUNT_WITHIN_MS } from '../support/scale.ts'
import { createTestShop, type TestShop } from '../support/shop.ts'
import { statement } from '../../src/db/connection/pool.ts'
import { settlePayout } from '../../src/db/payout_operation.ts'
import { systemActor } from '../../src/domain/audit.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const BY = systemActor('worker')
const BEGIN = statement('test_begin_payout', 'select begin_payout($1, $2)')
const FINISH = statement('test_finish_payout', 'select finish_payout($1, $2, $3, $4) as outcome')

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterAll(() => shop.close())

const makeTxId = (): string => `0x${randomBytes(32).toString('hex')}`
async function begun(): Promise<string> {
  const { refundId } = await approveRefund(shop)
  await shop.worker.run(BEGIN, [refundId, JSON.stringify(BY)])
  return refundId
}
const settle = (refundId: string, txId: string): Promise<string> =>
  settlePayout(shop.worker, refundId, { txId, networkFee: 21_000n }, BY)
const paidBy = (txId: string) => shop.query('select from refund where tx_id = $1', [txId])

test('of two settlements at once by one transaction, one is refused', async () => {
  for (let round = 0; round < 10; round += 1) {
    const [txId, one, other] = [makeTxId(), await begun(), await begun()]
    const outcomes = await Promise.all([settle(one, txId), settle(other, txId)])
    expect(outcomes.filter((outcome) => outcome === 'paid')).toHaveLength(1)
    expect(await paidBy(txId)).toHaveLength(1)
  }
})

test('a payout is not paid by the transaction that settled another refund', async () => {
  const [txId, settled, other] = [makeTxId(), await begun(), await begun()]
  expect(await settle(settled, txId)).toBe('paid')
  const [row] = await shop.worker.run<{ outcome: string }>(FINISH, [other, txId, '21000', JSON.stringify(BY)])
  expect(row?.outcome).toBe('conflict')
  expect(await paidBy(txId)).toHaveLength(1)
})
