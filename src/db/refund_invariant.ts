// What must hold between the refunds of an order and its money, at every commit: for invariant.ts.

import { sql, type FragmentSqlToken } from 'slonik'

/**
 * Orders that began to pay back more than they received, and orders whose open refund is not what they owe. A refund
 * that was paid may be left without its money: a reorganisation of an order that was shipped or cancelled, or of the
 * order that it replaces.
 * @param within a condition on the order `o`
 */
export const refundFaults = (within: FragmentSqlToken): FragmentSqlToken => sql.fragment`
  select o.order_id::text as subject,
    'received ' || m.received || ', begun ' || r.begun || ', open ' || r.open || ', to be ' || owed_refund(o.order_id) as detail
  from orders o join invoice i on i.order_id = o.order_id
  cross join lateral (select received_money(o.order_id, i.network, i.asset, null) as received) m
  cross join lateral (
    select coalesce(sum(x.amount) filter (where x.status in ('paying', 'paid')), 0) as begun,
      coalesce(sum(x.amount) filter (where x.kind = 'owed' and x.status in ('awaiting_destination', 'awaiting_approval')), 0)
        as open
    from refund x where x.order_id = o.order_id and (x.network, x.asset) = (i.network, i.asset) and x.token is null) r
  where ${within} and (
    r.open <> owed_refund(o.order_id)
    or r.begun > m.received and not exists (
      select from payment p join payment_report f
        on (f.order_id, f.network, f.tx_id, f.output_index) = (p.order_id, p.network, p.tx_id, p.output_index)
      where p.state <> 'final' and f.state = 'final' and (p.order_id = o.order_id
        or p.order_id in (select d.order_id from late_decision d where d.replacement_id = o.order_id))))`
