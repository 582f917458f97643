-- Rates of accepted orders: stores where each came from, once for all orders that share it.
-- p_orders: see accept_orders. p_fresh: ordinals whose rates are wanted; those of orders with a fixed rate are none.
-- Locks: waits for a transaction that is storing the same rate. In order of rate_id, and before any row of stock.
-- Repeating it is harmless: a rate that is stored is left alone.
create or replace function store_rates(p_orders jsonb, p_fresh int[]) returns void
language sql as $$
  insert into quoted_rate (rate_id, asset, currency, rate, made_at, prices)
  select distinct on (f.id) f.id, o.asset, o.currency, o.rate, f.made_at, f.prices
  from jsonb_to_recordset(p_orders) o (ordinal int, asset text, currency text, rate numeric, rate_from jsonb)
  cross join jsonb_to_record(o.rate_from) f (id uuid, made_at timestamptz, prices jsonb)
  where o.ordinal = any (p_fresh) and f.id is not null
  order by f.id
  on conflict do nothing
$$;
revoke execute on function store_rates from public;
grant execute on function store_rates to app_api;
