-- Accepting orders: many callers' at once, each decided whole and in the order of arrival. One call, one commit.
-- No temporary tables: their catalogue work would cost more than everything else here.
--
-- p_orders in all of these: [{i, order_id, user_id, key, hash, currency, asset, network, address, rate, decimals,
--   sealed, window_ms, grace_ms, confirm_ms, lines: [{n, p, q, price}]}]: i numbers the order within the batch; n, p
--   and q are line number, product and quantity. p_wanted: [{i, p, q}], one per order and product.

create function quote_due(total numeric, rate numeric, decimals smallint) returns numeric
language sql immutable strict parallel safe as $$
  -- Exact: both sides are scaled to integers, and div() truncates, so this rounds up to one base unit.
  select div(total * 100 * power(10::numeric, decimals) + rate * 100 - 1, rate * 100)
$$;
comment on function quote_due is 'Base units due, rounded up; equal to quoteDue in src/domain/money.ts.';
revoke execute on function quote_due from public;
grant execute on function quote_due to app_api, app_worker, auditor;

-- Who gets stock when not everything fits: in the order of arrival, each order whole. Returns the verdicts of the
-- orders that get nothing, as {"ordinal": {...}}. The caller has locked the stock rows. An order behind one that waits
-- for a reclaim, and that wants some of the same, waits too: it must not take what the first one asked for. Whether a
-- hold may be reclaimed is asked at one instant per batch, by which the index can be searched.
create function decide_in_order(p_wanted jsonb, p_is_last_try boolean) returns jsonb
language plpgsql stable as $$
declare
  v_left jsonb := '{}';
  v_refused jsonb := '{}';
  v_waiting text[] := '{}';
  v_order record;
  v_short jsonb;
  v_now timestamptz := clock_timestamp();
  v_is_due boolean;
begin
  select coalesce(jsonb_object_agg(s.product_id, s.on_hand - s.reserved), '{}') into v_left
  from stock s where s.product_id in (select w ->> 'p' from jsonb_array_elements(p_wanted) w);

  for v_order in
    select (w ->> 'i')::int as ordinal, jsonb_object_agg(w ->> 'p', (w ->> 'q')::bigint) as wants
    from jsonb_array_elements(p_wanted) w group by 1 order by 1
  loop
    select jsonb_agg(jsonb_build_object('p', k.key, 'wanted', k.value::bigint, 'available',
      coalesce((v_left ->> k.key)::bigint, 0)) order by k.key)
    into v_short
    from jsonb_each_text(v_order.wants) k
    where k.value::bigint > coalesce((v_left ->> k.key)::bigint, 0);

    if v_short is null and not v_order.wants ?| v_waiting then
      select v_left || jsonb_object_agg(k.key, (v_left ->> k.key)::bigint - k.value::bigint) into v_left
      from jsonb_each_text(v_order.wants) k;
      continue;
    end if;
    -- A subquery per row and not a join: it goes by the index on (product, expiry) and stops at the first that may end.
    v_is_due := v_short is not null and not p_is_last_try and coalesce((
      select true from reservation r
      where r.product_id = any (array(select s ->> 'p' from jsonb_array_elements(v_short) s))
        and r.state = 'held' and r.expires_at <= v_now
        and (select true from expirable e where e.order_id = r.order_id)
      limit 1), false);
    if v_order.wants ?| v_waiting or v_is_due then
      -- Stock that is only waiting to be given back: reclaim it in a transaction of its own, then ask again.
      v_waiting := v_waiting || array(select jsonb_object_keys(v_order.wants));
      v_refused := v_refused || jsonb_build_object(v_order.ordinal, jsonb_build_object('verdict', 'reclaim',
        'shortages', v_short));
    else
      v_refused := v_refused || jsonb_build_object(v_order.ordinal, jsonb_build_object('verdict', 'OUT_OF_STOCK',
        'shortages', v_short));
    end if;
  end loop;
  return v_refused;
end
$$;
comment on function decide_in_order is 'The slow path of accept_orders: who gets what is left, in arrival order.';

-- What each attempt was told, from immutable columns, so that a replay is equal to the byte. `reclaim`: nothing yet.
-- Reads i, user_id, key and hash.
create function order_answers(p_orders jsonb, p_fresh int[], p_refused jsonb)
returns table (
  ordinal int, verdict text, detail jsonb, order_id uuid, currency text, total numeric, lines jsonb, network text,
  asset text, address text, amount_due numeric, rate numeric, expires_at timestamptz, created_at timestamptz
)
language sql stable set search_path = holdfast, pg_catalog as $$
  select o.i,
    case when k.key is null then 'reclaim'
         when k.request_hash <> decode(o.hash, 'hex') then 'IDEMPOTENCY_KEY_REUSED'
         when k.order_id is null then k.response ->> 'verdict'
         when o.i = any (p_fresh) then 'accepted' else 'replayed' end,
    case when k.key is null then p_refused -> o.i::text else k.response end,
    t.order_id, t.currency, t.total,
    (select jsonb_agg(jsonb_build_object('p', l.product_id, 'name', l.name, 'q', l.quantity, 'price',
      l.unit_price::text) order by l.line_no)
     from order_line l where l.order_id = t.order_id),
    v.network, v.asset, v.address, v.amount_due, v.rate, v.expires_at, t.created_at
  from jsonb_to_recordset(p_orders) o (i int, user_id bigint, key uuid, hash text)
  left join idempotency k on k.actor = 'user:' || o.user_id and k.method = 'CreateOrder' and k.key = o.key
  left join orders t on t.order_id = k.order_id
  left join invoice v on v.order_id = k.order_id
$$;
comment on function order_answers is 'The recorded answers to CreateOrder attempts, one row each.';

-- All that accepted orders leave behind but the stock. False when the catalogue's price is no longer the one that the
-- buyer was promised: a line is stamped with the version its price stands in, by one statement that sees both.
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
  -- By key, line by line: joined instead, a small catalogue is read whole, with all lines unpacked again for each
  -- product.
  cross join lateral (
    select p.product_id, p.version, p.name, p.unit_price, p.is_active, p.currency from product p
      where p.product_id = l.p offset 0
  ) p
  where o.i = any (p_accepted) and p.unit_price = l.price and p.is_active and p.currency = o.currency;
  get diagnostics v_count = row_count;
  if v_count <> (
    select sum(jsonb_array_length(o.lines)) from jsonb_to_recordset(p_orders) o (i int, lines jsonb)
      where o.i = any (p_accepted)
  ) then
    return false;
  end if;

  insert into invoice (order_id, network, asset, address, amount_due, rate, expires_at, grace, confirm_within,
    created_at)
  select o.order_id, o.network, o.asset, o.address, quote_due(t.total, o.rate, o.decimals), o.rate,
    p_now + make_interval(secs => o.window_ms / 1000.0), make_interval(secs => o.grace_ms / 1000.0),
    make_interval(secs => o.confirm_ms / 1000.0), p_now
  from jsonb_to_recordset(p_orders)
    o (i int, order_id uuid, network text, asset text, address text, rate numeric, decimals smallint, window_ms bigint,
      grace_ms bigint, confirm_ms bigint)
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
comment on function write_orders is
  'Writes accepted orders with their lines, invoices, holds, movements and starts; false when a price has changed.';

-- Race: two batches, or a batch and a count or a price change. Each that changes several products locks them in this
-- order.
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
comment on function take_wanted is
  'Reserves in sum what these orders want of each product; false when it is not all there.';

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
        'prices', jsonb_agg(distinct jsonb_build_object('p', l.p, 'price',
          p.unit_price::text)) filter (where p.unit_price <> l.price))
      when sum(l.q * p.unit_price) not between 0.01 and 999999999999.99 then jsonb_build_object('verdict',
        'AMOUNT_OUT_OF_RANGE')
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

-- Locks: the idempotency keys first, sorted, by inserting them. Then a batch that seems to fit writes its rows, and
-- locks the stock last, by product: a hot product is locked only for as long as it takes to take it. Where that fails,
-- what was written is undone. Such a batch, one that does not fit, and an order alone lock the stock rows by product
-- first, and decide and write under these locks. A price change locks the same stock row first: the price at commit is
-- the catalogue's. Refusals are data; only an error of SQL itself raises.
create function accept_orders(p_orders jsonb, p_is_last_try boolean)
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

    -- Nothing is locked yet: what is seen here only chooses the way. An order alone would pay for a savepoint and a
    -- second
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
comment on function accept_orders is
  'Accepts or refuses a batch of orders in one transaction; one row per order with its verdict.';

revoke execute on function decide_in_order, order_answers, write_orders, lock_wanted, take_wanted, refused_orders,
  fits_in_sum, accept_orders from public;
grant execute on function decide_in_order, order_answers, write_orders, lock_wanted, take_wanted, refused_orders,
  fits_in_sum, accept_orders to app_api;
