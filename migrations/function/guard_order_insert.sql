-- Guard of the order row: a trigger function that lets an order begin in its initial state only.
-- Error: HF003 when a new order is not pending, awaiting payment, at version 1 and generation 0.
create or replace function guard_order_insert() returns trigger language plpgsql as $$
begin
  if new.status <> 'pending' or new.payment_state <> 'awaiting' or new.version <> 1 or new.generation <> 0 then
    raise exception 'orders: an order begins pending, awaiting payment, at version 1' using errcode = 'HF003';
  end if;
  return new;
end
$$;
revoke execute on function guard_order_insert from public;

create or replace trigger orders_guard_insert before insert on orders
  for each row execute function guard_order_insert();
