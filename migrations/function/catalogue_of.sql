-- Optimistic lock: the versions of the wanted products that are on sale, as {"<product>": version}.
-- p_wanted: [{ordinal, product, quantity}]. The version moves with every change, so equal versions are equal prices.
-- Locks: none. Changes nothing.
create or replace function catalogue_of(p_wanted jsonb) returns jsonb
language sql stable as $$
  select coalesce(jsonb_object_agg(p.product_id, p.version), '{}') from product p
  where p.product_id in (select w ->> 'product' from jsonb_array_elements(p_wanted) w) and p.is_active
$$;
revoke execute on function catalogue_of from public;
grant execute on function catalogue_of to app_api;
