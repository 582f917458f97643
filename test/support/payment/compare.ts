// What the product has of orders of sequences, as their oracles see them.

import type { TestShop } from '../shop.ts'
import type { OrderOracle, OrderView } from './oracle.ts'

export type Difference = { seed: number; step: number; order: string; expected: unknown; found: unknown }
export type Compared = { seed: number; name: string; live: { order: { orderId: string }; oracle: OrderOracle } }

const refundsOf = (order: string): string =>
  `(select coalesce(jsonb_agg(jsonb_build_array(f.kind, f.amount::text, f.status) order by f.created_at, f.refund_id), '[]')
     from refund f where f.order_id = ${order}.order_id) as refunds`
const viewText = `
  select o.order_id as id, o.status, o.payment_state, o.hold, o.payment_flags as flags, ${refundsOf('o')},
    (select d.amount::text from refund_due d where d.order_id = o.order_id) as owed,
    (select coalesce(sum(p.amount), 0)::text from payment p where p.order_id = o.order_id and p.state = 'final') as final,
    (select jsonb_build_object('received', coalesce(sum(l.received), 0)::text,
       'refunded', coalesce(sum(l.refunded), 0)::text, 'refund_due', coalesce(sum(l.refund_due), 0)::text)
     from ledger_posting l where l.order_id = o.order_id) as ledger,
    (select to_jsonb(x) from (
       select r.status, r.payment_state, r.hold, ${refundsOf('r')},
         (select y.amount::text from refund_due y where y.order_id = r.order_id) as owed
       from late_decision d join orders r on r.order_id = d.replacement_id where d.order_id = o.order_id) x) as replacement
  from orders o where o.order_id = any ($1::uuid[])`

export async function compareOrders(shop: TestShop, acting: readonly Compared[], step: number): Promise<Difference[]> {
  const ids = acting.map(({ live }) => live.order.orderId)
  const rows = await shop.query<OrderView & { id: string }>(viewText, [ids])
  return acting.flatMap(({ seed, name, live }) => {
    const row = rows.find(({ id }) => id === live.order.orderId)
    const expected = { id: live.order.orderId, ...live.oracle.view() }
    const found = row ?? null
    return canonical(found) === canonical(expected) ? [] : [{ seed, step, order: name, expected, found }]
  })
}

export const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([a], [b]) => a.localeCompare(b)))
      : part,
  )
