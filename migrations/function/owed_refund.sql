-- What the open refund of an order must be, in base units; 0: there is none to be. What is due, less what was approved
-- or paid of it, and no more than the order received and has not promised. Dust is not given back (dust_floor).
-- Locks: none; exact for a caller that holds the order row. Changes nothing.
create or replace function owed_refund(p_order_id uuid) returns numeric language sql stable as $$
  select coalesce((
    select case when m.amount > c.dust_floor then m.amount else 0 end
    from refund_due d join invoice i on i.order_id = d.order_id join currency c on c.currency = d.asset
    cross join lateral (
      select coalesce(sum(r.amount) filter (where r.kind = 'owed' and r.status in ('approved', 'paying', 'paid')), 0)
          as settled,
        coalesce(sum(r.amount) filter (where r.status not in ('rejected', 'cancelled')
          and not (r.kind = 'owed' and r.status in ('awaiting_destination', 'awaiting_approval'))), 0) as promised
      from refund r
      where r.order_id = d.order_id and (r.network, r.asset) = (i.network, d.asset) and r.token is null
    ) s
    cross join lateral (
      select least(d.amount - s.settled, received_money(d.order_id, i.network, d.asset, null) - s.promised) as amount
    ) m
    where d.order_id = p_order_id), 0)
$$;
revoke execute on function owed_refund from public;
grant execute on function owed_refund to app_api, app_worker, auditor;
