// Notifications that the database creates by itself, whichever role and statement moves an order.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { createTestShop, type TestShop } from '../../test/support/shop.ts'
import type { AcceptedOrder } from './accept/accept.ts'
import { CHANNELS } from '../domain/notification.ts'
import { enableChannels } from './notification.ts'
import { statement } from './connection/pool.ts'

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
beforeEach(() => enableChannels(shop.worker, ['log', 'webhook']))
afterAll(() => shop.close())

/** `channel version status paymentState reason`, oldest first. */
const noted = async ({ orderId }: AcceptedOrder): Promise<string[]> => {
  const rows = await shop.query<{ line: string }>(
    `select concat_ws(' ', channel, order_version, status, payment_state, cancel_reason) as line
     from notification where order_id = $1 order by channel, notification_id`,
    [orderId],
  )
  return rows.map(({ line }) => line)
}
const PENDING = ['log 1 pending awaiting', 'webhook 1 pending awaiting']

const FORMS = {
  UPDATE: `update orders set status = 'cancelled', cancel_reason = 'expired' where order_id = any ($1)`,
  'UPDATE FROM': `update orders o set status = 'cancelled', cancel_reason = 'expired' from unnest($1::uuid[]) id where o.order_id = id`,
  'UPDATE within a statement of another kind': `with moved as (
    update orders set status = 'cancelled', cancel_reason = 'expired' where order_id = any ($1) returning 1
  ) select count(*) from moved`,
  MERGE: `merge into orders o using unnest($1::uuid[]) id on o.order_id = id
    when matched then update set status = 'cancelled', cancel_reason = 'expired'`,
} as const

describe('a change of status', () => {
  test.each(Object.entries(FORMS))('by %s is noted once for each order and channel', async (form, text) => {
    const orders = [await shop.order(), await shop.order(), await shop.order()]
    const probe = statement(`probe_${form.toLowerCase().replaceAll(' ', '_')}`, text)
    await shop.worker.run(probe, [orders.map(({ orderId }) => orderId)])
    for (const order of orders)
      expect(await noted(order)).toEqual([
        ...['log 1 pending awaiting', 'log 2 cancelled awaiting expired'],
        ...['webhook 1 pending awaiting', 'webhook 2 cancelled awaiting expired'],
      ])
  })

  test('that is undone, and a change of anything else, are not noted', async () => {
    const order = await shop.order()
    const move = statement('probe_move', FORMS.UPDATE)
    const undone = shop.worker.transaction(async (tx) => {
      await tx.run(move, [[order.orderId]])
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    const mark = statement(
      'probe_mark',
      `update orders set payment_flags = '{manual}', hold = 'manual' where order_id = $1`,
    )
    await shop.worker.run(mark, [order.orderId])
    expect((await shop.state(order)).version).toBe(2)
    expect(await noted(order)).toEqual(PENDING)
  })

  test('is noted for the channels that are enabled at that instant', async () => {
    await enableChannels(shop.worker, ['webhook'])
    const order = await shop.order()
    await enableChannels(shop.worker, [])
    await shop.worker.run(statement('probe_quiet', FORMS.UPDATE), [[order.orderId]])
    expect(await noted(order)).toEqual(['webhook 1 pending awaiting'])
  })
})

test('the channels of the database are those of the code', async () => {
  const rows = await shop.query<{ channel: string }>('select channel from notification_channel')
  expect(rows.map(({ channel }) => channel).toSorted()).toEqual([...CHANNELS].toSorted())
  const [{ rule } = { rule: '' }] = await shop.query<{ rule: string }>(
    `select pg_get_constraintdef(oid) as rule from pg_constraint where conname = 'notification_channel'`,
  )
  expect([...rule.matchAll(/'(\w+)'/g)].map(([, channel]) => channel)).toEqual([...CHANNELS])
})
