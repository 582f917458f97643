-- Functions as migrations/function has them: is_command_legal, late_refusal, received_money.

-- Whether an order may be cancelled, shipped or delivered as it is now. p_command, p_input: see command_order.
-- Nothing is shipped that is on hold, not paid or refunded whole, or while there is news, its own or of the order that
-- it replaces: it may say that the money is gone.
-- isReapplied: a run that was reset is given its commands again. Such a command only gets the answer it got when it was
-- done. Locks: the caller holds the order row. Changes nothing.
create or replace function is_command_legal(p_order_id uuid, p_command text, p_input jsonb) returns boolean
language sql stable as $$
  select coalesce((p_input ->> 'expectedVersion')::bigint = o.version, true)
    and not coalesce((p_input ->> 'isReapplied')::boolean, false)
    and exists (
      select from order_transition t
      where t.from_status = o.status and t.to_status = command_target(p_command) and t.role = p_input ->> 'role')
    and (p_command <> 'ship' or o.hold = 'none' and o.payment_state in ('paid', 'partially_refunded')
      and not exists (
        select from payment_report r
        where not r.is_assessed and r.order_id in (
          select p_order_id union all select d.order_id from late_decision d where d.replacement_id = p_order_id)))
  from orders o where o.order_id = p_order_id
$$;
revoke execute on function is_command_legal from public;
grant execute on function is_command_legal to app_worker;
comment on function is_command_legal is
  'Whether an order may be cancelled, shipped or delivered as it is now.';

-- Late policy: why the late money of an expired order cannot buy it again; refusal is null where it can.
-- p_policy: {accepts, withinMs, driftBps, rateAgeMs}. Money counts that came within withinMs after the quote and its
-- grace. due_now: what the same lines cost at today's prices and today's rate, which may differ from the amount due by
-- driftBps / 10,000. A rate older than rateAgeMs is unknown.
-- Locks: none; the caller holds the order row and the stock rows, so that prices and stock stay. Changes nothing.
create or replace function late_refusal(p_order_id uuid, p_policy jsonb)
returns table (refusal text, rate numeric, due_now numeric)
language sql stable as $$
  select case
      when not (p_policy ->> 'accepts')::boolean then 'policy'
      when o.hold <> 'none' then 'on_hold'
      when o.payment_state in ('refunding', 'partially_refunded', 'refunded') or exists (
        select from refund x where x.order_id = o.order_id and x.status in ('approved', 'paying', 'paid'))
        then 'refund_begun'
      when not is_enough(m.amount, i.amount_due) then 'too_late'
      when not n.is_sold then 'product_gone'
      when q.rate is null then 'rate_unknown'
      when abs(n.due - i.amount_due) * 10000 > i.amount_due * (p_policy ->> 'driftBps')::int then 'price_moved'
      when not n.fits then 'out_of_stock' end,
    q.rate, n.due
  from orders o
  join invoice i on i.order_id = o.order_id
  join currency c on c.currency = i.asset
  cross join lateral (
    select coalesce(sum(p.amount), 0) as amount from payment p
    where p.order_id = o.order_id and p.state = 'final' and p.first_seen_at <= i.expires_at + i.grace
      + make_interval(secs => (p_policy ->> 'withinMs')::bigint / 1000.0)) m
  left join asset_rate q on q.asset = i.asset and q.currency = o.currency
    and q.at > clock_timestamp() - make_interval(secs => (p_policy ->> 'rateAgeMs')::bigint / 1000.0)
  cross join lateral (
    select bool_and(p.is_active and p.currency = o.currency) as is_sold,
      quote_due(sum(l.quantity * p.unit_price), q.rate, c.decimals) as due,
      bool_and(s.on_hand - s.reserved >= l.quantity) as fits
    from (select x.product_id, sum(x.quantity) as quantity from order_line x where x.order_id = o.order_id group by 1) l
    join product p on p.product_id = l.product_id join stock s on s.product_id = l.product_id) n
  where o.order_id = p_order_id
$$;
revoke execute on function late_refusal from public;
grant execute on function late_refusal to app_worker;
comment on function late_refusal is
  'Late policy: why the late money of an expired order cannot buy it again; refusal is null where it can.';

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
comment on function received_money is
  'What an order received for its refunds to come out of, in base units: its final money (order_money), less what'
  ' its replacement took; of an asset other than the invoice''s, final outputs at its address that were credited'
  ' to no order.';
