-- Stock that only waits to be given back, and prices that change while orders are written. Buyers were refused for good
-- while expired holds of the product were locked by another session or beyond the first 64; one hold that could not be
-- ended stopped the whole sweep; and a batch of orders took the price that stood when it began. A new table and a view;
-- functions are replaced, nothing is locked or rewritten. An older process that passes p_is_last_try as true is told
-- `reclaim` once more, which it shows as a shortage and does not store.

create table hold_aside (
  order_id uuid constraint hold_aside_pk primary key constraint hold_aside_order_fk references orders on delete restrict,
  reason text not null constraint hold_aside_reason_shape check (reason ~ '^[0-9A-Z]{5}$'),
  tries integer not null default 1 constraint hold_aside_tries_positive check (tries > 0),
  since timestamptz not null default clock_timestamp(),
  next_at timestamptz not null
);
comment on table hold_aside is 'Dead letters of the hold sweep: orders whose expiry failed by itself, with the SQLSTATE, and when it is tried again.';
insert into audit_scope (table_name, reason) values
  ('hold_aside', 'tells of a try that failed, not of a change');

-- One condition for the sweep, for a reclaim and for the verdict on a shortage; each adds `expires_at <=` its instant, by
-- which an index can be searched. Subqueries and not joins, so that a search for few stops at few.
create view reclaimable_hold as
select r.order_id, r.product_id, r.expires_at
from reservation r
where r.state = 'held'
  and (select true from expirable e where e.order_id = r.order_id)
  and ((select a.next_at from hold_aside a where a.order_id = r.order_id) > statement_timestamp()) is not true;
comment on view reclaimable_hold is 'Holds that may be given back once their time is over. Without those set aside: until their next try their stock is not to be had.';

-- For the verdict on a shortage, where one that failed once or twice counts as well: it may have met a deadlock or a slow
-- disk, and that is no answer for good yet.
create view returning_hold as
select r.order_id, r.product_id, r.expires_at
from reservation r
where r.state = 'held'
  and (select true from expirable e where e.order_id = r.order_id)
  and coalesce((select a.tries < 3 or a.next_at <= statement_timestamp() from hold_aside a where a.order_id = r.order_id), true);
comment on view returning_hold is 'Holds whose stock is to be had soon once their time is over.';

-- Waits double from a second to five minutes. Rows whose order has ended meanwhile go on the way.
create function set_hold_aside(p_order_id uuid, p_reason text) returns void
language sql security definer set search_path = holdfast, pg_catalog as $$
  delete from hold_aside a
  where a.order_id <> p_order_id
    and (select true from reservation r where r.order_id = a.order_id and r.state = 'held' limit 1) is not true;
  -- Only what could be ended: nothing else can have failed to.
  insert into hold_aside (order_id, reason, next_at)
  select e.order_id, p_reason, clock_timestamp() + interval '1 second' from expirable e where e.order_id = p_order_id
  on conflict (order_id) do update set
    reason = excluded.reason, tries = hold_aside.tries + 1,
    next_at = clock_timestamp() + least(interval '5 minutes', interval '1 second' * 2 ^ least(hold_aside.tries, 10));
$$;
comment on function set_hold_aside is 'Sets an order aside whose expiry failed by itself, with the SQLSTATE it failed with.';

create or replace function decide_in_order(p_wanted jsonb, p_is_last_try boolean) returns jsonb
language plpgsql stable as $$
declare
  v_left jsonb := '{}';
  v_on_hand jsonb := '{}';
  v_due text[];
  v_refused jsonb := '{}';
  v_waiting text[] := '{}';
  v_order record;
  v_short jsonb;
  v_now timestamptz := clock_timestamp();
  v_is_due boolean;
begin
  select coalesce(jsonb_object_agg(s.product_id, s.on_hand - s.reserved), '{}'), coalesce(jsonb_object_agg(s.product_id, s.on_hand), '{}')
  into v_left, v_on_hand
  from stock s where s.product_id in (select w ->> 'p' from jsonb_array_elements(p_wanted) w);

  for v_order in
    select (w ->> 'i')::int as ordinal, jsonb_object_agg(w ->> 'p', (w ->> 'q')::bigint) as wants
    from jsonb_array_elements(p_wanted) w group by 1 order by 1
  loop
    select jsonb_agg(jsonb_build_object('p', k.key, 'wanted', k.value::bigint, 'available', coalesce((v_left ->> k.key)::bigint, 0)) order by k.key)
    into v_short
    from jsonb_each_text(v_order.wants) k
    where k.value::bigint > coalesce((v_left ->> k.key)::bigint, 0);

    if v_short is null and not v_order.wants ?| v_waiting then
      select v_left || jsonb_object_agg(k.key, (v_left ->> k.key)::bigint - k.value::bigint) into v_left
      from jsonb_each_text(v_order.wants) k;
      continue;
    end if;
    -- No lock is taken to look: a hold that another session is about to end counts until that has committed, and its
    -- stock row waits for this transaction. It goes by the index on (product, expiry) and stops at the first.
    -- Asked once for all products of the batch. What is more than there is at all, no hold can bring back.
    if v_short is not null and v_due is null then
      v_due := array(
        select w.p from (select distinct w ->> 'p' as p from jsonb_array_elements(p_wanted) w) w
        where (select true from returning_hold h where h.product_id = w.p and h.expires_at <= v_now limit 1));
    end if;
    v_is_due := v_short is not null
      and exists (select from jsonb_array_elements(v_short) s where s ->> 'p' = any (v_due))
      and not exists (
        select from jsonb_array_elements(v_short) s where (s ->> 'wanted')::bigint > coalesce((v_on_hand ->> (s ->> 'p'))::bigint, 0));
    if v_order.wants ?| v_waiting or v_is_due then
      -- Stock that is only waiting to be given back: reclaim it in a transaction of its own, then ask again.
      v_waiting := v_waiting || array(select s ->> 'p' from jsonb_array_elements(coalesce(v_short, '[]')) s);
      v_refused := v_refused || jsonb_build_object(v_order.ordinal, jsonb_build_object('verdict', 'reclaim', 'shortages', v_short));
    else
      v_refused := v_refused || jsonb_build_object(v_order.ordinal, jsonb_build_object('verdict', 'OUT_OF_STOCK', 'shortages', v_short));
    end if;
  end loop;
  return v_refused;
end
$$;

-- The version moves with every change, so equal versions are equal prices.
create function catalogue_of(p_wanted jsonb) returns jsonb
language sql stable as $$
  select coalesce(jsonb_object_agg(p.product_id, p.version), '{}') from product p
  where p.product_id in (select w ->> 'p' from jsonb_array_elements(p_wanted) w) and p.is_active
$$;
comment on function catalogue_of is 'The versions of the products that are wanted and on sale.';

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
  v_catalogue jsonb;
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
    v_catalogue := case when cardinality(v_fresh) > 1 then catalogue_of(v_wanted) end;
    if cardinality(v_fresh) > 1 and refused_orders(p_orders, v_fresh) = '{}' and fits_in_sum(v_wanted, '{}') then
      begin
        if not write_orders(p_orders, v_fresh, clock_timestamp()) then
          raise exception 'accept_orders: a price has changed' using errcode = 'HF013';
        end if;
        -- Their entries too, before a product that others want is locked.
        set constraints all immediate;
        set constraints all deferred;
        perform lock_wanted(v_wanted);
        -- Race: a price or a product that changed since the lines were written. A change takes the stock row first, so
        -- that under these locks there is none; the same versions before and after mean the same all the time between.
        if catalogue_of(v_wanted) <> v_catalogue then
          raise exception 'accept_orders: the catalogue has changed' using errcode = 'HF013';
        end if;
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

revoke execute on function set_hold_aside, catalogue_of from public;
grant execute on function set_hold_aside to app_api, app_worker;
grant execute on function catalogue_of to app_api;
grant select on reclaimable_hold to app_api, app_worker;
grant select on returning_hold to app_api;
grant select on hold_aside to app_worker, auditor;
