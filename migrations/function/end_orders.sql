-- Ends pending or processing orders without shipping them, with all that follows: status, holds, stock, ledger, refunds
-- due, retirement of the payment key, and a wake where the payment missed its confirm deadline, or where the money is
-- enough but late, so that aftercare decides on it.
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
  v_late uuid[] := '{}';
begin
  if p_reason = 'expired' then
    v_slow := array(
      select o.order_id from orders o where o.order_id = any (p_order_ids) and o.payment_state = 'confirming');
    v_late := array(
      select m.order_id from order_money(p_order_ids) m where is_enough(m.final + m.late_final, m.amount_due));
  end if;

  update orders o set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when m.final + m.late_final > m.dust_floor then 'unresolved'
      when m.seen + m.late_seen > m.final + m.late_final then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = array(
      select flag from (
        select unnest(o.payment_flags) except select 'under'
        union select 'under' where m.seen + m.late_seen > 0 and not is_enough(m.seen + m.late_seen, m.amount_due)
        union select 'slow_confirm' where o.order_id = any (v_slow)) f (flag)
      order by flag collate "C")
  from order_money(p_order_ids) m
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
  select m.order_id, m.asset, m.final + m.late_final from order_money(p_order_ids) m
  where m.final + m.late_final > m.dust_floor
  on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp();

  insert into key_retire (order_id, network, address)
  select order_id, network, address from invoice where order_id = any (p_order_ids) on conflict do nothing;

  if cardinality(v_slow || v_late) > 0 then
    perform request_wake(array(select distinct unnest(v_slow || v_late)));
  end if;
end
$$;
revoke execute on function end_orders from public;
grant execute on function end_orders to app_worker;
