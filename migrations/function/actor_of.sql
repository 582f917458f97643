-- Audit context: who changes this aggregate in the present transaction; null when no actor is named.
-- The setting holdfast.actor holds {actor, role, requestId?, tokenId?, ipHash?, requestHash?, reason?}. A batch of many
-- callers' orders sets holdfast.actors, a map of the same by aggregate id, which then counts alone.
create or replace function actor_of(p_aggregate_id text) returns jsonb language sql stable as $$
  select case when coalesce(current_setting('holdfast.actors', true), '') <> ''
    then current_setting('holdfast.actors', true)::jsonb -> p_aggregate_id
    else nullif(current_setting('holdfast.actor', true), '')::jsonb end
$$;
revoke execute on function actor_of from public;
grant execute on function actor_of to app_api, app_worker;
