-- Units of the wanted products in expired holds that can be given back now, as {"<product>": units}.
-- p_wanted: [{ordinal, product, quantity}]. p_reserved: {"<product>": reserved units}; products without an entry are
-- left out.
-- An upper bound where there are as many holds as units wanted, or 500: all that is reserved is returned then.
-- Locks: none. A hold that another session is about to end counts until that commits; its stock row is locked by the
-- caller.
-- Changes nothing.
create or replace function due_units(p_wanted jsonb, p_reserved jsonb) returns jsonb
language plpgsql stable as $$
declare
  -- Each hold that is counted costs microseconds under the lock on the stock. Where the count stops, here or at what is
  -- wanted, all that is reserved is taken to be due: no less, since the caller judges larger orders by it.
  c_most_holds constant int := 500;
begin
  -- A hold has at least one unit, so that no more holds than units wanted must be counted.
  return (
    select coalesce(jsonb_object_agg(
      w.product, case when h.holds = w.most then (p_reserved ->> w.product)::bigint else h.units end), '{}')
    from (
      select i ->> 'product' as product, least(max((i ->> 'quantity')::bigint), c_most_holds) as most
      from jsonb_array_elements(p_wanted) i where p_reserved ? (i ->> 'product') group by 1
    ) w
    cross join lateral (
      select count(*) as holds, coalesce(sum(d.quantity), 0)::bigint as units
      from (
        select r.quantity from returning_hold r
        where r.product_id = w.product and r.expires_at <= clock_timestamp() limit w.most
      ) d
    ) h);
end
$$;
revoke execute on function due_units from public;
grant execute on function due_units to app_api;
