-- Circuit breaker: asks for the assessment of up to p_limit orders that waited for the end of a suspension.
-- Returns how many.
-- Locks: the rows of suspended_order; locked ones are skipped. Then those of request_wake. Repeating it is harmless:
-- each order is woken once.
create or replace function resume_orders(p_limit int) returns int language plpgsql as $$
declare
  v_order_ids uuid[];
begin
  with free as (
    select s.order_id from suspended_order s
    where s.woken_at is null and not exists (select from suspended_network n where n.network = s.network)
    order by s.order_id limit p_limit for update of s skip locked
  ), woken as (
    update suspended_order s set woken_at = clock_timestamp() from free f where s.order_id = f.order_id
    returning s.order_id
  )
  select coalesce(array_agg(w.order_id), '{}') into v_order_ids from woken w;
  perform request_wake(v_order_ids);
  return cardinality(v_order_ids);
end
$$;
revoke execute on function resume_orders from public;
grant execute on function resume_orders to app_worker;
