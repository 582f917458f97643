-- An accepted order stores where its rate came from, and its invoice refers to that.
--
-- Locks: functions are replaced and one is new, nothing is touched. Older processes: they name no origin of a rate, and
-- their orders are stored as before.

-- Functions as migrations/function has them: store_rates, accept_orders, write_orders.

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
comment on function store_rates is
  'Rates of accepted orders: stores where each came from, once for all orders that share it.';

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
comment on function accept_orders is
  'Group commit: accepts or refuses a batch of CreateOrder attempts in one transaction, each order whole.';

-- Writes accepted orders with their lines, invoices, holds, stock movements and workflow starts; not the stock itself.
-- p_orders: see accept_orders. p_accepted: ordinals to write. p_now: start of the quote.
-- Returns false when a price or product is no longer what the buyer was promised: the caller then undoes what was
-- written.
-- Race closed: a line is stamped with the catalogue version that its price stands in, by one statement that sees both.
-- Locks: new rows only, and FOR KEY SHARE on what they refer to.
create or replace function write_orders(p_orders jsonb, p_accepted int[], p_now timestamptz) returns boolean
language plpgsql as $$
declare
  v_count bigint;
begin
  insert into orders (order_id, user_id, currency, total, address_sealed)
  select o.order_id, o.user_id, o.currency,
    (select sum(l.quantity * l.price) from jsonb_to_recordset(o.lines) l (quantity bigint, price numeric)),
    decode(o.sealed, 'base64')
  from jsonb_to_recordset(p_orders)
    o (ordinal int, order_id uuid, user_id bigint, currency text, sealed text, lines jsonb)
  where o.ordinal = any (p_accepted);

  insert into order_line (order_id, line_no, product_id, product_version, name, quantity, unit_price)
  select o.order_id, l.line, p.product_id, p.version, p.name, l.quantity, p.unit_price
  from jsonb_to_recordset(p_orders) o (ordinal int, order_id uuid, currency text, lines jsonb)
  cross join jsonb_to_recordset(o.lines) l (line smallint, product text, quantity int, price numeric)
  -- By key, line by line: joined instead, a small catalogue is read whole, and all lines are unpacked for each product.
  cross join lateral (
    select p.product_id, p.version, p.name, p.unit_price, p.is_active, p.currency
    from product p where p.product_id = l.product offset 0
  ) p
  where o.ordinal = any (p_accepted) and p.unit_price = l.price and p.is_active and p.currency = o.currency;
  get diagnostics v_count = row_count;
  if v_count <> (
    select sum(jsonb_array_length(o.lines)) from jsonb_to_recordset(p_orders) o (ordinal int, lines jsonb)
    where o.ordinal = any (p_accepted)
  ) then
    return false;
  end if;

  insert into invoice (
    order_id, network, asset, address, amount_due, rate, rate_id, expires_at, grace, confirm_within, created_at)
  select o.order_id, o.network, o.asset, o.address, quote_due(t.total, o.rate, o.decimals), o.rate,
    (o.rate_from ->> 'id')::uuid,
    p_now + make_interval(secs => o.window_ms / 1000.0), make_interval(secs => o.grace_ms / 1000.0),
    make_interval(secs => o.confirm_ms / 1000.0), p_now
  from jsonb_to_recordset(p_orders)
    o (ordinal int, order_id uuid, network text, asset text, address text, rate numeric, rate_from jsonb,
      decimals smallint, window_ms bigint, grace_ms bigint, confirm_ms bigint)
  join orders t on t.order_id = o.order_id
  where o.ordinal = any (p_accepted);

  with held as (
    insert into reservation (order_id, product_id, quantity, expires_at)
    select o.order_id, l.product, sum(l.quantity), p_now + make_interval(secs => (o.window_ms + o.grace_ms) / 1000.0)
    from jsonb_to_recordset(p_orders) o (ordinal int, order_id uuid, window_ms bigint, grace_ms bigint, lines jsonb)
    cross join jsonb_to_recordset(o.lines) l (product text, quantity bigint)
    where o.ordinal = any (p_accepted)
    group by o.order_id, o.window_ms, o.grace_ms, l.product
    returning order_id, product_id, hold_no, quantity
  )
  insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
  select product_id, order_id, hold_no, 'reserve', 0, quantity, 'system' from held;

  insert into workflow_start (order_id, quote_ends_at)
  select o.order_id, p_now + make_interval(secs => o.window_ms / 1000.0)
  from jsonb_to_recordset(p_orders) o (ordinal int, order_id uuid, window_ms bigint)
  where o.ordinal = any (p_accepted);
  return true;
end
$$;
revoke execute on function write_orders from public;
grant execute on function write_orders to app_api;
comment on function write_orders is
  'Writes accepted orders with their lines, invoices, holds, stock movements and workflow starts; not the stock'
  ' itself.';
