-- Payment state of an order once its refunds are counted: the copy of refundStateOf in src/domain/refund.ts. An order
-- that keeps enough is paid. One that lost money after its excess had gone back is reversed: that part was no goodwill.
-- Only the invoice's asset counts.
-- p_status, p_payment_state: what the order is without refunds.
-- Locks: none; exact for a caller that holds the order row. Changes nothing.
create or replace function refund_state(p_order_id uuid, p_status text, p_payment_state text) returns text
language sql stable as $$
  select case
    when p_status = 'pending' or m.paying + m.paid = 0 then p_payment_state
    when p_status <> 'cancelled' and p_payment_state in ('at_risk', 'reversed') then p_payment_state
    when p_status <> 'cancelled' and is_enough(m.received - m.paying - m.paid, m.amount_due) then 'paid'
    when p_status <> 'cancelled' and not is_enough(m.received - m.owed, m.amount_due) then 'reversed'
    when m.paying > 0 then 'refunding'
    when m.received - m.paid <= m.dust_floor then 'refunded'
    else 'partially_refunded' end
  from (
    select i.amount_due, c.dust_floor, received_money(i.order_id, i.network, i.asset, null) as received,
      coalesce(sum(r.amount) filter (where r.status = 'paying'), 0) as paying,
      coalesce(sum(r.amount) filter (where r.status = 'paid'), 0) as paid,
      coalesce(sum(r.amount) filter (where r.kind = 'owed' and r.status in ('paying', 'paid')), 0) as owed
    from invoice i join currency c on c.currency = i.asset
    left join refund r on r.order_id = i.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
    where i.order_id = p_order_id group by i.order_id, c.currency
  ) m
$$;
revoke execute on function refund_state from public;
grant execute on function refund_state to app_worker, auditor;
