-- Transactional outbox: a trigger function that writes one notification per changed order and enabled channel, in the
-- transaction of the change.
-- Runs as the owner, so that no role needs the right to write a notification itself.
create or replace function note_status_change() returns trigger
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
begin
  if tg_op = 'INSERT' then
    insert into notification (order_id, order_version, channel, status, payment_state, cancel_reason, changed_at)
    select n.order_id, n.version, c.channel, n.status, n.payment_state, n.cancel_reason, n.created_at
    from new_order n cross join notification_channel c where c.is_enabled;
  else
    insert into notification (order_id, order_version, channel, status, payment_state, cancel_reason, changed_at)
    select new.order_id, new.version, c.channel, new.status, new.payment_state, new.cancel_reason, new.updated_at
    from notification_channel c where c.is_enabled;
  end if;
  return null;
end
$$;
revoke execute on function note_status_change from public;

create or replace trigger orders_note_insert after insert on orders
  referencing new table as new_order for each statement execute function note_status_change();
-- For each row, since most updates of an order move no status and then cost nothing here.
create or replace trigger orders_note_update after update on orders
  for each row when (new.status is distinct from old.status) execute function note_status_change();
