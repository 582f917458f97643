// The second line of defence: what the database refuses to every role, whatever the statement.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import pg from 'pg'
import { DATABASE_ROLES, type DatabaseRole } from '../support/servers.ts'
import { createTestShop, type TestShop } from '../support/shop.ts'
import { systemActor } from '../../src/domain/audit.ts'
import { ORDER_STATUSES, type OrderStatus } from '../../src/domain/order.ts'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'

/** SQLSTATEs of Postgres and of our triggers. */
const DENIED = '42501'
const CHECK_BROKEN = '23514'
const IMMUTABLE = 'HF001'
const ILLEGAL_MOVE = 'HF002'
const BAD_BEGINNING = 'HF003'

let shop: TestShop
/** One order in every status. */
let orders: Readonly<Record<OrderStatus, AcceptedOrder>>
const sessions = new Map<string, pg.Client>()

beforeAll(async () => {
  shop = await createTestShop()
  const made = await Promise.all(
    ORDER_STATUSES.map(async (status) => [status, (await shop.orderIn(status)).order] as const),
  )
  orders = Object.fromEntries(made) as typeof orders
  for (const role of DATABASE_ROLES) await open(role, shop.test.urlOf(role))
  await open('superuser', shop.test.url)
})
afterAll(async () => {
  for (const session of sessions.values()) await session.end()
  await shop.close()
})

async function open(name: string, url: string): Promise<void> {
  // The worker acts under its own name by default, as its process does.
  const session = new pg.Client({
    connectionString: url,
    ...(name === 'app_worker' && { options: `-c holdfast.actor=${JSON.stringify(systemActor('worker'))}` }),
  })
  await session.connect()
  if (name === 'superuser') await session.query('set search_path = holdfast')
  sessions.set(name, session)
}

/** The result of a statement under this role, always rolled back: `done` or its SQLSTATE. */
async function outcome(role: DatabaseRole | 'superuser', text: string, values: unknown[] = []): Promise<string> {
  const session = sessions.get(role)
  if (session === undefined) throw new Error(`no session of ${role}`)
  await session.query('begin')
  try {
    await session.query(text, values)
    return 'done'
  } catch (error) {
    return (error as { code: string }).code
  } finally {
    await session.query('rollback')
  }
}

describe('a status', () => {
  test('of many orders moves for all of them or for none', async () => {
    const ids = [orders.pending.orderId, orders.delivered.orderId]
    expect(
      await outcome('app_worker', `update orders set status = 'processing' where order_id = any ($1)`, [ids]),
    ).toBe(ILLEGAL_MOVE)
    expect(await shop.state(orders.pending)).toMatchObject({ status: 'pending', version: 1 })
  })

  test('and a reason to cancel go together', async () => {
    const { orderId } = orders.pending
    expect(await outcome('app_worker', `update orders set status = 'cancelled' where order_id = $1`, [orderId])).toBe(
      CHECK_BROKEN,
    )
    expect(
      await outcome('app_worker', `update orders set cancel_reason = 'fraud' where order_id = $1`, [orderId]),
    ).toBe(CHECK_BROKEN)
  })

  test.each([
    'alter table orders disable trigger all',
    'drop trigger orders_guard_update on orders',
    'set session_replication_role = replica',
    `insert into order_transition values ('delivered', 'pending', 'system')`,
    `insert into payment_transition values ('refunded', 'paid')`,
    'create or replace function holdfast.guard_order_update() returns trigger language plpgsql as $$ begin return new; end $$',
    'set role holdfast_owner',
  ])("is not freed of its fence by any of the shop's roles: %s", async (text) => {
    for (const role of DATABASE_ROLES) expect([role, await outcome(role, text)]).toEqual([role, DENIED])
  })

  test('begins pending, awaiting its payment', async () => {
    const insert = (columns: string, values: string) =>
      `insert into orders (order_id, user_id, currency, total, address_sealed, ${columns})
       select gen_random_uuid(), user_id, currency, total, address_sealed, ${values} from orders limit 1`
    expect(await outcome('superuser', insert('hold', `'none'`))).toBe('done')
    expect(await outcome('superuser', insert('status', `'processing'`))).toBe(BAD_BEGINNING)
    expect(await outcome('superuser', insert('payment_state', `'paid'`))).toBe(BAD_BEGINNING)
    expect(await outcome('superuser', insert('version', '2'))).toBe(BAD_BEGINNING)
    expect(await outcome('superuser', insert('generation', '1'))).toBe(BAD_BEGINNING)
    // The api may not even name these columns.
    for (const column of ['status', 'payment_state', 'version', 'created_at'])
      expect(await outcome('app_api', insert(column, column))).toBe(DENIED)
  })
})

describe('the agreement', () => {
  test.each([
    ['order_id', 'gen_random_uuid()'],
    ['user_id', 'user_id + 1'],
    ['currency', `'USD'`],
    ['total', 'total + 1'],
    ['created_at', `created_at - interval '1 day'`],
  ])('keeps its %s, by any writer', async (column, value) => {
    const text = `update orders set ${column} = ${value} where order_id = $1`
    expect(await outcome('superuser', text, [orders.pending.orderId])).toBe(IMMUTABLE)
    for (const role of DATABASE_ROLES)
      expect([role, await outcome(role, text, [orders.pending.orderId])]).toEqual([role, DENIED])
  })

  test.each(['order_line', 'invoice', 'stock_movement', 'customer', 'order_transition', 'currency'])(
    '%s is written once: no role changes, removes or empties it',
    async (table) => {
      const [{ column } = { column: '' }] = await shop.query<{ column: string }>(
        `select attname as column from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum desc limit 1`,
        [table],
      )
      for (const role of DATABASE_ROLES) {
        expect([role, await outcome(role, `update ${table} set ${column} = ${column}`)]).toEqual([role, DENIED])
        expect([role, await outcome(role, `delete from ${table}`)]).toEqual([role, DENIED])
        expect([role, await outcome(role, `truncate ${table} cascade`)]).toEqual([role, DENIED])
      }
    },
  )

  test('and what watchers said is changed by nobody, but for having been assessed', async () => {
    for (const role of DATABASE_ROLES) {
      expect([role, await outcome(role, 'update payment_report set amount = 1')]).toEqual([role, DENIED])
      expect([role, await outcome(role, 'delete from payment_report')]).toEqual([role, DENIED])
    }
    expect(await outcome('app_worker', 'update payment_report set is_assessed = true')).toBe('done')
  })
})

describe('versions and times', () => {
  test("are the database's own: nobody sets them, and they never go back", async () => {
    const { orderId } = orders.processing
    for (const column of ['version', 'updated_at', 'created_at'])
      expect(
        await outcome('app_worker', `update orders set ${column} = ${column} where order_id = $1`, [orderId]),
      ).toBe(DENIED)
    const session = sessions.get('superuser') as pg.Client
    await session.query('begin')
    const { rows } = await session.query(
      `update orders set hold = 'manual', version = 99, updated_at = 'epoch' where order_id = $1
       returning version::int, updated_at >= created_at as "isLater"`,
      [orderId],
    )
    await session.query('rollback')
    expect(rows).toEqual([{ version: 3, isLater: true }])
  })
})

describe('stock', () => {
  test('is never oversold, by any writer', async () => {
    const change = (assignment: string) => `update stock set ${assignment}`
    for (const role of ['app_api', 'app_worker', 'superuser'] as const)
      for (const assignment of ['reserved = on_hand + 1', 'reserved = -1', 'on_hand = -1', 'on_hand = 0, reserved = 1'])
        expect([role, assignment, await outcome(role, change(assignment))]).toEqual([role, assignment, CHECK_BROKEN])
  })
})

describe('ending orders', () => {
  test("is the worker's alone, and the api reaches it only through the rule of expiry", async () => {
    const end = `select end_orders(array[$1::uuid], 'expired', 'expired', 'system')`
    for (const role of DATABASE_ROLES)
      expect([role, await outcome(role, end, [orders.pending.orderId])]).toEqual([
        role,
        role === 'app_worker' ? 'done' : DENIED,
      ])
    expect(
      await outcome('app_api', 'select * from expire_orders(array[$1::uuid], false)', [orders.pending.orderId]),
    ).toBe('done')
  })
})
