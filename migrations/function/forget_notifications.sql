-- Retention: removes up to p_limit notifications delivered more than 30 days ago, the oldest first. Returns how many.
-- What is not delivered, dead letters included, stays: the order of delivery depends on those rows alone.
-- Locks: the rows it removes; locked ones are skipped. Repeating it is harmless. Runs as the owner: the worker has no
-- right to delete a notification itself.
create or replace function forget_notifications(p_limit integer) returns integer
language sql security definer set search_path = holdfast, pg_catalog as $$
  with old as (
    select notification_id from notification
    where delivered_at < statement_timestamp() - interval '30 days'
    order by delivered_at limit p_limit for update skip locked
  ), forgotten as (
    delete from notification n using old where n.notification_id = old.notification_id returning 1
  )
  select count(*)::integer from forgotten
$$;
revoke execute on function forget_notifications from public;
grant execute on function forget_notifications to app_worker;
