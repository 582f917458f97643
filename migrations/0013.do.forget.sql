-- Answers already given are kept for 30 days (requirements D-26): then a key may be used again. The table grew without
-- end. The index is built under a lock that keeps new keys waiting for as long as the table is large.
create index idempotency_by_age on idempotency (created_at);

-- What may be forgotten is decided here, and the worker may forget nothing else: it has no right to delete a row itself.
-- The key of an order that is still open stays, whatever its age: a repeated command must find what it did.
create function forget_answers(p_limit integer) returns integer
language sql security definer set search_path = holdfast, pg_catalog as $$
  with old as (
    select k.actor, k.method, k.key from idempotency k
    where k.created_at < statement_timestamp() - interval '30 days'
      and not exists (
        select from orders o where o.order_id = k.order_id and o.status not in ('delivered', 'cancelled'))
    order by k.created_at limit p_limit for update skip locked
  ), forgotten as (
    delete from idempotency k using old where (k.actor, k.method, k.key) = (old.actor, old.method, old.key) returning 1
  )
  select count(*)::integer from forgotten
$$;
comment on function forget_answers is 'Removes at most so many answers that are older than 30 days and whose order, if any, has ended. Returns how many.';
revoke execute on function forget_answers from public;
grant execute on function forget_answers to app_worker;
