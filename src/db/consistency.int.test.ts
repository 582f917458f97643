// The consistency check: it finds nothing in thousands of valid orders of every kind, idle or busy, and finds every
// planted fault under the right name and id.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { openTestDatabase } from '../../test/support/database.ts'
import { buildLine } from '../../test/support/builder.ts'
import { callConcurrently } from '../../test/support/concurrent.ts'
import { findViolations } from '../../test/support/invariant.ts'
import { count, COUNT_WITHIN_MS, randomOf } from '../../test/support/scale.ts'
import { buildObservation, createTestShop, runOf, type TestShop } from '../../test/support/shop.ts'
import { until } from '../../test/support/until.ts'
import type { AcceptedOrder } from './accept/accept.ts'
import { compareTables, findConsistency, recordConsistency } from './consistency.ts'
import { INVARIANTS } from './invariant.ts'
import { reserveStock } from './order.ts'
import { assessLatePayments, assessPayments, recordReport } from './payment.ts'
import type { Database } from './connection/pool.ts'
import { sweepHolds } from './sweep.ts'

let shop: TestShop
let auditor: Database

/** A shop per block: a fault planted in one is not found in another. */
function useShop(): void {
  beforeAll(open)
  afterAll(close)
}
async function open(): Promise<void> {
  shop = await createTestShop()
  auditor = await openTestDatabase({ url: shop.test.urlOf('auditor'), poolSize: 2, applicationName: 'test-auditor' })
}
async function close(): Promise<void> {
  await auditor.close()
  await shop.close()
}

const half = (order: AcceptedOrder) => buildObservation(order, { amount: order.amountDue / 2n, state: 'seen' })
const report = (order: AcceptedOrder, fact = buildObservation(order)) => recordReport(shop.api, 'w1', [fact])

/** Every possible history of an order. */
const LIVES: readonly ((order: AcceptedOrder) => Promise<unknown>)[] = [
  async () => undefined,
  async (order) => report(order),
  async (order) => {
    await report(order, half(order))
    await assessPayments(shop.worker, runOf(order).next())
  },
  async (order) => {
    await report(order, buildObservation(order, { state: 'seen' }))
    await assessPayments(shop.worker, runOf(order).next())
  },
  async (order) => {
    await report(order, buildObservation(order, { amount: order.amountDue + 5n }))
    await assessPayments(shop.worker, runOf(order).next())
  },
  async (order) => {
    const run = await paid(order)
    await shop.ask('ship', run.next())
  },
  async (order) => {
    const run = await paid(order)
    await shop.ask('ship', run.next())
    await shop.ask('deliver', run.next())
  },
  async (order) => shop.ask('cancel', runOf(order).next()),
  async (order) => {
    const run = await paid(order)
    await shop.ask('cancel', run.next())
  },
  async (order) => {
    await shop.ask('cancel', runOf(order).next())
    await report(order)
    await assessLatePayments(shop.worker, order.orderId)
  },
]

async function paid(order: AcceptedOrder): Promise<ReturnType<typeof runOf>> {
  const run = runOf(order)
  await reserveStock(shop.worker, run.next())
  await report(order)
  await assessPayments(shop.worker, run.next())
  return run
}

describe('a shop in which nothing went wrong', () => {
  useShop()
  const ORDERS = count(1_000, 10_000)
  const PRODUCTS = 40
  /** One order in this many expires. */
  const EXPIRING = 11

  test(
    'shows no difference, neither while its orders are made and moved nor afterwards',
    async () => {
      const random = randomOf('consistency')
      const products = await callConcurrently(PRODUCTS, () => shop.product({ onHand: 1_000_000n }))
      const lineOf = (at: number) =>
        buildLine({ productId: products[at % PRODUCTS]?.productId ?? '', quantity: 1 + Math.floor(random() * 5) })
      await shop.catchUp()
      let isBusy = true
      const looking = (async () => {
        const seen: unknown[] = []
        let looks = 0
        for (; isBusy; looks += 1) seen.push(...(await compareTables({ database: auditor })).differences)
        return { seen, looks }
      })()
      await callConcurrently(ORDERS, async (at) => {
        const lines = Array.from({ length: 1 + (at % 3) }, (_, no) => lineOf(at * 7 + no * 3))
        const isBrief = at % EXPIRING === 0
        const order = await shop.order({
          userId: BigInt(1 + (at % 100)),
          lines,
          ...(isBrief && { windowMs: 1, graceMs: 0 }),
        })
        if (isBrief) await sweepHolds(shop.worker, 50)
        else await LIVES[at % LIVES.length]?.(order)
      })
      isBusy = false
      const { seen, looks } = await looking
      expect(seen).toEqual([])
      expect(looks).toBeGreaterThan(0)

      const { looked, differences } = await compareTables({ database: auditor })
      expect(differences).toEqual([])
      expect(looked.orders).toBe(ORDERS)
      expect(looked.products).toBe(PRODUCTS)
      const statuses = await shop.query('select distinct status from orders')
      expect(statuses).toHaveLength(5)
    },
    COUNT_WITHIN_MS,
  )
})

type Planted = { orderId: string; productId: string }
type Plant = {
  /** The order to damage. */
  to: () => Promise<AcceptedOrder>
  sql: (ids: Planted) => string
  /** The subject under which it must be found. */
  found: readonly string[]
  foundOfProduct?: readonly string[]
}

const orderIn = (status: Parameters<TestShop['orderIn']>[0]) => async (): Promise<AcceptedOrder> =>
  (await shop.orderIn(status)).order
const fresh = () => shop.order()

/** Cancelled after it was paid. */
async function owing(): Promise<AcceptedOrder> {
  const { order, run } = await shop.orderIn('processing')
  await shop.ask('cancel', run.next())
  return order
}
/** Damage that no application role can do: by a superuser past triggers and foreign keys, or by a failed restore. */
const PLANTS: Readonly<Record<string, Plant>> = {
  'a unit that appears from nowhere': {
    to: fresh,
    sql: ({ productId }) => `update stock set on_hand = on_hand + 1 where product_id = '${productId}'`,
    found: [],
    foundOfProduct: ['stock_equals_ledger'],
  },
  'a unit reserved for nobody': {
    to: fresh,
    sql: ({ productId }) => `update stock set reserved = reserved + 1 where product_id = '${productId}'`,
    found: [],
    foundOfProduct: ['reserved_equals_holds'],
  },
  'a counter beyond its fence': {
    to: fresh,
    sql: ({ productId }) => `alter table stock drop constraint stock_never_oversold;
      update stock set reserved = on_hand + 1 where product_id = '${productId}'`,
    found: [],
    foundOfProduct: ['reserved_equals_holds', 'never_oversold'],
  },
  'counters that are gone': {
    to: fresh,
    sql: ({ productId }) => `delete from stock where product_id = '${productId}'`,
    found: [],
    foundOfProduct: ['product_has_stock'],
  },
  'another total': {
    to: fresh,
    sql: ({ orderId }) => `update orders set total = total + 1 where order_id = '${orderId}'`,
    found: ['total_equals_lines', 'due_equals_total', 'order_equals_audit'],
  },
  'another quantity': {
    to: fresh,
    sql: ({ orderId }) => `update order_line set quantity = quantity + 1 where order_id = '${orderId}'`,
    found: ['total_equals_lines', 'holds_cover_lines'],
  },
  'a hold that is gone': {
    to: fresh,
    sql: ({ orderId }) => `delete from reservation where order_id = '${orderId}'`,
    found: ['holds_equal_ledger'],
    foundOfProduct: ['reserved_equals_holds'],
  },
  'a hold given back twice': {
    to: orderIn('cancelled'),
    sql: ({
      orderId,
    }) => `insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
      select product_id, order_id, hold_no, 'expire', 0, reserved_delta, 'system' from stock_movement
      where order_id = '${orderId}' and kind = 'release'`,
    found: ['holds_equal_ledger'],
  },
  'an order shipped by nobody': {
    to: fresh,
    sql: ({ orderId }) => `update orders set status = 'shipped' where order_id = '${orderId}'`,
    found: ['holds_follow_status', 'payment_state_follows', 'news_follows_status', 'order_equals_audit'],
  },
  'a payment that is gone': {
    to: orderIn('processing'),
    sql: ({ orderId }) => `delete from payment where order_id = '${orderId}'`,
    found: ['payments_equal_inbox', 'payment_state_follows'],
  },
  'a payment nobody reported': {
    to: fresh,
    sql: ({
      orderId,
    }) => `insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
      values ('ethereum', '0x${'ef'.repeat(32)}', 0, '${orderId}', 'ETH', 1, 'seen', true, now())`,
    found: ['payments_equal_inbox', 'payment_state_follows'],
  },
  'money that is owed no more': {
    to: owing,
    sql: ({ orderId }) => `update refund_due set amount = amount - 1 where order_id = '${orderId}'`,
    found: ['refund_follows_money', 'refunds_stay_below_money'],
  },
  'money that is owed and has no refund': {
    to: owing,
    sql: ({ orderId }) => `delete from refund where order_id = '${orderId}'`,
    found: ['refunds_stay_below_money'],
  },
  'a refund of more than was received': {
    to: orderIn('delivered'),
    sql: ({ orderId }) => `
      insert into refund (order_id, network, asset, amount, kind, fee_bearer, named_in, requested_by, reason, status, destination, destination_confirmed_at)
      select order_id, network, asset, amount_due + 1, 'goodwill', 'shop', 'coin', 'user:9', 'none', 'paying', '0x${'1f'.repeat(20)}', now()
      from invoice where order_id = '${orderId}'`,
    found: ['payment_state_follows', 'refunds_stay_below_money'],
  },
  'a key that nobody retires': {
    to: orderIn('delivered'),
    sql: ({ orderId }) => `delete from key_retire where order_id = '${orderId}'`,
    found: ['key_retires_at_the_end'],
  },
  'a change that nobody is told of': {
    to: orderIn('shipped'),
    sql: ({ orderId }) => `delete from notification where order_id = '${orderId}' and status = 'shipped'`,
    found: ['news_follows_status'],
  },
  'news that nobody waits for': {
    to: async () => {
      const order = await fresh()
      await report(order)
      return order
    },
    sql: ({ orderId }) => `delete from order_wake where order_id = '${orderId}'`,
    found: ['news_is_awaited'],
  },
  'an order that is gone from under its parts': {
    to: fresh,
    sql: ({ orderId }) => `delete from orders where order_id = '${orderId}'`,
    found: ['order_exists', 'answer_names_its_order'],
  },
  'an order without an invoice': {
    to: fresh,
    sql: ({ orderId }) => `delete from invoice where order_id = '${orderId}'`,
    found: ['order_is_whole'],
  },
  'an answer that was forgotten too early': {
    to: fresh,
    sql: ({ orderId }) => `delete from idempotency where order_id = '${orderId}'`,
    found: ['order_has_one_key'],
  },
  'a start that nobody takes up': {
    to: fresh,
    sql: ({ orderId }) =>
      `update workflow_start set created_at = now() - interval '11 minutes' where order_id = '${orderId}'`,
    found: ['relay_passes_on'],
  },
  'a history whose end was cut off': {
    to: orderIn('shipped'),
    sql: ({ orderId }) => `delete from audit_entry where kind = 'order' and aggregate_id = '${orderId}'
      and seq = (select max(seq) from audit_entry where kind = 'order' and aggregate_id = '${orderId}')`,
    found: ['audit_ends_at_its_head', 'order_equals_audit'],
  },
  'a change that left no trace': {
    to: orderIn('processing'),
    sql: ({ orderId }) => `update orders set version = version + 1 where order_id = '${orderId}'`,
    found: ['order_equals_audit'],
  },
  'a hold that nobody ends': {
    to: async () => {
      await shop.catchUp()
      return fresh()
    },
    sql: ({ orderId }) => `
      update invoice set created_at = now() - interval '1 day', expires_at = now() - interval '1 hour' where order_id = '${orderId}';
      update reservation set expires_at = now() - interval '1 hour' where order_id = '${orderId}'`,
    found: ['hold_ends_on_time'],
  },
}

const plant = (statements: string) =>
  shop.query(`begin; set local session_replication_role = replica; ${statements}; commit`)

describe('what was planted past every fence', () => {
  // A small shop: each fault checks it twice.
  useShop()

  const keyOf = ({ check, subject }: { check: string; subject: string }): string => `${check} ${subject}`

  test.each(Object.keys(PLANTS))('is found by name and id, and nothing else with it: %s', async (name) => {
    const { to, sql, found, foundOfProduct = [] } = PLANTS[name] as Plant
    const order = await to()
    const ids = { orderId: order.orderId, productId: order.lines[0]?.productId ?? '' }
    const before = new Set((await findViolations(shop.test)).map(keyOf))
    await plant(sql(ids))
    const after = (await findViolations(shop.test)).map(keyOf)
    expect(after.filter((key) => !before.has(key)).toSorted()).toEqual(
      [
        ...found.map((check) => keyOf({ check, subject: ids.orderId })),
        ...foundOfProduct.map((check) => keyOf({ check, subject: ids.productId })),
      ].toSorted(),
    )
  })

  test('is found while it lasts: a session that stays in a transaction, let off its limits', async () => {
    const lasting = async () =>
      (await compareTables({ database: auditor, transactionMs: 200 })).differences.filter(
        ({ check }) => check === 'transaction_ends',
      )
    const session = new pg.Client({ connectionString: shop.test.urlOf('app_api'), application_name: 'left' })
    await session.connect()
    for (const limit of ['transaction_timeout', 'idle_in_transaction_session_timeout'])
      await session.query(`set ${limit} = 0`)
    await session.query('begin')
    const { rows } = await session.query<{ pid: number }>('select pg_backend_pid() as pid')
    const found = await until(async () => (await lasting())[0])
    expect(found).toEqual({
      check: 'transaction_ends',
      subject: `app_api ${rows[0]?.pid}`,
      detail: expect.stringMatching(/^left: idle in transaction, in a transaction since /),
    })
    expect((await findViolations(shop.test)).map(({ check }) => check)).not.toContain('transaction_ends')
    await session.query('rollback')
    expect(await lasting()).toEqual([])
    await session.end()
  })

  test('no invariant is without such a proof', () => {
    const planted = Object.values(PLANTS).flatMap(({ found, foundOfProduct = [] }) => [...found, ...foundOfProduct])
    const proven = new Set([...planted, 'transaction_ends'])
    expect(Object.keys(INVARIANTS).filter((name) => !proven.has(name))).toEqual([])
  })

  test('is not mended by looking, and a run leaves what it found until a later one finds it no more', async () => {
    const look = async (differences: Awaited<ReturnType<typeof findViolations>>) => {
      const looked = { orders: 1, products: 1, answers: 1, workflows: 0 }
      await recordConsistency(shop.worker, { startedAt: new Date(), looked, differences })
    }
    const { lines } = await fresh()
    await plant(`update stock set on_hand = on_hand + 1 where product_id = '${lines[0]?.productId}'`)
    const found = await findViolations(shop.test)
    await look(found)
    expect(await findViolations(shop.test)).toEqual(found)
    const firstSeen = () => shop.query('select subject, first_seen_at from inconsistency order by check_name, subject')
    const [before] = [await firstSeen()]
    await look(found)
    expect(await firstSeen()).toEqual(before)
    const { counts, finishedAt } = await findConsistency(shop.worker)
    const planted = found.filter(({ check }) => check === 'stock_equals_ledger')
    expect(planted.length).toBeGreaterThan(0)
    expect(counts.get('stock_equals_ledger')).toBe(planted.length)
    expect(finishedAt).toBeInstanceOf(Date)

    await look([])
    expect((await findConsistency(shop.worker)).counts).toEqual(new Map())
    expect(await shop.query('select differences from consistency_run order by run_no')).toEqual(
      [found.length, found.length, 0].map((n) => ({ differences: BigInt(n) })),
    )
  })
})

describe('a shop that cannot be looked at', () => {
  useShop()

  test('a table that cannot be read is no clean bill of health', async () => {
    const locker = new pg.Client({ connectionString: shop.test.url })
    await locker.connect()
    await locker.query('begin; lock table holdfast.notification in access exclusive mode')
    try {
      await expect(compareTables({ database: auditor })).rejects.toThrow()
    } finally {
      await locker.end()
    }
  })
})
