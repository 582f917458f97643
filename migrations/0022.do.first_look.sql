-- Accepting finds each product by its key. The join of lines and catalogue was planned by their sizes: with a catalogue of
-- some thousands it read all of it for every batch, a third of what accepting cost. And a run that begins with news of
-- money assesses it as its first step, which takes the run's generation as well (docs/decisions/0015). Replaces two
-- functions: nothing is locked or rewritten, and both versions may run at once.

create or replace function write_orders(p_orders jsonb, p_accepted int[], p_now timestamptz) returns boolean
language plpgsql as $$
declare
  v_count bigint;
begin
  insert into orders (order_id, user_id, currency, total, address_sealed)
  select o.order_id, o.user_id, o.currency,
    (select sum(l.q * l.price) from jsonb_to_recordset(o.lines) l (q bigint, price numeric)),
    decode(o.sealed, 'base64')
  from jsonb_to_recordset(p_orders) o (i int, order_id uuid, user_id bigint, currency text, sealed text, lines jsonb)
  where o.i = any (p_accepted);

  insert into order_line (order_id, line_no, product_id, product_version, name, quantity, unit_price)
  select o.order_id, l.n, p.product_id, p.version, p.name, l.q, p.unit_price
  from jsonb_to_recordset(p_orders) o (i int, order_id uuid, currency text, lines jsonb)
  cross join jsonb_to_recordset(o.lines) l (n smallint, p text, q int, price numeric)
  -- By key, line by line: joined instead, a small catalogue is read whole, with all lines unpacked again for each product.
  cross join lateral (
    select p.product_id, p.version, p.name, p.unit_price, p.is_active, p.currency from product p where p.product_id = l.p offset 0
  ) p
  where o.i = any (p_accepted) and p.unit_price = l.price and p.is_active and p.currency = o.currency;
  get diagnostics v_count = row_count;
  if v_count <> (
    select sum(jsonb_array_length(o.lines)) from jsonb_to_recordset(p_orders) o (i int, lines jsonb) where o.i = any (p_accepted)
  ) then
    return false;
  end if;

  insert into invoice (order_id, network, asset, address, amount_due, rate, expires_at, grace, confirm_within, created_at)
  select o.order_id, o.network, o.asset, o.address, quote_due(t.total, o.rate, o.decimals), o.rate,
    p_now + make_interval(secs => o.window_ms / 1000.0), make_interval(secs => o.grace_ms / 1000.0),
    make_interval(secs => o.confirm_ms / 1000.0), p_now
  from jsonb_to_recordset(p_orders)
    o (i int, order_id uuid, network text, asset text, address text, rate numeric, decimals smallint, window_ms bigint, grace_ms bigint, confirm_ms bigint)
  join orders t on t.order_id = o.order_id
  where o.i = any (p_accepted);

  with held as (
    insert into reservation (order_id, product_id, quantity, expires_at)
    select o.order_id, l.p, sum(l.q), p_now + make_interval(secs => (o.window_ms + o.grace_ms) / 1000.0)
    from jsonb_to_recordset(p_orders) o (i int, order_id uuid, window_ms bigint, grace_ms bigint, lines jsonb)
    cross join jsonb_to_recordset(o.lines) l (p text, q bigint)
    where o.i = any (p_accepted)
    group by o.order_id, o.window_ms, o.grace_ms, l.p
    returning order_id, product_id, hold_no, quantity
  )
  insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
  select product_id, order_id, hold_no, 'reserve', 0, quantity, 'system' from held;

  insert into workflow_start (order_id, quote_ends_at)
  select o.order_id, p_now + make_interval(secs => o.window_ms / 1000.0)
  from jsonb_to_recordset(p_orders) o (i int, order_id uuid, window_ms bigint) where o.i = any (p_accepted);
  return true;
end
$$;

-- The first half of an assessment; the caller decides what it means and ends it in the same transaction. An open
-- order is its own run's, one that has ended is its aftercare's, which has no step to count (null).
create or replace function begin_assessment(p_order_id uuid, p_generation int, p_step int)
returns table (
  outcome text, status text, payment_state text, hold text, flags text[], amount_due numeric, facts jsonb
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text := enter_step(p_order_id, p_generation, p_step);
  v_facts jsonb := '[]';
begin
  if v_outcome = 'entered' then
    -- An order that never held stock is reserved first, and nothing is decided about its money before.
    if (select o.status in ('delivered', 'cancelled') from orders o where o.order_id = p_order_id) = (p_step is null)
      and (p_step is null or exists (select from reservation r where r.order_id = p_order_id)) then
      v_facts := credit_payments(p_order_id);
    end if;
    -- Nothing to decide: the step is done.
    if v_facts = '[]' and p_step is not null then
      update orders set generation = p_generation, step = p_step where order_id = p_order_id;
    end if;
  end if;
  return query
  select v_outcome, o.status, o.payment_state, o.hold, o.payment_flags, i.amount_due, v_facts
  from orders o join invoice i on i.order_id = o.order_id where o.order_id = p_order_id;
end
$$;
