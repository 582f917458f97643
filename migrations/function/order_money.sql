-- Money of orders: the sums of their outputs in base units, one row per order. final: in time and final. seen: these,
-- and what is seen or reorged. late_final, late_seen: the same of what came late.
-- accepted: final money that a replacement took; it is part of the sums. A replacement (late_decision) counts as much
-- of the money of the order that it replaces as it costs, and as money in time. What has left for refunds of that
-- order is not there for its replacement: after a loss, the same money would go back a second time.
-- Locks: none. Changes nothing.
create or replace function order_money(p_order_ids uuid[])
returns table (
  order_id uuid, asset text, amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric,
  late_final numeric, accepted numeric, is_late boolean, is_reorged boolean, is_replaced boolean
)
language sql stable as $$
  select i.order_id, i.asset, i.amount_due, c.dust_floor, m.seen + t.seen, m.final + t.final, m.late_seen, m.late_final,
    case when d.order_id is null then 0 else least(greatest(0, m.final + m.late_final - (
      select coalesce(sum(r.amount), 0) from refund r
      where r.order_id = i.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
        and r.status in ('paying', 'paid'))), i.amount_due) end,
    m.is_late or t.is_late, m.is_reorged or t.is_reorged, m.is_replaced
  from invoice i
  join currency c on c.currency = i.asset
  cross join lateral (
    select coalesce(sum(p.amount) filter (where p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0) as seen,
      coalesce(sum(p.amount) filter (where p.is_in_time and p.state = 'final'), 0) as final,
      coalesce(sum(p.amount) filter (where not p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0)
        as late_seen,
      coalesce(sum(p.amount) filter (where not p.is_in_time and p.state = 'final'), 0) as late_final,
      coalesce(bool_or(not p.is_in_time), false) as is_late,
      coalesce(bool_or(p.state = 'reorged'), false) as is_reorged,
      coalesce(bool_or(p.state = 'replaced'), false) as is_replaced
    from payment p where p.order_id = i.order_id
  ) m
  cross join lateral (
    select coalesce(max(least(i.amount_due, greatest(0, p.seen - b.amount))), 0) as seen,
      coalesce(max(least(i.amount_due, greatest(0, p.final - b.amount))), 0) as final,
      coalesce(bool_or(p.outputs > 0), false) as is_late, coalesce(bool_or(p.is_reorged), false) as is_reorged
    from late_decision s
    cross join lateral (
      select coalesce(sum(x.amount) filter (where x.state in ('seen', 'reorged', 'final')), 0) as seen,
        coalesce(sum(x.amount) filter (where x.state = 'final'), 0) as final,
        count(*) as outputs, bool_or(x.state = 'reorged') as is_reorged
      from payment x where x.order_id = s.order_id
    ) p
    cross join lateral (
      select coalesce(sum(r.amount), 0) as amount from refund r
      where r.order_id = s.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
        and r.status in ('paying', 'paid')
    ) b
    where s.replacement_id = i.order_id
  ) t
  left join late_decision d on d.order_id = i.order_id and d.replacement_id is not null
  where i.order_id = any (p_order_ids)
$$;
revoke execute on function order_money from public;
grant execute on function order_money to app_api, app_worker, auditor;
