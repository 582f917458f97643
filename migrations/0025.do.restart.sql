-- An open order whose workflow was terminated, has failed or was lost with Temporal's database could not be brought back:
-- its start had been given up or was gone, and no statement of the shop's made another. A restart is an operator's doing
-- with a reason, and part of the order's history. A new table and two functions: nothing is locked or rewritten, and
-- processes of the version before go on.

create table order_restart (
  restart_no bigint generated always as identity constraint order_restart_no_positive check (restart_no > 0),
  order_id uuid not null constraint order_restart_order_fk references orders on delete restrict,
  generation integer not null constraint order_restart_generation_later check (generation > 1),
  reason text not null constraint order_restart_reason_length check (char_length(reason) between 1 and 200),
  created_at timestamptz not null default clock_timestamp(),
  constraint order_restart_pk primary key (order_id, restart_no)
);
comment on table order_restart is 'Why an operator had an order''s workflow started once more, and as which generation.';
select audit_watch('order_restart', 'order', 'order_id');
grant select on order_restart to auditor;

create function revive_relays(p_order_ids uuid[]) returns void
language sql security definer set search_path = holdfast, pg_catalog as $$
  update workflow_start set dead_reason = null, attempts = 0, next_at = clock_timestamp()
  where order_id = any (p_order_ids) and dead_reason is not null;
  update order_wake set dead_reason = null, attempts = 0, next_at = clock_timestamp()
  where order_id = any (p_order_ids) and claimed_by is null;
$$;
comment on function revive_relays is 'Lets starts and wakes of these orders be tried again at once, also those that were given up.';

-- The caller has seen that no run is alive. Race: a run that began since, or one that was only thought dead. The relay then
-- finds it running and starts nothing; and a run of an older generation is refused once the new one has taken a step. The
-- order's row stays as it is until then, so that a run that does live is not shut out by mistake.
create function restart_orders(p_order_ids uuid[], p_reason text) returns table (order_id uuid, generation int)
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
#variable_conflict use_column
declare
  v_started uuid[];
begin
  perform 1 from orders o where o.order_id = any (p_order_ids) order by o.order_id for no key update;
  with lost as (
    select o.order_id, greatest(o.generation, 1) + 1 as generation, i.expires_at
    from orders o join invoice i using (order_id)
    where o.order_id = any (p_order_ids) and o.status not in ('delivered', 'cancelled')
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
  return query select s.order_id, s.generation from workflow_start s where s.order_id = any (v_started) order by s.order_id;
end
$$;
comment on function restart_orders is 'Has the workflows of these open orders started once more; returns those that were not to be started anyway.';

revoke execute on function revive_relays, restart_orders from public;
grant execute on function revive_relays, restart_orders to app_api;
