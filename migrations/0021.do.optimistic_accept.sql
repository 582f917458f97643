-- A hot product is locked for as long as it takes to take it, and no longer. A batch of orders locked the stock it wanted
-- before it wrote their rows, so that every other batch waited for all of its writing: one core worked, whatever the
-- number of processes. Now the rows come first, on the assumption that everything fits, and the stock last, under its
-- guard; where the assumption fails, what was written is undone and the batch is decided under the locks as before.
-- Replaces a function: nothing is locked or rewritten, and both versions may run at once.

-- All that accepted orders leave behind but the stock. False when the catalogue has another price by now than the buyer
-- was promised: a line is stamped with the version its price stands in, by one statement that sees both.
create function write_orders(p_orders jsonb, p_accepted int[], p_now timestamptz) returns boolean
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
  join product p on p.product_id = l.p
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
comment on function write_orders is 'Writes accepted orders with their lines, invoices, holds, movements and starts; false when a price has changed.';

-- Race: two batches, and whoever counts or publishes. All that change several products lock them in this order.
create function lock_wanted(p_wanted jsonb) returns void
language plpgsql as $$
begin
  perform 1 from stock
  where product_id in (select w ->> 'p' from jsonb_array_elements(p_wanted) w)
  order by product_id
  for no key update;
end
$$;
comment on function lock_wanted is 'Locks the stock of all that is wanted, in the order of products.';

-- Under these locks. False when it is not all there.
create function take_wanted(p_wanted jsonb, p_accepted int[]) returns boolean
language plpgsql as $$
declare
  v_wants int;
  v_taken int;
begin
  with wants as (
    select w ->> 'p' as p, sum((w ->> 'q')::bigint) as q
    from jsonb_array_elements(p_wanted) w where (w ->> 'i')::int = any (p_accepted) group by 1
  ), taken as (
    update stock s set reserved = s.reserved + w.q, version = s.version + 1
    from wants w where s.product_id = w.p and s.on_hand - s.reserved >= w.q
    returning 1
  )
  select (select count(*) from wants), (select count(*) from taken) into v_wants, v_taken;
  return v_taken = v_wants;
end
$$;
comment on function take_wanted is 'Reserves in sum what these orders want of each product; false when it is not all there.';

-- Unknown products, changed prices, sums out of range.
create function refused_orders(p_orders jsonb, p_fresh int[]) returns jsonb
language sql stable as $$
  select coalesce(jsonb_object_agg(c.i, c.refusal), '{}')
  from (
    select o.i, case
      when count(*) filter (where p.product_id is null or s.product_id is null) > 0 then jsonb_build_object(
        'verdict', 'PRODUCT_UNKNOWN',
        'products', jsonb_agg(distinct l.p) filter (where p.product_id is null or s.product_id is null))
      when count(*) filter (where p.unit_price <> l.price) > 0 then jsonb_build_object(
        'verdict', 'PRICE_CHANGED',
        'prices', jsonb_agg(distinct jsonb_build_object('p', l.p, 'price', p.unit_price::text)) filter (where p.unit_price <> l.price))
      when sum(l.q * p.unit_price) not between 0.01 and 999999999999.99 then jsonb_build_object('verdict', 'AMOUNT_OUT_OF_RANGE')
      end as refusal
    from jsonb_to_recordset(p_orders) o (i int, currency text, lines jsonb)
    cross join jsonb_to_recordset(o.lines) l (p text, q bigint, price numeric)
    left join product p on p.product_id = l.p and p.is_active and p.currency = o.currency
    left join stock s on s.product_id = l.p
    where o.i = any (p_fresh)
    group by o.i
  ) c where c.refusal is not null
$$;
comment on function refused_orders is 'Why orders cannot be accepted whatever the stock, by ordinal.';

-- Everything fits in sum, which is what any serial order would decide too.
create function fits_in_sum(p_wanted jsonb, p_refused jsonb) returns boolean
language sql stable as $$
  select not exists (
    select from (
      select w ->> 'p' as p, sum((w ->> 'q')::bigint) as q
      from jsonb_array_elements(p_wanted) w where not p_refused ? (w ->> 'i') group by 1
    ) t left join stock s on s.product_id = t.p
    where s.product_id is null or s.on_hand - s.reserved < t.q)
$$;
comment on function fits_in_sum is 'Whether there is enough of each product for all orders that are not refused.';

create or replace function accept_orders(p_orders jsonb, p_is_last_try boolean)
returns table (
  ordinal int, verdict text, detail jsonb, order_id uuid, currency text, total numeric, lines jsonb, network text,
  asset text, address text, amount_due numeric, rate numeric, expires_at timestamptz, created_at timestamptz
)
language plpgsql volatile set search_path = holdfast, pg_catalog as $$
#variable_conflict use_column
declare
  v_fresh int[];
  v_refused jsonb;
  v_wanted jsonb;
  v_accepted int[];
  v_is_done boolean := false;
begin
  -- A concurrent call with the same key waits here for the first one's commit, then finds its row.
  with fresh as (
    insert into idempotency (actor, method, key, request_hash, order_id)
    select 'user:' || o.user_id, 'CreateOrder', o.key, decode(o.hash, 'hex'), o.order_id
    from jsonb_to_recordset(p_orders) o (i int, user_id bigint, key uuid, hash text, order_id uuid)
    order by o.user_id, o.key
    on conflict do nothing
    returning order_id
  )
  select coalesce(array_agg(o.i), '{}') into v_fresh
  from jsonb_to_recordset(p_orders) o (i int, order_id uuid) join fresh f on f.order_id = o.order_id;

  if cardinality(v_fresh) > 0 then
    insert into customer (user_id)
    select distinct o.user_id from jsonb_to_recordset(p_orders) o (i int, user_id bigint)
    where o.i = any (v_fresh) and not exists (select from customer c where c.user_id = o.user_id)
    order by 1
    on conflict do nothing;

    -- One row per order and product, quantities summed.
    select coalesce(jsonb_agg(jsonb_build_object('i', w.i, 'p', w.p, 'q', w.q)), '[]') into v_wanted
    from (
      select o.i, l.p, sum(l.q) as q
      from jsonb_to_recordset(p_orders) o (i int, lines jsonb), jsonb_to_recordset(o.lines) l (p text, q bigint)
      where o.i = any (v_fresh) group by 1, 2
    ) w;

    -- Nothing is locked yet: what is seen here only chooses the way. An order alone would pay for a savepoint and a second
    -- look, to shorten a lock that hardly anybody waits for.
    if cardinality(v_fresh) > 1 and refused_orders(p_orders, v_fresh) = '{}' and fits_in_sum(v_wanted, '{}') then
      begin
        if not write_orders(p_orders, v_fresh, clock_timestamp()) then
          raise exception 'accept_orders: a price has changed' using errcode = 'HF013';
        end if;
        -- Their entries too, before a product that others want is locked.
        set constraints all immediate;
        set constraints all deferred;
        perform lock_wanted(v_wanted);
        if not take_wanted(v_wanted, v_fresh) then
          raise exception 'accept_orders: stock has changed' using errcode = 'HF013';
        end if;
        v_is_done := true;
      exception when sqlstate 'HF013' then
        v_is_done := false;
      end;
    end if;

    if not v_is_done then
      perform lock_wanted(v_wanted);
      v_refused := refused_orders(p_orders, v_fresh);
      if not fits_in_sum(v_wanted, v_refused) then
        v_refused := v_refused || decide_in_order(
          (select coalesce(jsonb_agg(w), '[]') from jsonb_array_elements(v_wanted) w where not v_refused ? (w ->> 'i')),
          p_is_last_try);
      end if;
      select coalesce(array_agg(i), '{}') into v_accepted from unnest(v_fresh) as i where not v_refused ? i::text;
      -- The guard holds by the decision above and by the CHECK; the counts prove it.
      if cardinality(v_accepted) > 0
        and not (write_orders(p_orders, v_accepted, clock_timestamp()) and take_wanted(v_wanted, v_accepted)) then
        raise exception 'accept_orders: stock or price changed under its lock' using errcode = 'HF010';
      end if;

      -- A refusal is this key's answer for good; a reclaim is no answer yet.
      if v_refused <> '{}' then
        update idempotency k set order_id = null, response = v_refused -> o.i::text
        from jsonb_to_recordset(p_orders) o (i int, user_id bigint, key uuid)
        where v_refused -> o.i::text ->> 'verdict' <> 'reclaim'
          and k.actor = 'user:' || o.user_id and k.method = 'CreateOrder' and k.key = o.key;
        delete from idempotency k using jsonb_to_recordset(p_orders) o (i int, user_id bigint, key uuid)
        where v_refused -> o.i::text ->> 'verdict' = 'reclaim'
          and k.actor = 'user:' || o.user_id and k.method = 'CreateOrder' and k.key = o.key;
      end if;
    end if;
  end if;

  return query select * from order_answers(p_orders, v_fresh, coalesce(v_refused, '{}'));
end
$$;

revoke execute on function write_orders, lock_wanted, take_wanted, refused_orders, fits_in_sum from public;
grant execute on function write_orders, lock_wanted, take_wanted, refused_orders, fits_in_sum to app_api;
