-- Retention: removes up to p_limit idempotency answers older than 30 days, the oldest first. Returns how many.
-- The key of an order that is not terminal stays, whatever its age: a repeated command must find what it did.
-- Locks: the rows it removes; locked ones are skipped. Repeating it is harmless. Runs as the owner: the worker has no
-- right to delete a row itself.
create or replace function forget_answers(p_limit integer) returns integer
language sql security definer set search_path = holdfast, pg_catalog as $$
  with old as (
    select k.actor, k.method, k.key from idempotency k
    where k.created_at < statement_timestamp() - interval '30 days'
      and not exists (select from orders o where o.order_id = k.order_id and not is_terminal(o.status))
    order by k.created_at limit p_limit for update skip locked
  ), forgotten as (
    delete from idempotency k using old where (k.actor, k.method, k.key) = (old.actor, old.method, old.key) returning 1
  )
  select count(*)::integer from forgotten
$$;
revoke execute on function forget_answers from public;
grant execute on function forget_answers to app_worker;
