// A refund on the whole stack: the customer cancels a paid order and gives an address, two people approve, and the payer
// sends the money on the development chain.

import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { getAddress } from 'viem'
import { createAdminClient } from '../../src/grpc/client.ts'
import { addressOf } from '../../src/servers/wiring.ts'
import { createChainProbe } from '../support/payout.ts'
import { startTestStack, type TestStack } from '../support/stack.ts'
import { until } from '../support/until.ts'

const WITHIN_MS = 180_000
const CONFIRMATIONS = 12

let stack: TestStack
beforeAll(async () => {
  stack = await startTestStack({ HOLDFAST_ETH_GRACE_MS: '500' })
  await stack.putProduct('lamp', 10)
}, 180_000)
afterAll(() => stack.stop(), 60_000)

test('the money of a cancelled order is sent to the address that its customer gave, once', async () => {
  const ann = stack.as('customer', '1')
  const chain = createChainProbe(stack.chainUrl ?? '')
  const { orderId, paymentRequest } = await stack.createOrder(ann, 1, { lamp: 1 })
  const due = BigInt(paymentRequest?.amount?.units ?? '0')
  await stack.chain.pay(paymentRequest?.address ?? '', due)
  await stack.chain.mine(CONFIRMATIONS)
  const isPaid = async () =>
    (await stack.query(`select from orders where order_id = $1 and status = 'processing'`, [orderId])).length === 1
  await until(isPaid, { withinMs: WITHIN_MS })
  await ann.order.cancelOrder({ idempotencyKey: randomUUID(), orderId })
  const refund = await until(async () => (await ann.refund.listRefunds({ orderId })).refunds[0], {
    withinMs: WITHIN_MS,
  })
  expect(BigInt(refund.amount?.units ?? '0')).toBe(due)

  const address = getAddress(`0x${randomBytes(20).toString('hex')}`)
  const { refundId } = refund
  for (const confirm of [false, true])
    await ann.refund.setRefundAddress({ idempotencyKey: randomUUID(), orderId, refundId, address, confirm })
  for (const subject of ['81', '82']) {
    const [api] = stack.ports.apis
    const admin = createAdminClient({
      address: addressOf(api?.admin ?? 0),
      token: () => stack.mintToken('admin', subject),
    })
    const { refunds } = await ann.refund.listRefunds({ orderId })
    await admin.refund.approveRefund({
      ...{ idempotencyKey: randomUUID(), orderId, refundId },
      version: refunds[0]?.version ?? 0n,
    })
    admin.close()
  }
  const txId = await until(
    async () => {
      await stack.chain.mine(1)
      return (await ann.refund.listRefunds({ orderId })).refunds[0]?.txId
    },
    { withinMs: WITHIN_MS },
  )
  expect(await chain.balanceOf(address)).toBe(due)
  const [payout] = await stack.query<{ id: string; status: string }>(
    'select a.tx_id as id, p.status from payout p join payout_attempt a using (payout_id) where p.refund_id = $1',
    [refundId],
  )
  expect(payout).toEqual({ id: txId, status: 'confirmed' })
}, 400_000)
