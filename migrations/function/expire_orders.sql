-- Expiry in the name of the system: expire_due with the actor system:expiry, for every caller.
-- Arguments, result, locks and repetition: see expire_due. The caller's actor is put back afterwards.
-- Owned by app_worker, as the guard of orders lets only this role move a status. A setting of the function itself would
-- not do: only a superuser could give it the actor's parameter.
grant create on schema holdfast to app_worker;
set local role app_worker;
create or replace function expire_orders(p_order_ids uuid[], p_skip_locked boolean)
returns table (order_id uuid, outcome text, wait_ms bigint)
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_actor text := coalesce(current_setting('holdfast.actor', true), '');
  v_actors text := coalesce(current_setting('holdfast.actors', true), '');
begin
  perform set_config('holdfast.actor', '{"actor":"system:expiry","role":"system"}', true),
    set_config('holdfast.actors', '', true);
  return query select e.order_id, e.outcome, e.wait_ms from expire_due(p_order_ids, p_skip_locked) e;
  perform set_config('holdfast.actor', v_actor, true), set_config('holdfast.actors', v_actors, true);
end
$$;
revoke execute on function expire_orders from public;
grant execute on function expire_orders to app_api;
set local role holdfast_owner;
revoke create on schema holdfast from app_worker;
