-- Refund intent: a trigger function that keeps exactly one open refund for what an order owes beyond what was approved.
-- Its amount follows until two people have approved it; what comes later makes the next refund. A rejected one is
-- opened again, for the money is still owed.
-- Locks: the order row FOR NO KEY UPDATE. Repeating it is harmless.
create or replace function follow_refund_due() returns trigger language plpgsql as $$
declare
  v_owed numeric;
  v_open_id uuid;
begin
  perform 1 from holdfast.orders o where o.order_id = new.order_id for no key update;
  v_owed := holdfast.owed_refund(new.order_id);
  select r.refund_id into v_open_id from holdfast.refund r join holdfast.refund_due d on d.order_id = r.order_id
  where r.order_id = new.order_id and r.kind = 'owed' and r.asset = d.asset and r.token is null
    and r.status in ('awaiting_destination', 'awaiting_approval');
  if v_open_id is not null and v_owed > 0 then
    update holdfast.refund r set amount = v_owed where r.refund_id = v_open_id and r.amount <> v_owed;
  elsif v_open_id is not null then
    update holdfast.refund r set status = 'cancelled' where r.refund_id = v_open_id;
  elsif v_owed > 0 then
    insert into holdfast.refund (order_id, network, asset, amount, kind, named_in, requested_by)
    select i.order_id, i.network, d.asset, v_owed, 'owed', 'coin', 'system:owed'
    from holdfast.invoice i join holdfast.refund_due d on d.order_id = i.order_id where i.order_id = new.order_id;
  end if;
  -- Money that came after a refund makes the order partially refunded again.
  if current_user = 'app_worker' and exists (
    select from holdfast.refund r where r.order_id = new.order_id and r.status in ('paying', 'paid')) then
    perform holdfast.settle_refund_state(new.order_id);
  end if;
  return null;
end
$$;
revoke execute on function follow_refund_due from public;

create or replace trigger refund_due_open_refund after insert on refund_due
  for each row when (new.amount > 0) execute function follow_refund_due();
create or replace trigger refund_due_change_refund after update on refund_due
  for each row when (new.amount <> old.amount) execute function follow_refund_due();
create or replace trigger refund_open_next after update on refund
  for each row when (new.status <> old.status and new.status in ('rejected', 'cancelled'))
  execute function follow_refund_due();
