-- What the ledger must have in sum of each order and asset, as payments, refunds and status are now.
-- One row per asset of the invoice, of a paid refund, or of a failed payout's fee; debit is positive. Money in another
-- asset than the invoice's is received when it is given back: before that it belongs to no order.
-- refund_due: what is owed less what was paid of it, at most what is there, and no dust.
-- written_off: the shortfall of an order whose money is enough or whose goods have left, and refunds that were paid but
-- are owed no more; less the dust of a cancelled order.
-- The money of a replacement (order_money) is received by the order that it replaces. What the replacement owes of it,
-- gives back, or lacks after its goods have left is its own: the two orders together have the sums of one.
-- customer_due is not here: it is what makes the sum zero.
-- Locks: none; exact for a caller that holds the order row.
create or replace view ledger_target as
select a.order_id, a.network, a.asset, a.token, m.received, -s.owed as refund_due, -(a.paid + a.fees) as refunded,
  a.fees,
  case when not a.is_invoiced then 0
    else case
      when o.status in ('shipped', 'delivered')
        or o.status = 'processing' and is_enough(m.in_time + t.taken, a.amount_due)
      then greatest(0, a.amount_due - m.in_time - t.taken) else 0 end
    + greatest(0, a.paid_of_owed - m.due)
    - case when o.status = 'cancelled' and m.received + t.taken - a.paid between 1 and c.dust_floor
      then m.received + t.taken - a.paid else 0 end
  end as written_off
from (
  -- One row per asset: what its paid refunds took, and the network fees that the shop bore in it.
  select x.order_id, x.network, x.asset, x.token, bool_or(x.is_invoiced) as is_invoiced,
    max(x.amount_due) as amount_due, sum(x.paid) as paid, sum(x.paid_of_owed) as paid_of_owed, sum(x.fee) as fees
  from (
    select i.order_id, i.network, i.asset, null::text as token, true as is_invoiced, i.amount_due, 0 as paid,
      0 as paid_of_owed, 0 as fee
    from invoice i
    union all
    select r.order_id, r.network, r.asset, r.token, false as is_invoiced, null::numeric as amount_due, r.amount as paid,
      case r.kind when 'owed' then r.amount else 0 end as paid_of_owed, 0 as fee
    from refund r where r.status = 'paid'
    union all
    -- The network takes its fee in its coin, whatever was sent.
    select r.order_id, r.network, r.asset, null::text as token, false as is_invoiced, null::numeric as amount_due,
      0 as paid, 0 as paid_of_owed, r.network_fee as fee
    from refund r where r.status = 'paid' and r.fee_bearer = 'shop'
    union all
    -- A payout that failed on the chain: the shop bears its fee, not the customer.
    select r.order_id, r.network, r.asset, null::text as token, false as is_invoiced, null::numeric as amount_due,
      0 as paid, 0 as paid_of_owed, p.network_fee as fee
    from payout p join refund r on r.refund_id = p.refund_id where p.network_fee > 0
  ) x
  group by 1, 2, 3, 4
) a
join orders o on o.order_id = a.order_id
join currency c on c.currency = a.asset
cross join lateral (
  select case when a.is_invoiced then coalesce(sum(p.amount), 0) else a.paid end as received,
    coalesce(sum(p.amount) filter (where p.is_in_time), 0) as in_time,
    coalesce((select d.amount from refund_due d where a.is_invoiced and d.order_id = a.order_id), 0) as due
  from payment p where a.is_invoiced and p.order_id = a.order_id and p.state = 'final'
) m
cross join lateral (
  -- What a replacement counts of the money of the order that it replaces.
  select case when a.is_invoiced and exists (select from late_decision d where d.replacement_id = a.order_id)
    then (select y.final - m.in_time from order_money(array[a.order_id]) y) else 0 end as taken
) t
cross join lateral (
  select case when w.amount > c.dust_floor then w.amount else 0 end as owed
  from (select least(m.due - a.paid_of_owed, m.received + t.taken - a.paid) as amount) w
) s;
