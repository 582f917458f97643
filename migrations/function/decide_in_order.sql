-- Allocation under shortage: decides in order of arrival which orders of a batch get stock, each order whole.
-- p_wanted: [{ordinal, product, quantity}], one item per order and product, without orders that are refused already.
-- p_is_last_try is not read.
-- Result: {"<ordinal>": {verdict, shortages}} for the orders that get nothing; the others fit.
--   verdict 'OUT_OF_STOCK': final. shortages: [{product, wanted, available}].
--   verdict 'reclaim': expired holds could free enough; the process gives them back and asks again. shortages as above,
--   each with returning, the units that can come back; null where only an order before it keeps this one waiting.
-- An order that waits keeps its place: later orders of the same product wait as well.
-- Locks: none here; the caller holds the stock rows (lock_wanted). Changes nothing.
create or replace function decide_in_order(p_wanted jsonb, p_is_last_try boolean) returns jsonb
language plpgsql stable as $$
declare
  v_left jsonb := '{}';
  v_reserved jsonb := '{}';
  v_due jsonb;
  v_refused jsonb := '{}';
  v_waiting text[] := '{}';
  v_order record;
  v_short jsonb;
begin
  select coalesce(jsonb_object_agg(s.product_id, s.on_hand - s.reserved), '{}'),
    coalesce(jsonb_object_agg(s.product_id, s.reserved), '{}')
  into v_left, v_reserved
  from stock s where s.product_id in (select w ->> 'product' from jsonb_array_elements(p_wanted) w);

  for v_order in
    select (w ->> 'ordinal')::int as ordinal, jsonb_object_agg(w ->> 'product', (w ->> 'quantity')::bigint) as wants
    from jsonb_array_elements(p_wanted) w group by 1 order by 1
  loop
    select jsonb_agg(jsonb_build_object(
      'product', k.key, 'wanted', k.value::bigint, 'available', coalesce((v_left ->> k.key)::bigint, 0)) order by k.key)
    into v_short
    from jsonb_each_text(v_order.wants) k
    where k.value::bigint > coalesce((v_left ->> k.key)::bigint, 0);

    if v_short is null and not v_order.wants ?| v_waiting then
      select v_left || jsonb_object_agg(k.key, (v_left ->> k.key)::bigint - k.value::bigint) into v_left
      from jsonb_each_text(v_order.wants) k;
      continue;
    end if;
    -- Asked once for all products of the batch.
    if v_short is not null and v_due is null then
      v_due := due_units(p_wanted, v_reserved);
    end if;
    if v_short is not null and exists (
      select from jsonb_array_elements(v_short) s
      where (s ->> 'wanted')::bigint > (s ->> 'available')::bigint + coalesce((v_due ->> (s ->> 'product'))::bigint, 0)
    ) then
      v_refused := v_refused || jsonb_build_object(
        v_order.ordinal, jsonb_build_object('verdict', 'OUT_OF_STOCK', 'shortages', v_short));
      continue;
    end if;
    -- Stock that only waits to be given back: the process reclaims it in a transaction of its own, then asks again.
    v_waiting := v_waiting || array(select s ->> 'product' from jsonb_array_elements(coalesce(v_short, '[]')) s);
    select jsonb_agg(s || jsonb_build_object('returning', coalesce((v_due ->> (s ->> 'product'))::bigint, 0))
      order by s ->> 'product')
    into v_short from jsonb_array_elements(v_short) s;
    v_refused := v_refused || jsonb_build_object(
      v_order.ordinal, jsonb_build_object('verdict', 'reclaim', 'shortages', v_short));
  end loop;
  return v_refused;
end
$$;
revoke execute on function decide_in_order from public;
grant execute on function decide_in_order to app_api;
