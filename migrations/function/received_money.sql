-- What an order received for its refunds to come out of, in base units: its final money (order_money), less what its
-- replacement took; of an asset other than the invoice's, final outputs at its address that were credited to no order.
-- p_token: contract of a token, of which no report speaks yet: 0.
-- Locks: none. Changes nothing.
create or replace function received_money(p_order_id uuid, p_network text, p_asset text, p_token text) returns numeric
language sql stable as $$
  select case
    when p_token is not null then 0
    when exists (
      select from invoice i where (i.order_id, i.network, i.asset) = (p_order_id, p_network, p_asset)) then (
      select m.final + m.late_final - m.accepted from order_money(array[p_order_id]) m)
    else (
      -- Several sources may have reported an output: the least amount counts.
      select coalesce(sum(u.amount), 0) from (
        select min(x.amount) as amount from unattributed_output x
        where (x.order_id, x.network, x.asset) = (p_order_id, p_network, p_asset)
        group by x.tx_id, x.output_index) u) end
$$;
revoke execute on function received_money from public;
grant execute on function received_money to app_api, app_worker, auditor;
