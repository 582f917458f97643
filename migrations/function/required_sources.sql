-- Quorum: how many sources must agree before an output of p_amount base units is final money of an order, and must have
-- read its network before it expires (p_amount 0: its largest payment in time), by the rule that the order was made
-- under (source_rule).
-- Locks: none. Changes nothing.
create or replace function required_sources(p_order_id uuid, p_amount numeric) returns int language sql stable as $$
  select coalesce((
    select case when greatest(i.amount_due, p_amount, case when p_amount = 0 then (
        select max(p.amount) from payment p
        where p.order_id = i.order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')) end) > r.above
      then r.sources end
    from invoice i join source_rule r on r.asset = i.asset and r.since <= i.created_at
    where i.order_id = p_order_id order by r.since desc limit 1), 1)::int
$$;
revoke execute on function required_sources from public;
grant execute on function required_sources to app_api, app_worker, auditor;
