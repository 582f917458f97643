-- Retention: removes up to p_limit security events, the oldest first: counts of calls after an hour, since no rule
-- looks further back, all others after 90 days. Returns how many.
-- Locks: the rows it removes; locked ones are skipped. Repeating it is harmless. Runs as the owner: no role has a right
-- to delete an event itself.
create or replace function forget_security_events(p_limit integer) returns integer
language sql security definer set search_path = holdfast, pg_catalog as $$
  with old_calls as (
    select event_no from security_event
    where kind = 'calls' and at < statement_timestamp() - interval '1 hour'
    order by at limit p_limit for update skip locked
  ), old_events as (
    select event_no from security_event
    where at < statement_timestamp() - interval '90 days'
    order by at limit p_limit for update skip locked
  ), old as (
    select event_no from old_calls union select event_no from old_events limit p_limit
  ), forgotten as (
    delete from security_event e using old where e.event_no = old.event_no returning 1
  )
  select count(*)::integer from forgotten
$$;
revoke execute on function forget_security_events from public;
grant execute on function forget_security_events to app_worker;
