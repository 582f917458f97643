-- Group commit: accepts or refuses a batch of CreateOrder attempts in one transaction, each order whole.
-- p_orders: [{ordinal, order_id, user_id, key, hash, currency, asset, network, address, rate, rate_from, decimals,
--   sealed, window_ms, grace_ms, confirm_ms, lines: [{line, product, quantity, price}]}]
--   rate_from: {id, made_at, prices: [{source, price, read_at}]}, absent for a fixed rate; hash in hex, sealed in
--   base64, user_id and amounts as text, price as the buyer was promised it.
-- Result: one row per order, see order_answers. Refusals are data.
-- Locks, in this order: idempotency keys, by inserting them sorted; new customers; new rates. Then either new rows
-- first and stock rows by product_id last (accept_optimistic), or stock rows first and then new rows (accept_locked).
-- Prices: a price change locks the stock row first, so the price at commit is the catalogue's.
-- Error: HF010 when stock or a price changed under its lock, which is a fault.
-- Repeating it: an attempt's key is inserted once. A concurrent call with the same key waits for the first one's commit
-- and gets the same answer.
create or replace function accept_orders(p_orders jsonb, p_is_last_try boolean)
returns table (
  ordinal int, verdict text, detail jsonb, order_id uuid, currency text, total numeric, lines jsonb, network text,
  asset text, address text, amount_due numeric, rate numeric, expires_at timestamptz, created_at timestamptz
)
language plpgsql volatile set search_path = holdfast, pg_catalog as $$
#variable_conflict use_column
declare
  v_fresh int[];
  v_wanted jsonb;
  v_refused jsonb := '{}';
begin
  -- A concurrent call with the same key waits here for the first one's commit, then finds its row.
  with fresh as (
    insert into idempotency (actor, method, key, request_hash, order_id)
    select 'user:' || o.user_id, 'CreateOrder', o.key, decode(o.hash, 'hex'), o.order_id
    from jsonb_to_recordset(p_orders) o (user_id bigint, key uuid, hash text, order_id uuid)
    order by o.user_id, o.key
    on conflict do nothing
    returning order_id
  )
  select coalesce(array_agg(o.ordinal), '{}') into v_fresh
  from jsonb_to_recordset(p_orders) o (ordinal int, order_id uuid) join fresh f on f.order_id = o.order_id;

  if cardinality(v_fresh) > 0 then
    insert into customer (user_id)
    select distinct o.user_id from jsonb_to_recordset(p_orders) o (ordinal int, user_id bigint)
    where o.ordinal = any (v_fresh) and not exists (select from customer c where c.user_id = o.user_id)
    order by 1
    on conflict do nothing;

    if p_orders @? '$[*].rate_from' then
      perform store_rates(p_orders, v_fresh);
    end if;

    -- One item per order and product, quantities summed.
    select coalesce(
      jsonb_agg(jsonb_build_object('ordinal', w.ordinal, 'product', w.product, 'quantity', w.quantity)), '[]')
    into v_wanted
    from (
      select o.ordinal, l.product, sum(l.quantity) as quantity
      from jsonb_to_recordset(p_orders) o (ordinal int, lines jsonb),
        jsonb_to_recordset(o.lines) l (product text, quantity bigint)
      where o.ordinal = any (v_fresh) group by 1, 2
    ) w;

    if not accept_optimistic(p_orders, v_fresh, v_wanted) then
      v_refused := accept_locked(p_orders, v_fresh, v_wanted, p_is_last_try);
    end if;
  end if;

  return query select * from order_answers(p_orders, v_fresh, v_refused);
end
$$;
revoke execute on function accept_orders from public;
grant execute on function accept_orders to app_api;
