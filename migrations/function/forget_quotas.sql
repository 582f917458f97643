-- Retention: removes up to p_limit windows of quota_window that count nothing any more. Returns how many.
-- Locks: the rows it removes; locked ones are skipped. Repeating it is harmless. Runs as the owner: no role may change
-- what was counted.
create or replace function forget_quotas(p_limit int) returns int
language sql security definer set search_path = holdfast, pg_catalog as $$
  with old as (
    select w.key from quota_window w
    where w.second < extract(epoch from clock_timestamp()) - 62 limit p_limit for update skip locked
  ), forgotten as (
    delete from quota_window w using old where w.key = old.key returning 1
  )
  select count(*)::int from forgotten
$$;
revoke execute on function forget_quotas from public;
grant execute on function forget_quotas to app_api;
