// What the payment page says after its order: late money that bought another one, refunds step by step, a wrong asset.

import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { putAddresses } from '../../test/support/address.ts'
import { approveRefund } from '../../test/support/approved_refund.ts'
import { openPayFixture, type PayFixture } from '../../test/support/pay_fixture.ts'
import { buildObservation, runOf } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { saveAssetRates } from '../db/asset_rate.ts'
import { expireOrder } from '../db/order.ts'
import { assessLatePayments, assessPayments, recordReport } from '../db/payment.ts'
import { systemActor } from '../domain/audit.ts'

const POLICY = { accepts: true, withinMs: 3_600_000, driftBps: 200, rateAgeMs: 3_600_000 }
const WORKER = JSON.stringify(systemActor('worker'))
const BEGIN = { name: 'test_begin_payout', text: 'select begin_payout($1, $2)' }
const FINISH = { name: 'test_finish_payout', text: "select finish_payout($1, $2, '21000', $3)" }

let pay: PayFixture
beforeAll(async () => {
  pay = await openPayFixture({ refundUrlOf: (orderId) => `https://shop.example/refund?order=${orderId}` })
  await pay.shop.catchUp()
  await saveAssetRates(pay.shop.api, 'EUR', [{ asset: 'ETH', rateMinor: 200_000n }])
})
afterAll(() => pay.close())

const textOf = async (url: string) => (await fetch(url)).text()
const stageIn = (text: string) => /data-stage="(\w+)"/.exec(text)?.[1]
async function urlOf(orderId: string): Promise<string> {
  const [order] = await pay.shop.query<{ createdAt: Date }>(
    'select created_at as "createdAt" from orders where order_id = $1',
    [orderId],
  )
  return pay.urlOf({ orderId, createdAt: order?.createdAt ?? new Date() })
}

/** An expired order whose late money, `more` above the amount due, bought it again. */
async function boughtAgain(more = 0n): Promise<AcceptedOrder> {
  const { shop } = pay
  const order = await shop.order({ windowMs: 1, graceMs: 0 })
  const run = runOf(order)
  await until(async () => (await expireOrder(shop.worker, run.next())).status === 'cancelled')
  const firstSeenAt = new Date(order.expiresAt.getTime() + 1_000)
  await putAddresses(shop.test, 1)
  await recordReport(shop.api, 'w1', [buildObservation(order, { firstSeenAt, amount: order.amountDue + more })])
  await assessLatePayments(shop.worker, order.orderId, POLICY)
  return order
}

test('late money that bought its order again: no new order is asked for, and the link leads to the new one', async () => {
  const order = await boughtAgain()
  const text = await textOf(`${pay.urlOf(order)}?lang=de`)
  expect(stageIn(text)).toBe('replaced')
  expect(text).toContain('bestellen Sie nicht noch einmal')
  expect(text).not.toContain('id="refund"')
  const [, path = ''] = /id="next" href="([^"]+)"/.exec(text) ?? []
  expect(path).toMatch(/^\/pay\/[\w-]{48}\?lang=de$/)
  const next = await textOf(`${pay.origin}${path}`)
  expect(stageIn(next)).toBe('paid')
  expect(next).toContain('<html lang="de"')
  // Its money is that of the expired order.
  expect(next).toMatch(/Bisher eingegangen<\/dt>\s*<dd>0\.0125 ETH/)
  for (const shown of [text, next]) expect(shown).not.toContain('user')
})

test('what late money has above the price is owed, beside the link to the new order', async () => {
  const order = await boughtAgain(10n ** 16n)
  const text = await textOf(pay.urlOf(order))
  expect(stageIn(text)).toBe('replaced')
  expect(text).toContain('The shop owes you 0.01 ETH.')
  expect(text).toContain('id="next"')
})

test('a refund is told step by step, and its address is asked for only while it is awaited', async () => {
  const { refundId, orderId } = await approveRefund(pay.shop)
  const url = await urlOf(orderId)
  const shown = async () => {
    const text = await textOf(url)
    return { text, asks: text.includes('https://shop.example/refund') || text.includes('Sign in at the shop') }
  }
  expect(await shown()).toMatchObject({ asks: false, text: expect.stringContaining('refund of 0.1 ETH is approved') })
  await pay.shop.worker.run(BEGIN, [refundId, WORKER])
  expect(await shown()).toMatchObject({ asks: false, text: expect.stringContaining('0.1 ETH is being sent') })
  await pay.shop.worker.run(FINISH, [refundId, `0x${randomBytes(32).toString('hex')}`, WORKER])
  const paid = await shown()
  expect(paid).toMatchObject({ asks: false, text: expect.stringContaining('refund of 0.1 ETH was sent') })
  expect(paid.text).not.toContain('The shop owes you')
})

test('a link is right whatever trackers added to it', async () => {
  const order = await pay.shop.order()
  expect((await fetch(`${pay.urlOf(order)}?utm_source=mail&fbclid=${'a'.repeat(1_000)}`)).status).toBe(200)
})

test('another asset at the address is told, and the order still waits for its payment', async () => {
  const order = await pay.shop.order()
  const run = runOf(order)
  await recordReport(pay.shop.api, 'w1', [
    buildObservation(order, { asset: 'SOL', txId: randomBytes(44).toString('hex').replaceAll('0', '1') }),
  ])
  await assessPayments(pay.shop.worker, run.next())
  const text = await textOf(pay.urlOf(order))
  expect(stageIn(text)).toBe('awaiting')
  expect(text).toContain('Something other than ETH on the network ethereum arrived')
})
