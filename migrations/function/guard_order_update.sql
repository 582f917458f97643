-- Guard of the order row: a trigger function that keeps identity fields immutable and moves the version.
-- The version and updated_at move with what a reader can see; the fence (generation, step) moves neither.
-- Error: HF001 when id, customer, currency, total or creation time would change.
create or replace function guard_order_update() returns trigger language plpgsql as $$
begin
  if (new.order_id, new.user_id, new.currency, new.total, new.created_at)
     is distinct from (old.order_id, old.user_id, old.currency, old.total, old.created_at) then
    raise exception 'orders: id, customer, currency, total and creation time never change' using errcode = 'HF001';
  end if;
  -- A reader does not see the fence: it moves neither version nor time.
  if (new.status, new.payment_state, new.payment_flags, new.hold, new.cancel_reason, new.address_sealed)
     is distinct from
     (old.status, old.payment_state, old.payment_flags, old.hold, old.cancel_reason, old.address_sealed) then
    new.version := old.version + 1;
    new.updated_at := greatest(clock_timestamp(), old.updated_at);
  else
    new.version := old.version;
    new.updated_at := old.updated_at;
  end if;
  return new;
end
$$;
revoke execute on function guard_order_update from public;

create or replace trigger orders_guard_update before update on orders
  for each row execute function guard_order_update();
