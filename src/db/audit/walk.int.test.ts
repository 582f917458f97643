// Completeness of the audit: the final rows of random orders must follow from their audit entries alone.

import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { bodyOf, entriesOf, expectWholeChains } from '../../../test/support/audit.ts'
import { buildLine } from '../../../test/support/builder.ts'
import { callConcurrently } from '../../../test/support/concurrent.ts'
import { count, COUNT_WITHIN_MS, randomOf, seed } from '../../../test/support/scale.ts'
import { buildObservation, createTestShop, type TestShop } from '../../../test/support/shop.ts'
import { applyChanges, type AuditView } from '../../domain/audit.ts'
import type { AcceptedOrder } from '../accept/accept.ts'
import { changeAddress, expireOrder } from '../order.ts'
import { assessPayments, recordReport } from '../payment.ts'

jest.setTimeout(COUNT_WITHIN_MS)

let shop: TestShop
beforeAll(async () => {
  shop = await createTestShop()
})
afterAll(() => shop.close())

/** Changed rows since the start, counted by triggers that are independent of the audit. */
async function countRowChanges(): Promise<() => Promise<string[]>> {
  const scope = await shop.query<{ table_name: string; ignored: string[] }>(
    'select table_name, ignored from audit_scope where kind is not null',
  )
  await shop.query(`
    create schema probe;
    create table probe.change (name text, op text);
    create function probe.note() returns trigger language plpgsql security definer as $$
    begin
      if tg_op <> 'UPDATE' or to_jsonb(new) - tg_argv[0]::text[] <> to_jsonb(old) - tg_argv[0]::text[] then
        insert into probe.change values (tg_table_name, tg_op);
      end if;
      return null;
    end $$`)
  for (const { table_name: name, ignored } of scope)
    await shop.query(
      `create trigger probe after insert or update or delete on ${name} for each row execute function probe.note('{${ignored.join(',')}}')`,
    )
  const [from] = await shop.query<{ id: bigint }>('select coalesce(max(entry_id), 0) as id from audit_entry')
  return async () => {
    const lines = (text: string, values: unknown[] = []) => shop.query<{ line: string }>(text, values)
    const made = await lines(
      `select name || ' ' || op || ' ' || count(*) as line from probe.change group by name, op order by 1`,
    )
    const kept = await lines(
      `select (c ->> 'table') || ' ' || (c ->> 'op') || ' ' || count(*) as line
       from audit_entry, jsonb_array_elements(body::jsonb -> 'changes') c where entry_id > $1
       group by c ->> 'table', c ->> 'op' order by 1`,
      [from?.id],
    )
    expect(kept).toEqual(made)
    return made.map(({ line }) => line)
  }
}

const WALK = count(600, 10_000)

describe(`a random walk of ${WALK} moves, seed ${seed}`, () => {
  const random = randomOf('audit walk')
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T

  /** An order of two products, one of them shared with many other orders. */
  async function begin(shared: string): Promise<AcceptedOrder> {
    const { productId } = await shop.product()
    const lines = [shared, productId].map((id) => buildLine({ productId: id, quantity: 1 + Math.floor(random() * 2) }))
    return shop.order({ lines, userId: BigInt(1 + Math.floor(random() * 20)) })
  }

  type Walker = { order: AcceptedOrder; step: number }
  const MOVES: readonly ((walker: Walker) => Promise<unknown>)[] = [
    ({ order }) =>
      recordReport(shop.api, pick(['w1', 'w2']), [
        buildObservation(order, { amount: order.amountDue / pick([1n, 2n]) }),
      ]),
    (walker) => assessPayments(shop.worker, fenceOf(walker)),
    (walker) => assessPayments(shop.worker, fenceOf(walker)),
    (walker) => shop.ask('ship', fenceOf(walker)),
    (walker) => shop.ask('deliver', fenceOf(walker)),
    (walker) => (random() < 0.3 ? shop.ask('cancel', fenceOf(walker)) : Promise.resolve()),
    (walker) => expireOrder(shop.worker, fenceOf(walker)),
    async ({ order }) => {
      const input = {
        actor: 'user:7',
        role: 'customer' as const,
        method: 'Move',
        key: randomUUID(),
        requestHash: 'ab'.repeat(32),
      }
      await changeAddress(shop.api, order.orderId, randomBytes(64), input).catch((error: unknown) =>
        expect(error).toMatchObject({ reason: 'ORDER_STATUS' }),
      )
    },
  ]
  const fenceOf = (walker: Walker) => ({ orderId: walker.order.orderId, generation: 1, step: (walker.step += 1) })

  test('has as many changes in the audit as rows changed, and rebuilds every order from the audit alone', async () => {
    const compare = await countRowChanges()
    const { productId: shared } = await shop.product({ onHand: 100_000n })
    const walkers: Walker[] = []
    for (let at = 0; at < WALK / 12; at += 1) walkers.push({ order: await begin(shared), step: 0 })
    // One caller per order, as its workflow is; different orders concurrently.
    const moves = walkers.map((walker) => Array.from({ length: 12 }, () => ({ walker, move: pick(MOVES) })))
    await callConcurrently(
      walkers.length,
      async (at) => {
        for (const { walker, move } of moves[at] ?? []) await move(walker)
      },
      6,
    )
    expect((await compare()).length).toBeGreaterThan(8)
    for (const { order } of walkers) expect(await presentOf(order)).toEqual(await rebuilt(order))
    await expectWholeChains(shop)
  })
})

const ORDER_TABLES = [
  'orders',
  'order_line',
  'invoice',
  'reservation',
  'payment',
  'payment_report',
  'refund_due',
  'refund',
  'refund_approval',
]
/** Columns of internal use; and durations, which the audit stores in seconds. */
const NOT_COMPARED = new Set(['generation', 'step', 'grace', 'confirm_within'])

/** A value as text, in a form that is independent of how it was written. */
function plain(value: unknown): unknown {
  if (value === null || value === undefined) return null
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.replace(/^\\x/, '').replace(/, "/g, ',"')
}
const plainRow = (table: string, row: Record<string, unknown>) =>
  `${table} ${JSON.stringify(
    Object.entries(row)
      .filter(([column]) => !NOT_COMPARED.has(column))
      .toSorted(([one], [other]) => (one < other ? -1 : 1))
      .map(([column, value]) => [column, plain(value)]),
  )}`

async function presentOf({ orderId }: AcceptedOrder): Promise<string[]> {
  const rows = await Promise.all(
    ORDER_TABLES.map(async (table) => {
      const found = await shop.query<{ row: Record<string, unknown> }>(
        `select (select jsonb_object_agg(e.key, e.value) from jsonb_each_text(to_jsonb(t)) e) as row from ${table} t where order_id = $1`,
        [orderId],
      )
      return found.map(({ row }) => plainRow(table, row))
    }),
  )
  return rows.flat().toSorted()
}

async function rebuilt({ orderId }: AcceptedOrder): Promise<string[]> {
  const view: AuditView = new Map()
  for (const entry of await entriesOf(shop, 'order', orderId)) applyChanges(view, bodyOf(entry).changes)
  return [...view].map(([key, row]) => plainRow(key.split(' ')[0] ?? '', row)).toSorted()
}
