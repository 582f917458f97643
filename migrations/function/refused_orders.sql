-- Validation: the orders that cannot be accepted whatever the stock.
-- p_orders: see accept_orders. p_fresh: ordinals to look at.
-- Result: {"<ordinal>": {verdict, …}}, lists sorted by product. verdict: 'PRODUCT_UNKNOWN' with products: [product];
-- 'PRICE_CHANGED' with prices: [{product, unit_price}], the catalogue's price as text; 'AMOUNT_OUT_OF_RANGE'.
-- Locks: none; under lock_wanted the answer holds until commit. Changes nothing.
create or replace function refused_orders(p_orders jsonb, p_fresh int[]) returns jsonb
language sql stable as $$
  select coalesce(jsonb_object_agg(c.ordinal, c.refusal), '{}')
  from (
    select o.ordinal, case
      when count(*) filter (where p.product_id is null or s.product_id is null) > 0 then jsonb_build_object(
        'verdict', 'PRODUCT_UNKNOWN',
        'products', jsonb_agg(distinct l.product) filter (where p.product_id is null or s.product_id is null))
      when count(*) filter (where p.unit_price <> l.price) > 0 then jsonb_build_object(
        'verdict', 'PRICE_CHANGED',
        -- Objects are compared by their shortest key first: the product.
        'prices', jsonb_agg(distinct jsonb_build_object('product', l.product, 'unit_price', p.unit_price::text))
          filter (where p.unit_price <> l.price))
      when sum(l.quantity * p.unit_price) not between 0.01 and 999999999999.99 then
        jsonb_build_object('verdict', 'AMOUNT_OUT_OF_RANGE')
      end as refusal
    from jsonb_to_recordset(p_orders) o (ordinal int, currency text, lines jsonb)
    cross join jsonb_to_recordset(o.lines) l (product text, quantity bigint, price numeric)
    left join product p on p.product_id = l.product and p.is_active and p.currency = o.currency
    left join stock s on s.product_id = l.product
    where o.ordinal = any (p_fresh)
    group by o.ordinal
  ) c where c.refusal is not null
$$;
revoke execute on function refused_orders from public;
grant execute on function refused_orders to app_api;
