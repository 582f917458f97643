-- Dead letters: has the starts and wakes of these orders tried again at once, also those that were given up.
-- Locks: their rows. Repeating it is harmless. Runs as the owner.
create or replace function revive_relays(p_order_ids uuid[]) returns void
language sql security definer set search_path = holdfast, pg_catalog as $$
  update workflow_start set dead_reason = null, attempts = 0, next_at = clock_timestamp()
  where order_id = any (p_order_ids) and dead_reason is not null;
  update order_wake set dead_reason = null, attempts = 0, next_at = clock_timestamp()
  where order_id = any (p_order_ids) and claimed_by is null;
$$;
revoke execute on function revive_relays from public;
grant execute on function revive_relays to app_api;
