-- Back-off: sets an order aside whose expiry failed by itself. p_reason: the SQLSTATE it failed with.
-- The wait doubles from a second to five minutes. Rows whose order has no hold any more are removed on the way.
-- Locks: the rows of hold_aside. Repeating it counts one more failure. Runs as the owner.
create or replace function set_hold_aside(p_order_id uuid, p_reason text) returns void
language sql security definer set search_path = holdfast, pg_catalog as $$
  delete from hold_aside a
  where a.order_id <> p_order_id
    and (select true from reservation r where r.order_id = a.order_id and r.state = 'held' limit 1) is not true;
  -- Only what could be ended: nothing else can have failed to.
  insert into hold_aside (order_id, reason, next_at)
  select e.order_id, p_reason, clock_timestamp() + interval '1 second' from expirable e where e.order_id = p_order_id
  on conflict (order_id) do update set
    reason = excluded.reason, tries = hold_aside.tries + 1,
    next_at = clock_timestamp() + least(interval '5 minutes', interval '1 second' * 2 ^ least(hold_aside.tries, 10));
$$;
revoke execute on function set_hold_aside from public;
grant execute on function set_hold_aside to app_api, app_worker;
