-- Price conversion: the base units that are due for a total of fiat at a rate (fiat per coin), rounded up to one unit.
-- Equal to quoteDue in test/support/oracle.ts; a test compares both.
create or replace function quote_due(total numeric, rate numeric, decimals smallint) returns numeric
language sql immutable strict parallel safe as $$
  -- Exact: both sides are scaled to integers, and div() truncates, so this rounds up to one base unit.
  select div(total * 100 * power(10::numeric, decimals) + rate * 100 - 1, rate * 100)
$$;
revoke execute on function quote_due from public;
grant execute on function quote_due to app_api, app_worker, auditor;
