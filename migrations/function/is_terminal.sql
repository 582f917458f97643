-- Whether an order has ended: its status is delivered or cancelled. Equal to isTerminal in src/domain/order.ts; a test
-- compares both. The planner inlines it.
create or replace function is_terminal(status text) returns boolean
language sql immutable parallel safe as $$
  select status in ('delivered', 'cancelled')
$$;
revoke execute on function is_terminal from public;
grant execute on function is_terminal to app_api, app_worker, auditor;
