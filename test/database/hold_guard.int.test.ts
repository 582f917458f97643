// Rights of each role on an existing hold.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createTestShop, type TestShop } from '../support/shop.ts'
import { systemActor } from '../../src/domain/audit.ts'

const BY = systemActor('test')
const STATES = ['held', 'committed', 'consumed', 'released', 'expired'] as const
const MOVES: Readonly<Record<(typeof STATES)[number], readonly string[]>> = {
  held: ['committed', 'released', 'expired'],
  committed: ['consumed', 'released'],
  consumed: [],
  released: [],
  expired: [],
}
const PAIRS = STATES.flatMap((from) => STATES.map((to) => [from, to, from === to || MOVES[from].includes(to)] as const))

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterAll(() => shop.close())

describe('a hold', () => {
  test.each(PAIRS)('goes from %s to %s: %s', async (from, to, isLegal) => {
    const { order } = await shop.orderIn('pending')
    await shop.test.forge('update reservation set state = $2 where order_id = $1', [order.orderId, from])
    const move = shop.test.writeAs('app_worker', BY, 'update reservation set state = $2 where order_id = $1', [
      order.orderId,
      to,
    ])
    if (isLegal) await move
    else await expect(move).rejects.toMatchObject({ code: 'HF021' })
  })

  test('is not cut short by the api, which may extend it', async () => {
    const { order } = await shop.orderIn('pending')
    const move = (change: string) =>
      shop.test.writeAs('app_api', BY, `update reservation set expires_at = expires_at ${change} where order_id = $1`, [
        order.orderId,
      ])
    await expect(move(`- interval '1 ms'`)).rejects.toMatchObject({ code: 'HF021' })
    await move(`+ interval '1 minute'`)
  })
})
