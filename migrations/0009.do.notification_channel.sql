-- Who is told of a change of status, and by whom it is noted: the database itself, for whoever writes, so that no
-- statement can forget to. Until now each function wrote the outbox row of the one channel there was. The new columns
-- are filled for rows that wait; the indexes are made anew under a lock as short as the backlog is.

create table notification_channel (
  channel text constraint notification_channel_pk primary key
    constraint notification_channel_known check (channel in ('log', 'webhook')),
  is_enabled boolean not null
);
comment on table notification_channel is 'Where changes of status are told. A row is written for each channel that is enabled at the instant of the change.';
insert into notification_channel (channel, is_enabled) values ('log', true), ('webhook', false);

-- No reference to notification_channel: it would have every order lock the same row, and only the trigger below, which
-- reads that table, writes here.
alter table notification
  drop constraint notification_channel,
  add constraint notification_channel check (channel in ('log', 'webhook')),
  add column payment_state text
    constraint notification_payment_state check (payment_state in (
      'awaiting', 'partial', 'confirming', 'paid', 'at_risk', 'reversed', 'expired', 'late_confirming',
      'unresolved', 'cancelled', 'refunding', 'partially_refunded', 'refunded')),
  add column cancel_reason text -- null: not cancelled
    constraint notification_cancel_reason check (cancel_reason in ('customer', 'admin', 'expired', 'underpaid', 'out_of_stock', 'fraud')),
  add column changed_at timestamptz,
  add column dead_reason text -- null: alive
    constraint notification_dead_length check (char_length(dead_reason) between 1 and 200),
  add column dead_at timestamptz, -- null: alive
  add constraint notification_dead_since check ((dead_reason is null) = (dead_at is null)),
  add constraint notification_dead_or_delivered check (dead_at is null or delivered_at is null);
update notification n
set payment_state = o.payment_state, changed_at = n.created_at,
    cancel_reason = case n.status when 'cancelled' then o.cancel_reason end
from orders o where o.order_id = n.order_id;
alter table notification
  alter column payment_state set not null,
  alter column changed_at set not null,
  add constraint notification_cancelled_has_reason check ((status = 'cancelled') = (cancel_reason is not null));
comment on table notification is 'Changes of status to tell the world about, written with the change: facts, ids and words only. Dead: tried for long enough; a person may have it tried again.';

drop index notification_due, notification_open_by_order;
create index notification_due on notification (channel, next_at) where delivered_at is null and dead_at is null;
create index notification_open_by_order on notification (order_id, channel, notification_id)
  where delivered_at is null and dead_at is null;
create index notification_dead on notification (notification_id) where dead_at is not null;

-- One row per changed order and enabled channel, in the transaction of the change. Runs as the owner, so that no role
-- needs the right to write a notification of its own making.
create function note_status_change() returns trigger
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
begin
  if tg_op = 'INSERT' then
    insert into notification (order_id, order_version, channel, status, payment_state, cancel_reason, changed_at)
    select n.order_id, n.version, c.channel, n.status, n.payment_state, n.cancel_reason, n.created_at
    from new_order n cross join notification_channel c where c.is_enabled;
  else
    insert into notification (order_id, order_version, channel, status, payment_state, cancel_reason, changed_at)
    select new.order_id, new.version, c.channel, new.status, new.payment_state, new.cancel_reason, new.updated_at
    from notification_channel c where c.is_enabled;
  end if;
  return null;
end
$$;
comment on function note_status_change is 'Writes what the world is to be told of orders that were made or moved.';
revoke execute on function note_status_change from public;
create trigger orders_note_insert after insert on orders
  referencing new table as new_order for each statement execute function note_status_change();
-- For each row, since most updates of an order move no status and then cost nothing here.
create trigger orders_note_update after update on orders
  for each row when (new.status is distinct from old.status) execute function note_status_change();

-- As in 0007, but for the notification.
create or replace function end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) returns void
language plpgsql as $$
begin
  update orders set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when exists (select from payment p where p.order_id = orders.order_id and p.state = 'final') then 'unresolved'
      when exists (select from payment p where p.order_id = orders.order_id and p.state = 'seen') then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = case
      when p_reason = 'expired' and payment_state = 'partial' and not payment_flags @> '{under}'
      then payment_flags || '{under}'::text[] else payment_flags end
  where order_id = any (p_order_ids);

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
    select product_id, order_id, hold_no, case p_end_state when 'expired' then 'expire' else 'release' end, 0, -quantity, p_actor
    from ended
  )
  update stock s set reserved = s.reserved - e.quantity, version = s.version + 1
  from (select product_id, sum(quantity) as quantity from ended group by product_id) e
  where s.product_id = e.product_id;

  insert into refund_due (order_id, asset, amount)
  select p.order_id, p.asset, sum(p.amount) from payment p
  where p.order_id = any (p_order_ids) and p.state = 'final' group by p.order_id, p.asset
  on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp();

  insert into key_retire (order_id, network, address)
  select order_id, network, address from invoice where order_id = any (p_order_ids) on conflict do nothing;
end
$$;

-- As in 0008, but for the notification, and with less to do while the hot rows are locked: the rows of a batch's holds were
-- found by comparing each of its lines with each of its orders, and the keys of refused orders were looked for also where
-- none was refused, by a plan made while the table was empty.
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

revoke insert on notification from app_api, app_worker;
grant update (dead_reason, dead_at) on notification to app_worker;
grant select on notification_channel to app_worker, auditor;
grant update (is_enabled) on notification_channel to app_worker;
-- An operator's list of dead letters, and their revival.
grant select on notification to app_api;
grant update (attempts, next_at, dead_reason, dead_at) on notification to app_api;
