-- Late policy: why the late money of an expired order cannot buy it again; refusal is null where it can.
-- p_policy: {accepts, withinMs, driftBps, rateAgeMs}. Money counts that came within withinMs after the quote and its
-- grace. due_now: what the same lines cost at today's prices and today's rate, which may differ from the amount due by
-- driftBps / 10,000. A rate older than rateAgeMs is unknown.
-- Locks: none; the caller holds the order row and the stock rows, so that prices and stock stay. Changes nothing.
create or replace function late_refusal(p_order_id uuid, p_policy jsonb)
returns table (refusal text, rate numeric, due_now numeric)
language sql stable as $$
  select case
      when not (p_policy ->> 'accepts')::boolean then 'policy'
      when o.hold <> 'none' then 'on_hold'
      when o.payment_state in ('refunding', 'partially_refunded', 'refunded') or exists (
        select from refund x where x.order_id = o.order_id and x.status in ('approved', 'paying', 'paid'))
        then 'refund_begun'
      when not is_enough(m.amount, i.amount_due) then 'too_late'
      when not n.is_sold then 'product_gone'
      when q.rate is null then 'rate_unknown'
      when abs(n.due - i.amount_due) * 10000 > i.amount_due * (p_policy ->> 'driftBps')::int then 'price_moved'
      when not n.fits then 'out_of_stock' end,
    q.rate, n.due
  from orders o
  join invoice i on i.order_id = o.order_id
  join currency c on c.currency = i.asset
  cross join lateral (
    select coalesce(sum(p.amount), 0) as amount from payment p
    where p.order_id = o.order_id and p.state = 'final' and p.first_seen_at <= i.expires_at + i.grace
      + make_interval(secs => (p_policy ->> 'withinMs')::bigint / 1000.0)) m
  left join asset_rate q on q.asset = i.asset and q.currency = o.currency
    and q.at > clock_timestamp() - make_interval(secs => (p_policy ->> 'rateAgeMs')::bigint / 1000.0)
  cross join lateral (
    select bool_and(p.is_active and p.currency = o.currency) as is_sold,
      quote_due(sum(l.quantity * p.unit_price), q.rate, c.decimals) as due,
      bool_and(s.on_hand - s.reserved >= l.quantity) as fits
    from (select x.product_id, sum(x.quantity) as quantity from order_line x where x.order_id = o.order_id group by 1) l
    join product p on p.product_id = l.product_id join stock s on s.product_id = l.product_id) n
  where o.order_id = p_order_id
$$;
revoke execute on function late_refusal from public;
grant execute on function late_refusal to app_worker;
