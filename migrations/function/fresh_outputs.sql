-- Inbox: the oldest p_limit outputs of an order that have news (null: all), as their sources have them now.
-- is_early: seen before the order was made, less the chain's clock tolerance. is_in_time: neither that, nor after the
-- quote and its grace. report_nos: the numbers of the news. doubt: see present_output.
-- Locks: none. Changes nothing.
create or replace function fresh_outputs(p_order_id uuid, p_limit int)
returns table (
  network text, tx_id text, output_index int, asset text, amount numeric, state text, first_seen_at timestamptz,
  is_right_asset boolean, is_early boolean, is_in_time boolean, report_nos bigint[], doubt text
)
language sql stable as $$
  select f.network, f.tx_id, f.output_index, p.asset, p.amount, p.state, p.first_seen_at, p.asset = i.asset, t.is_early,
    not t.is_early and p.first_seen_at <= i.expires_at + i.grace, f.report_nos, p.doubt
  from (
    select r.network, r.tx_id, r.output_index, array_agg(r.report_no) as report_nos from payment_report r
    where r.order_id = p_order_id and not r.is_assessed
    group by 1, 2, 3 order by min(r.report_no) limit p_limit
  ) f
  cross join lateral present_output(p_order_id, f.network, f.tx_id, f.output_index) p
  join invoice i on i.order_id = p_order_id
  join currency c on c.currency = i.asset
  cross join lateral (select p.last_first_seen_at < i.created_at - c.clock_tolerance as is_early) t
$$;
revoke execute on function fresh_outputs from public;
grant execute on function fresh_outputs to app_api, app_worker;
