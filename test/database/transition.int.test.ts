// The order state machine in the database: every pair of statuses, every role and form of statement, compared with the
// code.

import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import pg from 'pg'
import { COUNT_WITHIN_MS } from '../support/scale.ts'
import { DATABASE_ROLES, type DatabaseRole } from '../support/servers.ts'
import { createTestShop, type TestShop } from '../support/shop.ts'
import { ACTOR_ROLES, mayMove, ORDER_STATUSES, TRANSITIONS, type OrderStatus } from '../../src/domain/order.ts'
import { PAYMENT_MOVES, PAYMENT_STATES } from '../../src/domain/payment.ts'
import type { AcceptedOrder } from '../../src/db/accept/accept.ts'

jest.setTimeout(COUNT_WITHIN_MS)

const DENIED = '42501'
const ILLEGAL_MOVE = 'HF002'
const ILLEGAL_PAYMENT = 'HF004'

let shop: TestShop
/** Two orders in every status. */
let orders: Readonly<Record<OrderStatus, readonly AcceptedOrder[]>>

beforeAll(async () => {
  shop = await createTestShop()
  const made = await Promise.all(
    ORDER_STATUSES.map(async (status) => {
      const two = [await shop.orderIn(status), await shop.orderIn(status)]
      return [status, two.map(({ order }) => order)] as const
    }),
  )
  orders = Object.fromEntries(made) as unknown as typeof orders
})
afterAll(() => shop.close())

/** Sets a status manually, with a reason where it needs one. $1 is the order, $2 the status, $3 another order. */
const REASON = `case $2 when 'cancelled' then coalesce(orders.cancel_reason, 'admin') end`
const FORMS: Readonly<Record<string, string>> = {
  UPDATE: `update orders set status = $2, cancel_reason = ${REASON} where order_id = $1`,
  'UPDATE … FROM': `update orders set status = $2, cancel_reason = ${REASON} from invoice i
    where i.order_id = orders.order_id and orders.order_id = $1`,
  MERGE: `merge into orders using (select $1::uuid as id) m on orders.order_id = m.id
    when matched then update set status = $2, cancel_reason = ${REASON}`,
  'several rows': `update orders set status = $2, cancel_reason = ${REASON} where order_id in ($1, $3)`,
  'INSERT … ON CONFLICT DO UPDATE': `insert into orders (order_id, user_id, currency, total, address_sealed)
    select order_id, user_id, currency, total, address_sealed from orders where order_id = $1
    on conflict (order_id) do update set status = $2, cancel_reason = ${REASON}`,
}

type Attempt = { text: string; role: string; values: readonly [string, string, string] }

/** The results of all attempts in one call, each rolled back: `done` or its SQLSTATE. */
async function outcomes(url: string, attempts: readonly Attempt[], asRole?: string): Promise<string[]> {
  const session = new pg.Client({ connectionString: url, options: '-c search_path=holdfast -c statement_timeout=60s' })
  await session.connect()
  const actor = (role: string) =>
    role === 'customer' || role === 'fulfilment' || role === 'admin' ? 'user:7' : `${role}:one`
  const tried = attempts.map(({ text, role, values }) => ({
    text,
    values,
    by: JSON.stringify({ actor: actor(role), role }),
  }))
  try {
    if (asRole !== undefined) await session.query(`set role ${asRole}`)
    await session.query('set transaction_timeout = 0')
    await session.query(`select set_config('test.tried', $1, false)`, [JSON.stringify(tried)])
    await session.query(`do $do$
      declare
        v_try jsonb;
        v_found text[] := '{}';
        v_state text;
      begin
        for v_try in select value from jsonb_array_elements(current_setting('test.tried')::jsonb) loop
          begin
            perform set_config('holdfast.actor', v_try ->> 'by', true);
            execute v_try ->> 'text' using (v_try -> 'values' ->> 0)::uuid, v_try -> 'values' ->> 1, (v_try -> 'values' ->> 2)::uuid;
            raise exception 'undo' using errcode = 'ZZ000';
          exception when others then
            get stacked diagnostics v_state = returned_sqlstate;
            v_found := v_found || case v_state when 'ZZ000' then 'done' else v_state end;
          end;
        end loop;
        perform set_config('test.found', to_json(v_found)::text, false);
      end $do$`)
    const { rows } = await session.query<{ found: string }>(`select current_setting('test.found') as found`)
    return JSON.parse(rows[0]?.found ?? '[]') as string[]
  } finally {
    await session.end()
  }
}

const CASES = ORDER_STATUSES.flatMap((from) =>
  ORDER_STATUSES.flatMap((to) => ACTOR_ROLES.map((role) => ({ from, to, role }))),
)
const attemptsBy = (form: string): Attempt[] =>
  CASES.map(({ from, to, role }) => {
    const [one, other] = orders[from]
    return { text: FORMS[form] ?? '', role, values: [one?.orderId ?? '', to, other?.orderId ?? ''] }
  })
const labelled = (found: readonly string[]): string[] =>
  CASES.map(({ from, to, role }, at) => `${from} to ${to} by ${role}: ${found[at]}`)

describe('a status', () => {
  test('has the same legal moves in the database as in the domain, 11 with a role', async () => {
    const rows = await shop.query<{ line: string }>(
      `select from_status || ' ' || to_status || ' ' || role as line from order_transition`,
    )
    const moves = TRANSITIONS.flatMap(({ from, to, roles }) => roles.map((role) => `${from} ${to} ${role}`))
    expect(rows.map(({ line }) => line).toSorted()).toEqual(moves.toSorted())
    expect(moves).toHaveLength(11)
    expect(CASES).toHaveLength(150)
  })

  test.each(Object.keys(FORMS).filter((form) => !form.startsWith('INSERT')))(
    'moves by %s, as the worker, for exactly the pairs and roles of the domain',
    async (form) => {
      const found = await outcomes(shop.test.urlOf('app_worker'), attemptsBy(form))
      const expected = CASES.map(({ from, to, role }) => (mayMove(from, to, role) ? 'done' : ILLEGAL_MOVE))
      expect(labelled(found)).toEqual(labelled(expected))
      expect(found.filter((outcome) => outcome === 'done')).toHaveLength(11)
    },
  )

  test('moves by no INSERT that turns into an update, as the worker', async () => {
    const found = await outcomes(shop.test.urlOf('app_worker'), attemptsBy('INSERT … ON CONFLICT DO UPDATE'))
    expect(new Set(found)).toEqual(new Set([DENIED]))
  })

  test.each(DATABASE_ROLES.filter((role) => role !== 'app_worker'))(
    'moves in no form and for no actor as %s',
    async (role: DatabaseRole) => {
      const found = await outcomes(shop.test.urlOf(role), Object.keys(FORMS).flatMap(attemptsBy))
      expect(found).toHaveLength(CASES.length * Object.keys(FORMS).length)
      expect(new Set(found)).toEqual(new Set([DENIED]))
    },
  )

  test.each(['the superuser', 'holdfast_owner'])('moves in no form and for no actor as %s', async (role) => {
    const asRole = role === 'holdfast_owner' ? role : undefined
    const found = await outcomes(shop.test.url, Object.keys(FORMS).flatMap(attemptsBy), asRole)
    expect(new Set(found)).toEqual(new Set([ILLEGAL_MOVE]))
  })

  test('that is refused leaves no trace: neither version nor news nor audit', async () => {
    const picture = () =>
      shop.query(
        `select (select jsonb_agg(o order by order_id) from orders o) as orders, (select count(*) from notification) as news,
           (select count(*) from audit_entry) as entries, (select count(*) from audit_pending) as pending`,
      )
    const before = await picture()
    const [first] = orders.delivered
    await expect(
      shop.test.writeAs('app_worker', { actor: 'user:1', role: 'admin' }, FORMS['UPDATE'] ?? '', [
        first?.orderId,
        'pending',
      ]),
    ).rejects.toMatchObject({ code: ILLEGAL_MOVE })
    expect(await picture()).toEqual(before)
  })
})

describe('a payment state', () => {
  const PAIRS = PAYMENT_STATES.flatMap((from) => PAYMENT_STATES.map((to) => ({ from, to })))

  test('has the same legal moves in the database as in the domain', async () => {
    const rows = await shop.query<{ line: string }>(
      `select from_state || ' ' || to_state as line from payment_transition`,
    )
    const moves = Object.entries(PAYMENT_MOVES).flatMap(([from, all]) => all.map((to) => `${from} ${to}`))
    expect(rows.map(({ line }) => line).toSorted()).toEqual(moves.toSorted())
  })

  test('moves as the worker for exactly these, and as nobody else', async () => {
    const made = await Promise.all(PAYMENT_STATES.map(async (state) => [state, (await shop.order()).orderId] as const))
    for (const [state, orderId] of made)
      await shop.test.forge('update orders set payment_state = $2 where order_id = $1', [orderId, state])
    const idOf = Object.fromEntries(made)
    const text = 'update orders set payment_state = $2 where order_id = $1'
    const attempts = PAIRS.map(({ from, to }): Attempt => {
      const id = idOf[from] ?? ''
      return { text, role: 'system', values: [id, to, id] }
    })
    const label = (found: readonly string[]) => PAIRS.map(({ from, to }, at) => `${from} to ${to}: ${found[at]}`)
    const legal = PAIRS.map(({ from, to }) =>
      from === to || PAYMENT_MOVES[from].includes(to) ? 'done' : ILLEGAL_PAYMENT,
    )
    expect(label(await outcomes(shop.test.urlOf('app_worker'), attempts))).toEqual(label(legal))
    const byHand = PAIRS.map(({ from, to }) => (from === to ? 'done' : ILLEGAL_PAYMENT))
    expect(label(await outcomes(shop.test.url, attempts))).toEqual(label(byHand))
    for (const role of DATABASE_ROLES.filter((one) => one !== 'app_worker'))
      expect(new Set(await outcomes(shop.test.urlOf(role), attempts))).toEqual(new Set([DENIED]))
  })
})
