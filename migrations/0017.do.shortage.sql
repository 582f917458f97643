-- A shortage is decided in the time it takes to look. Whether a hold of the product could be reclaimed was asked with
-- clock_timestamp(), by which no index can be searched, and once per order of the batch: for a product that had sold
-- well, a batch of refusals met the statement's time limit. One instant per batch now, and the index. Replaces a
-- function: nothing is locked or rewritten.

create or replace function decide_in_order(p_wanted jsonb, p_is_last_try boolean) returns jsonb
language plpgsql stable as $$
declare
  v_left jsonb := '{}';
  v_refused jsonb := '{}';
  v_waiting text[] := '{}';
  v_order record;
  v_short jsonb;
  v_now timestamptz := clock_timestamp();
  v_is_due boolean;
begin
  select coalesce(jsonb_object_agg(s.product_id, s.on_hand - s.reserved), '{}') into v_left
  from stock s where s.product_id in (select w ->> 'p' from jsonb_array_elements(p_wanted) w);

  for v_order in
    select (w ->> 'i')::int as ordinal, jsonb_object_agg(w ->> 'p', (w ->> 'q')::bigint) as wants
    from jsonb_array_elements(p_wanted) w group by 1 order by 1
  loop
    select jsonb_agg(jsonb_build_object('p', k.key, 'wanted', k.value::bigint, 'available', coalesce((v_left ->> k.key)::bigint, 0)) order by k.key)
    into v_short
    from jsonb_each_text(v_order.wants) k
    where k.value::bigint > coalesce((v_left ->> k.key)::bigint, 0);

    if v_short is null and not v_order.wants ?| v_waiting then
      select v_left || jsonb_object_agg(k.key, (v_left ->> k.key)::bigint - k.value::bigint) into v_left
      from jsonb_each_text(v_order.wants) k;
      continue;
    end if;
    -- A subquery per row and not a join: it goes by the index on (product, expiry) and stops at the first that may end.
    v_is_due := v_short is not null and not p_is_last_try and coalesce((
      select true from reservation r
      where r.product_id = any (array(select s ->> 'p' from jsonb_array_elements(v_short) s))
        and r.state = 'held' and r.expires_at <= v_now
        and (select true from expirable e where e.order_id = r.order_id)
      limit 1), false);
    if v_order.wants ?| v_waiting or v_is_due then
      -- Stock that is only waiting to be given back: reclaim it in a transaction of its own, then ask again.
      v_waiting := v_waiting || array(select jsonb_object_keys(v_order.wants));
      v_refused := v_refused || jsonb_build_object(v_order.ordinal, jsonb_build_object('verdict', 'reclaim', 'shortages', v_short));
    else
      v_refused := v_refused || jsonb_build_object(v_order.ordinal, jsonb_build_object('verdict', 'OUT_OF_STOCK', 'shortages', v_short));
    end if;
  end loop;
  return v_refused;
end
$$;
