// What must hold in every database of ours at every commit, asked as SQL: each row returned is a broken invariant.

import type { TestDatabase } from './database.ts'

export type Violation = { invariant: string; subject: string }

const LIVE_HOLD = `('held', 'committed')`

const VIOLATIONS = `
  with ledger as (
    select product_id, sum(on_hand_delta) as on_hand, sum(reserved_delta) as reserved from stock_movement group by 1
  ), active as (
    select product_id, sum(quantity) as quantity from reservation where state in ${LIVE_HOLD} group by 1
  ), wanted as (
    select order_id, product_id, sum(quantity) as quantity from order_line group by 1, 2
  ), ended as (
    select m.order_id, m.product_id, m.hold_no, array_agg(m.kind order by m.kind) as kinds
    from stock_movement m where m.kind in ('release', 'expire', 'consume') group by 1, 2, 3
  )
  select 'counters equal the ledger' as invariant, s.product_id as subject
  from stock s left join ledger l using (product_id)
  where (s.on_hand, s.reserved) is distinct from (coalesce(l.on_hand, 0), coalesce(l.reserved, 0))
  union all
  select 'never oversold', product_id from stock where reserved < 0 or reserved > on_hand
  union all
  select 'reserved equals the holds', s.product_id from stock s left join active a using (product_id)
  where s.reserved <> coalesce(a.quantity, 0)
  union all
  select 'an order holds what its lines sum up to', w.order_id::text
  from wanted w left join reservation r on r.order_id = w.order_id and r.product_id = w.product_id and r.hold_no = 1
  where w.quantity <> r.quantity
    or (r.order_id is null and exists (select from reservation o where o.order_id = w.order_id))
  union all
  select 'a hold ends once, as the ledger says', r.order_id || ' ' || r.product_id
  from reservation r left join ended e using (order_id, product_id, hold_no)
  where coalesce(e.kinds, '{}') <> case r.state
    when 'released' then '{release}'::text[] when 'expired' then '{expire}' when 'consumed' then '{consume}' else '{}' end
  union all
  select 'a hold is where its order is', o.order_id || ' ' || o.status || ' ' || r.state
  from orders o join reservation r using (order_id)
  where r.state <> all (case o.status
    when 'pending' then array['held'] when 'processing' then array['committed']
    when 'cancelled' then array['released', 'expired'] else array['consumed'] end)
  union all
  select 'the total is that of the lines', o.order_id::text from orders o
  where o.total <> (select sum(l.quantity * l.unit_price) from order_line l where l.order_id = o.order_id)
  union all
  select 'the amount due is that of the total', i.order_id::text
  from invoice i join orders o using (order_id) join currency c on c.currency = i.asset
  where i.amount_due <> quote_due(o.total, i.rate, c.decimals)
  union all
  select 'an order has its lines, its invoice and its key', o.order_id::text from orders o
  where not exists (select from order_line l where l.order_id = o.order_id)
    or not exists (select from invoice i where i.order_id = o.order_id)
    or (select count(*) from idempotency k where k.order_id = o.order_id and k.method = 'CreateOrder') <> 1
  union all
  select 'an output is credited to the order whose address it went to', p.tx_id
  from payment p join invoice i using (order_id)
  where not exists (
    select from payment_report r
    where (r.network, r.tx_id, r.output_index) = (p.network, p.tx_id, p.output_index)
      and (r.order_id, r.address, r.amount) = (p.order_id, i.address, p.amount))
  union all
  select 'what is shipped was paid', o.order_id::text from orders o join invoice i using (order_id)
  where o.status in ('processing', 'shipped', 'delivered') and o.payment_state = 'paid'
    and (select coalesce(sum(p.amount), 0) from payment p where p.order_id = o.order_id and p.state = 'final') * 1000 < i.amount_due * 999
  union all
  select 'a wake waits for each order with news', r.order_id::text from payment_report r
  where r.order_id is not null and not r.is_assessed and not exists (select from order_wake w where w.order_id = r.order_id)`

/** Empty when all is well. One statement, so it may be asked while others work. */
export const findViolations = (database: Pick<TestDatabase, 'query'>): Promise<Violation[]> =>
  database.query<Violation>(VIOLATIONS)
