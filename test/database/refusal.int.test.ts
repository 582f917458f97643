// Which commands an order refuses is decided twice: refusalOf in the domain and command_order in SQL (decision 26). Here
// both decide the same cases, each in SQL for real and undone.

import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { COUNT_WITHIN_MS, count } from '../support/scale.ts'
import { buildObservation, createTestShop, type TestShop } from '../support/shop.ts'
import { refusalOf } from '../../src/domain/command.ts'
import { ACTOR_ROLES, COMMANDS, HOLDS, ORDER_STATUSES } from '../../src/domain/order.ts'
import { PAYMENT_STATES } from '../../src/domain/payment.ts'
import { recordReport } from '../../src/db/payment.ts'

jest.setTimeout(COUNT_WITHIN_MS)

/** What the caller expects the version to be, from the real one. */
const EXPECTED = { any: undefined, same: 0, other: 1 } as const
const USUAL = { paymentState: 'paid', hold: 'none', hasUnassessed: false, expected: 'any' } as const

const ORDERS = PAYMENT_STATES.flatMap((paymentState) =>
  HOLDS.flatMap((hold) =>
    [false, true].flatMap((hasUnassessed) =>
      (['any', 'same', 'other'] as const).map((expected) => ({ paymentState, hold, hasUnassessed, expected })),
    ),
  ),
)
const unusual = (order: (typeof ORDERS)[number]): number =>
  (Object.keys(USUAL) as (keyof typeof USUAL)[]).filter((fact) => order[fact] !== USUAL[fact]).length
/** In short: at most one fact is unusual. In full: any are. */
const CASES = ORDERS.filter((order) => unusual(order) <= count(1, 4)).flatMap((order) =>
  ORDER_STATUSES.flatMap((status) =>
    COMMANDS.flatMap((command) => ACTOR_ROLES.map((role) => ({ ...order, status, command, role }))),
  ),
)

/** Triggers are off, since they would refuse most of the states that are compared. */
const OUTCOMES_OF = `create function public.outcomes_of(p_cases jsonb) returns text[]
set session_replication_role = replica set search_path = holdfast, pg_catalog language plpgsql as $$
declare
  v_case jsonb;
  v_outcome text;
  v_found text[] := '{}';
begin
  for v_case in select value from jsonb_array_elements(p_cases) loop
    begin
      update orders set payment_state = v_case ->> 'paymentState', hold = v_case ->> 'hold'
      where order_id = (v_case ->> 'orderId')::uuid;
      select outcome into v_outcome from command_order(
        (v_case ->> 'orderId')::uuid, 1000, 1, v_case ->> 'command', v_case -> 'input', v_case ->> 'actor');
      raise exception 'undo' using errcode = 'ZZ000';
    exception when sqlstate 'ZZ000' then
      v_found := v_found || v_outcome;
    end;
  end loop;
  return v_found;
end $$`

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
  await shop.query(OUTCOMES_OF)
})
afterAll(() => shop.close())

/** One order in each status, without news in its inbox and with. */
async function makeOrders(): Promise<Map<string, { orderId: string; version: number }>> {
  const made = new Map<string, { orderId: string; version: number }>()
  for (const status of ORDER_STATUSES)
    for (const hasUnassessed of [false, true]) {
      const { order } = await shop.orderIn(status)
      if (hasUnassessed) await recordReport(shop.api, 'w1', [buildObservation(order, { state: 'seen' })])
      const { version, ...state } = await shop.state(order)
      expect(state).toMatchObject({ status, hasUnassessed })
      made.set(`${status} ${hasUnassessed}`, { orderId: order.orderId, version })
    }
  return made
}

test('a command is refused in SQL where the domain refuses it, and nowhere else', async () => {
  const orders = await makeOrders()
  const asked = CASES.map(({ expected, ...one }) => {
    const order = orders.get(`${one.status} ${one.hasUnassessed}`) ?? { orderId: '', version: 0 }
    const by = EXPECTED[expected]
    return { ...one, ...order, expected, ...(by !== undefined && { expectedVersion: order.version + by }) }
  })
  const actor = {
    actor: 'user:7',
    method: 'test',
    key: '00000000-0000-4000-8000-000000000000',
    requestHash: 'ab'.repeat(32),
  }
  const calls = asked.map(({ orderId, command, role, paymentState, hold, expectedVersion }) => ({
    ...{ orderId, command, paymentState, hold, actor: JSON.stringify({ actor: 'user:7', role }) },
    input: { ...actor, role, expectedVersion },
  }))
  const [row] = await shop.query<{ found: string[] }>('select public.outcomes_of($1) as found', [JSON.stringify(calls)])
  const label = (outcomes: readonly (string | undefined)[]): string[] =>
    asked.map(
      ({ command, status, role, paymentState, hold, hasUnassessed, expected }, at) =>
        `${command} by ${role} of ${status}, ${paymentState}, hold ${hold}, news ${hasUnassessed}, ${expected}: ${outcomes[at]}`,
    )
  const decided = asked.map((one) => (refusalOf(one.command, one, one) === undefined ? 'done' : 'refused'))
  expect(label(row?.found ?? [])).toEqual(label(decided))
  expect(new Set(decided)).toEqual(new Set(['done', 'refused']))
})
