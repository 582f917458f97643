-- Refund intent: keeps exactly one open refund for what an order owes beyond what was approved, and no more than it has
-- (owed_refund). Its amount follows until two people have approved it; what comes later makes the next refund. The
-- payment state of an order that paid refunds follows as well (settle_refund_state).
-- Called where an amount owed changes, a refund ends, or the money of an order with refunds was assessed: it may change
-- what is covered while what is owed stays.
-- Locks: the order row FOR NO KEY UPDATE. Repeating it is harmless.
create or replace function keep_owed_refund(p_order_id uuid) returns void language plpgsql as $$
declare
  v_owed numeric;
  v_open_id uuid;
begin
  perform 1 from holdfast.orders o where o.order_id = p_order_id for no key update;
  v_owed := holdfast.owed_refund(p_order_id);
  select r.refund_id into v_open_id from holdfast.refund r join holdfast.refund_due d on d.order_id = r.order_id
  where r.order_id = p_order_id and r.kind = 'owed' and r.asset = d.asset and r.token is null
    and r.status in ('awaiting_destination', 'awaiting_approval');
  if v_open_id is not null and v_owed > 0 then
    update holdfast.refund r set amount = v_owed where r.refund_id = v_open_id and r.amount <> v_owed;
  elsif v_open_id is not null then
    update holdfast.refund r set status = 'cancelled' where r.refund_id = v_open_id;
  elsif v_owed > 0 then
    insert into holdfast.refund (order_id, network, asset, amount, kind, named_in, requested_by)
    select i.order_id, i.network, d.asset, v_owed, 'owed', 'coin', 'system:owed'
    from holdfast.invoice i join holdfast.refund_due d on d.order_id = i.order_id where i.order_id = p_order_id;
  end if;
  -- Money that came after a refund makes the order partially refunded again.
  if current_user = 'app_worker' and exists (
    select from holdfast.refund r where r.order_id = p_order_id and r.status in ('paying', 'paid')) then
    perform holdfast.settle_refund_state(p_order_id);
  end if;
end
$$;
revoke execute on function keep_owed_refund from public;
grant execute on function keep_owed_refund to app_api, app_worker;
