-- Accepting, with less to do while the hot rows are locked. The rows of a batch's holds were found by comparing each of
-- its lines with each of its orders, and the keys of refused orders were looked for also where none was refused: by a
-- plan made while the table was empty, through all of it, until it was next analysed. The function is replaced; its
-- rights and its verdicts stay as they are.

create or replace function accept_orders(p_orders jsonb, p_is_last_try boolean)
returns table (
  ordinal int, verdict text, detail jsonb, order_id uuid, currency text, total numeric, lines jsonb, network text,
  asset text, address text, amount_due numeric, rate numeric, expires_at timestamptz, created_at timestamptz
)
language plpgsql volatile set search_path = holdfast, pg_catalog as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_fresh int[];
  v_refused jsonb := '{}';
  v_wanted jsonb;
  v_accepted int[];
  v_count int;
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

    perform 1 from stock
    where product_id in (select w ->> 'p' from jsonb_array_elements(v_wanted) w)
    order by product_id
    for no key update;
    v_now := clock_timestamp();

    -- Unknown products, changed prices, sums out of range.
    select coalesce(jsonb_object_agg(c.i, c.refusal), '{}') into v_refused
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
      where o.i = any (v_fresh)
      group by o.i
    ) c where c.refusal is not null;

    -- Fast path: everything fits in sum, which is what any serial order would decide too.
    if exists (
      select from (
        select w ->> 'p' as p, sum((w ->> 'q')::bigint) as q
        from jsonb_array_elements(v_wanted) w where not v_refused ? (w ->> 'i') group by 1
      ) t left join stock s on s.product_id = t.p
      where s.product_id is null or s.on_hand - s.reserved < t.q
    ) then
      v_refused := v_refused || decide_in_order(
        (select coalesce(jsonb_agg(w), '[]') from jsonb_array_elements(v_wanted) w where not v_refused ? (w ->> 'i')),
        p_is_last_try);
    end if;

    select coalesce(array_agg(i), '{}') into v_accepted from unnest(v_fresh) as i where not v_refused ? i::text;

    if cardinality(v_accepted) > 0 then
      insert into orders (order_id, user_id, currency, total, address_sealed)
      select o.order_id, o.user_id, o.currency,
        (select sum(l.q * p.unit_price) from jsonb_to_recordset(o.lines) l (p text, q bigint) join product p on p.product_id = l.p),
        decode(o.sealed, 'base64')
      from jsonb_to_recordset(p_orders) o (i int, order_id uuid, user_id bigint, currency text, sealed text, lines jsonb)
      where o.i = any (v_accepted);

      insert into order_line (order_id, line_no, product_id, product_version, name, quantity, unit_price)
      select o.order_id, l.n, p.product_id, p.version, p.name, l.q, p.unit_price
      from jsonb_to_recordset(p_orders) o (i int, order_id uuid, lines jsonb)
      cross join jsonb_to_recordset(o.lines) l (n smallint, p text, q int) join product p on p.product_id = l.p
      where o.i = any (v_accepted);

      insert into invoice (order_id, network, asset, address, amount_due, rate, expires_at, grace, confirm_within, created_at)
      select o.order_id, o.network, o.asset, o.address, quote_due(t.total, o.rate, o.decimals), o.rate,
        v_now + make_interval(secs => o.window_ms / 1000.0), make_interval(secs => o.grace_ms / 1000.0),
        make_interval(secs => o.confirm_ms / 1000.0), v_now
      from jsonb_to_recordset(p_orders)
        o (i int, order_id uuid, network text, asset text, address text, rate numeric, decimals smallint, window_ms bigint, grace_ms bigint, confirm_ms bigint)
      join orders t on t.order_id = o.order_id
      where o.i = any (v_accepted);

      with held as (
        insert into reservation (order_id, product_id, quantity, expires_at)
        select o.order_id, l.p, sum(l.q), v_now + make_interval(secs => (o.window_ms + o.grace_ms) / 1000.0)
        from jsonb_to_recordset(p_orders) o (i int, order_id uuid, window_ms bigint, grace_ms bigint, lines jsonb)
        cross join jsonb_to_recordset(o.lines) l (p text, q bigint)
        where o.i = any (v_accepted)
        group by o.order_id, o.window_ms, o.grace_ms, l.p
        returning order_id, product_id, hold_no, quantity
      )
      insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
      select product_id, order_id, hold_no, 'reserve', 0, quantity, 'system' from held;

      insert into workflow_start (order_id, quote_ends_at)
      select o.order_id, v_now + make_interval(secs => o.window_ms / 1000.0)
      from jsonb_to_recordset(p_orders) o (i int, order_id uuid, window_ms bigint) where o.i = any (v_accepted);

      -- The hot rows last. The guard holds by the decision above and by the CHECK; the count proves it.
      with taken as (
        select w ->> 'p' as p, sum((w ->> 'q')::bigint) as q
        from jsonb_array_elements(v_wanted) w where (w ->> 'i')::int = any (v_accepted) group by 1
      )
      update stock s set reserved = s.reserved + t.q, version = s.version + 1
      from taken t where s.product_id = t.p and s.on_hand - s.reserved >= t.q;
      get diagnostics v_count = row_count;
      if v_count <> (select count(distinct w ->> 'p') from jsonb_array_elements(v_wanted) w where (w ->> 'i')::int = any (v_accepted)) then
        raise exception 'accept_orders: stock changed under its lock' using errcode = 'HF010';
      end if;
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

  return query select * from order_answers(p_orders, v_fresh, v_refused);
end
$$;
