-- Restart: has the workflows of these open orders started again; returns those that had no pending start.
-- p_reason: kept in order_restart. The caller has seen that no run is alive.
-- Race: a run that began since, or was only thought dead. The relay finds it running and starts nothing; and a run of
-- an older generation is refused once the new one has taken a step. Until then the order row stays as it is, so that a
-- run that is alive is not shut out by mistake.
-- Locks: the order rows FOR NO KEY UPDATE, in order of id; then starts and wakes.
-- Repeating it is harmless: a pending start is left alone. Runs as the owner.
create or replace function restart_orders(p_order_ids uuid[], p_reason text)
returns table (order_id uuid, generation int)
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
#variable_conflict use_column
declare
  v_started uuid[];
begin
  perform 1 from orders o where o.order_id = any (p_order_ids) order by o.order_id for no key update;
  with lost as (
    select o.order_id, greatest(o.generation, 1) + 1 as generation, i.expires_at
    from orders o join invoice i using (order_id)
    where o.order_id = any (p_order_ids) and not is_terminal(o.status)
  ), started as (
    insert into workflow_start as s (order_id, generation, quote_ends_at, urgency)
    select l.order_id, l.generation, l.expires_at, 0 from lost l order by l.order_id
    on conflict (order_id) do update
    set generation = excluded.generation, urgency = 0, claimed_by = null, claimed_until = null, attempts = 0,
      next_at = clock_timestamp(), dead_reason = null
    where s.dead_reason is not null
    returning s.order_id, s.generation
  ), noted as (
    insert into order_restart as r (order_id, generation, reason)
    select s.order_id, s.generation, p_reason from started s order by s.order_id
    returning r.order_id
  )
  select coalesce(array_agg(n.order_id), '{}') into v_started from noted n;
  perform revive_relays(v_started);
  return query
  select s.order_id, s.generation from workflow_start s where s.order_id = any (v_started) order by s.order_id;
end
$$;
revoke execute on function restart_orders from public;
grant execute on function restart_orders to app_api;
