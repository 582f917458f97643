-- Expiry in the name of the transaction's actor: ends those of the given orders that may expire (view expirable).
-- p_skip_locked: leave orders that another transaction has locked; otherwise wait for them.
-- Returns one row per locked order. outcome: 'ended', 'paid', or 'wait'; wait_ms: until the quote and its grace end, 0
-- when something else must happen first.
-- Locks: the order rows FOR UPDATE, in order of id; then those of end_orders.
-- Race closed: a report takes the same order lock when it writes its inbox row. It is either seen here, or it comes to
-- a cancelled order as late money. Repeating it is harmless: an order that has ended is only reported as such.
-- Runs as app_worker for the api too, whose role must not move a status: a shortage is resolved with every worker
-- stopped.
grant create on schema holdfast to app_worker;
set local role app_worker;
create or replace function expire_due(p_order_ids uuid[], p_skip_locked boolean)
returns table (order_id uuid, outcome text, wait_ms bigint)
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_locked uuid[];
  v_due uuid[];
begin
  if p_skip_locked then
    select coalesce(array_agg(l.order_id), '{}') into v_locked
    from (
      select o.order_id from orders o where o.order_id = any (p_order_ids)
      order by o.order_id for update skip locked) l;
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
revoke execute on function expire_due from public;
set local role holdfast_owner;
revoke create on schema holdfast from app_worker;
