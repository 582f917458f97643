-- Who may wait for stock that is due to be given back. A buyer of more than can come back waited five seconds for a certain
-- «no», and holds of a network whose chain is not read so far were looked at one by one, under the lock on the stock. Views
-- and a function are replaced; nothing is locked or rewritten. Older processes read the same answers.

-- A hold that ends after the latest instant to which any chain is read cannot be given back. As a bound on the index it
-- passes all of them by at once; which network a hold is of is asked of the others only.
create or replace view reclaimable_hold as
select r.order_id, r.product_id, r.expires_at
from reservation r
where r.state = 'held'
  and r.expires_at < (select max(c.caught_up_at) from chain_status c)
  and (select true from expirable e where e.order_id = r.order_id)
  and ((select a.next_at from hold_aside a where a.order_id = r.order_id) > statement_timestamp()) is not true;

create or replace view returning_hold as
select r.order_id, r.product_id, r.expires_at, r.quantity
from reservation r
where r.state = 'held'
  and r.expires_at < (select max(c.caught_up_at) from chain_status c)
  and (select true from expirable e where e.order_id = r.order_id)
  and coalesce((select a.tries < 3 or a.next_at <= statement_timestamp() from hold_aside a where a.order_id = r.order_id), true);

create function due_units(p_wanted jsonb, p_reserved jsonb) returns jsonb
language plpgsql stable as $$
declare
  -- Each hold that is counted costs microseconds under the lock on the stock. Where the count is cut, here or at what is
  -- wanted, all that is reserved is taken to be due: no less, since the caller judges larger orders by it.
  c_most_holds constant int := 500;
begin
  -- A hold has at least one unit, so that no more holds than units wanted must be counted. No lock is taken to look: a hold
  -- that another session is about to end counts until that has committed, and its stock row waits for this transaction.
  return (
    select coalesce(jsonb_object_agg(w.p, case when h.holds = w.most then (p_reserved ->> w.p)::bigint else h.units end), '{}')
    from (
      select i ->> 'p' as p, least(max((i ->> 'q')::bigint), c_most_holds) as most
      from jsonb_array_elements(p_wanted) i where p_reserved ? (i ->> 'p') group by 1
    ) w
    cross join lateral (
      select count(*) as holds, coalesce(sum(d.quantity), 0)::bigint as units
      from (
        select r.quantity from returning_hold r
        where r.product_id = w.p and r.expires_at <= clock_timestamp() limit w.most
      ) d
    ) h);
end
$$;
comment on function due_units is 'Units of the wanted products in expired holds that can be given back now, by product; an upper bound where there are as many holds as units wanted.';

-- As in 0026, but that an order waits only where what is left and what is due would be enough for it, each product by
-- itself. An order that must wait for a product keeps its place: those behind it that want this product wait as well.
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
  select coalesce(jsonb_object_agg(s.product_id, s.on_hand - s.reserved), '{}'), coalesce(jsonb_object_agg(s.product_id, s.reserved), '{}')
  into v_left, v_reserved
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
    -- Asked once for all products of the batch.
    if v_short is not null and v_due is null then
      v_due := due_units(p_wanted, v_reserved);
    end if;
    if v_short is not null and exists (
      select from jsonb_array_elements(v_short) s
      where (s ->> 'wanted')::bigint > (s ->> 'available')::bigint + coalesce((v_due ->> (s ->> 'p'))::bigint, 0)) then
      v_refused := v_refused || jsonb_build_object(v_order.ordinal, jsonb_build_object('verdict', 'OUT_OF_STOCK', 'shortages', v_short));
      continue;
    end if;
    -- Stock that is only waiting to be given back: reclaim it in a transaction of its own, then ask again. `returning` tells the
    -- process for whom it is worth waiting.
    v_waiting := v_waiting || array(select s ->> 'p' from jsonb_array_elements(coalesce(v_short, '[]')) s);
    v_refused := v_refused || jsonb_build_object(v_order.ordinal, jsonb_build_object('verdict', 'reclaim', 'shortages', (
      select jsonb_agg(s || jsonb_build_object('returning', coalesce((v_due ->> (s ->> 'p'))::bigint, 0)) order by s ->> 'p')
      from jsonb_array_elements(v_short) s)));
  end loop;
  return v_refused;
end
$$;

revoke execute on function due_units from public;
grant execute on function due_units to app_api;
