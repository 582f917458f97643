// The consistency check of a stock benchmark: a fast system that oversells has not won.

import type { BenchDatabase } from '../servers.ts'

/** Describes products whose counters exceed their stock or differ from what orders hold. Empty when all is correct. */
export async function findOversold(database: Pick<BenchDatabase, 'query'>): Promise<string[]> {
  const wrong = await database.query<{ said: string }>(
    `with held as (
       select product_id, sum(quantity) as units from reservation where state in ('held', 'committed') group by 1
     ), sold as (
       select l.product_id, sum(l.quantity) as units from order_line l join orders o using (order_id)
       where o.status <> 'cancelled' group by 1
     )
     select format('%s: %s on hand, %s reserved, %s held, %s sold', product_id, s.on_hand, s.reserved, h.units, l.units) as said
     from stock s left join held h using (product_id) left join sold l using (product_id)
     where s.reserved > s.on_hand or s.reserved <> coalesce(h.units, 0) or s.reserved <> coalesce(l.units, 0)`,
  )
  return wrong.map(({ said }) => said)
}
