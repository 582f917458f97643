-- Whether there is enough stock of every product for all orders that are not refused; any serial order decides the same
-- then.
-- p_wanted: [{ordinal, product, quantity}]. p_refused: {"<ordinal>": …}.
-- Locks: none; under lock_wanted the answer holds until commit. Changes nothing.
create or replace function fits_in_sum(p_wanted jsonb, p_refused jsonb) returns boolean
language sql stable as $$
  select not exists (
    select from (
      select w ->> 'product' as product, sum((w ->> 'quantity')::bigint) as quantity
      from jsonb_array_elements(p_wanted) w where not p_refused ? (w ->> 'ordinal') group by 1
    ) t left join stock s on s.product_id = t.product
    where s.product_id is null or s.on_hand - s.reserved < t.quantity)
$$;
revoke execute on function fits_in_sum from public;
grant execute on function fits_in_sum to app_api;
