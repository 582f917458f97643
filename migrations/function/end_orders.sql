-- Ends pending or processing orders without shipping them, with all that follows: status, holds, stock, ledger, refunds
-- due, retirement of the payment key, and a wake where the payment missed its confirm deadline.
-- p_reason: orders.cancel_reason. p_end_state: 'released' or 'expired', the state in which the holds end.
-- p_actor: who the stock ledger names.
-- Locks: the caller holds the order rows FOR UPDATE, taken in order of id; here stock rows FOR NO KEY UPDATE, by
-- product_id, then the reservations, refund_due, key_retire and order_wake.
-- Repeating it: holds end once, since only held or committed ones are changed; the refund due is an upsert.
-- Errors: HF002 and HF004, by the guards of orders, when this actor cannot cancel an order from its state.
create or replace function end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) returns void
language plpgsql as $$
declare
  v_slow uuid[] := '{}';
begin
  if p_reason = 'expired' then
    v_slow := array(
      select o.order_id from orders o where o.order_id = any (p_order_ids) and o.payment_state = 'confirming');
  end if;

  update orders o set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when m.final > m.dust_floor then 'unresolved'
      when m.waiting > 0 then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = array(
      select flag from (
        select unnest(o.payment_flags) except select 'under'
        union select 'under' where m.final + m.waiting > 0 and not is_enough(m.final + m.waiting, m.amount_due)
        union select 'slow_confirm' where o.order_id = any (v_slow)) f (flag)
      order by flag collate "C")
  from (
    select i.order_id, i.amount_due, c.dust_floor,
      coalesce(sum(p.amount) filter (where p.state = 'final'), 0) as final,
      coalesce(sum(p.amount) filter (where p.state in ('seen', 'reorged')), 0) as waiting
    from invoice i join currency c on c.currency = i.asset left join payment p on p.order_id = i.order_id
    where i.order_id = any (p_order_ids) group by 1, 2, 3
  ) m
  where o.order_id = m.order_id and o.order_id = any (p_order_ids);

  perform 1 from stock
  where product_id in (
    select product_id from reservation where order_id = any (p_order_ids) and state in ('held', 'committed'))
  order by product_id
  for no key update;

  -- Compare-and-set on the hold: stock moves only for rows that this very statement ended.
  with ended as (
    update reservation set state = p_end_state
    where order_id = any (p_order_ids) and state in ('held', 'committed')
    returning order_id, product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, order_id, hold_no, case p_end_state when 'expired' then 'expire' else 'release' end,
      0, -quantity, p_actor
    from ended
  )
  update stock s set reserved = s.reserved - e.quantity, version = s.version + 1
  from (select product_id, sum(quantity) as quantity from ended group by product_id) e
  where s.product_id = e.product_id;

  insert into refund_due (order_id, asset, amount)
  select p.order_id, p.asset, sum(p.amount) from payment p join currency c on c.currency = p.asset
  where p.order_id = any (p_order_ids) and p.state = 'final'
  group by p.order_id, p.asset, c.dust_floor having sum(p.amount) > c.dust_floor
  on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp();

  insert into key_retire (order_id, network, address)
  select order_id, network, address from invoice where order_id = any (p_order_ids) on conflict do nothing;

  if cardinality(v_slow) > 0 then
    perform request_wake(v_slow);
  end if;
end
$$;
revoke execute on function end_orders from public;
grant execute on function end_orders to app_worker;
