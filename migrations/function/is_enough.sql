-- Payment tolerance: whether a sum of base units pays what is due, at most 0.1 % below it. Equal to isEnough in
-- src/domain/payment.ts; a test compares both. The planner inlines it.
create or replace function is_enough(sum numeric, due numeric) returns boolean
language sql immutable parallel safe as $$
  select sum * 1000 >= due * 999
$$;
revoke execute on function is_enough from public;
grant execute on function is_enough to app_api, app_worker, auditor;
