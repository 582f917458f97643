// Duties and notifications, which need no engine.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals'
import { openTestDatabase } from '../../test/support/database.ts'
import { buildLine } from '../../test/support/builder.ts'
import { createRelayProbe, type RelayProbe } from '../../test/support/relay_probe.ts'
import { buildObservation, createTestShop, runOf, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import type { AcceptedOrder } from '../db/accept/accept.ts'
import { assessPayments, recordReport } from '../db/payment.ts'
import type { Database } from '../db/connection/pool.ts'
import { startHoldSweeper } from './duty.ts'
import { startNotifier } from './notify.ts'

let shop: TestShop
let probe: RelayProbe
beforeAll(async () => {
  shop = await createTestShop()
  await shop.catchUp()
})
beforeEach(async () => {
  probe = createRelayProbe()
  await shop.query(
    `update duty set holder = null, held_until = null, items = 0, failures = 0; delete from notification`,
  )
})
afterAll(() => shop.close())

const isCancelled = (order: AcceptedOrder) => until(async () => (await shop.state(order)).status === 'cancelled')
const lapsed = () => shop.order({ windowMs: 1, graceMs: 0 })
const sweeper = (holder: string) => startHoldSweeper({ ...probe, database: shop.worker, holder })

describe('the hold sweeper', () => {
  test('gives back what ran out, and counts it', async () => {
    const orders = await Promise.all([lapsed(), lapsed(), lapsed()])
    const relay = sweeper('p-1')
    await Promise.all(orders.map(isCancelled))
    await until(async () => (await probe.counts('hold_sweep')).passed === 3)
    await relay.stop()
    for (const order of orders) expect(await shop.stock(order)).toEqual({ onHand: 10n, reserved: 0n })
    expect(await shop.query(`select holder, items from duty where duty = 'hold_sweep'`)).toEqual([
      { holder: 'p-1', items: 3n },
    ])
  })

  test('is one process at a time; another takes over when that one is gone', async () => {
    const first = sweeper('p-1')
    await until(async () => (await shop.query(`select from duty where holder = 'p-1'`)).length > 0)
    const second = sweeper('p-2')
    await isCancelled(await lapsed())
    expect(await shop.query(`select holder from duty where duty = 'hold_sweep'`)).toEqual([{ holder: 'p-1' }])
    await first.stop()
    await shop.query(`update duty set held_until = clock_timestamp() - interval '1 ms'`)
    await isCancelled(await lapsed())
    expect(await shop.query(`select holder from duty where duty = 'hold_sweep'`)).toEqual([{ holder: 'p-2' }])
    await second.stop()
  })

  test('that fails says so, and goes on', async () => {
    let isBroken = true
    const flaky: Database = {
      ...shop.worker,
      run: async (statement, values) => {
        if (isBroken && statement.name === 'sweep_find_due') throw new Error('injected')
        return shop.worker.run(statement, values)
      },
    }
    const order = await lapsed()
    const relay = startHoldSweeper({ ...probe, database: flaky, holder: 'p-1' })
    await until(
      async () => (await shop.query(`select from duty where duty = 'hold_sweep' and failures > 0`)).length > 0,
    )
    expect(await shop.state(order)).toMatchObject({ status: 'pending', reservation: 'held' })
    isBroken = false
    await isCancelled(order)
    await until(
      async () => (await shop.query(`select from duty where duty = 'hold_sweep' and failures = 0`)).length > 0,
    )
    await relay.stop()
    expect(probe.lines()[0]).toMatchObject({ duty: 'hold_sweep', msg: 'duty failed', err: { name: 'Error' } })
  })

  test('sets aside the one order that does not expire, says which, and ends it once it can', async () => {
    await shop.query(`create function holdfast.fail() returns trigger language plpgsql as $$ begin raise 'injected'; end $$;
      create trigger fail before update on reservation for each row when (old.quantity = 7) execute function holdfast.fail()`)
    const { productId } = await shop.product({ onHand: 7n })
    const bad = await shop.order({ lines: [buildLine({ productId, quantity: 7 })], windowMs: 1, graceMs: 0 })
    const relay = sweeper('p-1')
    await until(() => probe.lines().length > 0)
    await isCancelled(await lapsed())
    expect(probe.lines()[0]).toMatchObject({
      ...{ level: 50, duty: 'hold_sweep', orderId: bad.orderId, reason: 'P0001' },
      ...{ msg: 'hold set aside: its order could not be expired', err: { code: 'P0001' } },
    })
    expect((await probe.counts('hold_sweep')).failed).toBeGreaterThan(0)
    expect(await shop.query(`select failures from duty where duty = 'hold_sweep'`)).toEqual([{ failures: 0 }])
    await shop.query('drop function holdfast.fail cascade')
    await isCancelled(bad)
    await relay.stop()
  })
})

describe('the notifier', () => {
  const told = ({ orderId }: AcceptedOrder) =>
    probe
      .lines()
      .filter((line) => line['event'] === 'order_status' && line['orderId'] === orderId)
      .map(({ status }) => status)

  test('tells every change of an order once and in order, whichever process does', async () => {
    const orders = await Promise.all(Array.from({ length: 5 }, () => shop.order()))
    const relays = ['p-1', 'p-2'].map((holder) => startNotifier({ ...probe, database: shop.worker, holder }))
    for (const order of orders) {
      const run = runOf(order)
      await recordReport(shop.api, 'w1', [buildObservation(order)])
      await assessPayments(shop.worker, run.next())
      await shop.ask('ship', run.next())
      await shop.ask('deliver', run.next())
    }
    await until(async () => (await shop.query('select from notification where delivered_at is null')).length === 0)
    await Promise.all(relays.map((relay) => relay.stop()))
    for (const order of orders) expect(told(order)).toEqual(['pending', 'processing', 'shipped', 'delivered'])
    expect(await probe.counts('notify_log')).toEqual({ passed: 20, failed: 0 })
  })

  test('tells again what it could not note as told', async () => {
    const order = await shop.order()
    const gone = await openTestDatabase({
      url: shop.test.urlOf('app_worker'),
      poolSize: 2,
      applicationName: 'test-gone',
    })
    let isBroken = true
    const flaky: typeof gone = {
      ...gone,
      run: async (statement, values) => {
        if (isBroken && statement.name === 'notification_delivered') throw new Error('injected')
        return gone.run(statement, values)
      },
    }
    const relay = startNotifier({ ...probe, database: flaky, holder: 'p-1' })
    await until(() => told(order).length === 1)
    await until(() => probe.lines().some(({ msg }) => msg === 'relay turn failed'))
    isBroken = false
    await shop.query(`update notification set claimed_until = clock_timestamp() - interval '1 ms'`)
    await until(async () => (await shop.query('select from notification where delivered_at is null')).length === 0)
    await relay.stop()
    await gone.close()
    expect(told(order)).toEqual(['pending', 'pending'])
  })
})
