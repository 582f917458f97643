// Money of a refund that was paid, and that the chain then takes and gives back: what `holdfast verify` says of it.

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { findViolations } from '../support/invariant.ts'
import { approveRefund } from '../support/approved_refund.ts'
import { COUNT_WITHIN_MS } from '../support/scale.ts'
import { nextOf, createTestShop, type TestShop } from '../support/shop.ts'
import { statement } from '../../src/db/connection/pool.ts'
import { assessPayments, recordReport } from '../../src/db/payment.ts'
import { systemActor } from '../../src/domain/audit.ts'
import type { ReportedObservation } from '../../src/domain/chain.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const WORKER = JSON.stringify(systemActor('worker'))
const BEGIN = statement('test_begin_payout', 'select begin_payout($1, $2)')
const FINISH = statement('test_finish_payout', 'select finish_payout($1, $2, $3, $4)')
const FACTS = `select report_id as "reportId", network, asset, tx_id as "txId", output_index as "outputIndex", seq, state,
  address, amount, block_height as height, block_hash as hash, first_seen_at as "firstSeenAt"
  from payment_report where order_id = $1`

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterAll(() => shop.close())

type Row = Omit<ReportedObservation, 'amount' | 'block'> & { amount: string; height: bigint; hash: string }
const factsOf = async (orderId: string): Promise<ReportedObservation[]> =>
  (await shop.query<Row>(FACTS, [orderId])).map(({ amount, height, hash, ...fact }) => ({
    ...fact,
    amount: BigInt(amount),
    block: { height: Number(height), hash },
  }))

test('verify is silent while the money of a paid refund is lost, and in a new block that is not deep enough', async () => {
  const { orderId, refundId } = await approveRefund(shop)
  await shop.worker.run(BEGIN, [refundId, WORKER])
  await shop.worker.run(FINISH, [refundId, `0x${randomBytes(32).toString('hex')}`, '21000', WORKER])
  let facts = await factsOf(orderId)
  // The run of approveRefund has taken fewer steps.
  let step = 100
  for (const state of ['reorged', 'seen', 'final'] as const) {
    facts = facts.map((fact) => nextOf(fact, { state }))
    await recordReport(shop.api, 'w1', facts)
    await assessPayments(shop.worker, { orderId, generation: 1, step: (step += 1) })
    expect(await findViolations(shop.test)).toEqual([])
  }
})
