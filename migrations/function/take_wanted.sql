-- Reservation in sum: adds what these orders want to the reserved count of each product.
-- p_wanted: [{ordinal, product, quantity}]. p_accepted: ordinals that count.
-- Returns false when not all of it is available: the caller then undoes what was taken.
-- Locks: the caller holds the stock rows (lock_wanted). Repeating it would take twice.
create or replace function take_wanted(p_wanted jsonb, p_accepted int[]) returns boolean
language plpgsql as $$
declare
  v_wants int;
  v_taken int;
begin
  with wants as (
    select w ->> 'product' as product, sum((w ->> 'quantity')::bigint) as quantity
    from jsonb_array_elements(p_wanted) w where (w ->> 'ordinal')::int = any (p_accepted) group by 1
  ), taken as (
    update stock s set reserved = s.reserved + w.quantity, version = s.version + 1
    from wants w where s.product_id = w.product and s.on_hand - s.reserved >= w.quantity
    returning 1
  )
  select (select count(*) from wants), (select count(*) from taken) into v_wants, v_taken;
  return v_taken = v_wants;
end
$$;
revoke execute on function take_wanted from public;
grant execute on function take_wanted to app_api;
