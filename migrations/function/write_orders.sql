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
