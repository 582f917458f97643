-- State machine guard: a trigger function that allows a status move only if order_transition has it for the actor's
-- role, and only by app_worker. The tables' owner is not exempt.
-- Error: HF002.
create or replace function guard_order_status() returns trigger language plpgsql as $$
begin
  if current_user <> 'app_worker' or not exists (
    select from holdfast.order_transition t where t.from_status = old.status and t.to_status = new.status
      and t.role = holdfast.actor_of(new.order_id::text) ->> 'role') then
    raise exception 'orders: % to % is not a legal move for this actor', old.status, new.status using errcode = 'HF002';
  end if;
  return new;
end
$$;
revoke execute on function guard_order_status from public;

-- Named in the statement and yet the same: the illegal pairs that look like no change at all.
create or replace trigger orders_guard_standstill before update of status on orders
  for each row when (new.status = old.status) execute function guard_order_status();
create or replace trigger orders_guard_status before update on orders
  for each row when (new.status <> old.status) execute function guard_order_status();
