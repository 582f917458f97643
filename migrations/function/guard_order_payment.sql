-- State machine guard: a trigger function that allows a payment state move only if payment_transition has it, and only
-- by app_worker. The tables' owner is not exempt.
-- Error: HF004.
create or replace function guard_order_payment() returns trigger language plpgsql as $$
begin
  if current_user <> 'app_worker' or not exists (
    select from holdfast.payment_transition t
    where t.from_state = old.payment_state and t.to_state = new.payment_state) then
    raise exception 'orders: payment does not go from % to %', old.payment_state, new.payment_state
      using errcode = 'HF004';
  end if;
  return new;
end
$$;
revoke execute on function guard_order_payment from public;

create or replace trigger orders_guard_payment before update on orders
  for each row when (new.payment_state <> old.payment_state) execute function guard_order_payment();
