-- How orders end without being shipped, in one place. The same two functions serve the workflow, the sweeper and the
-- reclaim of a shortage. New functions only: nothing is locked or rewritten.

-- Ends open orders the caller has already locked: status, holds, stock, ledger, notices, key retirement.
-- Lock order: the caller holds the order rows; reservations next, stock last, by product.
create function end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) returns void
language plpgsql as $$
begin
  update orders set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when exists (select from payment p where p.order_id = orders.order_id and p.state = 'final') then 'unresolved'
      when exists (select from payment p where p.order_id = orders.order_id and p.state = 'seen') then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = case
      when p_reason = 'expired' and payment_state = 'partial' and not payment_flags @> '{under}'
      then payment_flags || '{under}'::text[] else payment_flags end
  where order_id = any (p_order_ids);

  perform 1 from stock
  where product_id in (
    select product_id from reservation where order_id = any (p_order_ids) and state in ('held', 'committed'))
  order by product_id
  for no key update;

  -- Compare-and-set on the hold: stock moves only for rows that this very statement ended.
  with ended as (
    update reservation set state = p_end_state
    where order_id = any (p_order_ids) and state in ('held', 'committed')
    returning order_id, product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, order_id, hold_no, case p_end_state when 'expired' then 'expire' else 'release' end, 0, -quantity, p_actor
    from ended
  )
  update stock s set reserved = s.reserved - e.quantity, version = s.version + 1
  from (select product_id, sum(quantity) as quantity from ended group by product_id) e
  where s.product_id = e.product_id;

  insert into refund_due (order_id, asset, amount)
  select p.order_id, p.asset, sum(p.amount) from payment p
  where p.order_id = any (p_order_ids) and p.state = 'final' group by p.order_id, p.asset
  on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp();

  insert into notification (order_id, order_version, channel, status)
  select order_id, version, 'log', status from orders where order_id = any (p_order_ids);

  insert into key_retire (order_id, network, address)
  select order_id, network, address from invoice where order_id = any (p_order_ids) on conflict do nothing;
end
$$;
comment on function end_orders is 'Ends pending or processing orders, whose rows the caller has locked, with all that follows in the same transaction.';

-- Rule: paid in time is never given away. An order expires only when, on the database's clock, the quote and its grace
-- are over, nothing it was told is unassessed, too little was seen, and its chain has been read past that instant.
create view expirable as
select o.order_id
from orders o
join invoice i on i.order_id = o.order_id
join chain_status c on c.network = i.network
where o.status = 'pending'
  and o.payment_state in ('awaiting', 'partial')
  and i.expires_at + i.grace <= clock_timestamp()
  and c.caught_up_at > i.expires_at + i.grace
  and not exists (select from payment_report r where r.order_id = o.order_id and not r.is_assessed);
comment on view expirable is 'Orders that may expire now. Without a lock it only says whom to ask for: a hold that may not end yet keeps nobody from those that may.';

-- Race closed: a report commits its inbox row under the same order lock, so it is either seen here or comes to a
-- cancelled order as late money. Runs as app_worker for the api too, whose role may not move a status: a shortage must
-- be able to reclaim with every worker stopped.
create function expire_orders(p_order_ids uuid[], p_skip_locked boolean)
returns table (order_id uuid, outcome text, wait_ms bigint)
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_locked uuid[];
  v_due uuid[];
begin
  if p_skip_locked then
    select coalesce(array_agg(l.order_id), '{}') into v_locked
    from (select o.order_id from orders o where o.order_id = any (p_order_ids) order by o.order_id for update skip locked) l;
  else
    select coalesce(array_agg(l.order_id), '{}') into v_locked
    from (select o.order_id from orders o where o.order_id = any (p_order_ids) order by o.order_id for update) l;
  end if;

  select coalesce(array_agg(e.order_id), '{}') into v_due from expirable e where e.order_id = any (v_locked);

  if cardinality(v_due) > 0 then
    perform end_orders(v_due, 'expired', 'expired', 'system');
  end if;

  return query
  select o.order_id,
    case when o.status = 'cancelled' then 'ended'
         when o.status <> 'pending' or o.payment_state in ('confirming', 'paid') then 'paid'
         else 'wait' end,
    greatest(0, ceil(extract(epoch from i.expires_at + i.grace - clock_timestamp()) * 1000))::bigint
  from orders o join invoice i on i.order_id = o.order_id
  where o.order_id = any (v_locked);
end
$$;
comment on function expire_orders is 'The one expiry. outcome: ended, paid, or wait (wait_ms until it is worth asking again; 0 when something else must happen first).';

grant select on expirable to app_api, app_worker;
revoke execute on function end_orders, expire_orders from public;
grant execute on function end_orders to app_worker;
grant execute on function expire_orders to app_api, app_worker;
grant select on chain_status to app_worker;
-- The definer is app_worker, so that the fence on status sees the one role that may move it. Only the migrating role
-- may give a function away, and its new owner must be able to create in the schema for that instant.
grant create on schema holdfast to app_worker;
set local role none;
alter function holdfast.expire_orders owner to app_worker;
set local role holdfast_owner;
revoke create on schema holdfast from app_worker;
