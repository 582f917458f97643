-- Functions a stranger can read. Each has its contract on top, the longest are split, and JSON between the api and
-- accept_orders has words for keys: ordinal, line, product, quantity where i, n, p, q stood. Two rules that many
-- statements spelled out get a function each: is_terminal and is_enough. Behaviour is unchanged.
--
-- Locks: the stored refusals of CreateOrder are rewritten, which reads idempotency once; only their rows are locked.
-- Functions are replaced; the view expirable takes ACCESS EXCLUSIVE for as long as a change of the catalogue.
-- Older processes: stop the api of before first. It sends and reads the old keys: its new orders fail at commit, by the
-- foreign key of idempotency, and store nothing. Workers of before go on.
--
-- Functions as migrations/function has them: due_units, decide_in_order, fits_in_sum, lock_wanted, refused_orders,
-- take_wanted, write_orders, accept_locked, catalogue_of, accept_optimistic, order_answers, accept_orders,
-- audit_columns, audit_capture, audit_make_partitions, audit_watch, is_terminal, begin_assessment, command_target,
-- is_enough, end_orders, do_command, is_command_legal, command_order, expirable, forget_answers, is_enough_seen,
-- restart_orders.

-- Units of the wanted products in expired holds that can be given back now, as {"<product>": units}.
-- p_wanted: [{ordinal, product, quantity}]. p_reserved: {"<product>": reserved units}; products without an entry are
-- left out.
-- An upper bound where there are as many holds as units wanted, or 500: all that is reserved is returned then.
-- Locks: none. A hold that another session is about to end counts until that commits; its stock row is locked by the
-- caller.
-- Changes nothing.
create or replace function due_units(p_wanted jsonb, p_reserved jsonb) returns jsonb
language plpgsql stable as $$
declare
  -- Each hold that is counted costs microseconds under the lock on the stock. Where the count stops, here or at what is
  -- wanted, all that is reserved is taken to be due: no less, since the caller judges larger orders by it.
  c_most_holds constant int := 500;
begin
  -- A hold has at least one unit, so that no more holds than units wanted must be counted.
  return (
    select coalesce(jsonb_object_agg(
      w.product, case when h.holds = w.most then (p_reserved ->> w.product)::bigint else h.units end), '{}')
    from (
      select i ->> 'product' as product, least(max((i ->> 'quantity')::bigint), c_most_holds) as most
      from jsonb_array_elements(p_wanted) i where p_reserved ? (i ->> 'product') group by 1
    ) w
    cross join lateral (
      select count(*) as holds, coalesce(sum(d.quantity), 0)::bigint as units
      from (
        select r.quantity from returning_hold r
        where r.product_id = w.product and r.expires_at <= clock_timestamp() limit w.most
      ) d
    ) h);
end
$$;
revoke execute on function due_units from public;
grant execute on function due_units to app_api;
comment on function due_units is
  'Units of the wanted products in expired holds that can be given back now, as {"<product>": units}.';

-- Allocation under shortage: decides in order of arrival which orders of a batch get stock, each order whole.
-- p_wanted: [{ordinal, product, quantity}], one item per order and product, without orders that are refused already.
-- p_is_last_try is not read.
-- Result: {"<ordinal>": {verdict, shortages}} for the orders that get nothing; the others fit.
--   verdict 'OUT_OF_STOCK': final. shortages: [{product, wanted, available}].
--   verdict 'reclaim': expired holds could free enough; the process gives them back and asks again. shortages as above,
--   each with returning, the units that can come back; null where only an order before it keeps this one waiting.
-- An order that waits keeps its place: later orders of the same product wait as well.
-- Locks: none here; the caller holds the stock rows (lock_wanted). Changes nothing.
create or replace function decide_in_order(p_wanted jsonb, p_is_last_try boolean) returns jsonb
language plpgsql stable as $$
declare
  v_left jsonb := '{}';
  v_reserved jsonb := '{}';
  v_due jsonb;
  v_refused jsonb := '{}';
  v_waiting text[] := '{}';
  v_order record;
  v_short jsonb;
begin
  select coalesce(jsonb_object_agg(s.product_id, s.on_hand - s.reserved), '{}'),
    coalesce(jsonb_object_agg(s.product_id, s.reserved), '{}')
  into v_left, v_reserved
  from stock s where s.product_id in (select w ->> 'product' from jsonb_array_elements(p_wanted) w);

  for v_order in
    select (w ->> 'ordinal')::int as ordinal, jsonb_object_agg(w ->> 'product', (w ->> 'quantity')::bigint) as wants
    from jsonb_array_elements(p_wanted) w group by 1 order by 1
  loop
    select jsonb_agg(jsonb_build_object(
      'product', k.key, 'wanted', k.value::bigint, 'available', coalesce((v_left ->> k.key)::bigint, 0)) order by k.key)
    into v_short
    from jsonb_each_text(v_order.wants) k
    where k.value::bigint > coalesce((v_left ->> k.key)::bigint, 0);

    if v_short is null and not v_order.wants ?| v_waiting then
      select v_left || jsonb_object_agg(k.key, (v_left ->> k.key)::bigint - k.value::bigint) into v_left
      from jsonb_each_text(v_order.wants) k;
      continue;
    end if;
    -- Asked once for all products of the batch.
    if v_short is not null and v_due is null then
      v_due := due_units(p_wanted, v_reserved);
    end if;
    if v_short is not null and exists (
      select from jsonb_array_elements(v_short) s
      where (s ->> 'wanted')::bigint > (s ->> 'available')::bigint + coalesce((v_due ->> (s ->> 'product'))::bigint, 0)
    ) then
      v_refused := v_refused || jsonb_build_object(
        v_order.ordinal, jsonb_build_object('verdict', 'OUT_OF_STOCK', 'shortages', v_short));
      continue;
    end if;
    -- Stock that only waits to be given back: the process reclaims it in a transaction of its own, then asks again.
    v_waiting := v_waiting || array(select s ->> 'product' from jsonb_array_elements(coalesce(v_short, '[]')) s);
    select jsonb_agg(s || jsonb_build_object('returning', coalesce((v_due ->> (s ->> 'product'))::bigint, 0))
      order by s ->> 'product')
    into v_short from jsonb_array_elements(v_short) s;
    v_refused := v_refused || jsonb_build_object(
      v_order.ordinal, jsonb_build_object('verdict', 'reclaim', 'shortages', v_short));
  end loop;
  return v_refused;
end
$$;
revoke execute on function decide_in_order from public;
grant execute on function decide_in_order to app_api;
comment on function decide_in_order is
  'Allocation under shortage: decides in order of arrival which orders of a batch get stock, each order whole.';

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
comment on function fits_in_sum is
  'Whether there is enough stock of every product for all orders that are not refused; any serial order decides'
  ' the same then.';

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
comment on function lock_wanted is
  'Lock ordering: locks the stock rows of all wanted products FOR NO KEY UPDATE, by product_id.';

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
comment on function refused_orders is
  'Validation: the orders that cannot be accepted whatever the stock.';

-- Reservation in sum: adds what these orders want to the reserved count of each product.
-- p_wanted: [{ordinal, product, quantity}]. p_accepted: ordinals that count.
-- Returns false when not all of it is available: the caller then undoes what was taken.
-- Locks: the caller holds the stock rows (lock_wanted). Repeating it would take twice.
create or replace function take_wanted(p_wanted jsonb, p_accepted int[]) returns boolean
language plpgsql as $$
declare
  v_wants int;
  v_taken int;
begin
  with wants as (
    select w ->> 'product' as product, sum((w ->> 'quantity')::bigint) as quantity
    from jsonb_array_elements(p_wanted) w where (w ->> 'ordinal')::int = any (p_accepted) group by 1
  ), taken as (
    update stock s set reserved = s.reserved + w.quantity, version = s.version + 1
    from wants w where s.product_id = w.product and s.on_hand - s.reserved >= w.quantity
    returning 1
  )
  select (select count(*) from wants), (select count(*) from taken) into v_wants, v_taken;
  return v_taken = v_wants;
end
$$;
revoke execute on function take_wanted from public;
grant execute on function take_wanted to app_api;
comment on function take_wanted is
  'Reservation in sum: adds what these orders want to the reserved count of each product.';

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
    order_id, network, asset, address, amount_due, rate, expires_at, grace, confirm_within, created_at)
  select o.order_id, o.network, o.asset, o.address, quote_due(t.total, o.rate, o.decimals), o.rate,
    p_now + make_interval(secs => o.window_ms / 1000.0), make_interval(secs => o.grace_ms / 1000.0),
    make_interval(secs => o.confirm_ms / 1000.0), p_now
  from jsonb_to_recordset(p_orders)
    o (ordinal int, order_id uuid, network text, asset text, address text, rate numeric, decimals smallint,
      window_ms bigint, grace_ms bigint, confirm_ms bigint)
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

-- Pessimistic way of accept_orders: locks the stock first, decides each order under the lock, and writes what fits.
-- p_orders, p_fresh, p_wanted: see accept_optimistic. p_is_last_try: see decide_in_order.
-- Result: {"<ordinal>": {verdict, …}} for the orders that were not accepted (refused_orders, decide_in_order).
-- A refusal is stored as its key's answer; a key whose order waits for a reclaim is removed, so that it can be tried
-- again.
-- Locks: stock rows by product_id, then new rows of the orders.
-- Error: HF010 when stock or a price changed under its lock, which is a fault.
create or replace function accept_locked(p_orders jsonb, p_fresh int[], p_wanted jsonb, p_is_last_try boolean)
returns jsonb language plpgsql as $$
declare
  v_refused jsonb;
  v_accepted int[];
begin
  perform lock_wanted(p_wanted);
  v_refused := refused_orders(p_orders, p_fresh);
  if not fits_in_sum(p_wanted, v_refused) then
    v_refused := v_refused || decide_in_order((
      select coalesce(jsonb_agg(w), '[]') from jsonb_array_elements(p_wanted) w where not v_refused ? (w ->> 'ordinal')
    ), p_is_last_try);
  end if;
  select coalesce(array_agg(f), '{}') into v_accepted from unnest(p_fresh) f where not v_refused ? f::text;
  -- The guard holds by the decision above and by the CHECK; the counts prove it.
  if cardinality(v_accepted) > 0
    and not (write_orders(p_orders, v_accepted, clock_timestamp()) and take_wanted(p_wanted, v_accepted)) then
    raise exception 'accept_orders: stock or price changed under its lock' using errcode = 'HF010';
  end if;

  if v_refused <> '{}' then
    update idempotency k set order_id = null, response = v_refused -> o.ordinal::text
    from jsonb_to_recordset(p_orders) o (ordinal int, user_id bigint, key uuid)
    where v_refused -> o.ordinal::text ->> 'verdict' <> 'reclaim'
      and k.actor = 'user:' || o.user_id and k.method = 'CreateOrder' and k.key = o.key;
    delete from idempotency k using jsonb_to_recordset(p_orders) o (ordinal int, user_id bigint, key uuid)
    where v_refused -> o.ordinal::text ->> 'verdict' = 'reclaim'
      and k.actor = 'user:' || o.user_id and k.method = 'CreateOrder' and k.key = o.key;
  end if;
  return v_refused;
end
$$;
revoke execute on function accept_locked from public;
grant execute on function accept_locked to app_api;
comment on function accept_locked is
  'Pessimistic way of accept_orders: locks the stock first, decides each order under the lock, and writes what'
  ' fits.';

-- Optimistic lock: the versions of the wanted products that are on sale, as {"<product>": version}.
-- p_wanted: [{ordinal, product, quantity}]. The version moves with every change, so equal versions are equal prices.
-- Locks: none. Changes nothing.
create or replace function catalogue_of(p_wanted jsonb) returns jsonb
language sql stable as $$
  select coalesce(jsonb_object_agg(p.product_id, p.version), '{}') from product p
  where p.product_id in (select w ->> 'product' from jsonb_array_elements(p_wanted) w) and p.is_active
$$;
revoke execute on function catalogue_of from public;
grant execute on function catalogue_of to app_api;
comment on function catalogue_of is
  'Optimistic lock: the versions of the wanted products that are on sale, as {"<product>": version}.';

-- Optimistic concurrency control: accepts several orders that all seem to fit, with the stock locked as late as
-- possible (docs/decisions/0014). Returns false, with everything undone, when they do not fit after all.
-- p_orders: see accept_orders. p_fresh: ordinals to accept. p_wanted: [{ordinal, product, quantity}].
-- Locks: new rows of the orders first, then stock rows by product_id, held until commit.
-- An order alone is left to accept_locked: it would pay for a savepoint and a second look at the catalogue, to shorten
-- a lock that few others wait for.
create or replace function accept_optimistic(p_orders jsonb, p_fresh int[], p_wanted jsonb) returns boolean
language plpgsql as $$
declare
  v_catalogue jsonb;
begin
  if cardinality(p_fresh) < 2 then
    return false;
  end if;
  -- Nothing is locked yet: what is seen here only chooses the way.
  v_catalogue := catalogue_of(p_wanted);
  if refused_orders(p_orders, p_fresh) <> '{}' or not fits_in_sum(p_wanted, '{}') then
    return false;
  end if;
  begin
    if not write_orders(p_orders, p_fresh, clock_timestamp()) then
      raise exception 'accept_orders: a price has changed' using errcode = 'HF013';
    end if;
    -- The audit entries too, before a product that others want is locked.
    set constraints all immediate;
    set constraints all deferred;
    perform lock_wanted(p_wanted);
    -- Race: a price or a product that changed since the lines were written. A change takes the stock row first, so
    -- there is none under these locks. The same versions before and after mean the same all the time between.
    if catalogue_of(p_wanted) <> v_catalogue then
      raise exception 'accept_orders: the catalogue has changed' using errcode = 'HF013';
    end if;
    if not take_wanted(p_wanted, p_fresh) then
      raise exception 'accept_orders: stock has changed' using errcode = 'HF013';
    end if;
    return true;
  exception when sqlstate 'HF013' then
    return false;
  end;
end
$$;
revoke execute on function accept_optimistic from public;
grant execute on function accept_optimistic to app_api;
comment on function accept_optimistic is
  'Optimistic concurrency control: accepts several orders that all seem to fit, with the stock locked as late as'
  ' possible (docs/decisions/0014).';

-- Recorded answers: what each CreateOrder attempt was answered, from immutable columns, so that a replay has the same
-- bytes.
-- p_orders: [{ordinal, user_id, key, hash}]; hash: SHA-256 of the request, in hex.
-- p_fresh: ordinals whose key was new in this transaction. p_refused: the result of decide_in_order and refused_orders.
-- Result: one row per item. verdict: 'accepted', 'replayed', 'reclaim' (not decided yet), 'IDEMPOTENCY_KEY_REUSED', or
-- the verdict of a refusal. detail: the refusal as stored. lines: [{product, name, quantity, price}], price as text.
-- Locks: none. Changes nothing.
create or replace function order_answers(p_orders jsonb, p_fresh int[], p_refused jsonb)
returns table (
  ordinal int, verdict text, detail jsonb, order_id uuid, currency text, total numeric, lines jsonb, network text,
  asset text, address text, amount_due numeric, rate numeric, expires_at timestamptz, created_at timestamptz
)
language sql stable set search_path = holdfast, pg_catalog as $$
  select o.ordinal,
    case when k.key is null then 'reclaim'
         when k.request_hash <> decode(o.hash, 'hex') then 'IDEMPOTENCY_KEY_REUSED'
         when k.order_id is null then k.response ->> 'verdict'
         when o.ordinal = any (p_fresh) then 'accepted' else 'replayed' end,
    case when k.key is null then p_refused -> o.ordinal::text else k.response end,
    t.order_id, t.currency, t.total,
    (select jsonb_agg(jsonb_build_object(
       'product', l.product_id, 'name', l.name, 'quantity', l.quantity, 'price', l.unit_price::text) order by l.line_no)
     from order_line l where l.order_id = t.order_id),
    v.network, v.asset, v.address, v.amount_due, v.rate, v.expires_at, t.created_at
  from jsonb_to_recordset(p_orders) o (ordinal int, user_id bigint, key uuid, hash text)
  left join idempotency k on k.actor = 'user:' || o.user_id and k.method = 'CreateOrder' and k.key = o.key
  left join orders t on t.order_id = k.order_id
  left join invoice v on v.order_id = k.order_id
$$;
revoke execute on function order_answers from public;
grant execute on function order_answers to app_api;
comment on function order_answers is
  'Recorded answers: what each CreateOrder attempt was answered, from immutable columns, so that a replay has the'
  ' same bytes.';

-- Group commit: accepts or refuses a batch of CreateOrder attempts in one transaction, each order whole.
-- p_orders: [{ordinal, order_id, user_id, key, hash, currency, asset, network, address, rate, decimals, sealed,
--   window_ms, grace_ms, confirm_ms, lines: [{line, product, quantity, price}]}]
--   hash in hex, sealed in base64, user_id and amounts as text, price as the buyer was promised it.
-- Result: one row per order, see order_answers. Refusals are data.
-- Locks, in this order: idempotency keys, by inserting them sorted; new customers; then either new rows first and stock
-- rows by product_id last (accept_optimistic), or stock rows first and new rows after them (accept_locked).
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

-- Audit code generator: the columns of a table as audit_capture needs them, in SQL text.
-- p_ignored, p_digested: see audit_watch. In the texts, @ stands for the row's name, n (new) or o (old).
-- names: all that are audited. key, fields: `value as name` of the primary key, and of the other columns.
-- either_key: the key of the row that is there. same_key: that both rows have the same key.
-- changed: JSON of each field that differs, else null; 'null' when there are no fields. differs: that any column does.
create or replace function audit_columns(p_table text, p_ignored text[], p_digested text[])
returns table (
  names text[], key text, either_key text, fields text, same_key text, changed text, differs text
)
language sql stable set search_path = holdfast, pg_catalog as $$
  with watched as (
    select a.attnum, quote_ident(a.attname) as name, '"' || a.attname || '":' as label,
      a.attnum = any (k.conkey) as is_key,
      -- Exact whatever reads it: 64-bit numbers and amounts as text, bytes as hex, spans in seconds.
      format(case when a.attname = any (p_digested) then 'encode(sha256(@.%I), ''hex'')'
                  when a.atttypid in ('bigint'::regtype, 'numeric'::regtype) then '@.%I::text'
                  when a.atttypid = 'bytea'::regtype then 'encode(@.%I, ''hex'')'
                  when a.atttypid = 'interval'::regtype then 'extract(epoch from @.%I)::text'
                  else '@.%I' end, a.attname) as value
    from pg_attribute a join pg_constraint k on k.conrelid = a.attrelid and k.contype = 'p'
    where a.attrelid = p_table::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> all (p_ignored)
  )
  select array_agg(name::text order by attnum),
    string_agg(format('%s as %s', value, name), ', ' order by attnum) filter (where is_key),
    string_agg(format('%s as %s', replace(value, '@.' || name, format('coalesce(n.%s, o.%1$s)', name)), name), ', '
      order by attnum) filter (where is_key),
    string_agg(format('%s as %s', value, name), ', ' order by attnum) filter (where not is_key),
    string_agg(format('n.%s = o.%1$s', name), ' and ' order by attnum) filter (where is_key),
    coalesce(string_agg(
      format('case when n.%s is distinct from o.%1$s then %L || coalesce(to_json(%s)::text, ''null'') end',
        name, label, value), ', ' order by attnum) filter (where not is_key), 'null'),
    string_agg(format('n.%s is distinct from o.%1$s', name), ' or ' order by attnum)
  from watched
$$;
revoke execute on function audit_columns from public;
comment on function audit_columns is
  'Audit code generator: the columns of a table as audit_capture needs them, in SQL text.';

-- Audit code generator: the text of the trigger function audit_<table>, which notes what a statement changed in
-- audit_pending: one row per aggregate, with its changes as JSON. Arguments: see audit_watch.
-- It names every column: one generic function would cost the order path twice as much.
create or replace function audit_capture(
  p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[])
returns text language plpgsql stable set search_path = holdfast, pg_catalog as $watch$
declare
  v_columns record;
  -- @ stands for the row's name, as in audit_columns.
  v_id text := case when p_aggregate is null then 'null::text' else format('@.%I::text', p_aggregate) end;
  -- An aggregate is born with the row whose id refers to nothing else.
  v_is_root boolean := p_aggregate is not null and not exists (
    select from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and a.attnum = any (k.conkey)
    where k.conrelid = p_table::regclass and k.contype = 'f' and a.attname = p_aggregate);
  v_note text := format($note$
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then %L else %L end, c.id, %s, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from $note$, p_table, p_kind, case when v_is_root then 'tg_op = ''INSERT''' else 'false' end);
begin
  select * into v_columns from audit_columns(p_table, p_ignored, p_digested);
  return format($trigger$
    create or replace function %I() returns trigger
    language plpgsql security definer set search_path = holdfast, pg_catalog set timezone = 'UTC' as $capture$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then %s (
          select %s as id, string_agg(
            '{"table":"%s","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select %s) k cross join lateral (select %s) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then %2$s (
          select d.id, string_agg('{"table":"%4$s","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(%3$s, %7$s) as id, row_to_json(k)::text as key,
              concat_ws(',', %12$s) as before, concat_ws(',', %13$s) as after
            from old_rows o full join new_rows n on %11$s cross join lateral (select %10$s) k
            where %14$s
          ) d group by d.id
        ) c where c.changes is not null;
      else %2$s (
          select %7$s as id, string_agg(
            '{"table":"%4$s","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select %8$s) k cross join lateral (select %9$s) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $capture$
  $trigger$, 'audit_' || p_table, v_note, replace(v_id, '@', 'n'), p_table, replace(v_columns.key, '@', 'n'),
    replace(v_columns.fields, '@', 'n'), replace(v_id, '@', 'o'), replace(v_columns.key, '@', 'o'),
    replace(v_columns.fields, '@', 'o'), v_columns.either_key, v_columns.same_key,
    replace(v_columns.changed, '@', 'o'), replace(v_columns.changed, '@', 'n'), v_columns.differs);
end
$watch$;
revoke execute on function audit_capture from public;
comment on function audit_capture is
  'Audit code generator: the text of the trigger function audit_<table>, which notes what a statement changed in'
  ' audit_pending: one row per aggregate, with its changes as JSON.';

-- Partition maintenance: makes the monthly partitions of audit_entry that do not exist yet, p_months from p_from on.
-- Returns how many it made. Partitions are attached, not created in place, which would lock out every writer.
-- A month with rows in the default partition gets none: those rows stay where they are.
-- Repeating it is harmless. Runs as the owner.
create or replace function audit_make_partitions(p_from date, p_months int) returns int
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_month timestamptz;
  v_end timestamptz;
  v_name text;
  v_made int := 0;
begin
  for i in 0 .. p_months - 1 loop
    v_month := (date_trunc('month', p_from) + make_interval(months => i)) at time zone 'utc';
    v_end := (date_trunc('month', p_from) + make_interval(months => i + 1)) at time zone 'utc';
    v_name := 'audit_entry_' || to_char(v_month at time zone 'utc', 'YYYY_MM');
    continue when to_regclass(v_name) is not null
      -- Its rows are kept where they are; the month has no partition of its own then.
      or exists (select from audit_entry_default where at >= v_month and at < v_end);
    execute format('create table %I (like audit_entry including defaults including constraints)
      with (toast_tuple_target = 8160)', v_name);
    execute format('comment on table %I is %L', v_name, 'Audit entries of one month.');
    execute format('create trigger audit_entry_no_truncate before truncate on %I
      for each statement execute function refuse_rewriting()', v_name);
    execute format('create unique index %I on %I (kind, aggregate_id, seq)', v_name || '_link_once', v_name);
    execute format('alter table audit_entry attach partition %I for values from (%L) to (%L)', v_name, v_month, v_end);
    v_made := v_made + 1;
  end loop;
  return v_made;
end
$$;
revoke execute on function audit_make_partitions from public;
grant execute on function audit_make_partitions to audit_sealer;
comment on function audit_make_partitions is
  'Partition maintenance: makes the monthly partitions of audit_entry that do not exist yet, p_months from p_from'
  ' on.';

-- Audit code generator: has every change to a table audited from now on, by the trigger function audit_<table>.
-- p_kind: kind of aggregate. p_aggregate: column with its id; null: an entry is about the whole statement.
-- p_ignored: columns that are bookkeeping. p_digested: columns kept as their SHA-256, since they are key material.
-- Call it again in a migration that adds a column; and for every table (audit_scope) in one that changes audit_columns
-- or audit_capture.
-- Locks: for new triggers, the table SHARE ROW EXCLUSIVE until commit. Repeating it is harmless: all is replaced.
create or replace function audit_watch(
  p_table text, p_kind text, p_aggregate text, p_ignored text[] default '{}', p_digested text[] default '{}')
returns void language plpgsql set search_path = holdfast, pg_catalog as $watch$
begin
  execute audit_capture(p_table, p_kind, p_aggregate, p_ignored, p_digested);
  execute format('comment on function %I is %L', 'audit_' || p_table,
    format('Notes every change to %s for the audit.', p_table));
  execute format('revoke execute on function %I from public', 'audit_' || p_table);

  if not exists (select from audit_scope s where s.table_name = p_table) then
    execute format(
      'create trigger %1$I after insert on %2$I referencing new table as new_rows
        for each statement execute function %3$I()',
      p_table || '_audit_insert', p_table, 'audit_' || p_table);
    execute format(
      'create trigger %1$I after update on %2$I referencing old table as old_rows new table as new_rows
        for each statement execute function %3$I()',
      p_table || '_audit_update', p_table, 'audit_' || p_table);
    execute format(
      'create trigger %1$I after delete on %2$I referencing old table as old_rows
        for each statement execute function %3$I()',
      p_table || '_audit_delete', p_table, 'audit_' || p_table);
    execute format('create trigger %1$I before truncate on %2$I for each statement execute function refuse_truncate()',
      p_table || '_audit_truncate', p_table);
  end if;
  insert into audit_scope (table_name, kind, columns, ignored)
  select p_table, p_kind, c.names, p_ignored from audit_columns(p_table, p_ignored, p_digested) c
  on conflict (table_name) do update set kind = excluded.kind, columns = excluded.columns, ignored = excluded.ignored;
end
$watch$;
revoke execute on function audit_watch from public;
comment on function audit_watch is
  'Audit code generator: has every change to a table audited from now on, by the trigger function audit_<table>.';

-- Whether an order has ended: its status is delivered or cancelled. Equal to isTerminal in src/domain/order.ts; a test
-- compares both. The planner inlines it.
create or replace function is_terminal(status text) returns boolean
language sql immutable parallel safe as $$
  select status in ('delivered', 'cancelled')
$$;
revoke execute on function is_terminal from public;
grant execute on function is_terminal to app_api, app_worker, auditor;
comment on function is_terminal is
  'Whether an order has ended: its status is delivered or cancelled.';

-- First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to. The caller
-- decides what that means and calls end_assessment in the same transaction.
-- p_step: null for the aftercare of a terminal order, which has no step to count; an open order is its own run's.
-- outcome: that of enter_step. outputs: how many had news, 500 at most; 0: nothing to decide, and the step is done.
-- Amounts in base units. final, late_final: final money. seen, late_seen: these, and what is seen or reorged.
-- Locks: the order row FOR UPDATE, then those of credit_payments.
-- Repeating it: the fence answers 'repeated'.
create or replace function begin_assessment(p_order_id uuid, p_generation int, p_step int)
returns table (
  outcome text, outputs int, status text, payment_state text, cancel_reason text, hold text, flags text[],
  amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric, late_final numeric,
  is_late boolean, is_reorged boolean, is_replaced boolean, has_wrong_asset boolean, has_early boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text := enter_step(p_order_id, p_generation, p_step);
  v_credit record;
begin
  select 0 as outputs, false as has_wrong_asset, false as has_early into v_credit;
  if v_outcome = 'entered' then
    -- An order that never held stock is reserved first, and nothing is decided about its money before.
    if (select is_terminal(o.status) from orders o where o.order_id = p_order_id) = (p_step is null)
      and (p_step is null or exists (select from reservation r where r.order_id = p_order_id)) then
      select * into v_credit from credit_payments(p_order_id, 500);
      -- Asked to look, and there is nothing new.
      if v_credit.outputs = 0 then
        delete from order_wake where order_id = p_order_id;
      end if;
    end if;
    -- Nothing to decide: the step is done.
    if v_credit.outputs = 0 and p_step is not null then
      update orders set generation = p_generation, step = p_step where order_id = p_order_id;
    end if;
  end if;
  return query
  select v_outcome, v_credit.outputs, o.status, o.payment_state, o.cancel_reason, o.hold, o.payment_flags,
    i.amount_due, c.dust_floor,
    coalesce(sum(p.amount) filter (where p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0),
    coalesce(sum(p.amount) filter (where p.is_in_time and p.state = 'final'), 0),
    coalesce(sum(p.amount) filter (where not p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0),
    coalesce(sum(p.amount) filter (where not p.is_in_time and p.state = 'final'), 0),
    coalesce(bool_or(not p.is_in_time), false), coalesce(bool_or(p.state = 'reorged'), false),
    coalesce(bool_or(p.state = 'replaced'), false), v_credit.has_wrong_asset, v_credit.has_early
  from orders o join invoice i on i.order_id = o.order_id join currency c on c.currency = i.asset
  left join payment p on p.order_id = o.order_id and v_credit.outputs > 0
  where o.order_id = p_order_id
  group by o.order_id, i.order_id, c.currency;
end
$$;
revoke execute on function begin_assessment from public;
grant execute on function begin_assessment to app_worker;
comment on function begin_assessment is
  'First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to.';

-- The status that a command moves an order to; null for a word that is no command.
create or replace function command_target(p_command text) returns text
language sql immutable parallel safe as $$
  select case p_command when 'cancel' then 'cancelled' when 'ship' then 'shipped' when 'deliver' then 'delivered' end
$$;
revoke execute on function command_target from public;
grant execute on function command_target to app_worker;
comment on function command_target is
  'The status that a command moves an order to; null for a word that is no command.';

-- Payment tolerance: whether a sum of base units pays what is due, at most 0.1 % below it. Equal to isEnough in
-- src/domain/payment.ts; a test compares both. The planner inlines it.
create or replace function is_enough(sum numeric, due numeric) returns boolean
language sql immutable parallel safe as $$
  select sum * 1000 >= due * 999
$$;
revoke execute on function is_enough from public;
grant execute on function is_enough to app_api, app_worker, auditor;
comment on function is_enough is
  'Payment tolerance: whether a sum of base units pays what is due, at most 0.1 % below it.';

-- Ends pending or processing orders without shipping them, with all that follows: status, holds, stock, ledger, refunds
-- due, retirement of the payment key, and a wake where the payment missed its confirm deadline.
-- p_reason: orders.cancel_reason. p_end_state: 'released' or 'expired', the state in which the holds end.
-- p_actor: who the stock ledger names.
-- Locks: the caller holds the order rows FOR UPDATE, taken in order of id; here stock rows FOR NO KEY UPDATE, by
-- product_id, then the reservations, refund_due, key_retire and order_wake.
-- Repeating it: holds end once, since only held or committed ones are changed; the refund due is an upsert.
-- Errors: HF002 and HF004, by the guards of orders, when this actor cannot cancel an order from its state.
create or replace function end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) returns void
language plpgsql as $$
declare
  v_slow uuid[] := '{}';
begin
  if p_reason = 'expired' then
    v_slow := array(
      select o.order_id from orders o where o.order_id = any (p_order_ids) and o.payment_state = 'confirming');
  end if;

  update orders o set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when m.final > m.dust_floor then 'unresolved'
      when m.waiting > 0 then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = array(
      select flag from (
        select unnest(o.payment_flags) except select 'under'
        union select 'under' where m.final + m.waiting > 0 and not is_enough(m.final + m.waiting, m.amount_due)
        union select 'slow_confirm' where o.order_id = any (v_slow)) f (flag)
      order by flag collate "C")
  from (
    select i.order_id, i.amount_due, c.dust_floor,
      coalesce(sum(p.amount) filter (where p.state = 'final'), 0) as final,
      coalesce(sum(p.amount) filter (where p.state in ('seen', 'reorged')), 0) as waiting
    from invoice i join currency c on c.currency = i.asset left join payment p on p.order_id = i.order_id
    where i.order_id = any (p_order_ids) group by 1, 2, 3
  ) m
  where o.order_id = m.order_id and o.order_id = any (p_order_ids);

  perform 1 from stock
  where product_id in (
    select product_id from reservation where order_id = any (p_order_ids) and state in ('held', 'committed'))
  order by product_id
  for no key update;

  -- Compare-and-set on the hold: stock moves only for rows that this very statement ended.
  with ended as (
    update reservation set state = p_end_state
    where order_id = any (p_order_ids) and state in ('held', 'committed')
    returning order_id, product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, order_id, hold_no, case p_end_state when 'expired' then 'expire' else 'release' end,
      0, -quantity, p_actor
    from ended
  )
  update stock s set reserved = s.reserved - e.quantity, version = s.version + 1
  from (select product_id, sum(quantity) as quantity from ended group by product_id) e
  where s.product_id = e.product_id;

  insert into refund_due (order_id, asset, amount)
  select p.order_id, p.asset, sum(p.amount) from payment p join currency c on c.currency = p.asset
  where p.order_id = any (p_order_ids) and p.state = 'final'
  group by p.order_id, p.asset, c.dust_floor having sum(p.amount) > c.dust_floor
  on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp();

  insert into key_retire (order_id, network, address)
  select order_id, network, address from invoice where order_id = any (p_order_ids) on conflict do nothing;

  if cardinality(v_slow) > 0 then
    perform want_wake(v_slow);
  end if;
end
$$;
revoke execute on function end_orders from public;
grant execute on function end_orders to app_worker;
comment on function end_orders is
  'Ends pending or processing orders without shipping them, with all that follows: status, holds, stock, ledger,'
  ' refunds due, retirement of the payment key, and a wake where the payment missed its confirm deadline.';

-- Carries out a command that is legal (is_command_legal). p_command, p_input: see command_order.
-- Returns 'done', or 'IDEMPOTENCY_KEY_REUSED' without any effect: the answer is written before the effect it tells of,
-- so that a key which another request took meanwhile leaves none.
-- Locks: the caller holds the order row; here the idempotency key, then those of end_orders or consume_stock.
-- Shipping and delivery write the fence (p_generation, p_step) with the status; the caller does it for a cancellation.
create or replace function do_command(p_order_id uuid, p_generation int, p_step int, p_command text, p_input jsonb)
returns text language plpgsql as $$
declare
  v_actor text := p_input ->> 'actor';
  v_target text := command_target(p_command);
begin
  insert into idempotency (actor, method, key, request_hash, order_id, response)
  select v_actor, p_input ->> 'method', (p_input ->> 'key')::uuid, decode(p_input ->> 'requestHash', 'hex'), p_order_id,
    jsonb_build_object('status', v_target, 'version', o.version + 1)
  from orders o where o.order_id = p_order_id
  on conflict do nothing;
  if not found then
    return 'IDEMPOTENCY_KEY_REUSED';
  end if;

  if p_command = 'cancel' then
    perform end_orders(
      array[p_order_id], case p_input ->> 'role' when 'admin' then 'admin' else 'customer' end, 'released', v_actor);
  else
    update orders set status = v_target, generation = p_generation, step = p_step where order_id = p_order_id;
    if p_command = 'ship' then
      perform consume_stock(p_order_id, v_actor);
      return 'done';
    end if;
    insert into key_retire (order_id, network, address)
    select order_id, network, address from invoice where order_id = p_order_id on conflict do nothing;
  end if;
  -- The order has ended: reports that are not assessed are its aftercare's (design rule 15).
  perform want_wake(array[p_order_id])
  where exists (select from payment_report where order_id = p_order_id and not is_assessed);
  return 'done';
end
$$;
revoke execute on function do_command from public;
grant execute on function do_command to app_worker;
comment on function do_command is
  'Carries out a command that is legal (is_command_legal).';

-- Whether an order may be cancelled, shipped or delivered as it is now. p_command, p_input: see command_order.
-- Nothing is shipped that is on hold or not paid, or while the inbox has news: it may say that the money is gone.
-- isReapplied: a run that was reset is given its commands again. Such a command only gets the answer it got when it was
-- done. Locks: the caller holds the order row. Changes nothing.
create or replace function is_command_legal(p_order_id uuid, p_command text, p_input jsonb) returns boolean
language sql stable as $$
  select coalesce((p_input ->> 'expectedVersion')::bigint = o.version, true)
    and not coalesce((p_input ->> 'isReapplied')::boolean, false)
    and exists (
      select from order_transition t
      where t.from_status = o.status and t.to_status = command_target(p_command) and t.role = p_input ->> 'role')
    and (p_command <> 'ship' or o.hold = 'none' and o.payment_state = 'paid'
      and not exists (select from payment_report r where r.order_id = p_order_id and not r.is_assessed))
  from orders o where o.order_id = p_order_id
$$;
revoke execute on function is_command_legal from public;
grant execute on function is_command_legal to app_worker;
comment on function is_command_legal is
  'Whether an order may be cancelled, shipped or delivered as it is now.';

-- Idempotent command: cancels, ships or delivers an order, once per idempotency key.
-- p_command: 'cancel', 'ship' or 'deliver'. p_actor: text of the audit context (actor_of).
-- p_input: {actor, role, method, key, requestHash (hex), expectedVersion?, isReapplied?}.
-- Result: no row when there is no such order; else outcome, the stored answer {status, version}, and order_state.
-- outcome: 'done'; 'repeated'; 'refused', for which the state says why (domain/command.ts); 'STALE_RUN';
-- 'IDEMPOTENCY_KEY_REUSED'.
-- Locks: the order row FOR UPDATE, the idempotency key, then those of end_orders or consume_stock.
-- Repeating it: the same key and hash get the stored answer.
create or replace function command_order(
  p_order_id uuid, p_generation int, p_step int, p_command text, p_input jsonb, p_actor text)
returns table (
  outcome text, answer jsonb, status text, payment_state text, hold text, cancel_reason text, version bigint,
  reservation text, expires_in_ms int, has_unassessed boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_actor text := p_input ->> 'actor';
  v_method text := p_input ->> 'method';
  v_key uuid := (p_input ->> 'key')::uuid;
  v_hash bytea := decode(p_input ->> 'requestHash', 'hex');
  v_outcome text;
begin
  perform set_config('holdfast.actor', p_actor, true);
  v_outcome := enter_step(p_order_id, p_generation, p_step);
  if v_outcome = 'entered' then
    if is_command_legal(p_order_id, p_command, p_input) then
      v_outcome := do_command(p_order_id, p_generation, p_step, p_command, p_input);
    else
      -- A command that took effect moved the status, so only one that the status refuses can have been done before.
      v_outcome := coalesce((
        select case when k.request_hash = v_hash then 'repeated' else 'IDEMPOTENCY_KEY_REUSED' end
        from idempotency k where k.actor = v_actor and k.method = v_method and k.key = v_key), 'refused');
    end if;
    -- Shipping and delivery have written the fence with the status.
    if v_outcome in ('refused', 'repeated') or v_outcome = 'done' and p_command = 'cancel' then
      update orders set generation = p_generation, step = p_step where order_id = p_order_id;
    end if;
  end if;
  return query
  select v_outcome,
    (select k.response from idempotency k
     where v_outcome in ('done', 'repeated') and k.actor = v_actor and k.method = v_method and k.key = v_key
       and k.request_hash = v_hash),
    s.* from order_state(p_order_id) s;
end
$$;
revoke execute on function command_order from public;
grant execute on function command_order to app_worker;
comment on function command_order is
  'Idempotent command: cancels, ships or delivers an order, once per idempotency key.';

-- Orders that may expire now: the one condition for workflow, sweeper and reclaim (design rule 2).
-- Paid in time is never given away. The end is that of the quote and its grace, or that of the hold where a payment
-- seen in time extended it: the confirm deadline. The chain must have been read past the end, and no report may be
-- unassessed.
-- Where balances are compared, that of the order's address was read after the end; and what no transfer explains, such
-- as coins sent by a contract, is not enough together with what came in time.
-- Takes no lock: it only says which orders to ask for; expire_due asks again under the lock.
create or replace view expirable as
select o.order_id
from orders o
join invoice i on i.order_id = o.order_id
join chain_status c on c.network = i.network
cross join lateral (
  select greatest(i.expires_at + i.grace, (
    select max(r.expires_at) from reservation r where r.order_id = o.order_id and r.state = 'held')) as at
) ends
where o.status = 'pending'
  and o.payment_state in ('awaiting', 'partial', 'confirming')
  and ends.at <= clock_timestamp()
  and c.caught_up_at > ends.at
  and not exists (select from payment_report r where r.order_id = o.order_id and not r.is_assessed)
  and (not c.compares_balances or exists (
    select from chain_balance b
    where b.network = i.network and b.address = i.address and b.checked_at > ends.at and (
      b.unexplained = 0 or not is_enough(b.unexplained + coalesce((
        select sum(p.amount) from payment p
        where p.order_id = o.order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0),
        i.amount_due))));
grant select on expirable to app_api, app_worker, auditor;
comment on view expirable is
  'Orders that may expire now: the one condition for workflow, sweeper and reclaim (design rule 2).';

-- Retention: removes up to p_limit idempotency answers older than 30 days, the oldest first. Returns how many.
-- The key of an order that is not terminal stays, whatever its age: a repeated command must find what it did.
-- Locks: the rows it removes; locked ones are skipped. Repeating it is harmless. Runs as the owner: the worker has no
-- right to delete a row itself.
create or replace function forget_answers(p_limit integer) returns integer
language sql security definer set search_path = holdfast, pg_catalog as $$
  with old as (
    select k.actor, k.method, k.key from idempotency k
    where k.created_at < statement_timestamp() - interval '30 days'
      and not exists (select from orders o where o.order_id = k.order_id and not is_terminal(o.status))
    order by k.created_at limit p_limit for update skip locked
  ), forgotten as (
    delete from idempotency k using old where (k.actor, k.method, k.key) = (old.actor, old.method, old.key) returning 1
  )
  select count(*)::integer from forgotten
$$;
revoke execute on function forget_answers from public;
grant execute on function forget_answers to app_worker;
comment on function forget_answers is
  'Retention: removes up to p_limit idempotency answers older than 30 days, the oldest first.';

-- Whether what was seen in time is enough to pay an order, news included; null when there is no such order.
-- Counts what was credited, except for outputs with news, and those as they are now.
-- Locks: none. Changes nothing.
create or replace function is_enough_seen(p_order_id uuid) returns boolean language sql stable as $$
  with fresh as materialized (select * from fresh_outputs(p_order_id, null))
  select is_enough(
    coalesce((select sum(f.amount) from fresh f
      where f.is_right_asset and f.is_in_time and f.state in ('seen', 'reorged', 'final')), 0)
    + coalesce((select sum(p.amount) from payment p
      where p.order_id = p_order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')
        and (p.network, p.tx_id, p.output_index) not in (select f.network, f.tx_id, f.output_index from fresh f)), 0),
    i.amount_due)
  from invoice i where i.order_id = p_order_id
$$;
revoke execute on function is_enough_seen from public;
grant execute on function is_enough_seen to app_api;
comment on function is_enough_seen is
  'Whether what was seen in time is enough to pay an order, news included; null when there is no such order.';

-- Restart: has the workflows of these open orders started again; returns those that had no pending start.
-- p_reason: kept in order_restart. The caller has seen that no run is alive.
-- Race: a run that began since, or was only thought dead. The relay finds it running and starts nothing; and a run of
-- an older generation is refused once the new one has taken a step. Until then the order row stays as it is, so that a
-- run that is alive is not shut out by mistake.
-- Locks: the order rows FOR NO KEY UPDATE, in order of id; then starts and wakes.
-- Repeating it is harmless: a pending start is left alone. Runs as the owner.
create or replace function restart_orders(p_order_ids uuid[], p_reason text)
returns table (order_id uuid, generation int)
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
#variable_conflict use_column
declare
  v_started uuid[];
begin
  perform 1 from orders o where o.order_id = any (p_order_ids) order by o.order_id for no key update;
  with lost as (
    select o.order_id, greatest(o.generation, 1) + 1 as generation, i.expires_at
    from orders o join invoice i using (order_id)
    where o.order_id = any (p_order_ids) and not is_terminal(o.status)
  ), started as (
    insert into workflow_start as s (order_id, generation, quote_ends_at, urgency)
    select l.order_id, l.generation, l.expires_at, 0 from lost l order by l.order_id
    on conflict (order_id) do update
    set generation = excluded.generation, urgency = 0, claimed_by = null, claimed_until = null, attempts = 0,
      next_at = clock_timestamp(), dead_reason = null
    where s.dead_reason is not null
    returning s.order_id, s.generation
  ), noted as (
    insert into order_restart as r (order_id, generation, reason)
    select s.order_id, s.generation, p_reason from started s order by s.order_id
    returning r.order_id
  )
  select coalesce(array_agg(n.order_id), '{}') into v_started from noted n;
  perform revive_relays(v_started);
  return query
  select s.order_id, s.generation from workflow_start s where s.order_id = any (v_started) order by s.order_id;
end
$$;
revoke execute on function restart_orders from public;
grant execute on function restart_orders to app_api;
comment on function restart_orders is
  'Restart: has the workflows of these open orders started again; returns those that had no pending start.';

-- Answers that were stored under the old keys: a replay must say the same.
update idempotency k set response = k.response || jsonb_build_object('shortages', (
  select jsonb_agg(s - 'p' || jsonb_build_object('product', s -> 'p') order by n)
  from jsonb_array_elements(k.response -> 'shortages') with ordinality e (s, n)))
where k.method = 'CreateOrder' and k.response ->> 'verdict' = 'OUT_OF_STOCK';
update idempotency k set response = k.response || jsonb_build_object('prices', (
  select jsonb_agg(jsonb_build_object('product', s -> 'p', 'unit_price', s -> 'price') order by n)
  from jsonb_array_elements(k.response -> 'prices') with ordinality e (s, n)))
where k.method = 'CreateOrder' and k.response ->> 'verdict' = 'PRICE_CHANGED';
