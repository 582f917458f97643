-- Order state: all that a step of an order's workflow is answered with; no row when there is no such order.
-- reservation: state of the newest hold, or 'none'. expires_in_ms: until the quote and its grace end, or the hold that
-- a payment extended; at most 2^31 - 1, the longest timer: ask again then. has_unassessed: the inbox has news.
-- Locks: none. Changes nothing.
create or replace function order_state(p_order_id uuid)
returns table (
  status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text, expires_in_ms int,
  has_unassessed boolean
)
language sql stable as $$
  select o.status, o.payment_state, o.hold, o.cancel_reason, o.version,
    coalesce((select r.state from reservation r where r.order_id = o.order_id order by r.hold_no desc limit 1), 'none'),
    least(2147483647, greatest(0, ceil(extract(epoch from greatest(i.expires_at + i.grace, (
      select max(r.expires_at) from reservation r where r.order_id = o.order_id and r.state = 'held')
    ) - clock_timestamp()) * 1000)))::int,
    exists (select from payment_report p where p.order_id = o.order_id and not p.is_assessed)
  from orders o join invoice i on i.order_id = o.order_id where o.order_id = p_order_id
$$;
revoke execute on function order_state from public;
grant execute on function order_state to app_api, app_worker;
