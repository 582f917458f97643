-- Whether what was seen in time is enough to pay an order, news included; null when there is no such order.
-- Counts what was credited, except for outputs with news, and those as they are now.
-- Locks: none. Changes nothing.
create or replace function is_enough_seen(p_order_id uuid) returns boolean language sql stable as $$
  with fresh as materialized (select * from fresh_outputs(p_order_id, null))
  select is_enough(
    coalesce((select sum(f.amount) from fresh f
      where f.is_right_asset and f.is_in_time and f.state in ('seen', 'reorged', 'final')), 0)
    + coalesce((select sum(p.amount) from payment p
      where p.order_id = p_order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')
        and (p.network, p.tx_id, p.output_index) not in (select f.network, f.tx_id, f.output_index from fresh f)), 0),
    i.amount_due)
  from invoice i where i.order_id = p_order_id
$$;
revoke execute on function is_enough_seen from public;
grant execute on function is_enough_seen to app_api;
