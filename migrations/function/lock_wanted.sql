-- Lock ordering: locks the stock rows of all wanted products FOR NO KEY UPDATE, by product_id.
-- p_wanted: [{ordinal, product, quantity}]. All that change several products lock them in this order.
-- Race closed: two batches, or a batch and a count of stock or a change of price. Repeating it is harmless.
create or replace function lock_wanted(p_wanted jsonb) returns void
language plpgsql as $$
begin
  perform 1 from stock
  where product_id in (select w ->> 'product' from jsonb_array_elements(p_wanted) w)
  order by product_id
  for no key update;
end
$$;
revoke execute on function lock_wanted from public;
grant execute on function lock_wanted to app_api;
