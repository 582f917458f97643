// The edge cases of payments, one named test per row of the table in the requirements, as far as the database decides
// them. test/payment_edge.test.ts says where each of the other rows is tested.

import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { putAddresses } from '../support/address.ts'
import { findViolations } from '../support/invariant.ts'
import { COUNT_WITHIN_MS } from '../support/scale.ts'
import { PaymentCase } from '../support/payment/case.ts'
import { createTestShop, nextOf, type TestShop } from '../support/shop.ts'
import { saveAssetRates } from '../../src/db/asset_rate.ts'
import { expireOrder } from '../../src/db/order.ts'
import { recordReport } from '../../src/db/payment.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const HOUR_MS = 3_600_000
const MONTH_MS = 30 * 24 * HOUR_MS
const GRACE_MS = 60_000
const DUST = 10_000_000_000_000n
const ENDED = { windowMs: 1, graceMs: 0 }

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
  await shop.catchUp(new Date(Date.now() + MONTH_MS))
  await saveAssetRates(shop.api, 'EUR', [{ asset: 'ETH', rateMinor: 200_000n }])
})
afterAll(() => shop.close())

const open = async (overrides: Parameters<TestShop['order']>[0] = {}): Promise<PaymentCase> =>
  new PaymentCase(shop, await shop.order(overrides))
const cost = (due: bigint): bigint => due - due / 1_000n

const EDGES: Readonly<Record<string, () => Promise<void>>> = {
  'edge 1: the exact amount in one transaction is confirming, then paid once': async () => {
    const it = await open()
    const seen = it.out({ state: 'seen' })
    await it.hear(seen)
    await it.is('pending', 'confirming')
    await it.follow(seen, 'final')
    await it.is('processing', 'paid')
    expect(await it.told('processing')).toBe(1)
  },
  'edge 2: two transactions that make up the total are paid once both are final': async () => {
    const it = await open()
    const [half, rest] = [it.out({ amount: it.due / 2n }), it.out({ amount: it.due - it.due / 2n, state: 'seen' })]
    await it.hear(half, rest)
    await it.is('pending', 'confirming')
    await it.follow(rest, 'final')
    await it.is('processing', 'paid')
  },
  'edge 3: two outputs of one transaction both count': async () => {
    const it = await open()
    const first = it.out({ amount: it.due / 2n })
    await it.hear(first, it.out({ txId: first.txId, outputIndex: 1, amount: it.due - it.due / 2n }))
    await it.is('processing', 'paid')
  },
  'edge 4: short by a thousandth is paid, within tolerance': async () => {
    const it = await open()
    await it.hear(it.out({ amount: cost(it.due) }))
    await it.is('processing', 'paid', ['within_tolerance'])
  },
  'edge 5: short by one base unit more is partial until that unit comes': async () => {
    const it = await open()
    await it.hear(it.out({ amount: cost(it.due) - 1n }))
    await it.is('pending', 'partial')
    await it.hear(it.out({ amount: 1n }))
    await it.is('processing', 'paid', ['within_tolerance'])
  },
  'edge 6: an amount whose thousandth rounds to 0 is paid by no less': async () => {
    const order = await shop.order()
    // No price makes an order this small: its amount is set by hand.
    await shop.test.forge('update invoice set amount_due = 500 where order_id = $1', [order.orderId])
    const it = new PaymentCase(shop, { ...order, amountDue: 500n })
    await it.hear(it.out({ amount: it.due - 1n }))
    await it.is('pending', 'partial')
    await it.hear(it.out({ amount: 1n }))
    await it.is('processing', 'paid')
  },
  'edge 7: the quoted amount pays although the price of the coin has moved': async () => {
    const it = await open()
    await saveAssetRates(shop.api, 'EUR', [{ asset: 'ETH', rateMinor: 100_000n }])
    await it.hear(it.out())
    await saveAssetRates(shop.api, 'EUR', [{ asset: 'ETH', rateMinor: 200_000n }])
    await it.is('processing', 'paid')
  },
  'edge 8: what an exchange took from the amount is topped up at the same address': async () => {
    const it = await open()
    const fee = it.due / 100n
    await it.hear(it.out({ amount: it.due - fee }))
    await it.is('pending', 'partial')
    await it.hear(it.out({ amount: fee }))
    await it.is('processing', 'paid')
  },
  'edge 9: underpaid at the end of its quote, an order ends under, its stock is released and the money owed':
    async () => {
      const it = await open(ENDED)
      const half = it.due / 2n
      await it.hear(it.out({ amount: half }))
      await it.holds(2n)
      await it.expire()
      await it.is('cancelled', 'unresolved', ['under'], half)
      await it.holds(0n)
    },
  'edge 10: overpaid in one transaction is paid, and the excess is owed back': async () => {
    const it = await open()
    await it.hear(it.out({ amount: it.due + DUST + 1n }))
    await it.is('processing', 'paid', ['over'], DUST + 1n)
  },
  'edge 11: a second full payment is owed back, and its loss is followed too': async () => {
    const it = await open()
    const second = it.out()
    await it.hear(it.out(), second)
    await it.is('processing', 'paid', ['over'], it.due)
    await it.follow(second, 'dropped')
    await it.is('processing', 'paid', [], 0n)
  },
  'edge 12: overpaid until one transaction is replaced away': async () => {
    const it = await open()
    const [first, second] = [it.out({ state: 'seen', amount: it.due / 2n }), it.out({ state: 'seen' })]
    await it.hear(first, second)
    await it.is('pending', 'confirming')
    await it.follow(second, 'replaced')
    await it.is('pending', 'partial', ['replaced'])
  },
  'edge 16: first seen in the last instant of its quote and confirmed later is in time': async () => {
    const it = await open()
    const seen = it.out({ state: 'seen', firstSeenAt: it.order.expiresAt })
    await it.hear(seen)
    await it.follow(seen, 'final')
    await it.is('processing', 'paid')
  },
  'edge 17: a report that comes with the expiry is looked at first': async () => {
    const it = await open(ENDED)
    await recordReport(shop.api, 'w1', [it.out({ firstSeenAt: new Date(it.order.expiresAt.getTime() - 1) })])
    expect((await expireOrder(shop.worker, it.run.next())).status).toBe('pending')
    await it.assess()
    await it.is('processing', 'paid')
  },
  'edge 18: first seen within the grace is in time, a moment after it is late': async () => {
    const end = ({ order }: PaymentCase, awayMs: number) => new Date(order.expiresAt.getTime() + GRACE_MS + awayMs)
    const [within, after] = [await open(), await open()]
    await within.hear(within.out({ firstSeenAt: end(within, -1) }))
    await within.is('processing', 'paid')
    await after.hear(after.out({ firstSeenAt: end(after, 1) }))
    await after.is('pending', 'awaiting', ['late'], after.due)
  },
  'edge 19: paid in time and found after the end is in time, and nothing expires before the chain was read':
    async () => {
      const it = await open(ENDED)
      await shop.catchUp(new Date(it.order.createdAt.getTime() - 1))
      expect((await expireOrder(shop.worker, it.run.next())).status).toBe('pending')
      await it.hear(it.out({ firstSeenAt: new Date(it.order.expiresAt.getTime() - 1) }))
      await shop.catchUp(new Date(Date.now() + MONTH_MS))
      await it.is('processing', 'paid')
    },
  'edge 20: seen in time and confirmed after the end is paid without being late': async () => {
    const it = await open(ENDED)
    const seen = it.out({ state: 'seen', firstSeenAt: new Date(it.order.expiresAt.getTime() - 1) })
    await it.hear(seen)
    expect((await expireOrder(shop.worker, it.run.next())).status).toBe('pending')
    await it.follow(seen, 'final')
    await it.is('processing', 'paid')
  },
  'edge 21: the full amount first seen after expiry is awaited, then goes the way of late money': async () => {
    const it = await (await open(ENDED)).expire()
    await it.is('cancelled', 'expired')
    const seen = it.lateOut({ state: 'seen' })
    await it.hear(seen)
    await it.is('cancelled', 'late_confirming', ['late'])
    expect(await it.replacement()).toBeNull()
    await putAddresses(shop.test, 1)
    await it.follow(seen, 'final')
    expect(await it.replacement()).not.toBeNull()
    await it.is('cancelled', 'expired', ['late'])
  },
  'edge 22: a part before expiry and the rest after it are summed': async () => {
    const it = await open(ENDED)
    const half = it.due / 2n
    await it.hear(it.out({ amount: half, firstSeenAt: new Date(it.order.expiresAt.getTime() - 1) }))
    await it.expire()
    await putAddresses(shop.test, 1)
    await it.hear(it.lateOut({ amount: it.due - half }))
    expect(await it.replacement()).not.toBeNull()
    await it.is('cancelled', 'expired', ['late'], 0n)
  },
  'edge 23: a part before expiry and too much after it is late and over': async () => {
    const it = await open(ENDED)
    await it.hear(it.out({ amount: it.due / 2n, firstSeenAt: new Date(it.order.expiresAt.getTime() - 1) }))
    await it.expire()
    await putAddresses(shop.test, 1)
    await it.hear(it.lateOut())
    await it.is('cancelled', 'unresolved', ['late', 'over'], it.due / 2n)
  },
  'edge 24: money after a cancellation is owed back, and the order stays cancelled': async () => {
    const it = await (await open()).ask('cancel')
    await it.hear(it.out())
    await it.is('cancelled', 'unresolved', [], it.due)
    expect(await it.replacement()).toBeNull()
  },
  'edge 25: money to an address of an order that ended months ago is found and owed back': async () => {
    const it = await (await open(ENDED)).expire()
    await it.hear(it.out({ firstSeenAt: new Date(it.order.expiresAt.getTime() + 6 * MONTH_MS) }))
    await it.is('cancelled', 'unresolved', ['late'], it.due)
  },
  'edge 26: a payment that is not final by its deadline ends the order, and is late money when it is': async () => {
    const it = await open({ ...ENDED, confirmWithinMs: 1 })
    const seen = it.out({ state: 'seen', firstSeenAt: new Date(it.order.expiresAt.getTime() - 1) })
    await it.hear(seen)
    await it.expire()
    await it.is('cancelled', 'late_confirming', ['slow_confirm'])
    await putAddresses(shop.test, 1)
    await it.follow(seen, 'final')
    // The late policy decides on it, as on money that was seen late.
    expect(await it.replacement()).not.toBeNull()
  },
  'edge 29: replaced by a transaction that still pays us, the new one counts and never both': async () => {
    const it = await open()
    const old = it.out({ state: 'seen' })
    await it.hear(old)
    await it.follow(old, 'replaced')
    await it.hear(it.out())
    await it.is('processing', 'paid', ['replaced'])
  },
  'edge 30: replaced by a transaction that pays someone else, the order waits again, then expires': async () => {
    const it = await open(ENDED)
    const old = it.out({ state: 'seen', firstSeenAt: new Date(it.order.expiresAt.getTime() - 1) })
    await it.hear(old)
    await it.follow(old, 'replaced')
    await it.is('pending', 'awaiting', ['replaced'])
    await it.expire()
    await it.is('cancelled', 'expired', ['replaced'])
  },
  'edge 31: dropped without a conflict, a payment may come back': async () => {
    const it = await open()
    const seen = it.out({ state: 'seen' })
    await it.hear(seen)
    const dropped = await it.follow(seen, 'dropped')
    await it.is('pending', 'awaiting')
    await it.follow(dropped, 'seen')
    await it.is('pending', 'confirming')
  },
  'edge 32: replaced by a transaction that was mined, a payment is gone': async () => {
    const it = await open()
    const seen = it.out({ state: 'seen' })
    await it.hear(seen)
    await it.follow(seen, 'replaced')
    await it.is('pending', 'awaiting', ['replaced'])
  },
  'edge 33: a payment that loses its block before the order is paid counts as seen, and nothing is lost': async () => {
    const it = await open()
    const seen = it.out({ state: 'seen' })
    await it.hear(seen)
    const lost = await it.follow(seen, 'reorged')
    await it.is('pending', 'confirming', ['reorged'])
    await it.follow(lost, 'seen', 'final')
    await it.is('processing', 'paid', ['reorged'])
  },
  'edge 34: mined again in another block, a payment is told of once': async () => {
    const it = await open()
    const final = it.out()
    await it.hear(final)
    const lost = await it.follow(final, 'reorged')
    await it.hear(nextOf(lost, { state: 'final', block: { height: 11, hash: '0xcd' } }))
    await it.is('processing', 'paid', ['reorged'])
    expect(await it.told('processing')).toBe(1)
  },
  'edge 35: a paid order that is not shipped is at risk, and reversed or paid in the end': async () => {
    const it = await open()
    const final = it.out()
    await it.hear(final)
    const lost = await it.follow(final, 'reorged')
    await it.is('processing', 'at_risk', ['reorged'])
    expect(await shop.ask('ship', it.run.next())).toMatchObject({ ok: false })
    const back = await it.follow(lost, 'final')
    await it.is('processing', 'paid', ['reorged'])
    await it.follow(back, 'reorged', 'replaced')
    await it.is('processing', 'reversed', ['reorged', 'replaced'])
  },
  'edge 36: a shipped order whose money is lost keeps its status, and its stock is not put back': async () => {
    const it = await open()
    const final = it.out()
    await it.hear(final)
    await it.ask('ship')
    const stock = await shop.stock(it.order)
    await it.follow(final, 'reorged')
    await it.is('shipped', 'at_risk', ['reorged'])
    await it.follow(nextOf(final), 'replaced')
    await it.is('shipped', 'reversed', ['reorged', 'replaced'])
    expect(await shop.stock(it.order)).toEqual(stock)
  },
  'edge 37: a payment counts whatever the height of its block': async () => {
    const it = await open()
    await it.hear(it.out({ block: { height: 0, hash: '0xef' } }))
    await it.is('processing', 'paid')
  },
  'edge 50: the same report twice, or of two watchers, is credited once': async () => {
    const it = await open()
    const final = it.out()
    await it.hear(final, final)
    await recordReport(shop.api, 'w2', [{ ...final, reportId: 'ab'.repeat(32) }])
    await it.assess()
    await it.is('processing', 'paid')
  },
  'edge 51: one transaction with outputs to two orders pays both': async () => {
    const [first, second] = [await open(), await open()]
    const output = first.out()
    await first.hear(output)
    await second.hear(second.out({ txId: output.txId, outputIndex: 1 }))
    await first.is('processing', 'paid')
    await second.is('processing', 'paid')
  },
  'edge 52: an output that pays an order pays no other that claims it': async () => {
    const [first, second] = [await open(), await open()]
    const output = first.out()
    await first.hear(output)
    await recordReport(shop.api, 'w2', [second.out({ txId: output.txId })])
    await second.assess()
    await first.is('processing', 'paid')
    await second.is('pending', 'awaiting')
  },
  'edge 53: a report is credited to the owner of the address, whoever it was meant for': async () => {
    const [owner, other] = [await open(), await open()]
    await recordReport(shop.api, 'w1', [other.out({ address: owner.order.address, amount: owner.due })])
    await owner.assess()
    await other.assess()
    await owner.is('processing', 'paid')
    await other.is('pending', 'awaiting')
  },
  'edge 54: of reports out of order the highest seq counts': async () => {
    const it = await open()
    const seen = it.out({ state: 'seen' })
    await it.hear(nextOf(seen, { state: 'final', seq: 3 }), seen, nextOf(seen, { state: 'reorged' }))
    await it.is('processing', 'paid')
  },
  'edge 57: money in another asset is not credited, and is flagged': async () => {
    const it = await open()
    await it.hear(it.out({ asset: 'SOL', txId: '5'.repeat(88) }))
    await it.is('pending', 'awaiting', ['wrong_asset'])
  },
  'edge 58: of a part in one coin and a part in another, the coin of the quote counts': async () => {
    const it = await open()
    const half = it.due / 2n
    await it.hear(it.out({ amount: half }), it.out({ asset: 'SOL', txId: '6'.repeat(88), amount: it.due - half }))
    await it.is('pending', 'partial', ['wrong_asset'])
  },
  'edge 60: money that was there before the order is credited to no order': async () => {
    const it = await open()
    await it.hear(it.out({ firstSeenAt: new Date(it.order.createdAt.getTime() - HOUR_MS) }))
    await it.is('pending', 'awaiting', ['manual'])
    expect(await shop.query('select from payment where order_id = $1', [it.order.orderId])).toEqual([])
  },
}

test.each(Object.entries(EDGES))('%s', async (_title, play) => {
  await play()
})

test('the edge cases leave every invariant intact', async () => {
  const violations = await findViolations(shop.test)
  // The amount that edge 6 set by hand.
  expect(violations.filter(({ check }) => check !== 'due_equals_total')).toEqual([])
})
