-- Pessimistic way of accept_orders: locks the stock first, decides each order under the lock, and writes what fits.
-- p_orders, p_fresh, p_wanted: see accept_optimistic. p_is_last_try: see decide_in_order.
-- Result: {"<ordinal>": {verdict, …}} for the orders that were not accepted (refused_orders, decide_in_order).
-- A refusal is stored as its key's answer; a key whose order waits for a reclaim is removed, so that it can be tried
-- again.
-- Locks: stock rows by product_id, then new rows of the orders.
-- Error: HF010 when stock or a price changed under its lock, which is a fault.
create or replace function accept_locked(p_orders jsonb, p_fresh int[], p_wanted jsonb, p_is_last_try boolean)
returns jsonb language plpgsql as $$
declare
  v_refused jsonb;
  v_accepted int[];
begin
  perform lock_wanted(p_wanted);
  v_refused := refused_orders(p_orders, p_fresh);
  if not fits_in_sum(p_wanted, v_refused) then
    v_refused := v_refused || decide_in_order((
      select coalesce(jsonb_agg(w), '[]') from jsonb_array_elements(p_wanted) w where not v_refused ? (w ->> 'ordinal')
    ), p_is_last_try);
  end if;
  select coalesce(array_agg(f), '{}') into v_accepted from unnest(p_fresh) f where not v_refused ? f::text;
  -- The guard holds by the decision above and by the CHECK; the counts prove it.
  if cardinality(v_accepted) > 0
    and not (write_orders(p_orders, v_accepted, clock_timestamp()) and take_wanted(p_wanted, v_accepted)) then
    raise exception 'accept_orders: stock or price changed under its lock' using errcode = 'HF010';
  end if;

  if v_refused <> '{}' then
    update idempotency k set order_id = null, response = v_refused -> o.ordinal::text
    from jsonb_to_recordset(p_orders) o (ordinal int, user_id bigint, key uuid)
    where v_refused -> o.ordinal::text ->> 'verdict' <> 'reclaim'
      and k.actor = 'user:' || o.user_id and k.method = 'CreateOrder' and k.key = o.key;
    delete from idempotency k using jsonb_to_recordset(p_orders) o (ordinal int, user_id bigint, key uuid)
    where v_refused -> o.ordinal::text ->> 'verdict' = 'reclaim'
      and k.actor = 'user:' || o.user_id and k.method = 'CreateOrder' and k.key = o.key;
  end if;
  return v_refused;
end
$$;
revoke execute on function accept_locked from public;
grant execute on function accept_locked to app_api;
