--
-- PostgreSQL database dump
--

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: holdfast; Type: SCHEMA; Schema: -; Owner: holdfast_owner
--

CREATE SCHEMA holdfast;

ALTER SCHEMA holdfast OWNER TO holdfast_owner;

--
-- Name: audit_draft; Type: TYPE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TYPE holdfast.audit_draft AS (
	kind text,
	aggregate_id text,
	run bigint,
	is_birth boolean,
	context jsonb,
	changes text
);

ALTER TYPE holdfast.audit_draft OWNER TO holdfast_owner;

--
-- Name: accept_locked(jsonb, integer[], jsonb, boolean); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.accept_locked(p_orders jsonb, p_fresh integer[], p_wanted jsonb, p_is_last_try boolean) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
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

ALTER FUNCTION holdfast.accept_locked(p_orders jsonb, p_fresh integer[], p_wanted jsonb, p_is_last_try boolean) OWNER TO holdfast_owner;

--
-- Name: FUNCTION accept_locked(p_orders jsonb, p_fresh integer[], p_wanted jsonb, p_is_last_try boolean); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.accept_locked(p_orders jsonb, p_fresh integer[], p_wanted jsonb, p_is_last_try boolean) IS 'Pessimistic way of accept_orders: locks the stock first, decides each order under the lock, and writes what fits.';

--
-- Name: accept_optimistic(jsonb, integer[], jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.accept_optimistic(p_orders jsonb, p_fresh integer[], p_wanted jsonb) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

ALTER FUNCTION holdfast.accept_optimistic(p_orders jsonb, p_fresh integer[], p_wanted jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION accept_optimistic(p_orders jsonb, p_fresh integer[], p_wanted jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.accept_optimistic(p_orders jsonb, p_fresh integer[], p_wanted jsonb) IS 'Optimistic concurrency control: accepts several orders that all seem to fit, with the stock locked as late as possible (docs/decisions/0014).';

--
-- Name: accept_orders(jsonb, boolean); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.accept_orders(p_orders jsonb, p_is_last_try boolean) RETURNS TABLE(ordinal integer, verdict text, detail jsonb, order_id uuid, currency text, total numeric, lines jsonb, network text, asset text, address text, amount_due numeric, rate numeric, expires_at timestamp with time zone, created_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $_$
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
$_$;

ALTER FUNCTION holdfast.accept_orders(p_orders jsonb, p_is_last_try boolean) OWNER TO holdfast_owner;

--
-- Name: FUNCTION accept_orders(p_orders jsonb, p_is_last_try boolean); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.accept_orders(p_orders jsonb, p_is_last_try boolean) IS 'Group commit: accepts or refuses a batch of CreateOrder attempts in one transaction, each order whole.';

--
-- Name: actor_of(text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.actor_of(p_aggregate_id text) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select case when coalesce(current_setting('holdfast.actors', true), '') <> ''
    then current_setting('holdfast.actors', true)::jsonb -> p_aggregate_id
    else nullif(current_setting('holdfast.actor', true), '')::jsonb end
$$;

ALTER FUNCTION holdfast.actor_of(p_aggregate_id text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION actor_of(p_aggregate_id text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.actor_of(p_aggregate_id text) IS 'Who changes this aggregate in the present transaction; null when nobody is named.';

--
-- Name: actor_text(jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.actor_text(p_context jsonb) RETURNS text
    LANGUAGE plpgsql STABLE
    AS $_$
declare
  v_actor text := p_context ->> 'actor';
  v_role text := p_context ->> 'role';
begin
  if not coalesce(case
    -- An operator acts with Temporal's own tools, which know him by no token of ours.
    when v_role = 'admin' and v_actor ~ '^operator:[a-z0-9-]{1,63}$' then true
    when v_role in ('customer', 'fulfilment', 'admin') then v_actor ~ '^user:[1-9][0-9]{0,18}$'
    when v_role in ('system', 'watcher', 'service', 'migration')
      then v_actor ~ '^[a-z]+:[a-z0-9-]{1,63}$' and split_part(v_actor, ':', 1) = v_role
    end, false) then
    perform no_actor();
  end if;
  return (select json_strip_nulls(row_to_json(c))::text from (select
    v_actor as actor, v_role as role,
    left(p_context ->> 'requestId', 200) as "requestId", left(p_context ->> 'tokenId', 200) as "tokenId",
    left(p_context ->> 'ipHash', 64) as "ipHash", left(p_context ->> 'requestHash', 64) as "requestHash",
    left(p_context ->> 'reason', 200) as reason) c);
end
$_$;

ALTER FUNCTION holdfast.actor_text(p_context jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION actor_text(p_context jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.actor_text(p_context jsonb) IS 'An actor''s context in its canonical form; refuses one that names nobody.';

--
-- Name: assessed_order(uuid); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.assessed_order(p_order_id uuid) RETURNS TABLE(status text, payment_state text, cancel_reason text, hold text, flags text[], amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric, late_final numeric, accepted numeric, is_late boolean, is_reorged boolean, is_replaced boolean, replacement_id uuid, is_undecided boolean)
    LANGUAGE sql STABLE
    AS $$
  select o.status, o.payment_state, o.cancel_reason, o.hold, o.payment_flags, m.amount_due, m.dust_floor, m.seen,
    m.final, m.late_seen, m.late_final, m.accepted, m.is_late, m.is_reorged, m.is_replaced, d.replacement_id,
    d.order_id is null and o.cancel_reason is not distinct from 'expired'
      and is_enough(m.final + m.late_final, m.amount_due)
  from orders o
  cross join lateral order_money(array[o.order_id]) m
  left join late_decision d on d.order_id = o.order_id
  where o.order_id = p_order_id
$$;

ALTER FUNCTION holdfast.assessed_order(p_order_id uuid) OWNER TO holdfast_owner;

--
-- Name: FUNCTION assessed_order(p_order_id uuid); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.assessed_order(p_order_id uuid) IS 'What an assessment reads of an order: its states, the sums of its money (order_money) and its late decision.';

--
-- Name: audit_account(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_account() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'account' else 'account' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"account","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.user_id::text as user_id) k cross join lateral (select n.disabled_at as disabled_at, n.tokens_valid_after as tokens_valid_after, n.version::text as version) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'account' else 'account' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"account","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.disabled_at is distinct from o.disabled_at then '"disabled_at":' || coalesce(to_json(o.disabled_at)::text, 'null') end, case when n.tokens_valid_after is distinct from o.tokens_valid_after then '"tokens_valid_after":' || coalesce(to_json(o.tokens_valid_after)::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version::text)::text, 'null') end) as before, concat_ws(',', case when n.disabled_at is distinct from o.disabled_at then '"disabled_at":' || coalesce(to_json(n.disabled_at)::text, 'null') end, case when n.tokens_valid_after is distinct from o.tokens_valid_after then '"tokens_valid_after":' || coalesce(to_json(n.tokens_valid_after)::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version::text)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.user_id = o.user_id cross join lateral (select coalesce(n.user_id, o.user_id)::text as user_id) k
            where n.user_id is distinct from o.user_id or n.disabled_at is distinct from o.disabled_at or n.tokens_valid_after is distinct from o.tokens_valid_after or n.version is distinct from o.version
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'account' else 'account' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"account","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.user_id::text as user_id) k cross join lateral (select o.disabled_at as disabled_at, o.tokens_valid_after as tokens_valid_after, o.version::text as version) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_account() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_account(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_account() IS 'Notes every change to account for the audit.';

--
-- Name: audit_append_customer(holdfast.audit_draft[], bigint, timestamp with time zone, text, xid8, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_append_customer(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) RETURNS void
    LANGUAGE plpgsql
    AS $$
    begin
      perform 1 from customer r
      where r.user_id = any (array(
        select d.aggregate_id from unnest(p_drafts) d where d.kind = 'customer' and d.run = p_run and not d.is_birth)::bigint[])
      order by r.user_id for no key update;

      with link as (
        select d as whole, d.aggregate_id, coalesce(h.seq, l.seq, 0) + 1 as seq, coalesce(h.hash, l.hash) as prev
        from unnest(p_drafts) d
        left join lateral (
          select e.seq, e.hash from audit_head e where e.kind = 'customer' and e.aggregate_id = d.aggregate_id limit 1
        ) h on true
        left join lateral (
          select a.seq, a.hash
          from audit_last('customer', d.aggregate_id, (select r.created_at from customer r where r.user_id = d.aggregate_id::bigint)) a
          where h.seq is null offset 0
        ) l on true
        where d.kind = 'customer' and d.run = p_run and not d.is_birth
      ), written as (
        insert into audit_entry (at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash)
        select p_at, p_txid, 'customer', k.aggregate_id, k.seq, k.prev, (k.whole).context ->> 'actor', b.body,
          sha256(coalesce(k.prev, '') || convert_to(b.body, 'UTF8'))
        from link k cross join lateral (select audit_body(k.whole, k.seq, p_at_text, p_txid,
          p_db_role) as body offset 0) b
        returning aggregate_id, seq, hash
      )
      insert into audit_head (kind, aggregate_id, seq, hash) select 'customer', w.aggregate_id, w.seq, w.hash from written w
      on conflict (kind, aggregate_id) do update set seq = excluded.seq, hash = excluded.hash;
    end
    $$;

ALTER FUNCTION holdfast.audit_append_customer(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_append_customer(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_append_customer(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) IS 'Adds entries to the chains of customer.';

--
-- Name: audit_append_key(holdfast.audit_draft[], bigint, timestamp with time zone, text, xid8, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_append_key(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) RETURNS void
    LANGUAGE plpgsql
    AS $$
    begin
      perform 1 from payment_key r
      where r.key_id = any (array(
        select d.aggregate_id from unnest(p_drafts) d where d.kind = 'key' and d.run = p_run and not d.is_birth)::uuid[])
      order by r.key_id for no key update;

      with link as (
        select d as whole, d.aggregate_id, coalesce(h.seq, l.seq, 0) + 1 as seq, coalesce(h.hash, l.hash) as prev
        from unnest(p_drafts) d
        left join lateral (
          select e.seq, e.hash from audit_head e where e.kind = 'key' and e.aggregate_id = d.aggregate_id limit 1
        ) h on true
        left join lateral (
          select a.seq, a.hash
          from audit_last('key', d.aggregate_id, (select r.created_at from payment_key r where r.key_id = d.aggregate_id::uuid)) a
          where h.seq is null offset 0
        ) l on true
        where d.kind = 'key' and d.run = p_run and not d.is_birth
      ), written as (
        insert into audit_entry (at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash)
        select p_at, p_txid, 'key', k.aggregate_id, k.seq, k.prev, (k.whole).context ->> 'actor', b.body,
          sha256(coalesce(k.prev, '') || convert_to(b.body, 'UTF8'))
        from link k cross join lateral (select audit_body(k.whole, k.seq, p_at_text, p_txid,
          p_db_role) as body offset 0) b
        returning aggregate_id, seq, hash
      )
      insert into audit_head (kind, aggregate_id, seq, hash) select 'key', w.aggregate_id, w.seq, w.hash from written w
      on conflict (kind, aggregate_id) do update set seq = excluded.seq, hash = excluded.hash;
    end
    $$;

ALTER FUNCTION holdfast.audit_append_key(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_append_key(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_append_key(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) IS 'Adds entries to the chains of payment_key.';

--
-- Name: audit_append_order(holdfast.audit_draft[], bigint, timestamp with time zone, text, xid8, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_append_order(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) RETURNS void
    LANGUAGE plpgsql
    AS $$
    begin
      perform 1 from orders r
      where r.order_id = any (array(
        select d.aggregate_id from unnest(p_drafts) d where d.kind = 'order' and d.run = p_run and not d.is_birth)::uuid[])
      order by r.order_id for no key update;

      with link as (
        select d as whole, d.aggregate_id, coalesce(h.seq, l.seq, 0) + 1 as seq, coalesce(h.hash, l.hash) as prev
        from unnest(p_drafts) d
        left join lateral (
          select e.seq, e.hash from audit_head e where e.kind = 'order' and e.aggregate_id = d.aggregate_id limit 1
        ) h on true
        left join lateral (
          select a.seq, a.hash
          from audit_last('order', d.aggregate_id, (select r.created_at from orders r where r.order_id = d.aggregate_id::uuid)) a
          where h.seq is null offset 0
        ) l on true
        where d.kind = 'order' and d.run = p_run and not d.is_birth
      ), written as (
        insert into audit_entry (at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash)
        select p_at, p_txid, 'order', k.aggregate_id, k.seq, k.prev, (k.whole).context ->> 'actor', b.body,
          sha256(coalesce(k.prev, '') || convert_to(b.body, 'UTF8'))
        from link k cross join lateral (select audit_body(k.whole, k.seq, p_at_text, p_txid,
          p_db_role) as body offset 0) b
        returning aggregate_id, seq, hash
      )
      insert into audit_head (kind, aggregate_id, seq, hash) select 'order', w.aggregate_id, w.seq, w.hash from written w
      on conflict (kind, aggregate_id) do update set seq = excluded.seq, hash = excluded.hash;
    end
    $$;

ALTER FUNCTION holdfast.audit_append_order(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_append_order(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_append_order(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) IS 'Adds entries to the chains of orders.';

--
-- Name: audit_append_product(holdfast.audit_draft[], bigint, timestamp with time zone, text, xid8, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_append_product(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) RETURNS void
    LANGUAGE plpgsql
    AS $$
    begin
      perform 1 from product r
      where r.product_id = any (array(
        select d.aggregate_id from unnest(p_drafts) d where d.kind = 'product' and d.run = p_run and not d.is_birth)::text[])
      order by r.product_id for no key update;

      with link as (
        select d as whole, d.aggregate_id, coalesce(h.seq, l.seq, 0) + 1 as seq, coalesce(h.hash, l.hash) as prev
        from unnest(p_drafts) d
        left join lateral (
          select e.seq, e.hash from audit_head e where e.kind = 'product' and e.aggregate_id = d.aggregate_id limit 1
        ) h on true
        left join lateral (
          select a.seq, a.hash
          from audit_last('product', d.aggregate_id, (select r.created_at from product r where r.product_id = d.aggregate_id::text)) a
          where h.seq is null offset 0
        ) l on true
        where d.kind = 'product' and d.run = p_run and not d.is_birth
      ), written as (
        insert into audit_entry (at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash)
        select p_at, p_txid, 'product', k.aggregate_id, k.seq, k.prev, (k.whole).context ->> 'actor', b.body,
          sha256(coalesce(k.prev, '') || convert_to(b.body, 'UTF8'))
        from link k cross join lateral (select audit_body(k.whole, k.seq, p_at_text, p_txid,
          p_db_role) as body offset 0) b
        returning aggregate_id, seq, hash
      )
      insert into audit_head (kind, aggregate_id, seq, hash) select 'product', w.aggregate_id, w.seq, w.hash from written w
      on conflict (kind, aggregate_id) do update set seq = excluded.seq, hash = excluded.hash;
    end
    $$;

ALTER FUNCTION holdfast.audit_append_product(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_append_product(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_append_product(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) IS 'Adds entries to the chains of product.';

--
-- Name: audit_body(holdfast.audit_draft, bigint, text, xid8, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_body(p_draft holdfast.audit_draft, p_seq bigint, p_at text, p_txid xid8, p_db_role text) RETURNS text
    LANGUAGE sql STABLE
    AS $$
  select '{"kind":' || to_json((p_draft).kind)::text || ',"id":' || coalesce(to_json((p_draft).aggregate_id)::text,
    'null')
    || ',"seq":' || coalesce('"' || p_seq || '"', 'null') || ',"at":"' || p_at || '","txid":"' || p_txid
      || '","dbRole":' || to_json(p_db_role)::text
    || ',"by":' || actor_text((p_draft).context) || ',"changes":[' || (p_draft).changes || ']}'
$$;

ALTER FUNCTION holdfast.audit_body(p_draft holdfast.audit_draft, p_seq bigint, p_at text, p_txid xid8, p_db_role text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_body(p_draft holdfast.audit_draft, p_seq bigint, p_at text, p_txid xid8, p_db_role text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_body(p_draft holdfast.audit_draft, p_seq bigint, p_at text, p_txid xid8, p_db_role text) IS 'The bytes an entry''s hash is taken of; src/domain/audit.ts reads and writes the same.';

--
-- Name: audit_capture(text, text, text, text[], text[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_capture(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $_$
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
$_$;

ALTER FUNCTION holdfast.audit_capture(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_capture(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_capture(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]) IS 'Audit code generator: the text of the trigger function audit_<table>, which notes what a statement changed in audit_pending: one row per aggregate, with its changes as JSON.';

--
-- Name: audit_chain_operation(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_chain_operation() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'chain_operation' else 'chain_operation' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"chain_operation","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.operation_no::text as operation_no) k cross join lateral (select n.network as network, n.operation as operation, n.height::text as height, n.address as address, n.amount::text as amount, n.reason as reason, n.at as at, n.tx_id as tx_id, n.output_index as output_index, n.source as source) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'chain_operation' else 'chain_operation' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"chain_operation","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.network is distinct from o.network then '"network":' || coalesce(to_json(o.network)::text, 'null') end, case when n.operation is distinct from o.operation then '"operation":' || coalesce(to_json(o.operation)::text, 'null') end, case when n.height is distinct from o.height then '"height":' || coalesce(to_json(o.height::text)::text, 'null') end, case when n.address is distinct from o.address then '"address":' || coalesce(to_json(o.address)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(o.amount::text)::text, 'null') end, case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(o.reason)::text, 'null') end, case when n.at is distinct from o.at then '"at":' || coalesce(to_json(o.at)::text, 'null') end, case when n.tx_id is distinct from o.tx_id then '"tx_id":' || coalesce(to_json(o.tx_id)::text, 'null') end, case when n.output_index is distinct from o.output_index then '"output_index":' || coalesce(to_json(o.output_index)::text, 'null') end, case when n.source is distinct from o.source then '"source":' || coalesce(to_json(o.source)::text, 'null') end) as before, concat_ws(',', case when n.network is distinct from o.network then '"network":' || coalesce(to_json(n.network)::text, 'null') end, case when n.operation is distinct from o.operation then '"operation":' || coalesce(to_json(n.operation)::text, 'null') end, case when n.height is distinct from o.height then '"height":' || coalesce(to_json(n.height::text)::text, 'null') end, case when n.address is distinct from o.address then '"address":' || coalesce(to_json(n.address)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(n.amount::text)::text, 'null') end, case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(n.reason)::text, 'null') end, case when n.at is distinct from o.at then '"at":' || coalesce(to_json(n.at)::text, 'null') end, case when n.tx_id is distinct from o.tx_id then '"tx_id":' || coalesce(to_json(n.tx_id)::text, 'null') end, case when n.output_index is distinct from o.output_index then '"output_index":' || coalesce(to_json(n.output_index)::text, 'null') end, case when n.source is distinct from o.source then '"source":' || coalesce(to_json(n.source)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.operation_no = o.operation_no cross join lateral (select coalesce(n.operation_no, o.operation_no)::text as operation_no) k
            where n.operation_no is distinct from o.operation_no or n.network is distinct from o.network or n.operation is distinct from o.operation or n.height is distinct from o.height or n.address is distinct from o.address or n.amount is distinct from o.amount or n.reason is distinct from o.reason or n.at is distinct from o.at or n.tx_id is distinct from o.tx_id or n.output_index is distinct from o.output_index or n.source is distinct from o.source
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'chain_operation' else 'chain_operation' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"chain_operation","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.operation_no::text as operation_no) k cross join lateral (select o.network as network, o.operation as operation, o.height::text as height, o.address as address, o.amount::text as amount, o.reason as reason, o.at as at, o.tx_id as tx_id, o.output_index as output_index, o.source as source) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_chain_operation() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_chain_operation(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_chain_operation() IS 'Notes every change to chain_operation for the audit.';

--
-- Name: audit_chain_suspension(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_chain_suspension() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'chain_suspension' else 'chain_suspension' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"chain_suspension","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.suspension_no::text as suspension_no) k cross join lateral (select n.network as network, n.opened_at as opened_at, n.closed_at as closed_at, n.reason as reason, n.cause as cause, n.source as source) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'chain_suspension' else 'chain_suspension' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"chain_suspension","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.network is distinct from o.network then '"network":' || coalesce(to_json(o.network)::text, 'null') end, case when n.opened_at is distinct from o.opened_at then '"opened_at":' || coalesce(to_json(o.opened_at)::text, 'null') end, case when n.closed_at is distinct from o.closed_at then '"closed_at":' || coalesce(to_json(o.closed_at)::text, 'null') end, case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(o.reason)::text, 'null') end, case when n.cause is distinct from o.cause then '"cause":' || coalesce(to_json(o.cause)::text, 'null') end, case when n.source is distinct from o.source then '"source":' || coalesce(to_json(o.source)::text, 'null') end) as before, concat_ws(',', case when n.network is distinct from o.network then '"network":' || coalesce(to_json(n.network)::text, 'null') end, case when n.opened_at is distinct from o.opened_at then '"opened_at":' || coalesce(to_json(n.opened_at)::text, 'null') end, case when n.closed_at is distinct from o.closed_at then '"closed_at":' || coalesce(to_json(n.closed_at)::text, 'null') end, case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(n.reason)::text, 'null') end, case when n.cause is distinct from o.cause then '"cause":' || coalesce(to_json(n.cause)::text, 'null') end, case when n.source is distinct from o.source then '"source":' || coalesce(to_json(n.source)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.suspension_no = o.suspension_no cross join lateral (select coalesce(n.suspension_no, o.suspension_no)::text as suspension_no) k
            where n.suspension_no is distinct from o.suspension_no or n.network is distinct from o.network or n.opened_at is distinct from o.opened_at or n.closed_at is distinct from o.closed_at or n.reason is distinct from o.reason or n.cause is distinct from o.cause or n.source is distinct from o.source
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'chain_suspension' else 'chain_suspension' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"chain_suspension","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.suspension_no::text as suspension_no) k cross join lateral (select o.network as network, o.opened_at as opened_at, o.closed_at as closed_at, o.reason as reason, o.cause as cause, o.source as source) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_chain_suspension() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_chain_suspension(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_chain_suspension() IS 'Notes every change to chain_suspension for the audit.';

--
-- Name: audit_columns(text, text[], text[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_columns(p_table text, p_ignored text[], p_digested text[]) RETURNS TABLE(names text[], key text, either_key text, fields text, same_key text, changed text, differs text)
    LANGUAGE sql STABLE
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $_$
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
$_$;

ALTER FUNCTION holdfast.audit_columns(p_table text, p_ignored text[], p_digested text[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_columns(p_table text, p_ignored text[], p_digested text[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_columns(p_table text, p_ignored text[], p_digested text[]) IS 'Audit code generator: the columns of a table as audit_capture needs them, in SQL text.';

--
-- Name: audit_currency(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_currency() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'currency' else 'currency' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"currency","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.currency as currency) k cross join lateral (select n.kind as kind, n.decimals as decimals, n.dust_floor::text as dust_floor, extract(epoch from n.clock_tolerance)::text as clock_tolerance) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'currency' else 'currency' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"currency","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.kind is distinct from o.kind then '"kind":' || coalesce(to_json(o.kind)::text, 'null') end, case when n.decimals is distinct from o.decimals then '"decimals":' || coalesce(to_json(o.decimals)::text, 'null') end, case when n.dust_floor is distinct from o.dust_floor then '"dust_floor":' || coalesce(to_json(o.dust_floor::text)::text, 'null') end, case when n.clock_tolerance is distinct from o.clock_tolerance then '"clock_tolerance":' || coalesce(to_json(extract(epoch from o.clock_tolerance)::text)::text, 'null') end) as before,
              concat_ws(',', case when n.kind is distinct from o.kind then '"kind":' || coalesce(to_json(n.kind)::text, 'null') end, case when n.decimals is distinct from o.decimals then '"decimals":' || coalesce(to_json(n.decimals)::text, 'null') end, case when n.dust_floor is distinct from o.dust_floor then '"dust_floor":' || coalesce(to_json(n.dust_floor::text)::text, 'null') end, case when n.clock_tolerance is distinct from o.clock_tolerance then '"clock_tolerance":' || coalesce(to_json(extract(epoch from n.clock_tolerance)::text)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.currency = o.currency cross join lateral (select coalesce(n.currency, o.currency) as currency) k
            where n.currency is distinct from o.currency or n.kind is distinct from o.kind or n.decimals is distinct from o.decimals or n.dust_floor is distinct from o.dust_floor or n.clock_tolerance is distinct from o.clock_tolerance
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'currency' else 'currency' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"currency","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.currency as currency) k cross join lateral (select o.kind as kind, o.decimals as decimals, o.dust_floor::text as dust_floor, extract(epoch from o.clock_tolerance)::text as clock_tolerance) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_currency() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_currency(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_currency() IS 'Notes every change to currency for the audit.';

--
-- Name: audit_customer(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_customer() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'customer' else 'customer' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.user_id::text as id, string_agg('{"table":"customer","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.user_id::text as user_id) k cross join lateral (select n.created_at as created_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'customer' else 'customer' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"customer","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.user_id::text, o.user_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end) as before,
              concat_ws(',', case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.user_id = o.user_id cross join lateral (select coalesce(n.user_id, o.user_id)::text as user_id) k
            where n.user_id is distinct from o.user_id or n.created_at is distinct from o.created_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'customer' else 'customer' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.user_id::text as id, string_agg('{"table":"customer","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.user_id::text as user_id) k cross join lateral (select o.created_at as created_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_customer() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_customer(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_customer() IS 'Notes every change to customer for the audit.';

--
-- Name: audit_customer_key(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_customer_key() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'customer_key' else 'customer' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.user_id::text as id, string_agg('{"table":"customer_key","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.user_id::text as user_id) k cross join lateral (select n.ring_version as ring_version, encode(sha256(n.wrapped_key), 'hex') as wrapped_key, n.created_at as created_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'customer_key' else 'customer' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"customer_key","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.user_id::text, o.user_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.ring_version is distinct from o.ring_version then '"ring_version":' || coalesce(to_json(o.ring_version)::text, 'null') end, case when n.wrapped_key is distinct from o.wrapped_key then '"wrapped_key":' || coalesce(to_json(encode(sha256(o.wrapped_key), 'hex'))::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end) as before,
              concat_ws(',', case when n.ring_version is distinct from o.ring_version then '"ring_version":' || coalesce(to_json(n.ring_version)::text, 'null') end, case when n.wrapped_key is distinct from o.wrapped_key then '"wrapped_key":' || coalesce(to_json(encode(sha256(n.wrapped_key), 'hex'))::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.user_id = o.user_id cross join lateral (select coalesce(n.user_id, o.user_id)::text as user_id) k
            where n.user_id is distinct from o.user_id or n.ring_version is distinct from o.ring_version or n.wrapped_key is distinct from o.wrapped_key or n.created_at is distinct from o.created_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'customer_key' else 'customer' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.user_id::text as id, string_agg('{"table":"customer_key","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.user_id::text as user_id) k cross join lateral (select o.ring_version as ring_version, encode(sha256(o.wrapped_key), 'hex') as wrapped_key, o.created_at as created_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_customer_key() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_customer_key(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_customer_key() IS 'Notes every change to customer_key for the audit.';

--
-- Name: audit_flush(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_flush() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
declare
  v_txid xid8 := pg_current_xact_id();
  v_at timestamptz := clock_timestamp();
  v_at_text text := to_json(v_at) #>> '{}';
  v_db_role text := coalesce(nullif(current_setting('role'), 'none'), session_user);
  v_drafts audit_draft[];
  v_kinds text[];
  v_run bigint := 1;
  v_runs bigint;
begin
  with pending as (
    delete from audit_pending where txid = v_txid returning *
  ), turned as (
    select p.*, p.context is distinct from lag(p.context) over w as is_turn
    from pending p window w as (partition by p.kind, p.aggregate_id, case when p.aggregate_id is null
      then p.change_no end order by p.change_no)
  ), counted as (
    select t.*, count(*) filter (where t.is_turn) over w as run
    from turned t window w as (partition by t.kind, t.aggregate_id, case when t.aggregate_id is null
      then t.change_no end order by t.change_no)
  ), draft as (
    select c.kind, c.aggregate_id, c.run, bool_or(c.is_birth) as is_birth, c.context, string_agg(c.changes, ','
      order by c.change_no) as changes
    from counted c group by c.kind, c.aggregate_id, case when c.aggregate_id is null then c.change_no end, c.run,
      c.context
  )
  select array_agg(row(d.*)::audit_draft order by d.kind, d.aggregate_id), max(d.run),
    array_agg(distinct d.kind) filter (where d.aggregate_id is not null and not d.is_birth)
  into v_drafts, v_runs, v_kinds from draft d;

  while v_run <= v_runs loop
    insert into audit_entry (at, txid, kind, aggregate_id, seq, actor, body, hash)
    select v_at, v_txid, d.kind, d.aggregate_id, b.seq, d.context ->> 'actor', b.body, sha256(convert_to(b.body,
      'UTF8'))
    from unnest(v_drafts) d
    cross join lateral (
      select s.seq, audit_body(d, s.seq, v_at_text, v_txid, v_db_role) as body
      from (select case when d.aggregate_id is not null then 1::bigint end as seq) s offset 0
    ) b
    where d.run = v_run and (d.is_birth or d.aggregate_id is null);

    if 'order' = any (v_kinds) then perform audit_append_order(v_drafts, v_run, v_at, v_at_text, v_txid,
      v_db_role); end if;
    if 'product' = any (v_kinds) then perform audit_append_product(v_drafts, v_run, v_at, v_at_text, v_txid,
      v_db_role); end if;
    if 'customer' = any (v_kinds) then perform audit_append_customer(v_drafts, v_run, v_at, v_at_text, v_txid,
      v_db_role); end if;
    if 'key' = any (v_kinds) then perform audit_append_key(v_drafts, v_run, v_at, v_at_text, v_txid, v_db_role); end if;
    v_run := v_run + 1;
  end loop;
  return null;
end
$$;

ALTER FUNCTION holdfast.audit_flush() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_flush(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_flush() IS 'Turns what a transaction changed into its audit entries, when it commits.';

--
-- Name: audit_invoice(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_invoice() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'invoice' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select n.order_id::text as id, string_agg(
            '{"table":"invoice","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.order_id as order_id) k cross join lateral (select n.network as network, n.asset as asset, n.address as address, n.amount_due::text as amount_due, n.rate::text as rate, n.expires_at as expires_at, extract(epoch from n.grace)::text as grace, extract(epoch from n.confirm_within)::text as confirm_within, n.created_at as created_at, n.rate_id as rate_id) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'invoice' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"invoice","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.network is distinct from o.network then '"network":' || coalesce(to_json(o.network)::text, 'null') end, case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(o.asset)::text, 'null') end, case when n.address is distinct from o.address then '"address":' || coalesce(to_json(o.address)::text, 'null') end, case when n.amount_due is distinct from o.amount_due then '"amount_due":' || coalesce(to_json(o.amount_due::text)::text, 'null') end, case when n.rate is distinct from o.rate then '"rate":' || coalesce(to_json(o.rate::text)::text, 'null') end, case when n.expires_at is distinct from o.expires_at then '"expires_at":' || coalesce(to_json(o.expires_at)::text, 'null') end, case when n.grace is distinct from o.grace then '"grace":' || coalesce(to_json(extract(epoch from o.grace)::text)::text, 'null') end, case when n.confirm_within is distinct from o.confirm_within then '"confirm_within":' || coalesce(to_json(extract(epoch from o.confirm_within)::text)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end, case when n.rate_id is distinct from o.rate_id then '"rate_id":' || coalesce(to_json(o.rate_id)::text, 'null') end) as before, concat_ws(',', case when n.network is distinct from o.network then '"network":' || coalesce(to_json(n.network)::text, 'null') end, case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(n.asset)::text, 'null') end, case when n.address is distinct from o.address then '"address":' || coalesce(to_json(n.address)::text, 'null') end, case when n.amount_due is distinct from o.amount_due then '"amount_due":' || coalesce(to_json(n.amount_due::text)::text, 'null') end, case when n.rate is distinct from o.rate then '"rate":' || coalesce(to_json(n.rate::text)::text, 'null') end, case when n.expires_at is distinct from o.expires_at then '"expires_at":' || coalesce(to_json(n.expires_at)::text, 'null') end, case when n.grace is distinct from o.grace then '"grace":' || coalesce(to_json(extract(epoch from n.grace)::text)::text, 'null') end, case when n.confirm_within is distinct from o.confirm_within then '"confirm_within":' || coalesce(to_json(extract(epoch from n.confirm_within)::text)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end, case when n.rate_id is distinct from o.rate_id then '"rate_id":' || coalesce(to_json(n.rate_id)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.order_id = o.order_id cross join lateral (select coalesce(n.order_id, o.order_id) as order_id) k
            where n.order_id is distinct from o.order_id or n.network is distinct from o.network or n.asset is distinct from o.asset or n.address is distinct from o.address or n.amount_due is distinct from o.amount_due or n.rate is distinct from o.rate or n.expires_at is distinct from o.expires_at or n.grace is distinct from o.grace or n.confirm_within is distinct from o.confirm_within or n.created_at is distinct from o.created_at or n.rate_id is distinct from o.rate_id
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'invoice' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select o.order_id::text as id, string_agg(
            '{"table":"invoice","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.order_id as order_id) k cross join lateral (select o.network as network, o.asset as asset, o.address as address, o.amount_due::text as amount_due, o.rate::text as rate, o.expires_at as expires_at, extract(epoch from o.grace)::text as grace, extract(epoch from o.confirm_within)::text as confirm_within, o.created_at as created_at, o.rate_id as rate_id) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_invoice() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_invoice(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_invoice() IS 'Notes every change to invoice for the audit.';

--
-- Name: audit_key_epoch(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_key_epoch() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'key_epoch' else 'key_epoch' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"key_epoch","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.epoch_id as epoch_id) k cross join lateral (select n.master_version as master_version, encode(sha256(n.salt), 'hex') as salt, n.iterations as iterations, n.key_limit as key_limit, n.key_count as key_count, n.created_at as created_at, n.last_used_at as last_used_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'key_epoch' else 'key_epoch' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"key_epoch","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.master_version is distinct from o.master_version then '"master_version":' || coalesce(to_json(o.master_version)::text, 'null') end, case when n.salt is distinct from o.salt then '"salt":' || coalesce(to_json(encode(sha256(o.salt), 'hex'))::text, 'null') end, case when n.iterations is distinct from o.iterations then '"iterations":' || coalesce(to_json(o.iterations)::text, 'null') end, case when n.key_limit is distinct from o.key_limit then '"key_limit":' || coalesce(to_json(o.key_limit)::text, 'null') end, case when n.key_count is distinct from o.key_count then '"key_count":' || coalesce(to_json(o.key_count)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end, case when n.last_used_at is distinct from o.last_used_at then '"last_used_at":' || coalesce(to_json(o.last_used_at)::text, 'null') end) as before,
              concat_ws(',', case when n.master_version is distinct from o.master_version then '"master_version":' || coalesce(to_json(n.master_version)::text, 'null') end, case when n.salt is distinct from o.salt then '"salt":' || coalesce(to_json(encode(sha256(n.salt), 'hex'))::text, 'null') end, case when n.iterations is distinct from o.iterations then '"iterations":' || coalesce(to_json(n.iterations)::text, 'null') end, case when n.key_limit is distinct from o.key_limit then '"key_limit":' || coalesce(to_json(n.key_limit)::text, 'null') end, case when n.key_count is distinct from o.key_count then '"key_count":' || coalesce(to_json(n.key_count)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end, case when n.last_used_at is distinct from o.last_used_at then '"last_used_at":' || coalesce(to_json(n.last_used_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.epoch_id = o.epoch_id cross join lateral (select coalesce(n.epoch_id, o.epoch_id) as epoch_id) k
            where n.epoch_id is distinct from o.epoch_id or n.master_version is distinct from o.master_version or n.salt is distinct from o.salt or n.iterations is distinct from o.iterations or n.key_limit is distinct from o.key_limit or n.key_count is distinct from o.key_count or n.created_at is distinct from o.created_at or n.last_used_at is distinct from o.last_used_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'key_epoch' else 'key_epoch' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"key_epoch","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.epoch_id as epoch_id) k cross join lateral (select o.master_version as master_version, encode(sha256(o.salt), 'hex') as salt, o.iterations as iterations, o.key_limit as key_limit, o.key_count as key_count, o.created_at as created_at, o.last_used_at as last_used_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_key_epoch() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_key_epoch(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_key_epoch() IS 'Notes every change to key_epoch for the audit.';

--
-- Name: audit_last(text, text, timestamp with time zone); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_last(p_kind text, p_aggregate_id text, p_from timestamp with time zone) RETURNS TABLE(seq bigint, hash bytea)
    LANGUAGE plpgsql STABLE
    AS $$
#variable_conflict use_column
begin
  return query select e.seq, e.hash from audit_entry e
  where e.kind = p_kind and e.aggregate_id = p_aggregate_id and e.at >= p_from - interval '1 day' order by e.seq desc
    limit 1;
  if not found then
    return query select e.seq, e.hash from audit_entry e
    where e.kind = p_kind and e.aggregate_id = p_aggregate_id order by e.seq desc limit 1;
  end if;
end
$$;

ALTER FUNCTION holdfast.audit_last(p_kind text, p_aggregate_id text, p_from timestamp with time zone) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_last(p_kind text, p_aggregate_id text, p_from timestamp with time zone); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_last(p_kind text, p_aggregate_id text, p_from timestamp with time zone) IS 'The newest entry of a chain, for heads that are not on their row.';

--
-- Name: audit_late_decision(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_late_decision() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'late_decision' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select n.order_id::text as id, string_agg(
            '{"table":"late_decision","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.order_id as order_id) k cross join lateral (select n.replacement_id as replacement_id, n.refusal as refusal, n.rate::text as rate, n.due_now::text as due_now, n.decided_at as decided_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'late_decision' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"late_decision","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.replacement_id is distinct from o.replacement_id then '"replacement_id":' || coalesce(to_json(o.replacement_id)::text, 'null') end, case when n.refusal is distinct from o.refusal then '"refusal":' || coalesce(to_json(o.refusal)::text, 'null') end, case when n.rate is distinct from o.rate then '"rate":' || coalesce(to_json(o.rate::text)::text, 'null') end, case when n.due_now is distinct from o.due_now then '"due_now":' || coalesce(to_json(o.due_now::text)::text, 'null') end, case when n.decided_at is distinct from o.decided_at then '"decided_at":' || coalesce(to_json(o.decided_at)::text, 'null') end) as before, concat_ws(',', case when n.replacement_id is distinct from o.replacement_id then '"replacement_id":' || coalesce(to_json(n.replacement_id)::text, 'null') end, case when n.refusal is distinct from o.refusal then '"refusal":' || coalesce(to_json(n.refusal)::text, 'null') end, case when n.rate is distinct from o.rate then '"rate":' || coalesce(to_json(n.rate::text)::text, 'null') end, case when n.due_now is distinct from o.due_now then '"due_now":' || coalesce(to_json(n.due_now::text)::text, 'null') end, case when n.decided_at is distinct from o.decided_at then '"decided_at":' || coalesce(to_json(n.decided_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.order_id = o.order_id cross join lateral (select coalesce(n.order_id, o.order_id) as order_id) k
            where n.order_id is distinct from o.order_id or n.replacement_id is distinct from o.replacement_id or n.refusal is distinct from o.refusal or n.rate is distinct from o.rate or n.due_now is distinct from o.due_now or n.decided_at is distinct from o.decided_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'late_decision' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select o.order_id::text as id, string_agg(
            '{"table":"late_decision","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.order_id as order_id) k cross join lateral (select o.replacement_id as replacement_id, o.refusal as refusal, o.rate::text as rate, o.due_now::text as due_now, o.decided_at as decided_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_late_decision() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_late_decision(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_late_decision() IS 'Notes every change to late_decision for the audit.';

--
-- Name: audit_make_partitions(date, integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_make_partitions(p_from date, p_months integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
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

ALTER FUNCTION holdfast.audit_make_partitions(p_from date, p_months integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_make_partitions(p_from date, p_months integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_make_partitions(p_from date, p_months integer) IS 'Partition maintenance: makes the monthly partitions of audit_entry that do not exist yet, p_months from p_from on.';

--
-- Name: audit_master_key(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_master_key() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'master_key' else 'master_key' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"master_key","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.version as version) k cross join lateral (select encode(n.fingerprint, 'hex') as fingerprint, n.created_at as created_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'master_key' else 'master_key' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"master_key","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.fingerprint is distinct from o.fingerprint then '"fingerprint":' || coalesce(to_json(encode(o.fingerprint, 'hex'))::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end) as before,
              concat_ws(',', case when n.fingerprint is distinct from o.fingerprint then '"fingerprint":' || coalesce(to_json(encode(n.fingerprint, 'hex'))::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.version = o.version cross join lateral (select coalesce(n.version, o.version) as version) k
            where n.version is distinct from o.version or n.fingerprint is distinct from o.fingerprint or n.created_at is distinct from o.created_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'master_key' else 'master_key' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"master_key","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.version as version) k cross join lateral (select encode(o.fingerprint, 'hex') as fingerprint, o.created_at as created_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_master_key() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_master_key(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_master_key() IS 'Notes every change to master_key for the audit.';

--
-- Name: audit_note_reads(uuid[], text[], text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_note_reads(p_order_ids uuid[], p_fields text[], p_actor text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
declare
  v_noted int;
begin
  if cardinality(p_fields) = 0 or array_length(p_fields, 1) > 20 then
    raise exception 'audit_note_reads: name the fields' using errcode = '22023';
  end if;
  insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
  select 'order', o.order_id::text, false,
    row_number() over () = 1 and not exists (select from audit_pending where txid = pg_current_xact_id()),
    p_actor::jsonb,
    '{"table":"pii_access","op":"READ","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}'
  from orders o
  cross join lateral (select o.order_id) k
  cross join lateral (select o.user_id::text as user_id, p_fields as fields) r
  where o.order_id = any (p_order_ids);
  get diagnostics v_noted = row_count;
  return v_noted;
end
$$;

ALTER FUNCTION holdfast.audit_note_reads(p_order_ids uuid[], p_fields text[], p_actor text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_note_reads(p_order_ids uuid[], p_fields text[], p_actor text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_note_reads(p_order_ids uuid[], p_fields text[], p_actor text) IS 'Audit: notes that personal data of orders is about to be shown to someone who does not own it, as one entry in the chain of each order.';

--
-- Name: audit_order_line(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_order_line() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'order_line' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.order_id::text as id, string_agg('{"table":"order_line","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.order_id as order_id, n.line_no as line_no) k cross join lateral (select n.product_id as product_id, n.product_version::text as product_version, n.name as name, n.quantity as quantity, n.unit_price::text as unit_price) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'order_line' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"order_line","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.product_id is distinct from o.product_id then '"product_id":' || coalesce(to_json(o.product_id)::text, 'null') end, case when n.product_version is distinct from o.product_version then '"product_version":' || coalesce(to_json(o.product_version::text)::text, 'null') end, case when n.name is distinct from o.name then '"name":' || coalesce(to_json(o.name)::text, 'null') end, case when n.quantity is distinct from o.quantity then '"quantity":' || coalesce(to_json(o.quantity)::text, 'null') end, case when n.unit_price is distinct from o.unit_price then '"unit_price":' || coalesce(to_json(o.unit_price::text)::text, 'null') end) as before,
              concat_ws(',', case when n.product_id is distinct from o.product_id then '"product_id":' || coalesce(to_json(n.product_id)::text, 'null') end, case when n.product_version is distinct from o.product_version then '"product_version":' || coalesce(to_json(n.product_version::text)::text, 'null') end, case when n.name is distinct from o.name then '"name":' || coalesce(to_json(n.name)::text, 'null') end, case when n.quantity is distinct from o.quantity then '"quantity":' || coalesce(to_json(n.quantity)::text, 'null') end, case when n.unit_price is distinct from o.unit_price then '"unit_price":' || coalesce(to_json(n.unit_price::text)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.order_id = o.order_id and n.line_no = o.line_no cross join lateral (select coalesce(n.order_id, o.order_id) as order_id, coalesce(n.line_no, o.line_no) as line_no) k
            where n.order_id is distinct from o.order_id or n.line_no is distinct from o.line_no or n.product_id is distinct from o.product_id or n.product_version is distinct from o.product_version or n.name is distinct from o.name or n.quantity is distinct from o.quantity or n.unit_price is distinct from o.unit_price
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'order_line' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.order_id::text as id, string_agg('{"table":"order_line","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.order_id as order_id, o.line_no as line_no) k cross join lateral (select o.product_id as product_id, o.product_version::text as product_version, o.name as name, o.quantity as quantity, o.unit_price::text as unit_price) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_order_line() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_order_line(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_order_line() IS 'Notes every change to order_line for the audit.';

--
-- Name: audit_order_restart(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_order_restart() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'order_restart' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.order_id::text as id, string_agg('{"table":"order_restart","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.restart_no::text as restart_no, n.order_id as order_id) k cross join lateral (select n.generation as generation, n.reason as reason, n.created_at as created_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'order_restart' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"order_restart","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.generation is distinct from o.generation then '"generation":' || coalesce(to_json(o.generation)::text, 'null') end, case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(o.reason)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end) as before,
              concat_ws(',', case when n.generation is distinct from o.generation then '"generation":' || coalesce(to_json(n.generation)::text, 'null') end, case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(n.reason)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.restart_no = o.restart_no and n.order_id = o.order_id cross join lateral (select coalesce(n.restart_no, o.restart_no)::text as restart_no, coalesce(n.order_id, o.order_id) as order_id) k
            where n.restart_no is distinct from o.restart_no or n.order_id is distinct from o.order_id or n.generation is distinct from o.generation or n.reason is distinct from o.reason or n.created_at is distinct from o.created_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'order_restart' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.order_id::text as id, string_agg('{"table":"order_restart","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.restart_no::text as restart_no, o.order_id as order_id) k cross join lateral (select o.generation as generation, o.reason as reason, o.created_at as created_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_order_restart() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_order_restart(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_order_restart() IS 'Notes every change to order_restart for the audit.';

--
-- Name: audit_order_transition(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_order_transition() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'order_transition' else 'order_transition' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"order_transition","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.from_status as from_status, n.to_status as to_status, n.role as role) k cross join lateral (select ) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'order_transition' else 'order_transition' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"order_transition","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key, concat_ws(',', null) as before,
              concat_ws(',', null) as after
            from old_rows o full join new_rows n on n.from_status = o.from_status and n.to_status = o.to_status and n.role = o.role cross join lateral (select coalesce(n.from_status, o.from_status) as from_status, coalesce(n.to_status, o.to_status) as to_status, coalesce(n.role, o.role) as role) k
            where n.from_status is distinct from o.from_status or n.to_status is distinct from o.to_status or n.role is distinct from o.role
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'order_transition' else 'order_transition' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"order_transition","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.from_status as from_status, o.to_status as to_status, o.role as role) k cross join lateral (select ) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_order_transition() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_order_transition(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_order_transition() IS 'Notes every change to order_transition for the audit.';

--
-- Name: audit_orders(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_orders() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'orders' else 'order' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.order_id::text as id, string_agg('{"table":"orders","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.order_id as order_id) k cross join lateral (select n.user_id::text as user_id, n.status as status, n.payment_state as payment_state, n.payment_flags as payment_flags, n.hold as hold, n.cancel_reason as cancel_reason, n.currency as currency, n.total::text as total, encode(n.address_sealed, 'hex') as address_sealed, n.version::text as version, n.created_at as created_at, n.updated_at as updated_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'orders' else 'order' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"orders","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.user_id is distinct from o.user_id then '"user_id":' || coalesce(to_json(o.user_id::text)::text, 'null') end, case when n.status is distinct from o.status then '"status":' || coalesce(to_json(o.status)::text, 'null') end, case when n.payment_state is distinct from o.payment_state then '"payment_state":' || coalesce(to_json(o.payment_state)::text, 'null') end, case when n.payment_flags is distinct from o.payment_flags then '"payment_flags":' || coalesce(to_json(o.payment_flags)::text, 'null') end, case when n.hold is distinct from o.hold then '"hold":' || coalesce(to_json(o.hold)::text, 'null') end, case when n.cancel_reason is distinct from o.cancel_reason then '"cancel_reason":' || coalesce(to_json(o.cancel_reason)::text, 'null') end, case when n.currency is distinct from o.currency then '"currency":' || coalesce(to_json(o.currency)::text, 'null') end, case when n.total is distinct from o.total then '"total":' || coalesce(to_json(o.total::text)::text, 'null') end, case when n.address_sealed is distinct from o.address_sealed then '"address_sealed":' || coalesce(to_json(encode(o.address_sealed, 'hex'))::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version::text)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end, case when n.updated_at is distinct from o.updated_at then '"updated_at":' || coalesce(to_json(o.updated_at)::text, 'null') end) as before,
              concat_ws(',', case when n.user_id is distinct from o.user_id then '"user_id":' || coalesce(to_json(n.user_id::text)::text, 'null') end, case when n.status is distinct from o.status then '"status":' || coalesce(to_json(n.status)::text, 'null') end, case when n.payment_state is distinct from o.payment_state then '"payment_state":' || coalesce(to_json(n.payment_state)::text, 'null') end, case when n.payment_flags is distinct from o.payment_flags then '"payment_flags":' || coalesce(to_json(n.payment_flags)::text, 'null') end, case when n.hold is distinct from o.hold then '"hold":' || coalesce(to_json(n.hold)::text, 'null') end, case when n.cancel_reason is distinct from o.cancel_reason then '"cancel_reason":' || coalesce(to_json(n.cancel_reason)::text, 'null') end, case when n.currency is distinct from o.currency then '"currency":' || coalesce(to_json(n.currency)::text, 'null') end, case when n.total is distinct from o.total then '"total":' || coalesce(to_json(n.total::text)::text, 'null') end, case when n.address_sealed is distinct from o.address_sealed then '"address_sealed":' || coalesce(to_json(encode(n.address_sealed, 'hex'))::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version::text)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end, case when n.updated_at is distinct from o.updated_at then '"updated_at":' || coalesce(to_json(n.updated_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.order_id = o.order_id cross join lateral (select coalesce(n.order_id, o.order_id) as order_id) k
            where n.order_id is distinct from o.order_id or n.user_id is distinct from o.user_id or n.status is distinct from o.status or n.payment_state is distinct from o.payment_state or n.payment_flags is distinct from o.payment_flags or n.hold is distinct from o.hold or n.cancel_reason is distinct from o.cancel_reason or n.currency is distinct from o.currency or n.total is distinct from o.total or n.address_sealed is distinct from o.address_sealed or n.version is distinct from o.version or n.created_at is distinct from o.created_at or n.updated_at is distinct from o.updated_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'orders' else 'order' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.order_id::text as id, string_agg('{"table":"orders","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.order_id as order_id) k cross join lateral (select o.user_id::text as user_id, o.status as status, o.payment_state as payment_state, o.payment_flags as payment_flags, o.hold as hold, o.cancel_reason as cancel_reason, o.currency as currency, o.total::text as total, encode(o.address_sealed, 'hex') as address_sealed, o.version::text as version, o.created_at as created_at, o.updated_at as updated_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_orders() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_orders(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_orders() IS 'Notes every change to orders for the audit.';

--
-- Name: audit_own_account(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_own_account() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'own_account' else 'own_account' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"own_account","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.network as network, n.address as address) k cross join lateral (select n.note as note, n.added_at as added_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'own_account' else 'own_account' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"own_account","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.note is distinct from o.note then '"note":' || coalesce(to_json(o.note)::text, 'null') end, case when n.added_at is distinct from o.added_at then '"added_at":' || coalesce(to_json(o.added_at)::text, 'null') end) as before, concat_ws(',', case when n.note is distinct from o.note then '"note":' || coalesce(to_json(n.note)::text, 'null') end, case when n.added_at is distinct from o.added_at then '"added_at":' || coalesce(to_json(n.added_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.network = o.network and n.address = o.address cross join lateral (select coalesce(n.network, o.network) as network, coalesce(n.address, o.address) as address) k
            where n.network is distinct from o.network or n.address is distinct from o.address or n.note is distinct from o.note or n.added_at is distinct from o.added_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'own_account' else 'own_account' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"own_account","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.network as network, o.address as address) k cross join lateral (select o.note as note, o.added_at as added_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_own_account() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_own_account(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_own_account() IS 'Notes every change to own_account for the audit.';

--
-- Name: audit_payment(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_payment() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.order_id::text as id, string_agg('{"table":"payment","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.network as network, n.tx_id as tx_id, n.output_index as output_index) k cross join lateral (select n.order_id as order_id, n.asset as asset, n.amount::text as amount, n.state as state, n.is_in_time as is_in_time, n.first_seen_at as first_seen_at, n.version::text as version, n.updated_at as updated_at, n.is_honoured as is_honoured) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"payment","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(o.order_id)::text, 'null') end, case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(o.asset)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(o.amount::text)::text, 'null') end, case when n.state is distinct from o.state then '"state":' || coalesce(to_json(o.state)::text, 'null') end, case when n.is_in_time is distinct from o.is_in_time then '"is_in_time":' || coalesce(to_json(o.is_in_time)::text, 'null') end, case when n.first_seen_at is distinct from o.first_seen_at then '"first_seen_at":' || coalesce(to_json(o.first_seen_at)::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version::text)::text, 'null') end, case when n.updated_at is distinct from o.updated_at then '"updated_at":' || coalesce(to_json(o.updated_at)::text, 'null') end, case when n.is_honoured is distinct from o.is_honoured then '"is_honoured":' || coalesce(to_json(o.is_honoured)::text, 'null') end) as before,
              concat_ws(',', case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(n.order_id)::text, 'null') end, case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(n.asset)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(n.amount::text)::text, 'null') end, case when n.state is distinct from o.state then '"state":' || coalesce(to_json(n.state)::text, 'null') end, case when n.is_in_time is distinct from o.is_in_time then '"is_in_time":' || coalesce(to_json(n.is_in_time)::text, 'null') end, case when n.first_seen_at is distinct from o.first_seen_at then '"first_seen_at":' || coalesce(to_json(n.first_seen_at)::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version::text)::text, 'null') end, case when n.updated_at is distinct from o.updated_at then '"updated_at":' || coalesce(to_json(n.updated_at)::text, 'null') end, case when n.is_honoured is distinct from o.is_honoured then '"is_honoured":' || coalesce(to_json(n.is_honoured)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.network = o.network and n.tx_id = o.tx_id and n.output_index = o.output_index cross join lateral (select coalesce(n.network, o.network) as network, coalesce(n.tx_id, o.tx_id) as tx_id, coalesce(n.output_index, o.output_index) as output_index) k
            where n.network is distinct from o.network or n.tx_id is distinct from o.tx_id or n.output_index is distinct from o.output_index or n.order_id is distinct from o.order_id or n.asset is distinct from o.asset or n.amount is distinct from o.amount or n.state is distinct from o.state or n.is_in_time is distinct from o.is_in_time or n.first_seen_at is distinct from o.first_seen_at or n.version is distinct from o.version or n.updated_at is distinct from o.updated_at or n.is_honoured is distinct from o.is_honoured
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.order_id::text as id, string_agg('{"table":"payment","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.network as network, o.tx_id as tx_id, o.output_index as output_index) k cross join lateral (select o.order_id as order_id, o.asset as asset, o.amount::text as amount, o.state as state, o.is_in_time as is_in_time, o.first_seen_at as first_seen_at, o.version::text as version, o.updated_at as updated_at, o.is_honoured as is_honoured) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_payment() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_payment(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_payment() IS 'Notes every change to payment for the audit.';

--
-- Name: audit_payment_key(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_payment_key() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment_key' else 'key' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.key_id::text as id, string_agg('{"table":"payment_key","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.key_id as key_id) k cross join lateral (select n.network as network, n.asset as asset, n.address as address, n.tier as tier, n.format_version as format_version, n.envelope_version as envelope_version, n.epoch_id as epoch_id, n.master_version as master_version, encode(sha256(n.salt), 'hex') as salt, encode(sha256(n.wrap_nonce), 'hex') as wrap_nonce, encode(sha256(n.wrap_tag), 'hex') as wrap_tag, encode(sha256(n.wrapped_key), 'hex') as wrapped_key, encode(sha256(n.nonce), 'hex') as nonce, encode(sha256(n.tag), 'hex') as tag, encode(sha256(n.ciphertext), 'hex') as ciphertext, n.created_at as created_at, n.sealed_at as sealed_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment_key' else 'key' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"payment_key","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.key_id::text, o.key_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.network is distinct from o.network then '"network":' || coalesce(to_json(o.network)::text, 'null') end, case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(o.asset)::text, 'null') end, case when n.address is distinct from o.address then '"address":' || coalesce(to_json(o.address)::text, 'null') end, case when n.tier is distinct from o.tier then '"tier":' || coalesce(to_json(o.tier)::text, 'null') end, case when n.format_version is distinct from o.format_version then '"format_version":' || coalesce(to_json(o.format_version)::text, 'null') end, case when n.envelope_version is distinct from o.envelope_version then '"envelope_version":' || coalesce(to_json(o.envelope_version)::text, 'null') end, case when n.epoch_id is distinct from o.epoch_id then '"epoch_id":' || coalesce(to_json(o.epoch_id)::text, 'null') end, case when n.master_version is distinct from o.master_version then '"master_version":' || coalesce(to_json(o.master_version)::text, 'null') end, case when n.salt is distinct from o.salt then '"salt":' || coalesce(to_json(encode(sha256(o.salt), 'hex'))::text, 'null') end, case when n.wrap_nonce is distinct from o.wrap_nonce then '"wrap_nonce":' || coalesce(to_json(encode(sha256(o.wrap_nonce), 'hex'))::text, 'null') end, case when n.wrap_tag is distinct from o.wrap_tag then '"wrap_tag":' || coalesce(to_json(encode(sha256(o.wrap_tag), 'hex'))::text, 'null') end, case when n.wrapped_key is distinct from o.wrapped_key then '"wrapped_key":' || coalesce(to_json(encode(sha256(o.wrapped_key), 'hex'))::text, 'null') end, case when n.nonce is distinct from o.nonce then '"nonce":' || coalesce(to_json(encode(sha256(o.nonce), 'hex'))::text, 'null') end, case when n.tag is distinct from o.tag then '"tag":' || coalesce(to_json(encode(sha256(o.tag), 'hex'))::text, 'null') end, case when n.ciphertext is distinct from o.ciphertext then '"ciphertext":' || coalesce(to_json(encode(sha256(o.ciphertext), 'hex'))::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end, case when n.sealed_at is distinct from o.sealed_at then '"sealed_at":' || coalesce(to_json(o.sealed_at)::text, 'null') end) as before,
              concat_ws(',', case when n.network is distinct from o.network then '"network":' || coalesce(to_json(n.network)::text, 'null') end, case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(n.asset)::text, 'null') end, case when n.address is distinct from o.address then '"address":' || coalesce(to_json(n.address)::text, 'null') end, case when n.tier is distinct from o.tier then '"tier":' || coalesce(to_json(n.tier)::text, 'null') end, case when n.format_version is distinct from o.format_version then '"format_version":' || coalesce(to_json(n.format_version)::text, 'null') end, case when n.envelope_version is distinct from o.envelope_version then '"envelope_version":' || coalesce(to_json(n.envelope_version)::text, 'null') end, case when n.epoch_id is distinct from o.epoch_id then '"epoch_id":' || coalesce(to_json(n.epoch_id)::text, 'null') end, case when n.master_version is distinct from o.master_version then '"master_version":' || coalesce(to_json(n.master_version)::text, 'null') end, case when n.salt is distinct from o.salt then '"salt":' || coalesce(to_json(encode(sha256(n.salt), 'hex'))::text, 'null') end, case when n.wrap_nonce is distinct from o.wrap_nonce then '"wrap_nonce":' || coalesce(to_json(encode(sha256(n.wrap_nonce), 'hex'))::text, 'null') end, case when n.wrap_tag is distinct from o.wrap_tag then '"wrap_tag":' || coalesce(to_json(encode(sha256(n.wrap_tag), 'hex'))::text, 'null') end, case when n.wrapped_key is distinct from o.wrapped_key then '"wrapped_key":' || coalesce(to_json(encode(sha256(n.wrapped_key), 'hex'))::text, 'null') end, case when n.nonce is distinct from o.nonce then '"nonce":' || coalesce(to_json(encode(sha256(n.nonce), 'hex'))::text, 'null') end, case when n.tag is distinct from o.tag then '"tag":' || coalesce(to_json(encode(sha256(n.tag), 'hex'))::text, 'null') end, case when n.ciphertext is distinct from o.ciphertext then '"ciphertext":' || coalesce(to_json(encode(sha256(n.ciphertext), 'hex'))::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end, case when n.sealed_at is distinct from o.sealed_at then '"sealed_at":' || coalesce(to_json(n.sealed_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.key_id = o.key_id cross join lateral (select coalesce(n.key_id, o.key_id) as key_id) k
            where n.key_id is distinct from o.key_id or n.network is distinct from o.network or n.asset is distinct from o.asset or n.address is distinct from o.address or n.tier is distinct from o.tier or n.format_version is distinct from o.format_version or n.envelope_version is distinct from o.envelope_version or n.epoch_id is distinct from o.epoch_id or n.master_version is distinct from o.master_version or n.salt is distinct from o.salt or n.wrap_nonce is distinct from o.wrap_nonce or n.wrap_tag is distinct from o.wrap_tag or n.wrapped_key is distinct from o.wrapped_key or n.nonce is distinct from o.nonce or n.tag is distinct from o.tag or n.ciphertext is distinct from o.ciphertext or n.created_at is distinct from o.created_at or n.sealed_at is distinct from o.sealed_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment_key' else 'key' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.key_id::text as id, string_agg('{"table":"payment_key","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.key_id as key_id) k cross join lateral (select o.network as network, o.asset as asset, o.address as address, o.tier as tier, o.format_version as format_version, o.envelope_version as envelope_version, o.epoch_id as epoch_id, o.master_version as master_version, encode(sha256(o.salt), 'hex') as salt, encode(sha256(o.wrap_nonce), 'hex') as wrap_nonce, encode(sha256(o.wrap_tag), 'hex') as wrap_tag, encode(sha256(o.wrapped_key), 'hex') as wrapped_key, encode(sha256(o.nonce), 'hex') as nonce, encode(sha256(o.tag), 'hex') as tag, encode(sha256(o.ciphertext), 'hex') as ciphertext, o.created_at as created_at, o.sealed_at as sealed_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_payment_key() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_payment_key(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_payment_key() IS 'Notes every change to payment_key for the audit.';

--
-- Name: audit_payment_report(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_payment_report() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment_report' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.order_id::text as id, string_agg('{"table":"payment_report","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.report_no::text as report_no) k cross join lateral (select n.source as source, n.report_id as report_id, n.network as network, n.asset as asset, n.tx_id as tx_id, n.output_index as output_index, n.seq as seq, n.state as state, n.address as address, n.amount::text as amount, n.block_height::text as block_height, n.block_hash as block_hash, n.first_seen_at as first_seen_at, n.order_id as order_id, n.received_at as received_at, n.is_assessed as is_assessed) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment_report' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"payment_report","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.source is distinct from o.source then '"source":' || coalesce(to_json(o.source)::text, 'null') end, case when n.report_id is distinct from o.report_id then '"report_id":' || coalesce(to_json(o.report_id)::text, 'null') end, case when n.network is distinct from o.network then '"network":' || coalesce(to_json(o.network)::text, 'null') end, case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(o.asset)::text, 'null') end, case when n.tx_id is distinct from o.tx_id then '"tx_id":' || coalesce(to_json(o.tx_id)::text, 'null') end, case when n.output_index is distinct from o.output_index then '"output_index":' || coalesce(to_json(o.output_index)::text, 'null') end, case when n.seq is distinct from o.seq then '"seq":' || coalesce(to_json(o.seq)::text, 'null') end, case when n.state is distinct from o.state then '"state":' || coalesce(to_json(o.state)::text, 'null') end, case when n.address is distinct from o.address then '"address":' || coalesce(to_json(o.address)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(o.amount::text)::text, 'null') end, case when n.block_height is distinct from o.block_height then '"block_height":' || coalesce(to_json(o.block_height::text)::text, 'null') end, case when n.block_hash is distinct from o.block_hash then '"block_hash":' || coalesce(to_json(o.block_hash)::text, 'null') end, case when n.first_seen_at is distinct from o.first_seen_at then '"first_seen_at":' || coalesce(to_json(o.first_seen_at)::text, 'null') end, case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(o.order_id)::text, 'null') end, case when n.received_at is distinct from o.received_at then '"received_at":' || coalesce(to_json(o.received_at)::text, 'null') end, case when n.is_assessed is distinct from o.is_assessed then '"is_assessed":' || coalesce(to_json(o.is_assessed)::text, 'null') end) as before,
              concat_ws(',', case when n.source is distinct from o.source then '"source":' || coalesce(to_json(n.source)::text, 'null') end, case when n.report_id is distinct from o.report_id then '"report_id":' || coalesce(to_json(n.report_id)::text, 'null') end, case when n.network is distinct from o.network then '"network":' || coalesce(to_json(n.network)::text, 'null') end, case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(n.asset)::text, 'null') end, case when n.tx_id is distinct from o.tx_id then '"tx_id":' || coalesce(to_json(n.tx_id)::text, 'null') end, case when n.output_index is distinct from o.output_index then '"output_index":' || coalesce(to_json(n.output_index)::text, 'null') end, case when n.seq is distinct from o.seq then '"seq":' || coalesce(to_json(n.seq)::text, 'null') end, case when n.state is distinct from o.state then '"state":' || coalesce(to_json(n.state)::text, 'null') end, case when n.address is distinct from o.address then '"address":' || coalesce(to_json(n.address)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(n.amount::text)::text, 'null') end, case when n.block_height is distinct from o.block_height then '"block_height":' || coalesce(to_json(n.block_height::text)::text, 'null') end, case when n.block_hash is distinct from o.block_hash then '"block_hash":' || coalesce(to_json(n.block_hash)::text, 'null') end, case when n.first_seen_at is distinct from o.first_seen_at then '"first_seen_at":' || coalesce(to_json(n.first_seen_at)::text, 'null') end, case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(n.order_id)::text, 'null') end, case when n.received_at is distinct from o.received_at then '"received_at":' || coalesce(to_json(n.received_at)::text, 'null') end, case when n.is_assessed is distinct from o.is_assessed then '"is_assessed":' || coalesce(to_json(n.is_assessed)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.report_no = o.report_no cross join lateral (select coalesce(n.report_no, o.report_no)::text as report_no) k
            where n.report_no is distinct from o.report_no or n.source is distinct from o.source or n.report_id is distinct from o.report_id or n.network is distinct from o.network or n.asset is distinct from o.asset or n.tx_id is distinct from o.tx_id or n.output_index is distinct from o.output_index or n.seq is distinct from o.seq or n.state is distinct from o.state or n.address is distinct from o.address or n.amount is distinct from o.amount or n.block_height is distinct from o.block_height or n.block_hash is distinct from o.block_hash or n.first_seen_at is distinct from o.first_seen_at or n.order_id is distinct from o.order_id or n.received_at is distinct from o.received_at or n.is_assessed is distinct from o.is_assessed
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment_report' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.order_id::text as id, string_agg('{"table":"payment_report","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.report_no::text as report_no) k cross join lateral (select o.source as source, o.report_id as report_id, o.network as network, o.asset as asset, o.tx_id as tx_id, o.output_index as output_index, o.seq as seq, o.state as state, o.address as address, o.amount::text as amount, o.block_height::text as block_height, o.block_hash as block_hash, o.first_seen_at as first_seen_at, o.order_id as order_id, o.received_at as received_at, o.is_assessed as is_assessed) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_payment_report() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_payment_report(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_payment_report() IS 'Notes every change to payment_report for the audit.';

--
-- Name: audit_payment_transition(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_payment_transition() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment_transition' else 'payment_transition' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"payment_transition","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.from_state as from_state, n.to_state as to_state) k cross join lateral (select ) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment_transition' else 'payment_transition' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"payment_transition","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key, concat_ws(',', null) as before,
              concat_ws(',', null) as after
            from old_rows o full join new_rows n on n.from_state = o.from_state and n.to_state = o.to_state cross join lateral (select coalesce(n.from_state, o.from_state) as from_state, coalesce(n.to_state, o.to_state) as to_state) k
            where n.from_state is distinct from o.from_state or n.to_state is distinct from o.to_state
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payment_transition' else 'payment_transition' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"payment_transition","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.from_state as from_state, o.to_state as to_state) k cross join lateral (select ) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_payment_transition() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_payment_transition(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_payment_transition() IS 'Notes every change to payment_transition for the audit.';

--
-- Name: audit_payout(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_payout() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payout' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select n.order_id::text as id, string_agg(
            '{"table":"payout","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.payout_id as payout_id) k cross join lateral (select n.refund_id as refund_id, n.order_id as order_id, n.network as network, n.sender as sender, n.chain_id::text as chain_id, n.nonce::text as nonce, n.destination as destination, n.amount::text as amount, n.fee_bearer as fee_bearer, n.status as status, n.failure as failure, n.block_height::text as block_height, n.block_hash as block_hash, n.is_released as is_released, n.created_at as created_at, n.network_fee::text as network_fee) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payout' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"payout","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.refund_id is distinct from o.refund_id then '"refund_id":' || coalesce(to_json(o.refund_id)::text, 'null') end, case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(o.order_id)::text, 'null') end, case when n.network is distinct from o.network then '"network":' || coalesce(to_json(o.network)::text, 'null') end, case when n.sender is distinct from o.sender then '"sender":' || coalesce(to_json(o.sender)::text, 'null') end, case when n.chain_id is distinct from o.chain_id then '"chain_id":' || coalesce(to_json(o.chain_id::text)::text, 'null') end, case when n.nonce is distinct from o.nonce then '"nonce":' || coalesce(to_json(o.nonce::text)::text, 'null') end, case when n.destination is distinct from o.destination then '"destination":' || coalesce(to_json(o.destination)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(o.amount::text)::text, 'null') end, case when n.fee_bearer is distinct from o.fee_bearer then '"fee_bearer":' || coalesce(to_json(o.fee_bearer)::text, 'null') end, case when n.status is distinct from o.status then '"status":' || coalesce(to_json(o.status)::text, 'null') end, case when n.failure is distinct from o.failure then '"failure":' || coalesce(to_json(o.failure)::text, 'null') end, case when n.block_height is distinct from o.block_height then '"block_height":' || coalesce(to_json(o.block_height::text)::text, 'null') end, case when n.block_hash is distinct from o.block_hash then '"block_hash":' || coalesce(to_json(o.block_hash)::text, 'null') end, case when n.is_released is distinct from o.is_released then '"is_released":' || coalesce(to_json(o.is_released)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end, case when n.network_fee is distinct from o.network_fee then '"network_fee":' || coalesce(to_json(o.network_fee::text)::text, 'null') end) as before, concat_ws(',', case when n.refund_id is distinct from o.refund_id then '"refund_id":' || coalesce(to_json(n.refund_id)::text, 'null') end, case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(n.order_id)::text, 'null') end, case when n.network is distinct from o.network then '"network":' || coalesce(to_json(n.network)::text, 'null') end, case when n.sender is distinct from o.sender then '"sender":' || coalesce(to_json(n.sender)::text, 'null') end, case when n.chain_id is distinct from o.chain_id then '"chain_id":' || coalesce(to_json(n.chain_id::text)::text, 'null') end, case when n.nonce is distinct from o.nonce then '"nonce":' || coalesce(to_json(n.nonce::text)::text, 'null') end, case when n.destination is distinct from o.destination then '"destination":' || coalesce(to_json(n.destination)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(n.amount::text)::text, 'null') end, case when n.fee_bearer is distinct from o.fee_bearer then '"fee_bearer":' || coalesce(to_json(n.fee_bearer)::text, 'null') end, case when n.status is distinct from o.status then '"status":' || coalesce(to_json(n.status)::text, 'null') end, case when n.failure is distinct from o.failure then '"failure":' || coalesce(to_json(n.failure)::text, 'null') end, case when n.block_height is distinct from o.block_height then '"block_height":' || coalesce(to_json(n.block_height::text)::text, 'null') end, case when n.block_hash is distinct from o.block_hash then '"block_hash":' || coalesce(to_json(n.block_hash)::text, 'null') end, case when n.is_released is distinct from o.is_released then '"is_released":' || coalesce(to_json(n.is_released)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end, case when n.network_fee is distinct from o.network_fee then '"network_fee":' || coalesce(to_json(n.network_fee::text)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.payout_id = o.payout_id cross join lateral (select coalesce(n.payout_id, o.payout_id) as payout_id) k
            where n.payout_id is distinct from o.payout_id or n.refund_id is distinct from o.refund_id or n.order_id is distinct from o.order_id or n.network is distinct from o.network or n.sender is distinct from o.sender or n.chain_id is distinct from o.chain_id or n.nonce is distinct from o.nonce or n.destination is distinct from o.destination or n.amount is distinct from o.amount or n.fee_bearer is distinct from o.fee_bearer or n.status is distinct from o.status or n.failure is distinct from o.failure or n.block_height is distinct from o.block_height or n.block_hash is distinct from o.block_hash or n.is_released is distinct from o.is_released or n.created_at is distinct from o.created_at or n.network_fee is distinct from o.network_fee
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payout' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select o.order_id::text as id, string_agg(
            '{"table":"payout","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.payout_id as payout_id) k cross join lateral (select o.refund_id as refund_id, o.order_id as order_id, o.network as network, o.sender as sender, o.chain_id::text as chain_id, o.nonce::text as nonce, o.destination as destination, o.amount::text as amount, o.fee_bearer as fee_bearer, o.status as status, o.failure as failure, o.block_height::text as block_height, o.block_hash as block_hash, o.is_released as is_released, o.created_at as created_at, o.network_fee::text as network_fee) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_payout() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_payout(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_payout() IS 'Notes every change to payout for the audit.';

--
-- Name: audit_payout_attempt(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_payout_attempt() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payout_attempt' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select n.order_id::text as id, string_agg(
            '{"table":"payout_attempt","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.payout_id as payout_id, n.attempt as attempt) k cross join lateral (select n.order_id as order_id, n.kind as kind, n.value::text as value, n.gas_limit::text as gas_limit, n.max_fee::text as max_fee, n.priority_fee::text as priority_fee, n.raw as raw, n.tx_id as tx_id, n.created_at as created_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payout_attempt' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"payout_attempt","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(o.order_id)::text, 'null') end, case when n.kind is distinct from o.kind then '"kind":' || coalesce(to_json(o.kind)::text, 'null') end, case when n.value is distinct from o.value then '"value":' || coalesce(to_json(o.value::text)::text, 'null') end, case when n.gas_limit is distinct from o.gas_limit then '"gas_limit":' || coalesce(to_json(o.gas_limit::text)::text, 'null') end, case when n.max_fee is distinct from o.max_fee then '"max_fee":' || coalesce(to_json(o.max_fee::text)::text, 'null') end, case when n.priority_fee is distinct from o.priority_fee then '"priority_fee":' || coalesce(to_json(o.priority_fee::text)::text, 'null') end, case when n.raw is distinct from o.raw then '"raw":' || coalesce(to_json(o.raw)::text, 'null') end, case when n.tx_id is distinct from o.tx_id then '"tx_id":' || coalesce(to_json(o.tx_id)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end) as before, concat_ws(',', case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(n.order_id)::text, 'null') end, case when n.kind is distinct from o.kind then '"kind":' || coalesce(to_json(n.kind)::text, 'null') end, case when n.value is distinct from o.value then '"value":' || coalesce(to_json(n.value::text)::text, 'null') end, case when n.gas_limit is distinct from o.gas_limit then '"gas_limit":' || coalesce(to_json(n.gas_limit::text)::text, 'null') end, case when n.max_fee is distinct from o.max_fee then '"max_fee":' || coalesce(to_json(n.max_fee::text)::text, 'null') end, case when n.priority_fee is distinct from o.priority_fee then '"priority_fee":' || coalesce(to_json(n.priority_fee::text)::text, 'null') end, case when n.raw is distinct from o.raw then '"raw":' || coalesce(to_json(n.raw)::text, 'null') end, case when n.tx_id is distinct from o.tx_id then '"tx_id":' || coalesce(to_json(n.tx_id)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.payout_id = o.payout_id and n.attempt = o.attempt cross join lateral (select coalesce(n.payout_id, o.payout_id) as payout_id, coalesce(n.attempt, o.attempt) as attempt) k
            where n.payout_id is distinct from o.payout_id or n.attempt is distinct from o.attempt or n.order_id is distinct from o.order_id or n.kind is distinct from o.kind or n.value is distinct from o.value or n.gas_limit is distinct from o.gas_limit or n.max_fee is distinct from o.max_fee or n.priority_fee is distinct from o.priority_fee or n.raw is distinct from o.raw or n.tx_id is distinct from o.tx_id or n.created_at is distinct from o.created_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'payout_attempt' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select o.order_id::text as id, string_agg(
            '{"table":"payout_attempt","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.payout_id as payout_id, o.attempt as attempt) k cross join lateral (select o.order_id as order_id, o.kind as kind, o.value::text as value, o.gas_limit::text as gas_limit, o.max_fee::text as max_fee, o.priority_fee::text as priority_fee, o.raw as raw, o.tx_id as tx_id, o.created_at as created_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_payout_attempt() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_payout_attempt(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_payout_attempt() IS 'Notes every change to payout_attempt for the audit.';

--
-- Name: audit_product(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_product() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'product' else 'product' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.product_id::text as id, string_agg('{"table":"product","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.product_id as product_id) k cross join lateral (select n.name as name, n.unit_price::text as unit_price, n.currency as currency, n.is_active as is_active, n.version::text as version, n.created_at as created_at, n.updated_at as updated_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'product' else 'product' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"product","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.product_id::text, o.product_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.name is distinct from o.name then '"name":' || coalesce(to_json(o.name)::text, 'null') end, case when n.unit_price is distinct from o.unit_price then '"unit_price":' || coalesce(to_json(o.unit_price::text)::text, 'null') end, case when n.currency is distinct from o.currency then '"currency":' || coalesce(to_json(o.currency)::text, 'null') end, case when n.is_active is distinct from o.is_active then '"is_active":' || coalesce(to_json(o.is_active)::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version::text)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end, case when n.updated_at is distinct from o.updated_at then '"updated_at":' || coalesce(to_json(o.updated_at)::text, 'null') end) as before,
              concat_ws(',', case when n.name is distinct from o.name then '"name":' || coalesce(to_json(n.name)::text, 'null') end, case when n.unit_price is distinct from o.unit_price then '"unit_price":' || coalesce(to_json(n.unit_price::text)::text, 'null') end, case when n.currency is distinct from o.currency then '"currency":' || coalesce(to_json(n.currency)::text, 'null') end, case when n.is_active is distinct from o.is_active then '"is_active":' || coalesce(to_json(n.is_active)::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version::text)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end, case when n.updated_at is distinct from o.updated_at then '"updated_at":' || coalesce(to_json(n.updated_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.product_id = o.product_id cross join lateral (select coalesce(n.product_id, o.product_id) as product_id) k
            where n.product_id is distinct from o.product_id or n.name is distinct from o.name or n.unit_price is distinct from o.unit_price or n.currency is distinct from o.currency or n.is_active is distinct from o.is_active or n.version is distinct from o.version or n.created_at is distinct from o.created_at or n.updated_at is distinct from o.updated_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'product' else 'product' end, c.id, tg_op = 'INSERT', v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.product_id::text as id, string_agg('{"table":"product","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.product_id as product_id) k cross join lateral (select o.name as name, o.unit_price::text as unit_price, o.currency as currency, o.is_active as is_active, o.version::text as version, o.created_at as created_at, o.updated_at as updated_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_product() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_product(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_product() IS 'Notes every change to product for the audit.';

--
-- Name: audit_purge(timestamp with time zone); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_purge(p_before timestamp with time zone) RETURNS SETOF text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $_$
declare
  v_kept_from timestamptz := date_trunc('month', p_before at time zone 'utc') at time zone 'utc';
  v_months text[];
  v_default text[] := '{}';
  v_partition text;
  v_seal audit_checkpoint;
  -- In its own count of transaction ids, or in one before it. After a restore that the sealer has not adopted, ids
  -- begin
  -- anew and look sealed; those entries come after the last one that was.
  v_is_sealed constant text := 'coalesce(entry_id <= $2 and (entry_id <= $3 or txid < $4), false)';
  v_is_lost boolean;
begin
  if p_before > clock_timestamp() - interval '7 years' then
    raise exception 'audit: entries are kept for seven years' using errcode = 'HF008';
  end if;
  v_months := array(
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'audit_entry'::regclass and c.relname ~ '^audit_entry_\d{4}_\d\d$'
      and (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') at time zone 'utc' <= p_before
    order by 1);
  if exists (select from audit_entry_default where at < v_kept_from) then
    v_default := '{audit_entry_default}';
  end if;
  select * into v_seal from audit_checkpoint where sealed_at <= p_before order by checkpoint_no desc limit 1;

  foreach v_partition in array v_months || v_default loop
    -- Race closed with an entry that a wrong clock puts into a month of long ago: nobody writes there any more. The
    -- default partition may be in use, and is not emptied of what is not sealed.
    if v_partition = any (v_months) then
      execute format('lock table %I in share row exclusive mode', v_partition);
    end if;
    execute format('select exists (select from %I where at < $1 and not %s)', v_partition, v_is_sealed)
    into v_is_lost using v_kept_from, v_seal.last_entry_id, v_seal.after_entry_id, v_seal.below_txid;
    if v_is_lost then
      raise exception 'audit: % has entries that no checkpoint of that age covers', v_partition using errcode = 'HF012';
    end if;
    execute format('insert into audit_head (kind, aggregate_id, seq, hash)
      select kind, aggregate_id, seq, hash from %I where seq = 1 and at < $1 on conflict do nothing', v_partition)
    using v_kept_from;
  end loop;

  -- After all that takes long: the first drop stops everybody who writes an entry.
  foreach v_partition in array v_months loop
    execute format('drop table %I', v_partition);
    return next v_partition;
  end loop;
  foreach v_partition in array v_default loop
    -- Its lock lets nobody else write here while the guard is down.
    alter table audit_entry_default disable trigger audit_entry_append_only;
    execute format('delete from audit_entry_default where at < $1 and %s', v_is_sealed)
    using v_kept_from, v_seal.last_entry_id, v_seal.after_entry_id, v_seal.below_txid;
    alter table audit_entry_default enable trigger audit_entry_append_only;
    return next v_partition;
  end loop;
end
$_$;

ALTER FUNCTION holdfast.audit_purge(p_before timestamp with time zone) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_purge(p_before timestamp with time zone); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_purge(p_before timestamp with time zone) IS 'Removes the months that ended before an instant at least seven years ago, all of them sealed by then. Returns the partitions they were in.';

--
-- Name: audit_quoted_rate(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_quoted_rate() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'quoted_rate' else 'quoted_rate' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"quoted_rate","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.rate_id as rate_id) k cross join lateral (select n.asset as asset, n.currency as currency, n.rate::text as rate, n.made_at as made_at, n.prices as prices) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'quoted_rate' else 'quoted_rate' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"quoted_rate","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(o.asset)::text, 'null') end, case when n.currency is distinct from o.currency then '"currency":' || coalesce(to_json(o.currency)::text, 'null') end, case when n.rate is distinct from o.rate then '"rate":' || coalesce(to_json(o.rate::text)::text, 'null') end, case when n.made_at is distinct from o.made_at then '"made_at":' || coalesce(to_json(o.made_at)::text, 'null') end, case when n.prices is distinct from o.prices then '"prices":' || coalesce(to_json(o.prices)::text, 'null') end) as before, concat_ws(',', case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(n.asset)::text, 'null') end, case when n.currency is distinct from o.currency then '"currency":' || coalesce(to_json(n.currency)::text, 'null') end, case when n.rate is distinct from o.rate then '"rate":' || coalesce(to_json(n.rate::text)::text, 'null') end, case when n.made_at is distinct from o.made_at then '"made_at":' || coalesce(to_json(n.made_at)::text, 'null') end, case when n.prices is distinct from o.prices then '"prices":' || coalesce(to_json(n.prices)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.rate_id = o.rate_id cross join lateral (select coalesce(n.rate_id, o.rate_id) as rate_id) k
            where n.rate_id is distinct from o.rate_id or n.asset is distinct from o.asset or n.currency is distinct from o.currency or n.rate is distinct from o.rate or n.made_at is distinct from o.made_at or n.prices is distinct from o.prices
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'quoted_rate' else 'quoted_rate' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"quoted_rate","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.rate_id as rate_id) k cross join lateral (select o.asset as asset, o.currency as currency, o.rate::text as rate, o.made_at as made_at, o.prices as prices) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_quoted_rate() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_quoted_rate(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_quoted_rate() IS 'Notes every change to quoted_rate for the audit.';

--
-- Name: audit_refund(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_refund() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select n.order_id::text as id, string_agg(
            '{"table":"refund","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.refund_id as refund_id) k cross join lateral (select n.order_id as order_id, n.network as network, n.asset as asset, n.token as token, n.amount::text as amount, n.kind as kind, n.fee_bearer as fee_bearer, n.named_in as named_in, n.fiat_amount::text as fiat_amount, n.rate_basis as rate_basis, n.rate::text as rate, n.destination as destination, n.destination_confirmed_at as destination_confirmed_at, n.status as status, n.requested_by as requested_by, n.reason as reason, n.tx_id as tx_id, n.network_fee::text as network_fee, n.version::text as version, n.created_at as created_at, n.updated_at as updated_at, n.destination_seal as destination_seal) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"refund","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(o.order_id)::text, 'null') end, case when n.network is distinct from o.network then '"network":' || coalesce(to_json(o.network)::text, 'null') end, case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(o.asset)::text, 'null') end, case when n.token is distinct from o.token then '"token":' || coalesce(to_json(o.token)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(o.amount::text)::text, 'null') end, case when n.kind is distinct from o.kind then '"kind":' || coalesce(to_json(o.kind)::text, 'null') end, case when n.fee_bearer is distinct from o.fee_bearer then '"fee_bearer":' || coalesce(to_json(o.fee_bearer)::text, 'null') end, case when n.named_in is distinct from o.named_in then '"named_in":' || coalesce(to_json(o.named_in)::text, 'null') end, case when n.fiat_amount is distinct from o.fiat_amount then '"fiat_amount":' || coalesce(to_json(o.fiat_amount::text)::text, 'null') end, case when n.rate_basis is distinct from o.rate_basis then '"rate_basis":' || coalesce(to_json(o.rate_basis)::text, 'null') end, case when n.rate is distinct from o.rate then '"rate":' || coalesce(to_json(o.rate::text)::text, 'null') end, case when n.destination is distinct from o.destination then '"destination":' || coalesce(to_json(o.destination)::text, 'null') end, case when n.destination_confirmed_at is distinct from o.destination_confirmed_at then '"destination_confirmed_at":' || coalesce(to_json(o.destination_confirmed_at)::text, 'null') end, case when n.status is distinct from o.status then '"status":' || coalesce(to_json(o.status)::text, 'null') end, case when n.requested_by is distinct from o.requested_by then '"requested_by":' || coalesce(to_json(o.requested_by)::text, 'null') end, case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(o.reason)::text, 'null') end, case when n.tx_id is distinct from o.tx_id then '"tx_id":' || coalesce(to_json(o.tx_id)::text, 'null') end, case when n.network_fee is distinct from o.network_fee then '"network_fee":' || coalesce(to_json(o.network_fee::text)::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version::text)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(o.created_at)::text, 'null') end, case when n.updated_at is distinct from o.updated_at then '"updated_at":' || coalesce(to_json(o.updated_at)::text, 'null') end, case when n.destination_seal is distinct from o.destination_seal then '"destination_seal":' || coalesce(to_json(o.destination_seal)::text, 'null') end) as before, concat_ws(',', case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(n.order_id)::text, 'null') end, case when n.network is distinct from o.network then '"network":' || coalesce(to_json(n.network)::text, 'null') end, case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(n.asset)::text, 'null') end, case when n.token is distinct from o.token then '"token":' || coalesce(to_json(n.token)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(n.amount::text)::text, 'null') end, case when n.kind is distinct from o.kind then '"kind":' || coalesce(to_json(n.kind)::text, 'null') end, case when n.fee_bearer is distinct from o.fee_bearer then '"fee_bearer":' || coalesce(to_json(n.fee_bearer)::text, 'null') end, case when n.named_in is distinct from o.named_in then '"named_in":' || coalesce(to_json(n.named_in)::text, 'null') end, case when n.fiat_amount is distinct from o.fiat_amount then '"fiat_amount":' || coalesce(to_json(n.fiat_amount::text)::text, 'null') end, case when n.rate_basis is distinct from o.rate_basis then '"rate_basis":' || coalesce(to_json(n.rate_basis)::text, 'null') end, case when n.rate is distinct from o.rate then '"rate":' || coalesce(to_json(n.rate::text)::text, 'null') end, case when n.destination is distinct from o.destination then '"destination":' || coalesce(to_json(n.destination)::text, 'null') end, case when n.destination_confirmed_at is distinct from o.destination_confirmed_at then '"destination_confirmed_at":' || coalesce(to_json(n.destination_confirmed_at)::text, 'null') end, case when n.status is distinct from o.status then '"status":' || coalesce(to_json(n.status)::text, 'null') end, case when n.requested_by is distinct from o.requested_by then '"requested_by":' || coalesce(to_json(n.requested_by)::text, 'null') end, case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(n.reason)::text, 'null') end, case when n.tx_id is distinct from o.tx_id then '"tx_id":' || coalesce(to_json(n.tx_id)::text, 'null') end, case when n.network_fee is distinct from o.network_fee then '"network_fee":' || coalesce(to_json(n.network_fee::text)::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version::text)::text, 'null') end, case when n.created_at is distinct from o.created_at then '"created_at":' || coalesce(to_json(n.created_at)::text, 'null') end, case when n.updated_at is distinct from o.updated_at then '"updated_at":' || coalesce(to_json(n.updated_at)::text, 'null') end, case when n.destination_seal is distinct from o.destination_seal then '"destination_seal":' || coalesce(to_json(n.destination_seal)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.refund_id = o.refund_id cross join lateral (select coalesce(n.refund_id, o.refund_id) as refund_id) k
            where n.refund_id is distinct from o.refund_id or n.order_id is distinct from o.order_id or n.network is distinct from o.network or n.asset is distinct from o.asset or n.token is distinct from o.token or n.amount is distinct from o.amount or n.kind is distinct from o.kind or n.fee_bearer is distinct from o.fee_bearer or n.named_in is distinct from o.named_in or n.fiat_amount is distinct from o.fiat_amount or n.rate_basis is distinct from o.rate_basis or n.rate is distinct from o.rate or n.destination is distinct from o.destination or n.destination_confirmed_at is distinct from o.destination_confirmed_at or n.status is distinct from o.status or n.requested_by is distinct from o.requested_by or n.reason is distinct from o.reason or n.tx_id is distinct from o.tx_id or n.network_fee is distinct from o.network_fee or n.version is distinct from o.version or n.created_at is distinct from o.created_at or n.updated_at is distinct from o.updated_at or n.destination_seal is distinct from o.destination_seal
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select o.order_id::text as id, string_agg(
            '{"table":"refund","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.refund_id as refund_id) k cross join lateral (select o.order_id as order_id, o.network as network, o.asset as asset, o.token as token, o.amount::text as amount, o.kind as kind, o.fee_bearer as fee_bearer, o.named_in as named_in, o.fiat_amount::text as fiat_amount, o.rate_basis as rate_basis, o.rate::text as rate, o.destination as destination, o.destination_confirmed_at as destination_confirmed_at, o.status as status, o.requested_by as requested_by, o.reason as reason, o.tx_id as tx_id, o.network_fee::text as network_fee, o.version::text as version, o.created_at as created_at, o.updated_at as updated_at, o.destination_seal as destination_seal) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_refund() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_refund(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_refund() IS 'Notes every change to refund for the audit.';

--
-- Name: audit_refund_approval(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_refund_approval() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund_approval' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select n.order_id::text as id, string_agg(
            '{"table":"refund_approval","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.refund_id as refund_id, n.version::text as version, n.approver as approver) k cross join lateral (select n.order_id as order_id, n.approved_at as approved_at, n.seal as seal) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund_approval' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"refund_approval","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(o.order_id)::text, 'null') end, case when n.approved_at is distinct from o.approved_at then '"approved_at":' || coalesce(to_json(o.approved_at)::text, 'null') end, case when n.seal is distinct from o.seal then '"seal":' || coalesce(to_json(o.seal)::text, 'null') end) as before, concat_ws(',', case when n.order_id is distinct from o.order_id then '"order_id":' || coalesce(to_json(n.order_id)::text, 'null') end, case when n.approved_at is distinct from o.approved_at then '"approved_at":' || coalesce(to_json(n.approved_at)::text, 'null') end, case when n.seal is distinct from o.seal then '"seal":' || coalesce(to_json(n.seal)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.refund_id = o.refund_id and n.version = o.version and n.approver = o.approver cross join lateral (select coalesce(n.refund_id, o.refund_id) as refund_id, coalesce(n.version, o.version)::text as version, coalesce(n.approver, o.approver) as approver) k
            where n.refund_id is distinct from o.refund_id or n.version is distinct from o.version or n.approver is distinct from o.approver or n.order_id is distinct from o.order_id or n.approved_at is distinct from o.approved_at or n.seal is distinct from o.seal
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund_approval' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select o.order_id::text as id, string_agg(
            '{"table":"refund_approval","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.refund_id as refund_id, o.version::text as version, o.approver as approver) k cross join lateral (select o.order_id as order_id, o.approved_at as approved_at, o.seal as seal) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_refund_approval() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_refund_approval(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_refund_approval() IS 'Notes every change to refund_approval for the audit.';

--
-- Name: audit_refund_due(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_refund_due() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund_due' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.order_id::text as id, string_agg('{"table":"refund_due","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.order_id as order_id) k cross join lateral (select n.asset as asset, n.amount::text as amount, n.updated_at as updated_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund_due' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"refund_due","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(o.asset)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(o.amount::text)::text, 'null') end, case when n.updated_at is distinct from o.updated_at then '"updated_at":' || coalesce(to_json(o.updated_at)::text, 'null') end) as before,
              concat_ws(',', case when n.asset is distinct from o.asset then '"asset":' || coalesce(to_json(n.asset)::text, 'null') end, case when n.amount is distinct from o.amount then '"amount":' || coalesce(to_json(n.amount::text)::text, 'null') end, case when n.updated_at is distinct from o.updated_at then '"updated_at":' || coalesce(to_json(n.updated_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.order_id = o.order_id cross join lateral (select coalesce(n.order_id, o.order_id) as order_id) k
            where n.order_id is distinct from o.order_id or n.asset is distinct from o.asset or n.amount is distinct from o.amount or n.updated_at is distinct from o.updated_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund_due' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.order_id::text as id, string_agg('{"table":"refund_due","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.order_id as order_id) k cross join lateral (select o.asset as asset, o.amount::text as amount, o.updated_at as updated_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_refund_due() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_refund_due(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_refund_due() IS 'Notes every change to refund_due for the audit.';

--
-- Name: audit_refund_transition(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_refund_transition() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund_transition' else 'refund_transition' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"refund_transition","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.from_status as from_status, n.to_status as to_status) k cross join lateral (select ) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund_transition' else 'refund_transition' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"refund_transition","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key,
              concat_ws(',', null) as before, concat_ws(',', null) as after
            from old_rows o full join new_rows n on n.from_status = o.from_status and n.to_status = o.to_status cross join lateral (select coalesce(n.from_status, o.from_status) as from_status, coalesce(n.to_status, o.to_status) as to_status) k
            where n.from_status is distinct from o.from_status or n.to_status is distinct from o.to_status
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'refund_transition' else 'refund_transition' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"refund_transition","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.from_status as from_status, o.to_status as to_status) k cross join lateral (select ) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_refund_transition() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_refund_transition(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_refund_transition() IS 'Notes every change to refund_transition for the audit.';

--
-- Name: audit_reservation(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_reservation() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'reservation' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select n.order_id::text as id, string_agg('{"table":"reservation","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.order_id as order_id, n.product_id as product_id, n.hold_no as hold_no) k cross join lateral (select n.quantity::text as quantity, n.state as state, n.expires_at as expires_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'reservation' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"reservation","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(n.order_id::text, o.order_id::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.quantity is distinct from o.quantity then '"quantity":' || coalesce(to_json(o.quantity::text)::text, 'null') end, case when n.state is distinct from o.state then '"state":' || coalesce(to_json(o.state)::text, 'null') end, case when n.expires_at is distinct from o.expires_at then '"expires_at":' || coalesce(to_json(o.expires_at)::text, 'null') end) as before,
              concat_ws(',', case when n.quantity is distinct from o.quantity then '"quantity":' || coalesce(to_json(n.quantity::text)::text, 'null') end, case when n.state is distinct from o.state then '"state":' || coalesce(to_json(n.state)::text, 'null') end, case when n.expires_at is distinct from o.expires_at then '"expires_at":' || coalesce(to_json(n.expires_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.order_id = o.order_id and n.product_id = o.product_id and n.hold_no = o.hold_no cross join lateral (select coalesce(n.order_id, o.order_id) as order_id, coalesce(n.product_id, o.product_id) as product_id, coalesce(n.hold_no, o.hold_no) as hold_no) k
            where n.order_id is distinct from o.order_id or n.product_id is distinct from o.product_id or n.hold_no is distinct from o.hold_no or n.quantity is distinct from o.quantity or n.state is distinct from o.state or n.expires_at is distinct from o.expires_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'reservation' else 'order' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select o.order_id::text as id, string_agg('{"table":"reservation","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.order_id as order_id, o.product_id as product_id, o.hold_no as hold_no) k cross join lateral (select o.quantity::text as quantity, o.state as state, o.expires_at as expires_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_reservation() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_reservation(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_reservation() IS 'Notes every change to reservation for the audit.';

--
-- Name: audit_retired_source(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_retired_source() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'retired_source' else 'source' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"retired_source","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.source as source) k cross join lateral (select n.reason as reason, n.retired_at as retired_at) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'retired_source' else 'source' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"retired_source","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(o.reason)::text, 'null') end, case when n.retired_at is distinct from o.retired_at then '"retired_at":' || coalesce(to_json(o.retired_at)::text, 'null') end) as before,
              concat_ws(',', case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(n.reason)::text, 'null') end, case when n.retired_at is distinct from o.retired_at then '"retired_at":' || coalesce(to_json(n.retired_at)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.source = o.source cross join lateral (select coalesce(n.source, o.source) as source) k
            where n.source is distinct from o.source or n.reason is distinct from o.reason or n.retired_at is distinct from o.retired_at
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'retired_source' else 'source' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"retired_source","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.source as source) k cross join lateral (select o.reason as reason, o.retired_at as retired_at) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_retired_source() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_retired_source(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_retired_source() IS 'Notes every change to retired_source for the audit.';

--
-- Name: audit_root(text, text, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_root(p_table text, p_kind text, p_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $_$
begin
  execute format($append$
    create or replace function %1$I(p_drafts audit_draft[], p_run bigint, p_at timestamptz, p_at_text text,
      p_txid xid8, p_db_role text) returns void
    language plpgsql as $body$
    begin
      perform 1 from %2$I r
      where r.%4$I = any (array(
        select d.aggregate_id from unnest(p_drafts) d where d.kind = %3$L and d.run = p_run and not d.is_birth)::%5$s[])
      order by r.%4$I for no key update;

      with link as (
        select d as whole, d.aggregate_id, coalesce(h.seq, l.seq, 0) + 1 as seq, coalesce(h.hash, l.hash) as prev
        from unnest(p_drafts) d
        left join lateral (
          select e.seq, e.hash from audit_head e where e.kind = %3$L and e.aggregate_id = d.aggregate_id limit 1
        ) h on true
        left join lateral (
          select a.seq, a.hash
          from audit_last(%3$L, d.aggregate_id, (select r.created_at from %2$I r where r.%4$I = d.aggregate_id::%5$s)) a
          where h.seq is null offset 0
        ) l on true
        where d.kind = %3$L and d.run = p_run and not d.is_birth
      ), written as (
        insert into audit_entry (at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash)
        select p_at, p_txid, %3$L, k.aggregate_id, k.seq, k.prev, (k.whole).context ->> 'actor', b.body,
          sha256(coalesce(k.prev, '') || convert_to(b.body, 'UTF8'))
        from link k cross join lateral (select audit_body(k.whole, k.seq, p_at_text, p_txid,
          p_db_role) as body offset 0) b
        returning aggregate_id, seq, hash
      )
      insert into audit_head (kind, aggregate_id, seq, hash) select %3$L, w.aggregate_id, w.seq, w.hash from written w
      on conflict (kind, aggregate_id) do update set seq = excluded.seq, hash = excluded.hash;
    end
    $body$
  $append$, 'audit_append_' || p_kind, p_table, p_kind, p_id,
    (select format_type(atttypid, atttypmod) from pg_attribute where attrelid = p_table::regclass and attname = p_id));
  execute format('comment on function %I is %L', 'audit_append_' || p_kind, format('Adds entries to the chains of %s.',
    p_table));
  execute format('revoke execute on function %I from public', 'audit_append_' || p_kind);
end
$_$;

ALTER FUNCTION holdfast.audit_root(p_table text, p_kind text, p_id text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_root(p_table text, p_kind text, p_id text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_root(p_table text, p_kind text, p_id text) IS 'Makes the function that appends to the chains of one kind of aggregate.';

--
-- Name: audit_source_login(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_source_login() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'source_login' else 'source' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"source_login","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.login as login) k cross join lateral (select n.source as source) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'source_login' else 'source' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"source_login","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.source is distinct from o.source then '"source":' || coalesce(to_json(o.source)::text, 'null') end) as before, concat_ws(',', case when n.source is distinct from o.source then '"source":' || coalesce(to_json(n.source)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.login = o.login cross join lateral (select coalesce(n.login, o.login) as login) k
            where n.login is distinct from o.login or n.source is distinct from o.source
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'source_login' else 'source' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"source_login","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.login as login) k cross join lateral (select o.source as source) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_source_login() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_source_login(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_source_login() IS 'Notes every change to source_login for the audit.';

--
-- Name: audit_source_rule(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_source_rule() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'source_rule' else 'source_rule' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"source_rule","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select n.asset as asset, n.since as since) k cross join lateral (select n.sources as sources, n.above::text as above, n.reason as reason) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'source_rule' else 'source_rule' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select d.id, string_agg('{"table":"source_rule","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key,
              concat_ws(',', case when n.sources is distinct from o.sources then '"sources":' || coalesce(to_json(o.sources)::text, 'null') end, case when n.above is distinct from o.above then '"above":' || coalesce(to_json(o.above::text)::text, 'null') end, case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(o.reason)::text, 'null') end) as before, concat_ws(',', case when n.sources is distinct from o.sources then '"sources":' || coalesce(to_json(n.sources)::text, 'null') end, case when n.above is distinct from o.above then '"above":' || coalesce(to_json(n.above::text)::text, 'null') end, case when n.reason is distinct from o.reason then '"reason":' || coalesce(to_json(n.reason)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.asset = o.asset and n.since = o.since cross join lateral (select coalesce(n.asset, o.asset) as asset, coalesce(n.since, o.since) as since) k
            where n.asset is distinct from o.asset or n.since is distinct from o.since or n.sources is distinct from o.sources or n.above is distinct from o.above or n.reason is distinct from o.reason
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'source_rule' else 'source_rule' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from  (
          select null::text as id, string_agg(
            '{"table":"source_rule","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select o.asset as asset, o.since as since) k cross join lateral (select o.sources as sources, o.above::text as above, o.reason as reason) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_source_rule() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_source_rule(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_source_rule() IS 'Notes every change to source_rule for the audit.';

--
-- Name: audit_stock(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_stock() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    SET "TimeZone" TO 'UTC'
    AS $$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'stock' else 'stock' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"stock","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select n.product_id as product_id) k cross join lateral (select n.on_hand::text as on_hand, n.reserved::text as reserved, n.version::text as version) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'stock' else 'stock' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select d.id, string_agg('{"table":"stock","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(null::text, null::text) as id, row_to_json(k)::text as key, concat_ws(',', case when n.on_hand is distinct from o.on_hand then '"on_hand":' || coalesce(to_json(o.on_hand::text)::text, 'null') end, case when n.reserved is distinct from o.reserved then '"reserved":' || coalesce(to_json(o.reserved::text)::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(o.version::text)::text, 'null') end) as before,
              concat_ws(',', case when n.on_hand is distinct from o.on_hand then '"on_hand":' || coalesce(to_json(n.on_hand::text)::text, 'null') end, case when n.reserved is distinct from o.reserved then '"reserved":' || coalesce(to_json(n.reserved::text)::text, 'null') end, case when n.version is distinct from o.version then '"version":' || coalesce(to_json(n.version::text)::text, 'null') end) as after
            from old_rows o full join new_rows n on n.product_id = o.product_id cross join lateral (select coalesce(n.product_id, o.product_id) as product_id) k
            where n.product_id is distinct from o.product_id or n.on_hand is distinct from o.on_hand or n.reserved is distinct from o.reserved or n.version is distinct from o.version
          ) d group by d.id
        ) c where c.changes is not null;
      else 
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then 'stock' else 'stock' end, c.id, false, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from  (
          select null::text as id, string_agg('{"table":"stock","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select o.product_id as product_id) k cross join lateral (select o.on_hand::text as on_hand, o.reserved::text as reserved, o.version::text as version) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $$;

ALTER FUNCTION holdfast.audit_stock() OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_stock(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_stock() IS 'Notes every change to stock for the audit.';

--
-- Name: audit_watch(text, text, text, text[], text[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.audit_watch(p_table text, p_kind text, p_aggregate text, p_ignored text[] DEFAULT '{}'::text[], p_digested text[] DEFAULT '{}'::text[]) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $_$
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
$_$;

ALTER FUNCTION holdfast.audit_watch(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION audit_watch(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.audit_watch(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]) IS 'Audit code generator: has every change to a table audited from now on, by the trigger function audit_<table>.';

--
-- Name: begin_assessment(uuid, integer, integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.begin_assessment(p_order_id uuid, p_generation integer, p_step integer) RETURNS TABLE(outcome text, outputs integer, status text, payment_state text, cancel_reason text, hold text, flags text[], amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric, late_final numeric, accepted numeric, is_late boolean, is_reorged boolean, is_replaced boolean, replacement_id uuid, is_undecided boolean, has_wrong_asset boolean, has_early boolean, is_suspended boolean)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
  v_outcome text;
  v_credit record;
  v_suspension text;
  v_is_own boolean := false;
begin
  if p_step is null then
    perform 1 from orders o
    where o.order_id in (
      select p_order_id union all select d.replacement_id from late_decision d where d.order_id = p_order_id)
    order by o.order_id for update;
  end if;
  v_outcome := fence_step(p_order_id, p_generation, p_step);
  select 0 as outputs, false as has_wrong_asset, false as has_early into v_credit;
  if v_outcome = 'entered' then
    -- An order that never held stock is reserved first, and nothing is decided about its money before.
    v_is_own := (select is_terminal(o.status) from orders o where o.order_id = p_order_id) = (p_step is null);
    if v_is_own and (p_step is null or exists (select from reservation r where r.order_id = p_order_id)) then
      select * into v_credit from credit_payments(p_order_id, 500);
      -- A foreign token is no report: it is news until the order has the flag.
      if exists (
        select from invoice i join ignored_transfer t on (t.network, t.address) = (i.network, i.address)
        join orders o on o.order_id = i.order_id
        where i.order_id = p_order_id and t.kind = 'wrong_asset' and not 'wrong_asset' = any (o.payment_flags))
      then
        v_credit.outputs := greatest(v_credit.outputs, 1);
        v_credit.has_wrong_asset := true;
      end if;
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
  v_suspension := suspend_order(p_order_id, v_is_own);
  return query
  select v_outcome,
    greatest(v_credit.outputs, (v_suspension = 'resumed' or p_step is null and v_is_own and a.is_undecided)::int),
    a.*, v_credit.has_wrong_asset, v_credit.has_early, v_suspension = 'suspended'
  from assessed_order(p_order_id) a;
end
$$;

ALTER FUNCTION holdfast.begin_assessment(p_order_id uuid, p_generation integer, p_step integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION begin_assessment(p_order_id uuid, p_generation integer, p_step integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.begin_assessment(p_order_id uuid, p_generation integer, p_step integer) IS 'First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to.';

--
-- Name: begin_payout(uuid, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.begin_payout(p_refund_id uuid, p_actor text) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  v_refund refund;
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select r.order_id from refund r where r.refund_id = p_refund_id) for update;
  select * into v_refund from refund r where r.refund_id = p_refund_id for no key update;
  if not found then
    return 'NOT_FOUND';
  end if;
  if v_refund.status <> 'approved' then
    return case v_refund.status when 'paying' then 'repeated' when 'paid' then 'paid' else 'refused' end;
  end if;
  if exists (select from suspended_network n where n.network = v_refund.network) then
    return 'suspended';
  elsif exists (
    select from payment_report r
    where not r.is_assessed and r.order_id in (
      select v_refund.order_id
      union all select d.order_id from late_decision d where d.replacement_id = v_refund.order_id)) then
    return 'unassessed';
  end if;
  -- The guard would refuse it as well: a reorganisation may have taken the money after the approval.
  if v_refund.amount + promised_refunds(
      v_refund.order_id, v_refund.network, v_refund.asset, v_refund.token, v_refund.refund_id)
    > received_money(v_refund.order_id, v_refund.network, v_refund.asset, v_refund.token) then
    return 'not_covered';
  end if;
  update refund r set status = 'paying' where r.refund_id = p_refund_id;
  perform settle_refund_state(v_refund.order_id);
  return 'begun';
end
$$;

ALTER FUNCTION holdfast.begin_payout(p_refund_id uuid, p_actor text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION begin_payout(p_refund_id uuid, p_actor text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.begin_payout(p_refund_id uuid, p_actor text) IS 'Payout, first half: takes an approved refund for payment, before anything is signed.';

--
-- Name: bind_source(text, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.bind_source(p_login text, p_source text) RETURNS void
    LANGUAGE sql
    AS $$
  insert into source_login (login, source) values (p_login, p_source)
  on conflict (login) do update set source = excluded.source where source_login.source <> excluded.source
$$;

ALTER FUNCTION holdfast.bind_source(p_login text, p_source text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION bind_source(p_login text, p_source text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.bind_source(p_login text, p_source text) IS 'Binds a database login to one source: from its next statement on it writes that source''s rows and no others, whatever its session sets.';

--
-- Name: catalogue_of(jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.catalogue_of(p_wanted jsonb) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
  select coalesce(jsonb_object_agg(p.product_id, p.version), '{}') from product p
  where p.product_id in (select w ->> 'product' from jsonb_array_elements(p_wanted) w) and p.is_active
$$;

ALTER FUNCTION holdfast.catalogue_of(p_wanted jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION catalogue_of(p_wanted jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.catalogue_of(p_wanted jsonb) IS 'Optimistic lock: the versions of the wanted products that are on sale, as {"<product>": version}.';

--
-- Name: change_account(bigint, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.change_account(p_user_id bigint, p_change text) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
declare
  v_at timestamptz;
  v_version bigint;
begin
  if p_change not in ('disable', 'enable', 'revoke_tokens') then
    raise exception 'account: % is not a change: disable, enable or revoke_tokens', p_change;
  end if;
  lock table account in share row exclusive mode;
  select coalesce(max(a.version), 0) + 1 into v_version from account a;
  v_at := clock_timestamp();
  insert into account as a (user_id, disabled_at, tokens_valid_after, version)
  values (p_user_id, case p_change when 'disable' then v_at end, v_at, v_version)
  on conflict (user_id) do update set
    disabled_at = case p_change
      when 'disable' then coalesce(a.disabled_at, v_at)
      when 'revoke_tokens' then a.disabled_at end,
    tokens_valid_after = greatest(a.tokens_valid_after, v_at),
    version = v_version;
  return v_version;
end
$$;

ALTER FUNCTION holdfast.change_account(p_user_id bigint, p_change text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION change_account(p_user_id bigint, p_change text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.change_account(p_user_id bigint, p_change text) IS 'Changes what an account may do: every api refuses its tokens, or accepts new ones again, within a second.';

--
-- Name: command_order(uuid, integer, integer, text, jsonb, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.command_order(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb, p_actor text) RETURNS TABLE(outcome text, answer jsonb, status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text, expires_in_ms integer, has_unassessed boolean)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
  v_actor text := p_input ->> 'actor';
  v_method text := p_input ->> 'method';
  v_key uuid := (p_input ->> 'key')::uuid;
  v_hash bytea := decode(p_input ->> 'requestHash', 'hex');
  v_outcome text;
begin
  perform set_config('holdfast.actor', p_actor, true);
  v_outcome := fence_step(p_order_id, p_generation, p_step);
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

ALTER FUNCTION holdfast.command_order(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb, p_actor text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION command_order(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb, p_actor text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.command_order(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb, p_actor text) IS 'Idempotent command: cancels, ships or delivers an order, once per idempotency key.';

--
-- Name: command_target(text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.command_target(p_command text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select case p_command when 'cancel' then 'cancelled' when 'ship' then 'shipped' when 'deliver' then 'delivered' end
$$;

ALTER FUNCTION holdfast.command_target(p_command text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION command_target(p_command text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.command_target(p_command text) IS 'The status that a command moves an order to; null for a word that is no command.';

--
-- Name: consume_stock(uuid, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.consume_stock(p_order_id uuid, p_actor text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  perform 1 from stock
  where product_id in (select product_id from reservation where order_id = p_order_id and state = 'committed')
  order by product_id for no key update;

  with consumed as (
    update reservation set state = 'consumed' where order_id = p_order_id and state = 'committed'
    returning product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, p_order_id, hold_no, 'consume', -quantity, -quantity, p_actor from consumed
  )
  update stock s set on_hand = s.on_hand - c.quantity, reserved = s.reserved - c.quantity, version = s.version + 1
  from (select product_id, sum(quantity) as quantity from consumed group by 1) c where s.product_id = c.product_id;
end
$$;

ALTER FUNCTION holdfast.consume_stock(p_order_id uuid, p_actor text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION consume_stock(p_order_id uuid, p_actor text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.consume_stock(p_order_id uuid, p_actor text) IS 'Takes the committed units of a shipped order off the shelf.';

--
-- Name: credit_payments(uuid, integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.credit_payments(p_order_id uuid, p_limit integer) RETURNS TABLE(outputs integer, has_wrong_asset boolean, has_early boolean)
    LANGUAGE sql
    AS $$
  with present as materialized (
    select * from fresh_outputs(p_order_id, p_limit)
  ), credited as (
    insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
    select p.network, p.tx_id, p.output_index, p_order_id, p.asset, p.amount, p.state, p.is_in_time, p.first_seen_at
    from present p
    where p.is_right_asset and (not p.is_early or exists (
      select from payment y where (y.network, y.tx_id, y.output_index) = (p.network, p.tx_id, p.output_index)))
    on conflict (network, tx_id, output_index) do update
      set amount = excluded.amount, state = excluded.state, is_in_time = excluded.is_in_time
    where payment.order_id = excluded.order_id
      and (payment.amount, payment.state, payment.is_in_time)
        is distinct from (excluded.amount, excluded.state, excluded.is_in_time)
  ), doubted as (
    insert into source_doubt (network, tx_id, output_index, order_id, kind)
    select p.network, p.tx_id, p.output_index, p_order_id, p.doubt from present p where p.doubt is not null
    on conflict (network, tx_id, output_index) do update
      set kind = excluded.kind, since = clock_timestamp() where source_doubt.kind <> excluded.kind
  ), agreed as (
    delete from source_doubt d using present p
    where (d.network, d.tx_id, d.output_index) = (p.network, p.tx_id, p.output_index) and p.doubt is null
  ), assessed as (
    -- By their numbers: joined to the outputs, all that the order has unassessed would be gone through for each.
    update payment_report r set is_assessed = true
    where r.report_no = any (array(select unnest(p.report_nos) from present p))
  )
  select count(*)::int, coalesce(bool_or(not is_right_asset), false),
    coalesce(bool_or(is_right_asset and is_early), false)
  from present
$$;

ALTER FUNCTION holdfast.credit_payments(p_order_id uuid, p_limit integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION credit_payments(p_order_id uuid, p_limit integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.credit_payments(p_order_id uuid, p_limit integer) IS 'Credits up to p_limit outputs that have news to an order, and marks that news as assessed.';

--
-- Name: decide_in_order(jsonb, boolean); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.decide_in_order(p_wanted jsonb, p_is_last_try boolean) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    AS $$
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

ALTER FUNCTION holdfast.decide_in_order(p_wanted jsonb, p_is_last_try boolean) OWNER TO holdfast_owner;

--
-- Name: FUNCTION decide_in_order(p_wanted jsonb, p_is_last_try boolean); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.decide_in_order(p_wanted jsonb, p_is_last_try boolean) IS 'Allocation under shortage: decides in order of arrival which orders of a batch get stock, each order whole.';

--
-- Name: decide_late_money(uuid, jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.decide_late_money(p_order_id uuid, p_policy jsonb) RETURNS TABLE(refusal text, replacement_id uuid)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
  v_rate numeric;
  v_due_now numeric;
begin
  perform 1 from stock where product_id in (select product_id from order_line where order_id = p_order_id)
  order by product_id for no key update;
  select r.refusal, r.rate, r.due_now into refusal, v_rate, v_due_now from late_refusal(p_order_id, p_policy) r;
  if refusal is not null then
    insert into late_decision (order_id, refusal, rate, due_now) values (p_order_id, refusal, v_rate, v_due_now);
    return next;
    return;
  end if;
  replacement_id := open_replacement(p_order_id, v_rate, v_due_now);
  perform take_stock(replacement_id);
  update reservation r set state = 'committed' where r.order_id = replacement_id;
  if not found then
    raise exception 'late_decision: the stock was free under its lock' using errcode = 'HF046';
  end if;
  update orders o set status = 'processing', payment_state = 'paid', payment_flags = array['late']
  where o.order_id = replacement_id;
  return next;
end
$$;

ALTER FUNCTION holdfast.decide_late_money(p_order_id uuid, p_policy jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION decide_late_money(p_order_id uuid, p_policy jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.decide_late_money(p_order_id uuid, p_policy jsonb) IS 'Late decision: exactly one of a paid replacement order or money that is owed back, for an expired order with enough final money.';

--
-- Name: derive_refund_state(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.derive_refund_state() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if exists (select from holdfast.refund r where r.order_id = new.order_id and r.status in ('paying', 'paid')) then
    new.payment_state := holdfast.refund_state(new.order_id, new.status, new.payment_state);
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.derive_refund_state() OWNER TO holdfast_owner;

--
-- Name: FUNCTION derive_refund_state(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.derive_refund_state() IS 'Derived state: a trigger function that counts refunds where an order''s payment state is judged again.';

--
-- Name: do_command(uuid, integer, integer, text, jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.do_command(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb) RETURNS text
    LANGUAGE plpgsql
    AS $$
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
  if exists (select from payment_report where order_id = p_order_id and not is_assessed) then
    perform request_wake(array[p_order_id]);
    -- A relay may be asking the run, which looks no more: aftercare need not wait for that lease.
    update order_wake set claimed_by = null, claimed_until = null
    where order_id = p_order_id and claimed_by is not null;
  end if;
  return 'done';
end
$$;

ALTER FUNCTION holdfast.do_command(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION do_command(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.do_command(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb) IS 'Carries out a command that is legal (is_command_legal).';

--
-- Name: due_units(jsonb, jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.due_units(p_wanted jsonb, p_reserved jsonb) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    AS $$
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

ALTER FUNCTION holdfast.due_units(p_wanted jsonb, p_reserved jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION due_units(p_wanted jsonb, p_reserved jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.due_units(p_wanted jsonb, p_reserved jsonb) IS 'Units of the wanted products in expired holds that can be given back now, as {"<product>": units}.';

--
-- Name: end_assessment(uuid, integer, integer, text, text[], text, text, numeric); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.end_assessment(p_order_id uuid, p_generation integer, p_step integer, p_payment_state text, p_flags text[], p_status text, p_hold text, p_refund numeric) RETURNS TABLE(status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text, expires_in_ms integer, has_unassessed boolean)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
begin
  -- A status is written only where it moves: the database refuses a move to where the order already is.
  if p_status <> (select o.status from orders o where o.order_id = p_order_id) then
    update orders o set payment_state = p_payment_state, payment_flags = p_flags, hold = p_hold, status = p_status,
      generation = coalesce(p_generation, o.generation), step = coalesce(p_step, o.step)
    where o.order_id = p_order_id;
  else
    update orders o set payment_state = p_payment_state, payment_flags = p_flags, hold = p_hold,
      generation = coalesce(p_generation, o.generation), step = coalesce(p_step, o.step)
    where o.order_id = p_order_id;
  end if;
  if p_status = 'processing' then
    update reservation set state = 'committed' where order_id = p_order_id and state = 'held';
  elsif p_status = 'pending' then
    -- What had extended the hold is gone: the end of the quote applies again. Not while there is more to assess: the
    -- report that extended it may be among that. What is found to be enough only now extends it.
    update reservation r set expires_at = case when p_payment_state = 'confirming'
      then greatest(r.expires_at, clock_timestamp() + i.confirm_within) else i.expires_at + i.grace end
    from invoice i
    where i.order_id = p_order_id and r.order_id = p_order_id and r.state = 'held' and case
      when p_payment_state = 'confirming' then r.expires_at - i.grace <= i.expires_at
      else r.expires_at - i.grace > i.expires_at
        and not exists (select from payment_report n where n.order_id = p_order_id and not n.is_assessed) end;
  end if;
  if p_refund > 0 or exists (select from refund_due d where d.order_id = p_order_id) then
    insert into refund_due (order_id, asset, amount)
    select order_id, asset, p_refund from invoice where order_id = p_order_id
    on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp()
    where refund_due.amount <> excluded.amount;
  end if;
  if exists (select from refund r where r.order_id = p_order_id) then
    perform keep_owed_refund(p_order_id);
  end if;
  delete from order_wake where order_id = p_order_id
    and not exists (select from payment_report r where r.order_id = p_order_id and not r.is_assessed);
  return query select s.* from order_state(p_order_id) s;
end
$$;

ALTER FUNCTION holdfast.end_assessment(p_order_id uuid, p_generation integer, p_step integer, p_payment_state text, p_flags text[], p_status text, p_hold text, p_refund numeric) OWNER TO holdfast_owner;

--
-- Name: FUNCTION end_assessment(p_order_id uuid, p_generation integer, p_step integer, p_payment_state text, p_flags text[], p_status text, p_hold text, p_refund numeric); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.end_assessment(p_order_id uuid, p_generation integer, p_step integer, p_payment_state text, p_flags text[], p_status text, p_hold text, p_refund numeric) IS 'Second half of an assessment: writes what the caller decided, and returns the state of the order (order_state).';

--
-- Name: end_orders(uuid[], text, text, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  v_slow uuid[] := '{}';
  v_late uuid[] := '{}';
begin
  if p_reason = 'expired' then
    v_slow := array(
      select o.order_id from orders o where o.order_id = any (p_order_ids) and o.payment_state = 'confirming');
    v_late := array(
      select m.order_id from order_money(p_order_ids) m where is_enough(m.final + m.late_final, m.amount_due));
  end if;

  update orders o set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when m.final + m.late_final > m.dust_floor then 'unresolved'
      when m.seen + m.late_seen > m.final + m.late_final then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = array(
      select flag from (
        select unnest(o.payment_flags) except select 'under'
        union select 'under' where m.seen + m.late_seen > 0 and not is_enough(m.seen + m.late_seen, m.amount_due)
        union select 'slow_confirm' where o.order_id = any (v_slow)) f (flag)
      order by flag collate "C")
  from order_money(p_order_ids) m
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
  select m.order_id, m.asset, m.final + m.late_final from order_money(p_order_ids) m
  where m.final + m.late_final > m.dust_floor
  on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp();

  insert into key_retire (order_id, network, address)
  select order_id, network, address from invoice where order_id = any (p_order_ids) on conflict do nothing;

  if cardinality(v_slow || v_late) > 0 then
    perform request_wake(array(select distinct unnest(v_slow || v_late)));
  end if;
end
$$;

ALTER FUNCTION holdfast.end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) IS 'Ends pending or processing orders without shipping them, with all that follows: status, holds, stock, ledger, refunds due, retirement of the payment key, and a wake where the payment missed its confirm deadline, or where the money is enough but late, so that aftercare decides on it.';

--
-- Name: end_payout(uuid, text, boolean, numeric, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.end_payout(p_payout_id uuid, p_tx_id text, p_is_reverted boolean, p_network_fee numeric, p_actor text) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  v_payout payout;
  v_kind text;
  v_paid text;
  v_failure text;
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select p.order_id from payout p where p.payout_id = p_payout_id) for update;
  select * into v_payout from payout p where p.payout_id = p_payout_id for no key update;
  if not found then
    return 'unknown';
  elsif v_payout.status in ('confirmed', 'failed') then
    return 'repeated';
  end if;
  select a.kind into v_kind from payout_attempt a where (a.payout_id, a.tx_id) = (p_payout_id, p_tx_id);
  if p_tx_id is not null and v_kind is null then
    return 'unknown';
  end if;
  v_failure := case
    when p_tx_id is null then 'nonce_taken'
    when v_kind = 'fill' then 'cancelled'
    when p_is_reverted then 'reverted' end;
  if v_failure is not null then
    update payout p set status = 'failed', failure = v_failure,
      network_fee = case when p_tx_id is not null then p_network_fee end
    where p.payout_id = p_payout_id;
    return 'failed';
  end if;
  v_paid := finish_payout(v_payout.refund_id, p_tx_id, p_network_fee, p_actor);
  if v_paid not in ('paid', 'repeated') then
    return v_paid;
  end if;
  update payout p set status = 'confirmed' where p.payout_id = p_payout_id;
  return 'confirmed';
end
$$;

ALTER FUNCTION holdfast.end_payout(p_payout_id uuid, p_tx_id text, p_is_reverted boolean, p_network_fee numeric, p_actor text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION end_payout(p_payout_id uuid, p_tx_id text, p_is_reverted boolean, p_network_fee numeric, p_actor text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.end_payout(p_payout_id uuid, p_tx_id text, p_is_reverted boolean, p_network_fee numeric, p_actor text) IS 'Payout, last step: one of its transactions is final on the chain.';

--
-- Name: expire_due(uuid[], boolean); Type: FUNCTION; Schema: holdfast; Owner: app_worker
--

CREATE FUNCTION holdfast.expire_due(p_order_ids uuid[], p_skip_locked boolean) RETURNS TABLE(order_id uuid, outcome text, wait_ms bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
declare
  v_locked uuid[];
  v_due uuid[];
begin
  if p_skip_locked then
    select coalesce(array_agg(l.order_id), '{}') into v_locked
    from (
      select o.order_id from orders o where o.order_id = any (p_order_ids)
      order by o.order_id for update skip locked) l;
  else
    select coalesce(array_agg(l.order_id), '{}') into v_locked
    from (select o.order_id from orders o where o.order_id = any (p_order_ids) order by o.order_id for update) l;
  end if;

  select coalesce(array_agg(e.order_id), '{}') into v_due from expirable e where e.order_id = any (v_locked);

  if cardinality(v_due) > 0 then
    perform end_orders(v_due, 'expired', 'expired', 'system');
  end if;

  return query
  select o.order_id,
    case when o.status = 'cancelled' then 'ended'
         when o.status <> 'pending' or o.payment_state in ('confirming', 'paid') then 'paid'
         else 'wait' end,
    greatest(0, ceil(extract(epoch from i.expires_at + i.grace - clock_timestamp()) * 1000))::bigint
  from orders o join invoice i on i.order_id = o.order_id
  where o.order_id = any (v_locked);
end
$$;

ALTER FUNCTION holdfast.expire_due(p_order_ids uuid[], p_skip_locked boolean) OWNER TO app_worker;

--
-- Name: FUNCTION expire_due(p_order_ids uuid[], p_skip_locked boolean); Type: COMMENT; Schema: holdfast; Owner: app_worker
--

COMMENT ON FUNCTION holdfast.expire_due(p_order_ids uuid[], p_skip_locked boolean) IS 'What expire_orders does, in the name of whoever the transaction names.';

--
-- Name: expire_orders(uuid[], boolean); Type: FUNCTION; Schema: holdfast; Owner: app_worker
--

CREATE FUNCTION holdfast.expire_orders(p_order_ids uuid[], p_skip_locked boolean) RETURNS TABLE(order_id uuid, outcome text, wait_ms bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
declare
  v_actor text := coalesce(current_setting('holdfast.actor', true), '');
  v_actors text := coalesce(current_setting('holdfast.actors', true), '');
begin
  perform set_config('holdfast.actor', '{"actor":"system:expiry","role":"system"}', true),
    set_config('holdfast.actors', '', true);
  return query select e.order_id, e.outcome, e.wait_ms from expire_due(p_order_ids, p_skip_locked) e;
  perform set_config('holdfast.actor', v_actor, true), set_config('holdfast.actors', v_actors, true);
end
$$;

ALTER FUNCTION holdfast.expire_orders(p_order_ids uuid[], p_skip_locked boolean) OWNER TO app_worker;

--
-- Name: FUNCTION expire_orders(p_order_ids uuid[], p_skip_locked boolean); Type: COMMENT; Schema: holdfast; Owner: app_worker
--

COMMENT ON FUNCTION holdfast.expire_orders(p_order_ids uuid[], p_skip_locked boolean) IS 'The one expiry, by the system. outcome: ended, paid, or wait (wait_ms until it is worth asking again; 0 when something else must happen first).';

--
-- Name: fence_step(uuid, integer, integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.fence_step(p_order_id uuid, p_generation integer, p_step integer) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  v_generation int;
  v_step int;
begin
  select generation, step into v_generation, v_step from orders where order_id = p_order_id for update;
  return case
    when not found then 'NOT_FOUND'
    when v_generation > p_generation then 'STALE_RUN'
    when v_generation = p_generation and v_step >= p_step then 'repeated'
    else 'entered' end;
end
$$;

ALTER FUNCTION holdfast.fence_step(p_order_id uuid, p_generation integer, p_step integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION fence_step(p_order_id uuid, p_generation integer, p_step integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.fence_step(p_order_id uuid, p_generation integer, p_step integer) IS 'Locks an order for a step of a run: entered, repeated, STALE_RUN or NOT_FOUND.';

--
-- Name: finish_payout(uuid, text, numeric, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.finish_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  v_refund refund;
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select r.order_id from refund r where r.refund_id = p_refund_id) for update;
  select * into v_refund from refund r where r.refund_id = p_refund_id for no key update;
  if not found then
    return 'NOT_FOUND';
  end if;
  if v_refund.status <> 'paying' then
    return case when v_refund.status <> 'paid' then 'refused' when v_refund.tx_id = p_tx_id then 'repeated'
      else 'conflict' end;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('refund paid by ' || p_tx_id, 0));
  if exists (select from refund r where r.tx_id = p_tx_id and r.refund_id <> p_refund_id) then
    return 'conflict';
  end if;
  update refund r set status = 'paid', tx_id = p_tx_id, network_fee = p_network_fee where r.refund_id = p_refund_id;
  perform settle_refund_state(v_refund.order_id);
  return 'paid';
end
$$;

ALTER FUNCTION holdfast.finish_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION finish_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.finish_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text) IS 'Payout, second half: the transaction is final, and the refund is paid.';

--
-- Name: fits_in_sum(jsonb, jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.fits_in_sum(p_wanted jsonb, p_refused jsonb) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select not exists (
    select from (
      select w ->> 'product' as product, sum((w ->> 'quantity')::bigint) as quantity
      from jsonb_array_elements(p_wanted) w where not p_refused ? (w ->> 'ordinal') group by 1
    ) t left join stock s on s.product_id = t.product
    where s.product_id is null or s.on_hand - s.reserved < t.quantity)
$$;

ALTER FUNCTION holdfast.fits_in_sum(p_wanted jsonb, p_refused jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION fits_in_sum(p_wanted jsonb, p_refused jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.fits_in_sum(p_wanted jsonb, p_refused jsonb) IS 'Whether there is enough stock of every product for all orders that are not refused; any serial order decides the same then.';

--
-- Name: flag_wrong_asset(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.flag_wrong_asset() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
begin
  perform request_wake(array(
    select distinct o.order_id
    from new_rows n
    join invoice i on (i.network, i.address) = (n.network, n.address)
    join orders o on o.order_id = i.order_id
    where n.kind = 'wrong_asset' and not 'wrong_asset' = any (o.payment_flags)));
  return null;
end
$$;

ALTER FUNCTION holdfast.flag_wrong_asset() OWNER TO holdfast_owner;

--
-- Name: follow_money(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.follow_money() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
begin
  if tg_level = 'ROW' then
    perform post_ledger(new.order_id, tg_argv[0]);
  elsif tg_op = 'INSERT' then
    perform post_ledger(m.order_id, tg_argv[0]) from (
      select n.order_id from new_rows n where n.state = 'final'
      union select d.replacement_id from new_rows n join late_decision d on d.order_id = n.order_id
      where n.state = 'final' and d.replacement_id is not null order by 1) m;
  else
    -- Money that is final, or no longer is.
    perform post_ledger(m.order_id, tg_argv[0]) from (
      with moved as (
        select n.order_id from new_rows n where n.state = 'final'
        union select o.order_id from old_rows o where o.state = 'final'
      )
      select v.order_id from moved v
      union select d.replacement_id from moved v join late_decision d on d.order_id = v.order_id
      where d.replacement_id is not null order by 1) m;
  end if;
  return null;
end
$$;

ALTER FUNCTION holdfast.follow_money() OWNER TO holdfast_owner;

--
-- Name: FUNCTION follow_money(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.follow_money() IS 'Ledger writer: a trigger function that posts what a change of payments, of what is owed back, of a refund or its failed payout, or of an order''s status did to the money of an order (post_ledger).';

--
-- Name: follow_refund_due(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.follow_refund_due() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  perform holdfast.keep_owed_refund(new.order_id);
  return null;
end
$$;

ALTER FUNCTION holdfast.follow_refund_due() OWNER TO holdfast_owner;

--
-- Name: FUNCTION follow_refund_due(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.follow_refund_due() IS 'Refund intent: a trigger function that keeps what an order owes and its open refund equal (keep_owed_refund).';

--
-- Name: forget_answers(integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.forget_answers(p_limit integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
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

ALTER FUNCTION holdfast.forget_answers(p_limit integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION forget_answers(p_limit integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.forget_answers(p_limit integer) IS 'Retention: removes up to p_limit idempotency answers older than 30 days, the oldest first.';

--
-- Name: forget_notifications(integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.forget_notifications(p_limit integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
  with old as (
    select notification_id from notification
    where delivered_at < statement_timestamp() - interval '30 days'
    order by delivered_at limit p_limit for update skip locked
  ), forgotten as (
    delete from notification n using old where n.notification_id = old.notification_id returning 1
  )
  select count(*)::integer from forgotten
$$;

ALTER FUNCTION holdfast.forget_notifications(p_limit integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION forget_notifications(p_limit integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.forget_notifications(p_limit integer) IS 'Removes at most so many notifications that were delivered more than 30 days ago. Returns how many.';

--
-- Name: forget_quotas(integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.forget_quotas(p_limit integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
  with old as (
    select w.key from quota_window w
    where w.second < extract(epoch from clock_timestamp()) - 62 limit p_limit for update skip locked
  ), forgotten as (
    delete from quota_window w using old where w.key = old.key returning 1
  )
  select count(*)::int from forgotten
$$;

ALTER FUNCTION holdfast.forget_quotas(p_limit integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION forget_quotas(p_limit integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.forget_quotas(p_limit integer) IS 'Retention: removes up to p_limit windows of quota_window that count nothing any more.';

--
-- Name: forget_security_events(integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.forget_security_events(p_limit integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
  with old_calls as (
    select event_no from security_event
    where kind = 'calls' and at < statement_timestamp() - interval '1 hour'
    order by at limit p_limit for update skip locked
  ), old_events as (
    select event_no from security_event
    where at < statement_timestamp() - interval '90 days'
    order by at limit p_limit for update skip locked
  ), old as (
    select event_no from old_calls union select event_no from old_events limit p_limit
  ), forgotten as (
    delete from security_event e using old where e.event_no = old.event_no returning 1
  )
  select count(*)::integer from forgotten
$$;

ALTER FUNCTION holdfast.forget_security_events(p_limit integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION forget_security_events(p_limit integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.forget_security_events(p_limit integer) IS 'Retention: removes up to p_limit security events, the oldest first: counts of calls after an hour, since no rule looks further back, all others after 90 days.';

--
-- Name: fresh_outputs(uuid, integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.fresh_outputs(p_order_id uuid, p_limit integer) RETURNS TABLE(network text, tx_id text, output_index integer, asset text, amount numeric, state text, first_seen_at timestamp with time zone, is_right_asset boolean, is_early boolean, is_in_time boolean, report_nos bigint[], doubt text)
    LANGUAGE sql STABLE
    AS $$
  select f.network, f.tx_id, f.output_index, p.asset, p.amount, p.state, p.first_seen_at, p.asset = i.asset, t.is_early,
    not t.is_early and p.first_seen_at <= i.expires_at + i.grace, f.report_nos, p.doubt
  from (
    select r.network, r.tx_id, r.output_index, array_agg(r.report_no) as report_nos from payment_report r
    where r.order_id = p_order_id and not r.is_assessed
    group by 1, 2, 3 order by min(r.report_no) limit p_limit
  ) f
  cross join lateral present_output(p_order_id, f.network, f.tx_id, f.output_index) p
  join invoice i on i.order_id = p_order_id
  join currency c on c.currency = i.asset
  cross join lateral (select p.last_first_seen_at < i.created_at - c.clock_tolerance as is_early) t
$$;

ALTER FUNCTION holdfast.fresh_outputs(p_order_id uuid, p_limit integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION fresh_outputs(p_order_id uuid, p_limit integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.fresh_outputs(p_order_id uuid, p_limit integer) IS 'Inbox: the oldest p_limit outputs of an order that have news (null: all), as their sources have them now.';

--
-- Name: guard_address_lease(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_address_lease() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if old.leased_at is not null then
    raise exception 'address_pool: an address is leased once' using errcode = 'HF005';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_address_lease() OWNER TO holdfast_owner;

--
-- Name: guard_chain_operation(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_chain_operation() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
declare
  v_operation text := tg_argv[0];
  v_new jsonb := to_jsonb(new);
  v_aside numeric;
begin
  if v_operation = 'set_aside' then
    -- An upsert shows its row as an insert first, even where one stands.
    v_aside := (v_new ->> 'set_aside')::numeric - coalesce((
      select b.set_aside from holdfast.chain_balance b
      where (b.network, b.source) = (new.network, new.source) and b.address = v_new ->> 'address'), 0);
    if v_aside <= 0 then
      return new;
    end if;
  end if;
  if not exists (
    select from holdfast.chain_operation o
    where (o.network, o.source) = (new.network, new.source) and o.operation = v_operation
      and o.xmin = pg_current_xact_id()::xid
      and case v_operation
      when 'start' then o.height = (v_new ->> 'start_height')::bigint
      when 'rewind' then o.height = (v_new ->> 'rewind_to')::bigint
      when 'attribute' then o.address = v_new ->> 'address' and o.amount = (v_new ->> 'amount')::numeric
      else o.address = v_new ->> 'address' and o.amount = v_aside end) then
    raise exception '%: the operation % is not noted', tg_table_name, v_operation using errcode = 'HF022';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_chain_operation() OWNER TO holdfast_owner;

--
-- Name: FUNCTION guard_chain_operation(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.guard_chain_operation() IS 'Guard of chain operations: a trigger function that refuses a change by the watcher''s role that the same transaction has not noted in chain_operation for the same source.';

--
-- Name: guard_chain_operator(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_chain_operator() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
declare
  v_actor jsonb := nullif(current_setting('holdfast.actor', true), '')::jsonb;
begin
  if v_actor ->> 'role' is distinct from 'admin' or coalesce(v_actor ->> 'actor', '') !~ '^operator:.' then
    raise exception 'chain_operation: only an operator operates a chain' using errcode = 'HF022';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_chain_operator() OWNER TO holdfast_owner;

--
-- Name: FUNCTION guard_chain_operator(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.guard_chain_operator() IS 'Guard of chain operations: a trigger function that lets the watcher''s role note an operation in an operator''s name only.';

--
-- Name: guard_order_insert(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_order_insert() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if new.status <> 'pending' or new.payment_state <> 'awaiting' or new.version <> 1 or new.generation <> 0 then
    raise exception 'orders: an order begins pending, awaiting payment, at version 1' using errcode = 'HF003';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_order_insert() OWNER TO holdfast_owner;

--
-- Name: guard_order_payment(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_order_payment() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if current_user <> 'app_worker' or not exists (
    select from holdfast.payment_transition t where t.from_state = old.payment_state
      and t.to_state = new.payment_state) then
    raise exception 'orders: payment does not go from % to %', old.payment_state, new.payment_state
      using errcode = 'HF004';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_order_payment() OWNER TO holdfast_owner;

--
-- Name: guard_order_status(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_order_status() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if current_user <> 'app_worker' or not exists (
    select from holdfast.order_transition t where t.from_status = old.status and t.to_status = new.status
      and t.role = holdfast.actor_of(new.order_id::text) ->> 'role') then
    raise exception 'orders: % to % is not a legal move for this actor', old.status, new.status using errcode = 'HF002';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_order_status() OWNER TO holdfast_owner;

--
-- Name: guard_order_update(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_order_update() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if (new.order_id, new.user_id, new.currency, new.total, new.created_at)
     is distinct from (old.order_id, old.user_id, old.currency, old.total, old.created_at) then
    raise exception 'orders: id, customer, currency, total and creation time never change' using errcode = 'HF001';
  end if;
  -- The fence is not news to a reader: it moves neither version nor time.
  if (new.status, new.payment_state, new.payment_flags, new.hold, new.cancel_reason, new.address_sealed)
     is distinct from (old.status, old.payment_state, old.payment_flags, old.hold, old.cancel_reason,
       old.address_sealed) then
    new.version := old.version + 1;
    new.updated_at := greatest(clock_timestamp(), old.updated_at);
  else
    new.version := old.version;
    new.updated_at := old.updated_at;
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_order_update() OWNER TO holdfast_owner;

--
-- Name: guard_payment_amount(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_payment_amount() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if not exists (
    select from payment_report r
    where r.order_id = new.order_id
      and (r.network, r.tx_id, r.output_index, r.amount) = (new.network, new.tx_id, new.output_index, new.amount)) then
    raise exception 'payment: an amount is what a report of the output says' using errcode = 'HF001';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_payment_amount() OWNER TO holdfast_owner;

--
-- Name: FUNCTION guard_payment_amount(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.guard_payment_amount() IS 'An amount changes to what a report says, and to nothing else.';

--
-- Name: guard_payout(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_payout() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if tg_op = 'INSERT' then
    if new.status <> 'prepared' then
      raise exception 'payout: it begins prepared' using errcode = 'HF054';
    end if;
    if not exists (
        select from holdfast.refund r
        where (r.refund_id, r.order_id, r.network, r.destination, r.amount, r.fee_bearer)
          = (new.refund_id, new.order_id, new.network, new.destination, new.amount, new.fee_bearer)
          and r.status = 'paying' and r.token is null)
      or exists (select from holdfast.payout p where p.refund_id = new.refund_id and not p.is_released) then
      raise exception 'payout: no approved refund is to be paid like this' using errcode = 'HF054';
    end if;
    return new;
  end if;
  if (new.payout_id, new.refund_id, new.order_id, new.network, new.sender, new.chain_id, new.nonce, new.destination,
      new.amount, new.fee_bearer, new.created_at)
     is distinct from (old.payout_id, old.refund_id, old.order_id, old.network, old.sender, old.chain_id, old.nonce,
      old.destination, old.amount, old.fee_bearer, old.created_at)
    or old.status in ('confirmed', 'failed')
      and (new.block_height, new.block_hash, new.failure, new.network_fee)
       is distinct from (old.block_height, old.block_hash, old.failure, old.network_fee)
    or old.is_released and not new.is_released then
    raise exception 'payout: this never changes' using errcode = 'HF001';
  end if;
  if new.status <> old.status and not (case old.status
      when 'prepared' then new.status in ('signed', 'stuck', 'confirmed', 'failed')
      when 'signed' then new.status in ('broadcast', 'stuck', 'confirmed', 'failed')
      when 'broadcast' then new.status in ('stuck', 'confirmed', 'failed')
      when 'stuck' then new.status in ('signed', 'confirmed', 'failed')
      else false end) then
    raise exception 'payout: % to % is not a legal move', old.status, new.status using errcode = 'HF054';
  end if;
  new.updated_at := greatest(clock_timestamp(), old.updated_at);
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_payout() OWNER TO holdfast_owner;

--
-- Name: FUNCTION guard_payout(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.guard_payout() IS 'Guard of payouts, a state machine guard: a trigger function for every insert and update of payout.';

--
-- Name: guard_payout_attempt(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_payout_attempt() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if tg_op = 'INSERT' and new.raw is not null
    or tg_op = 'UPDATE' and (
      (new.payout_id, new.attempt, new.order_id, new.kind, new.value, new.gas_limit, new.max_fee, new.priority_fee,
        new.created_at)
      is distinct from (old.payout_id, old.attempt, old.order_id, old.kind, old.value, old.gas_limit, old.max_fee,
        old.priority_fee, old.created_at)
      or old.raw is not null and (new.raw, new.tx_id) is distinct from (old.raw, old.tx_id)) then
    raise exception 'payout_attempt: this never changes' using errcode = 'HF001';
  end if;
  if tg_op = 'INSERT' and (
    not exists (
      select from holdfast.payout p
      where (p.payout_id, p.order_id) = (new.payout_id, new.order_id) and p.status not in ('confirmed', 'failed')
        and new.value = case
          when new.kind = 'fill' then 0
          when p.fee_bearer = 'customer' then p.amount - new.gas_limit * new.max_fee
          else p.amount end)
    or new.kind = 'pay' and exists (
      select from holdfast.payout_attempt a where a.payout_id = new.payout_id and a.kind = 'fill')) then
    raise exception 'payout_attempt: it does not send what its payout is for' using errcode = 'HF054';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_payout_attempt() OWNER TO holdfast_owner;

--
-- Name: FUNCTION guard_payout_attempt(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.guard_payout_attempt() IS 'Guard of a payout''s transactions, a write-once guard: a trigger function for every insert and update of payout_attempt.';

--
-- Name: guard_refund(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_refund() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
declare
  v_is_moved boolean := tg_op = 'INSERT' or new.status <> old.status;
  v_is_grown boolean := tg_op = 'INSERT' or new.amount > old.amount;
begin
  perform 1 from holdfast.orders o where o.order_id = new.order_id for no key update;
  if tg_op = 'INSERT' then
    if new.status <> 'awaiting_destination' or new.destination is not null or new.version <> 1 then
      raise exception 'refund: it begins without a destination' using errcode = 'HF041';
    end if;
  else
    if (new.refund_id, new.order_id, new.network, new.asset, new.token, new.kind, new.named_in, new.fiat_amount,
        new.rate_basis, new.rate, new.requested_by, new.reason, new.created_at)
       is distinct from (old.refund_id, old.order_id, old.network, old.asset, old.token, old.kind, old.named_in,
        old.fiat_amount, old.rate_basis, old.rate, old.requested_by, old.reason, old.created_at)
       or new.kind <> 'owed' and new.amount <> old.amount
       or (old.status not in ('awaiting_destination', 'awaiting_approval') or new.status in ('approved', 'paying'))
        and (new.amount, new.destination, new.destination_confirmed_at, new.destination_seal, new.fee_bearer)
         is distinct from (
          old.amount, old.destination, old.destination_confirmed_at, old.destination_seal, old.fee_bearer)
       or not v_is_moved and new.status = 'paid' then
      raise exception 'refund: this never changes' using errcode = 'HF001';
    end if;
    if v_is_moved and (not exists (
        select from holdfast.refund_transition t where t.from_status = old.status and t.to_status = new.status)
      or new.status in ('paying', 'paid') and current_user <> 'app_worker'
      or new.status = 'approved' and (
        select count(*) from holdfast.refund_approval a
        where a.refund_id = old.refund_id and a.version = old.version) < 2)
    then
      raise exception 'refund: % to % is not a legal move', old.status, new.status using errcode = 'HF041';
    end if;
    new.version := old.version + 1;
    new.updated_at := greatest(clock_timestamp(), old.updated_at);
  end if;
  if new.kind = 'owed' and new.token is null and (tg_op = 'INSERT' or new.amount <> old.amount)
    and new.amount <> holdfast.owed_refund(new.order_id) then
    raise exception 'refund: the order owes another amount' using errcode = 'HF042';
  end if;
  if (v_is_grown or v_is_moved and new.status in ('approved', 'paying'))
    and new.amount + holdfast.promised_refunds(new.order_id, new.network, new.asset, new.token, new.refund_id)
      > holdfast.received_money(new.order_id, new.network, new.asset, new.token) then
    raise exception 'refund: more than the order received' using errcode = 'HF042';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_refund() OWNER TO holdfast_owner;

--
-- Name: FUNCTION guard_refund(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.guard_refund() IS 'Guard of refunds, a state machine guard and a ceiling: a trigger function for every insert and update of refund.';

--
-- Name: guard_refund_approval(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_refund_approval() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  perform 1 from holdfast.orders o where o.order_id = new.order_id for no key update;
  if tg_op <> 'INSERT'
    or new.approver is distinct from holdfast.actor_of(new.order_id::text) ->> 'actor'
    or holdfast.actor_of(new.order_id::text) ->> 'role' is distinct from 'admin'
    or not exists (
      select from holdfast.refund r join holdfast.orders o on o.order_id = r.order_id
      where (r.refund_id, r.version, r.order_id) = (new.refund_id, new.version, new.order_id)
        and r.status = 'awaiting_approval' and r.requested_by <> new.approver
        and new.approver <> 'user:' || o.user_id) then
    raise exception 'refund: this approval does not count' using errcode = 'HF041';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_refund_approval() OWNER TO holdfast_owner;

--
-- Name: FUNCTION guard_refund_approval(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.guard_refund_approval() IS 'Guard of approvals, the four-eyes principle: a trigger function that lets an admin approve, in their own name, the present version of a refund that waits for it; not who asked for it, and not the customer.';

--
-- Name: guard_tile_growth(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.guard_tile_growth() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  if substr(new.hashes, 1, octet_length(old.hashes)) <> old.hashes
    or (new.level, new.tile_no) <> (old.level, old.tile_no) then
    raise exception 'audit_tile: a tile only grows' using errcode = 'HF011';
  end if;
  return new;
end
$$;

ALTER FUNCTION holdfast.guard_tile_growth() OWNER TO holdfast_owner;

--
-- Name: FUNCTION guard_tile_growth(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.guard_tile_growth() IS 'A hash that stands in the tree stands there for ever.';

--
-- Name: is_command_legal(uuid, text, jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.is_command_legal(p_order_id uuid, p_command text, p_input jsonb) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
  select coalesce((p_input ->> 'expectedVersion')::bigint = o.version, true)
    and not coalesce((p_input ->> 'isReapplied')::boolean, false)
    and exists (
      select from order_transition t
      where t.from_status = o.status and t.to_status = command_target(p_command) and t.role = p_input ->> 'role')
    and (p_command <> 'ship' or o.hold = 'none' and o.payment_state in ('paid', 'partially_refunded')
      and not exists (
        select from payment_report r
        where not r.is_assessed and r.order_id in (
          select p_order_id union all select d.order_id from late_decision d where d.replacement_id = p_order_id)))
  from orders o where o.order_id = p_order_id
$$;

ALTER FUNCTION holdfast.is_command_legal(p_order_id uuid, p_command text, p_input jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION is_command_legal(p_order_id uuid, p_command text, p_input jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.is_command_legal(p_order_id uuid, p_command text, p_input jsonb) IS 'Whether an order may be cancelled, shipped or delivered as it is now.';

--
-- Name: is_enough(numeric, numeric); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.is_enough(sum numeric, due numeric) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select sum * 1000 >= due * 999
$$;

ALTER FUNCTION holdfast.is_enough(sum numeric, due numeric) OWNER TO holdfast_owner;

--
-- Name: FUNCTION is_enough(sum numeric, due numeric); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.is_enough(sum numeric, due numeric) IS 'Payment tolerance: whether a sum of base units pays what is due, at most 0.1 % below it.';

--
-- Name: is_enough_seen(uuid); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.is_enough_seen(p_order_id uuid) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
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

ALTER FUNCTION holdfast.is_enough_seen(p_order_id uuid) OWNER TO holdfast_owner;

--
-- Name: FUNCTION is_enough_seen(p_order_id uuid); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.is_enough_seen(p_order_id uuid) IS 'Whether what was seen in time is enough to pay an order, news included; null when there is no such order.';

--
-- Name: is_terminal(text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.is_terminal(status text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$
  select status in ('delivered', 'cancelled')
$$;

ALTER FUNCTION holdfast.is_terminal(status text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION is_terminal(status text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.is_terminal(status text) IS 'Whether an order has ended: its status is delivered or cancelled.';

--
-- Name: keep_honoured(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.keep_honoured() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  new.is_in_time := true;
  return new;
end
$$;

ALTER FUNCTION holdfast.keep_honoured() OWNER TO holdfast_owner;

--
-- Name: FUNCTION keep_honoured(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.keep_honoured() IS 'An assessment that reads the times of an output again leaves one that is honoured in time.';

--
-- Name: keep_owed_refund(uuid); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.keep_owed_refund(p_order_id uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
declare
  v_owed numeric;
  v_open_id uuid;
begin
  perform 1 from holdfast.orders o where o.order_id = p_order_id for no key update;
  v_owed := holdfast.owed_refund(p_order_id);
  select r.refund_id into v_open_id from holdfast.refund r join holdfast.refund_due d on d.order_id = r.order_id
  where r.order_id = p_order_id and r.kind = 'owed' and r.asset = d.asset and r.token is null
    and r.status in ('awaiting_destination', 'awaiting_approval');
  if v_open_id is not null and v_owed > 0 then
    update holdfast.refund r set amount = v_owed where r.refund_id = v_open_id and r.amount <> v_owed;
  elsif v_open_id is not null then
    update holdfast.refund r set status = 'cancelled' where r.refund_id = v_open_id;
  elsif v_owed > 0 then
    insert into holdfast.refund (order_id, network, asset, amount, kind, named_in, requested_by)
    select i.order_id, i.network, d.asset, v_owed, 'owed', 'coin', 'system:owed'
    from holdfast.invoice i join holdfast.refund_due d on d.order_id = i.order_id where i.order_id = p_order_id;
  end if;
  -- Money that came after a refund makes the order partially refunded again.
  if current_user = 'app_worker' and exists (
    select from holdfast.refund r where r.order_id = p_order_id and r.status in ('paying', 'paid')) then
    perform holdfast.settle_refund_state(p_order_id);
  end if;
end
$$;

ALTER FUNCTION holdfast.keep_owed_refund(p_order_id uuid) OWNER TO holdfast_owner;

--
-- Name: FUNCTION keep_owed_refund(p_order_id uuid); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.keep_owed_refund(p_order_id uuid) IS 'Refund intent: keeps exactly one open refund for what an order owes beyond what was approved, and no more than it has (owed_refund).';

--
-- Name: late_refusal(uuid, jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.late_refusal(p_order_id uuid, p_policy jsonb) RETURNS TABLE(refusal text, rate numeric, due_now numeric)
    LANGUAGE sql STABLE
    AS $$
  select case
      when not (p_policy ->> 'accepts')::boolean then 'policy'
      when o.hold <> 'none' then 'on_hold'
      when o.payment_state in ('refunding', 'partially_refunded', 'refunded') or exists (
        select from refund x where x.order_id = o.order_id and x.status in ('approved', 'paying', 'paid'))
        then 'refund_begun'
      when not is_enough(m.amount, i.amount_due) then 'too_late'
      when not n.is_sold then 'product_gone'
      when q.rate is null then 'rate_unknown'
      when abs(n.due - i.amount_due) * 10000 > i.amount_due * (p_policy ->> 'driftBps')::int then 'price_moved'
      when not n.fits then 'out_of_stock' end,
    q.rate, n.due
  from orders o
  join invoice i on i.order_id = o.order_id
  join currency c on c.currency = i.asset
  cross join lateral (
    select coalesce(sum(p.amount), 0) as amount from payment p
    where p.order_id = o.order_id and p.state = 'final' and p.first_seen_at <= i.expires_at + i.grace
      + make_interval(secs => (p_policy ->> 'withinMs')::bigint / 1000.0)) m
  left join asset_rate q on q.asset = i.asset and q.currency = o.currency
    and q.at > clock_timestamp() - make_interval(secs => (p_policy ->> 'rateAgeMs')::bigint / 1000.0)
  cross join lateral (
    select bool_and(p.is_active and p.currency = o.currency) as is_sold,
      quote_due(sum(l.quantity * p.unit_price), q.rate, c.decimals) as due,
      bool_and(s.on_hand - s.reserved >= l.quantity) as fits
    from (select x.product_id, sum(x.quantity) as quantity from order_line x where x.order_id = o.order_id group by 1) l
    join product p on p.product_id = l.product_id join stock s on s.product_id = l.product_id) n
  where o.order_id = p_order_id
$$;

ALTER FUNCTION holdfast.late_refusal(p_order_id uuid, p_policy jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION late_refusal(p_order_id uuid, p_policy jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.late_refusal(p_order_id uuid, p_policy jsonb) IS 'Late policy: why the late money of an expired order cannot buy it again; refusal is null where it can.';

--
-- Name: lock_wanted(jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.lock_wanted(p_wanted jsonb) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  perform 1 from stock
  where product_id in (select w ->> 'product' from jsonb_array_elements(p_wanted) w)
  order by product_id
  for no key update;
end
$$;

ALTER FUNCTION holdfast.lock_wanted(p_wanted jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION lock_wanted(p_wanted jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.lock_wanted(p_wanted jsonb) IS 'Lock ordering: locks the stock rows of all wanted products FOR NO KEY UPDATE, by product_id.';

--
-- Name: move_version(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.move_version() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  new.version := old.version + 1;
  new.updated_at := greatest(clock_timestamp(), old.updated_at);
  return new;
end
$$;

ALTER FUNCTION holdfast.move_version() OWNER TO holdfast_owner;

--
-- Name: FUNCTION move_version(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.move_version() IS 'version and updated_at are the database''s own: one step per update, and time never goes back.';

--
-- Name: no_actor(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.no_actor() RETURNS jsonb
    LANGUAGE plpgsql
    AS $$
begin
  raise exception 'audit: this change has no actor: set holdfast.actor first' using errcode = 'HF006';
end
$$;

ALTER FUNCTION holdfast.no_actor() OWNER TO holdfast_owner;

--
-- Name: FUNCTION no_actor(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.no_actor() IS 'Guard of the audit: refuses a change that names no actor.';

--
-- Name: note_status_change(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.note_status_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
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

ALTER FUNCTION holdfast.note_status_change() OWNER TO holdfast_owner;

--
-- Name: FUNCTION note_status_change(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.note_status_change() IS 'Writes what the world is to be told of orders that were made or moved.';

--
-- Name: open_replacement(uuid, numeric, numeric); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.open_replacement(p_order_id uuid, p_rate numeric, p_due_now numeric) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
declare
  v_id uuid := gen_random_uuid();
  v_address text;
begin
  if not exists (select from assessed_order(p_order_id) a where a.is_undecided) then
    raise exception 'late_decision: this order has no late money to decide on' using errcode = 'HF046';
  end if;
  update address_pool p set leased_by = 'system:replacement', leased_at = clock_timestamp()
  from (
    select f.network, f.address from address_pool f join invoice i on i.network = f.network and i.asset = f.asset
    where i.order_id = p_order_id and f.leased_at is null
    order by f.pool_no limit 1 for update of f skip locked) free
  where (p.network, p.address) = (free.network, free.address)
  returning p.address into v_address;
  if v_address is null then
    raise exception 'late_decision: no payment address is free' using errcode = 'HF046';
  end if;

  insert into orders (order_id, user_id, currency, total, address_sealed)
  select v_id, o.user_id, o.currency, o.total, o.address_sealed from orders o where o.order_id = p_order_id;
  insert into order_line (order_id, line_no, product_id, product_version, name, quantity, unit_price)
  select v_id, l.line_no, l.product_id, l.product_version, l.name, l.quantity, l.unit_price
  from order_line l where l.order_id = p_order_id;
  -- Nothing is to be paid at the new address: its quote ends at once.
  insert into invoice (
    order_id, network, asset, address, amount_due, rate, expires_at, grace, confirm_within, created_at)
  select v_id, i.network, i.asset, v_address, i.amount_due, i.rate, n.now + interval '1 millisecond', interval '0',
    i.confirm_within, n.now
  from invoice i cross join (select clock_timestamp() as now) n where i.order_id = p_order_id;
  insert into workflow_start (order_id, quote_ends_at, urgency)
  select i.order_id, i.expires_at, 0 from invoice i where i.order_id = v_id;
  insert into late_decision (order_id, replacement_id, rate, due_now) values (p_order_id, v_id, p_rate, p_due_now);
  return v_id;
end
$$;

ALTER FUNCTION holdfast.open_replacement(p_order_id uuid, p_rate numeric, p_due_now numeric) OWNER TO holdfast_owner;

--
-- Name: FUNCTION open_replacement(p_order_id uuid, p_rate numeric, p_due_now numeric); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.open_replacement(p_order_id uuid, p_rate numeric, p_due_now numeric) IS 'Late acceptance: makes the order that replaces an expired one, with its lines, prices and rate, a payment address of its own and the start of its workflow, and records the decision.';

--
-- Name: open_transactions(interval); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.open_transactions(p_longer_than interval) RETURNS TABLE(role_name name, pid integer, application text, state text, began_at timestamp with time zone)
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
  select a.usename, a.pid, a.application_name, a.state, a.xact_start from pg_stat_activity a
  where a.datname = current_database() and a.pid <> pg_backend_pid()
    and a.xact_start < clock_timestamp() - p_longer_than
$$;

ALTER FUNCTION holdfast.open_transactions(p_longer_than interval) OWNER TO holdfast_owner;

--
-- Name: FUNCTION open_transactions(p_longer_than interval); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.open_transactions(p_longer_than interval) IS 'Sessions of our roles on this database, but for the one that asks, that have been in a transaction for longer than this.';

--
-- Name: order_answers(jsonb, integer[], jsonb); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.order_answers(p_orders jsonb, p_fresh integer[], p_refused jsonb) RETURNS TABLE(ordinal integer, verdict text, detail jsonb, order_id uuid, currency text, total numeric, lines jsonb, network text, asset text, address text, amount_due numeric, rate numeric, expires_at timestamp with time zone, created_at timestamp with time zone)
    LANGUAGE sql STABLE
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
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

ALTER FUNCTION holdfast.order_answers(p_orders jsonb, p_fresh integer[], p_refused jsonb) OWNER TO holdfast_owner;

--
-- Name: FUNCTION order_answers(p_orders jsonb, p_fresh integer[], p_refused jsonb); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.order_answers(p_orders jsonb, p_fresh integer[], p_refused jsonb) IS 'Recorded answers: what each CreateOrder attempt was answered, from immutable columns, so that a replay has the same bytes.';

--
-- Name: order_money(uuid[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.order_money(p_order_ids uuid[]) RETURNS TABLE(order_id uuid, asset text, amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric, late_final numeric, accepted numeric, is_late boolean, is_reorged boolean, is_replaced boolean)
    LANGUAGE sql STABLE
    AS $$
  select i.order_id, i.asset, i.amount_due, c.dust_floor, m.seen + t.seen, m.final + t.final, m.late_seen, m.late_final,
    case when d.order_id is null then 0 else least(greatest(0, m.final + m.late_final - (
      select coalesce(sum(r.amount), 0) from refund r
      where r.order_id = i.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
        and r.status in ('paying', 'paid'))), i.amount_due) end,
    m.is_late or t.is_late, m.is_reorged or t.is_reorged, m.is_replaced
  from invoice i
  join currency c on c.currency = i.asset
  cross join lateral (
    select coalesce(sum(p.amount) filter (where p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0) as seen,
      coalesce(sum(p.amount) filter (where p.is_in_time and p.state = 'final'), 0) as final,
      coalesce(sum(p.amount) filter (where not p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0)
        as late_seen,
      coalesce(sum(p.amount) filter (where not p.is_in_time and p.state = 'final'), 0) as late_final,
      coalesce(bool_or(not p.is_in_time), false) as is_late,
      coalesce(bool_or(p.state = 'reorged'), false) as is_reorged,
      coalesce(bool_or(p.state = 'replaced'), false) as is_replaced
    from payment p where p.order_id = i.order_id
  ) m
  cross join lateral (
    select coalesce(max(least(i.amount_due, greatest(0, p.seen - b.amount))), 0) as seen,
      coalesce(max(least(i.amount_due, greatest(0, p.final - b.amount))), 0) as final,
      coalesce(bool_or(p.outputs > 0), false) as is_late, coalesce(bool_or(p.is_reorged), false) as is_reorged
    from late_decision s
    cross join lateral (
      select coalesce(sum(x.amount) filter (where x.state in ('seen', 'reorged', 'final')), 0) as seen,
        coalesce(sum(x.amount) filter (where x.state = 'final'), 0) as final,
        count(*) as outputs, bool_or(x.state = 'reorged') as is_reorged
      from payment x where x.order_id = s.order_id
    ) p
    cross join lateral (
      select coalesce(sum(r.amount), 0) as amount from refund r
      where r.order_id = s.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
        and r.status in ('paying', 'paid')
    ) b
    where s.replacement_id = i.order_id
  ) t
  left join late_decision d on d.order_id = i.order_id and d.replacement_id is not null
  where i.order_id = any (p_order_ids)
$$;

ALTER FUNCTION holdfast.order_money(p_order_ids uuid[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION order_money(p_order_ids uuid[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.order_money(p_order_ids uuid[]) IS 'Money of orders: the sums of their outputs in base units, one row per order.';

--
-- Name: order_state(uuid); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.order_state(p_order_id uuid) RETURNS TABLE(status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text, expires_in_ms integer, has_unassessed boolean)
    LANGUAGE sql STABLE
    AS $$
  select o.status, o.payment_state, o.hold, o.cancel_reason, o.version,
    coalesce((select r.state from reservation r where r.order_id = o.order_id order by r.hold_no desc limit 1), 'none'),
    least(2147483647, greatest(0, ceil(extract(epoch from greatest(i.expires_at + i.grace, (
      select max(r.expires_at) from reservation r where r.order_id = o.order_id and r.state = 'held')) - clock_timestamp()) * 1000)))::int,
    exists (select from payment_report p where p.order_id = o.order_id and not p.is_assessed)
  from orders o join invoice i on i.order_id = o.order_id where o.order_id = p_order_id
$$;

ALTER FUNCTION holdfast.order_state(p_order_id uuid) OWNER TO holdfast_owner;

--
-- Name: FUNCTION order_state(p_order_id uuid); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.order_state(p_order_id uuid) IS 'The whole truth about an order, as every step answers with it.';

--
-- Name: owed_refund(uuid); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.owed_refund(p_order_id uuid) RETURNS numeric
    LANGUAGE sql STABLE
    AS $$
  select coalesce((
    select case when m.amount > c.dust_floor then m.amount else 0 end
    from refund_due d join invoice i on i.order_id = d.order_id join currency c on c.currency = d.asset
    cross join lateral (
      select coalesce(sum(r.amount) filter (where r.kind = 'owed' and r.status in ('approved', 'paying', 'paid')), 0)
          as settled,
        coalesce(sum(r.amount) filter (where r.status not in ('rejected', 'cancelled')
          and not (r.kind = 'owed' and r.status in ('awaiting_destination', 'awaiting_approval'))), 0) as promised
      from refund r
      where r.order_id = d.order_id and (r.network, r.asset) = (i.network, d.asset) and r.token is null
    ) s
    cross join lateral (
      select least(d.amount - s.settled, received_money(d.order_id, i.network, d.asset, null) - s.promised) as amount
    ) m
    where d.order_id = p_order_id), 0)
$$;

ALTER FUNCTION holdfast.owed_refund(p_order_id uuid) OWNER TO holdfast_owner;

--
-- Name: FUNCTION owed_refund(p_order_id uuid); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.owed_refund(p_order_id uuid) IS 'What the open refund of an order must be, in base units; 0: there is none to be.';

--
-- Name: own_source(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.own_source() RETURNS text
    LANGUAGE sql STABLE
    AS $$
  select case when coalesce(l.source, s.name) = s.name then s.name end
  from (select nullif(current_setting('holdfast.source', true), '') as name) s
  left join holdfast.source_login l on l.login = session_user
$$;

ALTER FUNCTION holdfast.own_source() OWNER TO holdfast_owner;

--
-- Name: FUNCTION own_source(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.own_source() IS 'Row-level security of the watchers'' tables: the source whose rows this session may write, by the setting holdfast.source.';

--
-- Name: post_ledger(uuid, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.post_ledger(p_order_id uuid, p_cause text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
begin
  if not exists (select from payment p where p.order_id = p_order_id)
    and not exists (select from refund r where r.order_id = p_order_id)
    and not exists (select from late_decision d where d.replacement_id = p_order_id) then
    return;
  end if;
  perform 1 from orders o where o.order_id = p_order_id for no key update;
  insert into ledger_posting (
    order_id, network, asset, token, cause, received, customer_due, refund_due, refunded, fees, written_off)
  select p_order_id, m.network, m.asset, m.token, p_cause, m.received,
    -(m.received + m.refund_due + m.refunded + m.fees + m.written_off), m.refund_due, m.refunded, m.fees, m.written_off
  from (
    select t.network, t.asset, t.token, t.received - b.received as received, t.refund_due - b.refund_due as refund_due,
      t.refunded - b.refunded as refunded, t.fees - b.fees as fees, t.written_off - b.written_off as written_off
    from ledger_target t
    cross join lateral (
      select coalesce(sum(l.received), 0) as received, coalesce(sum(l.refund_due), 0) as refund_due,
        coalesce(sum(l.refunded), 0) as refunded, coalesce(sum(l.fees), 0) as fees,
        coalesce(sum(l.written_off), 0) as written_off
      from ledger_posting l
      where l.order_id = p_order_id and (l.network, l.asset) = (t.network, t.asset)
        and l.token is not distinct from t.token
    ) b
    where t.order_id = p_order_id
  ) m
  where (m.received, m.refund_due, m.refunded, m.fees, m.written_off) <> (0, 0, 0, 0, 0);
end
$$;

ALTER FUNCTION holdfast.post_ledger(p_order_id uuid, p_cause text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION post_ledger(p_order_id uuid, p_cause text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.post_ledger(p_order_id uuid, p_cause text) IS 'Ledger posting: writes what is missing between what the ledger has of an order and what it must have (ledger_target), one posting per asset.';

--
-- Name: prepare_payout(uuid, text, bigint, bigint, bigint, numeric, numeric, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.prepare_payout(p_refund_id uuid, p_sender text, p_chain_id bigint, p_chain_nonce bigint, p_gas_limit bigint, p_max_fee numeric, p_priority_fee numeric, p_actor text) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  v_refund refund;
  v_fee numeric;
  v_begun text;
  v_nonce bigint;
  v_payout_id uuid;
begin
  select * into v_refund from refund r where r.refund_id = p_refund_id;
  v_fee := case v_refund.fee_bearer when 'customer' then p_gas_limit * p_max_fee else 0 end;
  if v_refund.amount <= v_fee then
    return 'fee_above_amount';
  elsif v_refund.destination = p_sender or exists (
    select from invoice i where (i.network, i.address) = (v_refund.network, v_refund.destination)) then
    return 'own_address';
  elsif exists (
    select from payout_sender s
    where (s.network, s.sender) = (v_refund.network, p_sender) and s.next_nonce < p_chain_nonce) then
    return 'nonce_ahead';
  end if;
  v_begun := begin_payout(p_refund_id, p_actor);
  if v_begun not in ('begun', 'repeated') then
    return v_begun;
  elsif exists (select from payout p where p.refund_id = p_refund_id and p.status <> 'failed') then
    return 'repeated';
  elsif exists (select from payout p where p.refund_id = p_refund_id and not p.is_released) then
    return 'failed_before';
  elsif v_begun = 'repeated' and not exists (select from payout p where p.refund_id = p_refund_id) then
    return 'begun_manually';
  end if;
  insert into payout_sender (network, sender, chain_id, next_nonce)
  values (v_refund.network, p_sender, p_chain_id, p_chain_nonce)
  on conflict do nothing;
  update payout_sender s set next_nonce = s.next_nonce + 1
  where (s.network, s.sender, s.chain_id) = (v_refund.network, p_sender, p_chain_id)
  returning s.next_nonce - 1 into v_nonce;
  if not found then
    raise exception 'payout_sender: it sends on another chain' using errcode = 'HF053';
  end if;
  insert into payout (refund_id, order_id, network, sender, chain_id, nonce, destination, amount, fee_bearer)
  values (p_refund_id, v_refund.order_id, v_refund.network, p_sender, p_chain_id, v_nonce, v_refund.destination,
    v_refund.amount, v_refund.fee_bearer)
  returning payout_id into v_payout_id;
  insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee)
  values (v_payout_id, 1, v_refund.order_id, 'pay', v_refund.amount - v_fee, p_gas_limit, p_max_fee, p_priority_fee);
  return 'prepared';
end
$$;

ALTER FUNCTION holdfast.prepare_payout(p_refund_id uuid, p_sender text, p_chain_id bigint, p_chain_nonce bigint, p_gas_limit bigint, p_max_fee numeric, p_priority_fee numeric, p_actor text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION prepare_payout(p_refund_id uuid, p_sender text, p_chain_id bigint, p_chain_nonce bigint, p_gas_limit bigint, p_max_fee numeric, p_priority_fee numeric, p_actor text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.prepare_payout(p_refund_id uuid, p_sender text, p_chain_id bigint, p_chain_nonce bigint, p_gas_limit bigint, p_max_fee numeric, p_priority_fee numeric, p_actor text) IS 'Payout step 1: takes an approved refund for payment (begin_payout), gives its payout the next nonce of the sender, and stores its first transaction, all in one transaction of the database.';

--
-- Name: present_output(uuid, text, text, integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index integer) RETURNS TABLE(asset text, amount numeric, state text, first_seen_at timestamp with time zone, last_first_seen_at timestamp with time zone, doubt text)
    LANGUAGE sql STABLE
    AS $$
  with said as (
    select distinct on (r.source) r.source, r.asset, r.amount, r.state, r.first_seen_at, r.received_at, r.report_no,
      case r.state when 'replaced' then 0 when 'dropped' then 1 when 'reorged' then 2 else 3 end as favour
    from payment_report r
    where r.order_id = p_order_id and r.network = p_network and r.tx_id = p_tx_id and r.output_index = p_output_index
    order by r.source, r.seq desc
  ), active as (
    select s.* from said s where not exists (select from retired_source x where x.source = s.source)
  ), word as (
    select * from active
    union all select * from said where not exists (select from active)
  ), fresh as (
    select * from word where favour = 3 or received_at > (select max(w.received_at) from word w) - interval '1 day'
  ), chosen as (
    select f.* from fresh f order by f.favour, f.state = 'final' desc, f.amount, f.report_no desc limit 1
  ), agreed as (
    select count(*) filter (where f.state = 'final' and (f.asset, f.amount) = (c.asset, c.amount)) as sources,
      coalesce(bool_or((f.asset, f.amount) <> (c.asset, c.amount)), false)
        or min(f.favour) < 3 and coalesce(bool_or(f.state = 'final'), false) as is_differing
    from fresh f cross join chosen c
  ), needed as (
    select required_sources(p_order_id, (select c.amount from chosen c)) as sources
  )
  select (select c.asset from chosen c), (select c.amount from chosen c),
    (select case when c.state = 'final' and a.sources < n.sources then 'seen' else c.state end from chosen c),
    (select min(w.first_seen_at) from word w), (select max(w.first_seen_at) from word w),
    case when a.is_differing then 'differing' when a.sources between 1 and n.sources - 1 then 'lone' end
  from agreed a cross join needed n
$$;

ALTER FUNCTION holdfast.present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index integer) IS 'Quorum view of one output: what its sources together say of it now; all columns null when it has no report.';

--
-- Name: promised_refunds(uuid, text, text, text, uuid); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.promised_refunds(p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid) RETURNS numeric
    LANGUAGE sql STABLE
    AS $$
  select coalesce(sum(r.amount), 0) from refund r
  where r.order_id = p_order_id and (r.network, r.asset) = (p_network, p_asset) and r.token is not distinct from p_token
    and r.status not in ('rejected', 'cancelled') and r.refund_id is distinct from p_except
$$;

ALTER FUNCTION holdfast.promised_refunds(p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid) OWNER TO holdfast_owner;

--
-- Name: FUNCTION promised_refunds(p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.promised_refunds(p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid) IS 'What the refunds of an order promise or have paid of one asset, in base units: all that were not rejected or cancelled.';

--
-- Name: quote_due(numeric, numeric, smallint); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.quote_due(total numeric, rate numeric, decimals smallint) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
  -- Exact: both sides are scaled to integers, and div() truncates, so this rounds up to one base unit.
  select div(total * 100 * power(10::numeric, decimals) + rate * 100 - 1, rate * 100)
$$;

ALTER FUNCTION holdfast.quote_due(total numeric, rate numeric, decimals smallint) OWNER TO holdfast_owner;

--
-- Name: FUNCTION quote_due(total numeric, rate numeric, decimals smallint); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.quote_due(total numeric, rate numeric, decimals smallint) IS 'Base units due, rounded up; equal to quoteDue in test/support/oracle.ts.';

--
-- Name: received_money(uuid, text, text, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.received_money(p_order_id uuid, p_network text, p_asset text, p_token text) RETURNS numeric
    LANGUAGE sql STABLE
    AS $$
  select case
    when p_token is not null then 0
    when exists (
      select from invoice i where (i.order_id, i.network, i.asset) = (p_order_id, p_network, p_asset)) then (
      select m.final + m.late_final - m.accepted from order_money(array[p_order_id]) m)
    else (
      -- Several sources may have reported an output: the least amount counts.
      select coalesce(sum(u.amount), 0) from (
        select min(x.amount) as amount from unattributed_output x
        where (x.order_id, x.network, x.asset) = (p_order_id, p_network, p_asset)
        group by x.tx_id, x.output_index) u) end
$$;

ALTER FUNCTION holdfast.received_money(p_order_id uuid, p_network text, p_asset text, p_token text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION received_money(p_order_id uuid, p_network text, p_asset text, p_token text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.received_money(p_order_id uuid, p_network text, p_asset text, p_token text) IS 'What an order received for its refunds to come out of, in base units: its final money (order_money), less what its replacement took; of an asset other than the invoice''s, final outputs at its address that were credited to no order.';

--
-- Name: record_report(text, jsonb, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.record_report(p_source text, p_facts jsonb, p_actor text) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
  v_order_ids uuid[];
  v_order_id uuid;
  v_fresh int;
  v_conflict text;
begin
  perform set_config('holdfast.actor', p_actor, true);
  if exists (select from retired_source x where x.source = p_source) then
    raise exception 'payment_report: the source % is retired', p_source using errcode = 'HF076';
  end if;
  perform 1 from orders o
  where o.order_id in (
    select i.order_id from invoice i
    join jsonb_to_recordset(p_facts) f (network text, address text) on f.network = i.network and f.address = i.address)
  order by o.order_id for no key update;

  with fresh as (
    insert into payment_report (source, report_id, network, asset, tx_id, output_index, seq, state, address, amount,
      block_height, block_hash, first_seen_at, order_id)
    select p_source, r.report_id, r.network, r.asset, r.tx_id, r.output_index, r.seq, r.state, r.address, r.amount,
      r.block_height, r.block_hash, r.first_seen_at, i.order_id
    from jsonb_to_recordset(p_facts) r (report_id text, network text, asset text, tx_id text, output_index int, seq int,
      state text, address text, amount numeric, block_height bigint, block_hash text, first_seen_at timestamptz)
    left join invoice i on i.network = r.network and i.address = r.address
    on conflict do nothing
    returning order_id
  )
  select count(*), coalesce(array_agg(distinct order_id) filter (where order_id is not null), '{}')
  into v_fresh, v_order_ids from fresh;

  -- A fact that was skipped must be stored as it is. The insert has waited for a concurrent report of the same seq, and
  -- this statement sees what that one committed.
  if v_fresh < jsonb_array_length(p_facts) then
    select (f.place - 1)::text into v_conflict
    from rows from (jsonb_to_recordset(p_facts) as (network text, asset text, tx_id text, output_index int, seq int,
      state text, address text, amount numeric, block_height bigint, block_hash text)) with ordinality
      f (network, asset, tx_id, output_index, seq, state, address, amount, block_height, block_hash, place)
    where not exists (
      select from payment_report p
      where p.source = p_source and p.network = f.network and p.tx_id = f.tx_id and p.output_index = f.output_index
        and p.seq = f.seq and (p.asset, p.state, p.address, p.amount) = (f.asset, f.state, f.address, f.amount)
        and (p.block_height, p.block_hash) is not distinct from (f.block_height, f.block_hash))
    order by f.place limit 1;
    if v_conflict is not null then
      raise exception 'payment_report: another fact is stored under this seq'
        using errcode = 'HF036', detail = v_conflict;
    end if;
  end if;

  if cardinality(v_order_ids) > 0 then
    -- One order at a time, so that its holds are found by its key. With an array of keys, an index of all holds of the
    -- shop looks as cheap to the planner.
    foreach v_order_id in array v_order_ids loop
      update reservation r set expires_at = greatest(r.expires_at, clock_timestamp() + i.confirm_within)
      from invoice i
      where i.order_id = v_order_id and r.order_id = v_order_id and r.state = 'held'
        and r.expires_at - i.grace <= i.expires_at and (select is_enough_seen(v_order_id));
    end loop;
    -- Not a start that a relay has leased: its row is deleted once the workflow runs, and that skips locked rows.
    update workflow_start set urgency = 0
    where order_id = any (v_order_ids) and urgency <> 0
      and (claimed_until is null or claimed_until < clock_timestamp());
    perform request_wake(v_order_ids);
  end if;
  return v_fresh;
end
$$;

ALTER FUNCTION holdfast.record_report(p_source text, p_facts jsonb, p_actor text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION record_report(p_source text, p_facts jsonb, p_actor text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.record_report(p_source text, p_facts jsonb, p_actor text) IS 'Inbox: stores a verified report of a watcher, extends holds for what was seen in time, and wakes the workflows.';

--
-- Name: refund_state(uuid, text, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.refund_state(p_order_id uuid, p_status text, p_payment_state text) RETURNS text
    LANGUAGE sql STABLE
    AS $$
  select case
    when p_status = 'pending' or m.paying + m.paid = 0 then p_payment_state
    when p_status <> 'cancelled' and p_payment_state in ('at_risk', 'reversed') then p_payment_state
    when p_status <> 'cancelled' and is_enough(m.received - m.paying - m.paid, m.amount_due) then 'paid'
    when p_status <> 'cancelled' and not is_enough(m.received - m.owed, m.amount_due) then 'reversed'
    when m.paying > 0 then 'refunding'
    when m.received - m.paid <= m.dust_floor then 'refunded'
    else 'partially_refunded' end
  from (
    select i.amount_due, c.dust_floor, received_money(i.order_id, i.network, i.asset, null) as received,
      coalesce(sum(r.amount) filter (where r.status = 'paying'), 0) as paying,
      coalesce(sum(r.amount) filter (where r.status = 'paid'), 0) as paid,
      coalesce(sum(r.amount) filter (where r.kind = 'owed' and r.status in ('paying', 'paid')), 0) as owed
    from invoice i join currency c on c.currency = i.asset
    left join refund r on r.order_id = i.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
    where i.order_id = p_order_id group by i.order_id, c.currency
  ) m
$$;

ALTER FUNCTION holdfast.refund_state(p_order_id uuid, p_status text, p_payment_state text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION refund_state(p_order_id uuid, p_status text, p_payment_state text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.refund_state(p_order_id uuid, p_status text, p_payment_state text) IS 'Payment state of an order once its refunds are counted: the copy of refundStateOf in src/domain/refund.ts.';

--
-- Name: refuse_hold_change(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.refuse_hold_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  raise exception 'reservation: from % until % to % until %', old.state, old.expires_at, new.state, new.expires_at using errcode = 'HF021';
end
$$;

ALTER FUNCTION holdfast.refuse_hold_change() OWNER TO holdfast_owner;

--
-- Name: FUNCTION refuse_hold_change(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.refuse_hold_change() IS 'Refuses a change of a hold that its trigger found to be no legal move.';

--
-- Name: refuse_network_name(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.refuse_network_name() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  raise exception '%: not a name of a network', tg_table_name using errcode = 'check_violation';
end
$$;

ALTER FUNCTION holdfast.refuse_network_name() OWNER TO holdfast_owner;

--
-- Name: FUNCTION refuse_network_name(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.refuse_network_name() IS 'Refuses a row for a name that its trigger found to be none.';

--
-- Name: refuse_rewriting(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.refuse_rewriting() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  raise exception '%: history is not rewritten', tg_table_name using errcode = 'HF007';
end
$$;

ALTER FUNCTION holdfast.refuse_rewriting() OWNER TO holdfast_owner;

--
-- Name: FUNCTION refuse_rewriting(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.refuse_rewriting() IS 'Append-only guard: a trigger function that refuses any update, delete or truncate of history.';

--
-- Name: refuse_time_to_come(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.refuse_time_to_come() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  raise exception '%: a time that is still to come', tg_table_name using errcode = 'check_violation';
end
$$;

ALTER FUNCTION holdfast.refuse_time_to_come() OWNER TO holdfast_owner;

--
-- Name: FUNCTION refuse_time_to_come(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.refuse_time_to_come() IS 'Refuses a row for a time that its trigger found to lie ahead.';

--
-- Name: refuse_truncate(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  raise exception '%: rows would go without a trace', tg_table_name using errcode = 'HF009';
end
$$;

ALTER FUNCTION holdfast.refuse_truncate() OWNER TO holdfast_owner;

--
-- Name: refuse_unsealing(); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.refuse_unsealing() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
  raise exception '%: what was sealed stays', tg_table_name using errcode = 'HF011';
end
$$;

ALTER FUNCTION holdfast.refuse_unsealing() OWNER TO holdfast_owner;

--
-- Name: FUNCTION refuse_unsealing(); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.refuse_unsealing() IS 'No statement changes or removes a checkpoint, or removes a tile, whoever runs it.';

--
-- Name: refused_orders(jsonb, integer[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.refused_orders(p_orders jsonb, p_fresh integer[]) RETURNS jsonb
    LANGUAGE sql STABLE
    AS $$
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

ALTER FUNCTION holdfast.refused_orders(p_orders jsonb, p_fresh integer[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION refused_orders(p_orders jsonb, p_fresh integer[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.refused_orders(p_orders jsonb, p_fresh integer[]) IS 'Validation: the orders that cannot be accepted whatever the stock.';

--
-- Name: replace_payout(uuid, integer, text, numeric, numeric); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.replace_payout(p_payout_id uuid, p_after integer, p_kind text, p_max_fee numeric, p_priority_fee numeric) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  v_payout payout;
  v_last payout_attempt;
  v_kind text;
  v_value numeric;
begin
  select * into v_payout from payout p where p.payout_id = p_payout_id for no key update;
  select * into v_last from payout_attempt a where a.payout_id = p_payout_id order by a.attempt desc limit 1;
  if v_payout.payout_id is null or v_payout.status in ('confirmed', 'failed') then
    return 'refused';
  elsif v_last.attempt <> p_after then
    return 'repeated';
  end if;
  -- Once a payout is to end, it is no more sent: a bump of its filler is a filler.
  v_kind := case v_last.kind when 'fill' then 'fill' else p_kind end;
  v_value := case
    when v_kind = 'fill' then 0
    when v_payout.fee_bearer = 'customer' then v_payout.amount - v_last.gas_limit * p_max_fee
    else v_payout.amount end;
  if v_kind = 'pay' and v_value <= 0 then
    return 'fee_above_amount';
  end if;
  insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee)
  values (p_payout_id, v_last.attempt + 1, v_payout.order_id, v_kind, v_value, v_last.gas_limit, p_max_fee,
    p_priority_fee);
  update payout p set status = 'stuck' where p.payout_id = p_payout_id;
  return 'replaced';
end
$$;

ALTER FUNCTION holdfast.replace_payout(p_payout_id uuid, p_after integer, p_kind text, p_max_fee numeric, p_priority_fee numeric) OWNER TO holdfast_owner;

--
-- Name: FUNCTION replace_payout(p_payout_id uuid, p_after integer, p_kind text, p_max_fee numeric, p_priority_fee numeric); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.replace_payout(p_payout_id uuid, p_after integer, p_kind text, p_max_fee numeric, p_priority_fee numeric) IS 'Replacement by fee: adds a transaction with the same nonce and a higher fee to a payout, to be signed and sent.';

--
-- Name: reported_elsewhere(text, text[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.reported_elsewhere(p_network text, p_addresses text[]) RETURNS TABLE(address text, tx_id text, output_index integer, amount numeric, is_explained boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
  with word as (
    select distinct on (i.address, r.tx_id, r.output_index, r.source)
      i.address, i.order_id, r.tx_id, r.output_index, r.source, r.amount, r.state, r.block_height
    from invoice i
    join payment_report r on r.order_id = i.order_id and (r.network, r.asset) = (i.network, i.asset)
    where i.network = p_network and i.address = any (p_addresses)
    order by i.address, r.tx_id, r.output_index, r.source, r.seq desc
  )
  select w.address, w.tx_id, w.output_index, min(w.amount),
    coalesce(bool_or(w.state = 'final' and w.block_height <= c.settled_height
      and (w.block_height < c.start_height or required_sources(w.order_id, w.amount) = 1)), false)
  from word w
  join chain_status c on (c.network, c.source) = (p_network, own_source())
  where w.source <> c.source and w.state in ('seen', 'final')
    and not exists (
      select from chain_output o
      where (o.network, o.tx_id, o.output_index, o.source) = (p_network, w.tx_id, w.output_index, c.source)
        and o.state <> 'dropped')
  group by w.address, w.tx_id, w.output_index
$$;

ALTER FUNCTION holdfast.reported_elsewhere(p_network text, p_addresses text[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION reported_elsewhere(p_network text, p_addresses text[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.reported_elsewhere(p_network text, p_addresses text[]) IS 'Outputs to addresses of the shop that other sources have reported as seen or final, and the session''s source (own_source) has not: it began after them, or its node does not show what contracts send.';

--
-- Name: request_wake(uuid[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.request_wake(p_order_ids uuid[]) RETURNS void
    LANGUAGE sql
    AS $$
  insert into order_wake (order_id) select id from unnest(p_order_ids) as id order by id
  on conflict (order_id) do update
    -- A signal already on its way will find this reason too: an assessment takes all there is and removes the row.
    set wanted_seq = order_wake.wanted_seq + 1, dead_reason = null,
        next_at = case when order_wake.dead_reason is null then order_wake.next_at else clock_timestamp() end
$$;

ALTER FUNCTION holdfast.request_wake(p_order_ids uuid[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION request_wake(p_order_ids uuid[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.request_wake(p_order_ids uuid[]) IS 'Asks that these orders'' workflows look again; called inside the transaction that gives them a reason to.';

--
-- Name: require_sources(text, integer, numeric, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.require_sources(p_asset text, p_sources integer, p_above numeric, p_reason text) RETURNS void
    LANGUAGE sql
    AS $$
  insert into source_rule (asset, sources, above, reason) values (p_asset, p_sources, p_above, p_reason)
$$;

ALTER FUNCTION holdfast.require_sources(p_asset text, p_sources integer, p_above numeric, p_reason text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION require_sources(p_asset text, p_sources integer, p_above numeric, p_reason text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.require_sources(p_asset text, p_sources integer, p_above numeric, p_reason text) IS 'Quorum: sets how many sources must agree before money is final, for orders made from now on whose amount due, or an output of theirs, is above p_above base units.';

--
-- Name: required_sources(uuid, numeric); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.required_sources(p_order_id uuid, p_amount numeric) RETURNS integer
    LANGUAGE sql STABLE
    AS $$
  select coalesce((
    select case when greatest(i.amount_due, p_amount, case when p_amount = 0 then (
        select max(p.amount) from payment p
        where p.order_id = i.order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')) end) > r.above
      then r.sources end
    from invoice i join source_rule r on r.asset = i.asset and r.since <= i.created_at
    where i.order_id = p_order_id order by r.since desc limit 1), 1)::int
$$;

ALTER FUNCTION holdfast.required_sources(p_order_id uuid, p_amount numeric) OWNER TO holdfast_owner;

--
-- Name: FUNCTION required_sources(p_order_id uuid, p_amount numeric); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.required_sources(p_order_id uuid, p_amount numeric) IS 'Quorum: how many sources must agree before an output of p_amount base units is final money of an order, and must have read its network before it expires (p_amount 0: its largest payment in time), by the rule that the order was made under (source_rule).';

--
-- Name: restart_orders(uuid[], text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.restart_orders(p_order_ids uuid[], p_reason text) RETURNS TABLE(order_id uuid, generation integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
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

ALTER FUNCTION holdfast.restart_orders(p_order_ids uuid[], p_reason text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION restart_orders(p_order_ids uuid[], p_reason text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.restart_orders(p_order_ids uuid[], p_reason text) IS 'Restart: has the workflows of these open orders started again; returns those that had no pending start.';

--
-- Name: resume_orders(integer); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.resume_orders(p_limit integer) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
  v_order_ids uuid[];
begin
  with free as (
    select s.order_id from suspended_order s
    where s.woken_at is null and not exists (select from suspended_network n where n.network = s.network)
    order by s.order_id limit p_limit for update of s skip locked
  ), woken as (
    update suspended_order s set woken_at = clock_timestamp() from free f where s.order_id = f.order_id
    returning s.order_id
  )
  select coalesce(array_agg(w.order_id), '{}') into v_order_ids from woken w;
  perform request_wake(v_order_ids);
  return cardinality(v_order_ids);
end
$$;

ALTER FUNCTION holdfast.resume_orders(p_limit integer) OWNER TO holdfast_owner;

--
-- Name: FUNCTION resume_orders(p_limit integer); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.resume_orders(p_limit integer) IS 'Circuit breaker: asks for the assessment of up to p_limit orders that waited for the end of a suspension.';

--
-- Name: retire_source(text, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.retire_source(p_source text, p_reason text) RETURNS integer
    LANGUAGE plpgsql
    AS $$
declare
  v_order_ids uuid[];
begin
  insert into retired_source (source, reason) values (p_source, p_reason);
  v_order_ids := array(
    select distinct r.order_id from payment_report r
    where r.source = p_source and r.order_id is not null and (r.state in ('reorged', 'dropped', 'replaced')
      or exists (
        select from source_doubt d
        where (d.network, d.tx_id, d.output_index) = (r.network, r.tx_id, r.output_index)))
    order by 1);
  perform 1 from orders o where o.order_id = any (v_order_ids) order by o.order_id for no key update;
  update payment_report r set is_assessed = false
  where r.order_id = any (v_order_ids) and r.source = p_source and r.is_assessed
    and (r.state in ('reorged', 'dropped', 'replaced')
      or exists (
        select from source_doubt d
        where (d.network, d.tx_id, d.output_index) = (r.network, r.tx_id, r.output_index)));
  perform request_wake(v_order_ids);
  return cardinality(v_order_ids);
end
$$;

ALTER FUNCTION holdfast.retire_source(p_source text, p_reason text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION retire_source(p_source text, p_reason text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.retire_source(p_source text, p_reason text) IS 'Retires a source of reports: from now on its word does not stand against others, and orders it stood against, or about which it did not agree with another source, are assessed again.';

--
-- Name: revive_relays(uuid[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.revive_relays(p_order_ids uuid[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
  update workflow_start set dead_reason = null, attempts = 0, next_at = clock_timestamp()
  where order_id = any (p_order_ids) and dead_reason is not null;
  update order_wake set dead_reason = null, attempts = 0, next_at = clock_timestamp()
  where order_id = any (p_order_ids) and claimed_by is null;
$$;

ALTER FUNCTION holdfast.revive_relays(p_order_ids uuid[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION revive_relays(p_order_ids uuid[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.revive_relays(p_order_ids uuid[]) IS 'Lets starts and wakes of these orders be tried again at once, also those that were given up.';

--
-- Name: set_hold_aside(uuid, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.set_hold_aside(p_order_id uuid, p_reason text) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
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

ALTER FUNCTION holdfast.set_hold_aside(p_order_id uuid, p_reason text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION set_hold_aside(p_order_id uuid, p_reason text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.set_hold_aside(p_order_id uuid, p_reason text) IS 'Sets an order aside whose expiry failed by itself, with the SQLSTATE it failed with.';

--
-- Name: settle_payout(uuid, text, numeric, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.settle_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text) RETURNS text
    LANGUAGE plpgsql
    AS $$
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select r.order_id from refund r where r.refund_id = p_refund_id) for update;
  if exists (select from payout p where p.refund_id = p_refund_id and p.status not in ('confirmed', 'failed')) then
    return 'live';
  elsif exists (select from refund r where r.tx_id = p_tx_id and r.refund_id <> p_refund_id)
    or exists (
      select from payout_attempt a join payout p on p.payout_id = a.payout_id
      where a.tx_id = p_tx_id and p.refund_id <> p_refund_id) then
    return 'taken';
  end if;
  return finish_payout(p_refund_id, p_tx_id, p_network_fee, p_actor);
end
$$;

ALTER FUNCTION holdfast.settle_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION settle_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.settle_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text) IS 'Settlement of a payout by an operator: a transaction paid the refund, but none that its payouts know, or one that was released too early.';

--
-- Name: settle_refund_state(uuid); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.settle_refund_state(p_order_id uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  update orders o set payment_state = s.state
  from (
    select refund_state(p_order_id, x.status, x.payment_state) as state from orders x where x.order_id = p_order_id) s
  where o.order_id = p_order_id and o.payment_state <> s.state;
end
$$;

ALTER FUNCTION holdfast.settle_refund_state(p_order_id uuid) OWNER TO holdfast_owner;

--
-- Name: FUNCTION settle_refund_state(p_order_id uuid); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.settle_refund_state(p_order_id uuid) IS 'Brings the payment state of an order up to date with its refunds (refund_state).';

--
-- Name: settle_report(text, text, integer, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.settle_report(p_network text, p_tx_id text, p_output_index integer, p_decision text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
declare
  v_stored int;
  v_source text := own_source();
begin
  if p_decision not in ('report_again', 'discard') then
    raise exception 'chain_report: % is not a decision: report_again or discard', p_decision;
  end if;
  if not exists (
    select from chain_operation o
    where (o.network, o.source, o.operation, o.tx_id, o.output_index)
        = (p_network, v_source, p_decision, p_tx_id, p_output_index)
      and o.xmin = pg_current_xact_id()::xid) then
    raise exception 'chain_report: the operation % is not noted', p_decision using errcode = 'HF022';
  end if;
  perform 1 from chain_status c where (c.network, c.source) = (p_network, v_source) for no key update;
  if p_decision = 'discard' and not exists (
    select from chain_report r
    where (r.network, r.source, r.tx_id, r.output_index) = (p_network, v_source, p_tx_id, p_output_index)
      and r.refusals > 0)
  then
    return 'unknown';
  end if;
  select coalesce(max(r.seq), 0) into v_stored
  from payment_report r
  where (r.network, r.source, r.tx_id, r.output_index) = (p_network, v_source, p_tx_id, p_output_index);

  delete from chain_report r
  where (r.network, r.source, r.tx_id, r.output_index) = (p_network, v_source, p_tx_id, p_output_index);
  update chain_output o
  set state = case p_decision when 'discard' then 'dropped' else o.state end,
    seq = greatest(o.seq, v_stored) + case p_decision when 'discard' then 0 else 1 end
  where (o.network, o.source, o.tx_id, o.output_index) = (p_network, v_source, p_tx_id, p_output_index);
  if not found then
    return 'unknown';
  end if;
  if p_decision = 'report_again' then
    insert into chain_report (network, source, tx_id, output_index, seq, state, block_height, block_hash, first_seen_at)
    select o.network, o.source, o.tx_id, o.output_index, o.seq, o.state, o.block_height, o.block_hash, o.first_seen_at
    from chain_output o
    where (o.network, o.source, o.tx_id, o.output_index) = (p_network, v_source, p_tx_id, p_output_index);
  else
    -- Whether the money is there after all, the balance tells.
    update chain_balance b set checked_at = null
    from chain_output o
    where (o.network, o.source, o.tx_id, o.output_index) = (p_network, v_source, p_tx_id, p_output_index)
      and (b.network, b.source, b.address) = (o.network, o.source, o.address);
  end if;
  return 'done';
end
$$;

ALTER FUNCTION holdfast.settle_report(p_network text, p_tx_id text, p_output_index integer, p_decision text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION settle_report(p_network text, p_tx_id text, p_output_index integer, p_decision text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.settle_report(p_network text, p_tx_id text, p_output_index integer, p_decision text) IS 'Dead letters of a watcher: settles an output of the session''s source (own_source), whose report was refused, or whose last word in the shop is wrong.';

--
-- Name: step_order(uuid, integer, integer, text); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.step_order(p_order_id uuid, p_generation integer, p_step integer, p_what text) RETURNS TABLE(outcome text, status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text, expires_in_ms integer, has_unassessed boolean)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
declare
  v_outcome text := fence_step(p_order_id, p_generation, p_step);
  v_status text;
begin
  if v_outcome = 'entered' then
    select o.status into v_status from orders o where o.order_id = p_order_id;
    case p_what
      when 'reserve' then
        -- Never again for one that did hold some.
        if v_status = 'pending' and not exists (select from reservation r where r.order_id = p_order_id) then
          perform take_stock(p_order_id);
        end if;
      when 'release' then
        if v_status in ('pending', 'processing') then
          perform end_orders(array[p_order_id], 'out_of_stock', 'released', 'system');
        end if;
      when 'expire' then
        perform expire_orders(array[p_order_id], false);
    end case;
    update orders set generation = p_generation, step = p_step where order_id = p_order_id;
  end if;
  return query select v_outcome, s.* from order_state(p_order_id) s;
end
$$;

ALTER FUNCTION holdfast.step_order(p_order_id uuid, p_generation integer, p_step integer, p_what text) OWNER TO holdfast_owner;

--
-- Name: FUNCTION step_order(p_order_id uuid, p_generation integer, p_step integer, p_what text); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.step_order(p_order_id uuid, p_generation integer, p_step integer, p_what text) IS 'One step of an order''s workflow that is no command.';

--
-- Name: store_rates(jsonb, integer[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.store_rates(p_orders jsonb, p_fresh integer[]) RETURNS void
    LANGUAGE sql
    AS $$
  insert into quoted_rate (rate_id, asset, currency, rate, made_at, prices)
  select distinct on (f.id) f.id, o.asset, o.currency, o.rate, f.made_at, f.prices
  from jsonb_to_recordset(p_orders) o (ordinal int, asset text, currency text, rate numeric, rate_from jsonb)
  cross join jsonb_to_record(o.rate_from) f (id uuid, made_at timestamptz, prices jsonb)
  where o.ordinal = any (p_fresh) and f.id is not null
  order by f.id
  on conflict do nothing
$$;

ALTER FUNCTION holdfast.store_rates(p_orders jsonb, p_fresh integer[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION store_rates(p_orders jsonb, p_fresh integer[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.store_rates(p_orders jsonb, p_fresh integer[]) IS 'Rates of accepted orders: stores where each came from, once for all orders that share it.';

--
-- Name: suspend_order(uuid, boolean); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.suspend_order(p_order_id uuid, p_is_held boolean) RETURNS text
    LANGUAGE plpgsql
    AS $$
declare
  v_network text := (select i.network from invoice i where i.order_id = p_order_id);
begin
  if exists (select from suspended_network n where n.network = v_network) then
    if p_is_held then
      insert into suspended_order (order_id, network)
      select p_order_id, v_network from assessed_order(p_order_id) a
      where a.is_undecided or a.status = 'pending' and is_enough(a.final, a.amount_due)
      on conflict (order_id) do update set woken_at = null where suspended_order.woken_at is not null;
    end if;
    return 'suspended';
  end if;
  if p_is_held then
    delete from suspended_order s where s.order_id = p_order_id;
    if found then
      return 'resumed';
    end if;
  end if;
  return 'free';
end
$$;

ALTER FUNCTION holdfast.suspend_order(p_order_id uuid, p_is_held boolean) OWNER TO holdfast_owner;

--
-- Name: FUNCTION suspend_order(p_order_id uuid, p_is_held boolean); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.suspend_order(p_order_id uuid, p_is_held boolean) IS 'Circuit breaker, for one order in an assessment: ''suspended'' while its network is suspended; ''resumed'' when it waited for the end of that; else ''free''.';

--
-- Name: take_quota(bytea[], integer[], bytea[], integer[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.take_quota(p_users bytea[], p_user_limits integer[], p_addresses bytea[], p_address_limits integer[]) RETURNS TABLE(place integer, subject text, wait_ms integer)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'holdfast', 'pg_catalog'
    AS $$
declare
  v_keys bytea[];
  v_used int[];
  v_taken int[];
  v_user int;
  v_address int;
begin
  -- The clock is read once the row is locked: two processes never count in different orders.
  with counted as (
    insert into quota_window as w (key, second)
    select distinct k, floor(extract(epoch from clock_timestamp()))::bigint
    from unnest(p_users || p_addresses) k order by k
    on conflict (key) do update set (second, hits) = (
      select greatest(w.second, t.second),
        (array_fill(0, array[greatest(0, least(61, t.second - w.second))::int]) || w.hits)[1:61]
      from (select floor(extract(epoch from clock_timestamp()))::bigint as second offset 0) t
    )
    returning w.key, (select sum(h) from unnest(w.hits) h)::int as used
  )
  select array_agg(c.key order by c.key), array_agg(c.used order by c.key) into v_keys, v_used from counted c;
  v_taken := array_fill(0, array[cardinality(v_keys)]);

  for v_place in 1 .. cardinality(p_users) loop
    v_user := array_position(v_keys, p_users[v_place]);
    v_address := array_position(v_keys, p_addresses[v_place]);
    subject := case
      when v_used[v_user] >= p_user_limits[v_place] then 'user'
      when v_used[v_address] >= p_address_limits[v_place] then 'address'
    end;
    if subject is null then
      v_used[v_user] := v_used[v_user] + 1;
      v_taken[v_user] := v_taken[v_user] + 1;
      v_used[v_address] := v_used[v_address] + 1;
      v_taken[v_address] := v_taken[v_address] + 1;
    else
      -- The oldest slots are freed first; what this statement counted itself is freed last.
      wait_ms := 1000 * coalesce((
        select min(62 - s.age) filter (where s.is_room) from (
          select a.age,
            v_used[case subject when 'user' then v_user else v_address end] - sum(a.h) over (order by a.age desc)
              < case subject when 'user' then p_user_limits[v_place] else p_address_limits[v_place] end as is_room
          from quota_window w, unnest(w.hits) with ordinality a(h, age)
          where w.key = case subject when 'user' then p_users[v_place] else p_addresses[v_place] end
        ) s), 61);
      place := v_place;
      return next;
    end if;
  end loop;

  update quota_window w set hits[1] = w.hits[1] + t.taken
  from unnest(v_keys, v_taken) t(key, taken) where w.key = t.key and t.taken > 0;
end
$$;

ALTER FUNCTION holdfast.take_quota(p_users bytea[], p_user_limits integer[], p_addresses bytea[], p_address_limits integer[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION take_quota(p_users bytea[], p_user_limits integer[], p_addresses bytea[], p_address_limits integer[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.take_quota(p_users bytea[], p_user_limits integer[], p_addresses bytea[], p_address_limits integer[]) IS 'Rate limit: counts calls in the sliding windows of their user and their address, each call in both or in none.';

--
-- Name: take_stock(uuid); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.take_stock(p_order_id uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
  perform 1 from stock where product_id in (select product_id from order_line where order_id = p_order_id)
  order by product_id for no key update;

  with wanted as (
    select l.product_id, sum(l.quantity)::bigint as quantity from order_line l where l.order_id = p_order_id group by 1
  ), fits as (
    select bool_and(s.on_hand - s.reserved >= w.quantity) as yes from wanted w join stock s using (product_id)
  ), held as (
    insert into reservation (order_id, product_id, quantity, expires_at)
    select p_order_id, w.product_id, w.quantity, i.expires_at + i.grace
    from wanted w, invoice i, fits where i.order_id = p_order_id and fits.yes returning product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, p_order_id, hold_no, 'reserve', 0, quantity, 'system' from held
  )
  update stock s set reserved = s.reserved + h.quantity, version = s.version + 1
  from held h where s.product_id = h.product_id;
end
$$;

ALTER FUNCTION holdfast.take_stock(p_order_id uuid) OWNER TO holdfast_owner;

--
-- Name: FUNCTION take_stock(p_order_id uuid); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.take_stock(p_order_id uuid) IS 'Holds stock for an order that never held any; takes nothing when it does not all fit.';

--
-- Name: take_wanted(jsonb, integer[]); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.take_wanted(p_wanted jsonb, p_accepted integer[]) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

ALTER FUNCTION holdfast.take_wanted(p_wanted jsonb, p_accepted integer[]) OWNER TO holdfast_owner;

--
-- Name: FUNCTION take_wanted(p_wanted jsonb, p_accepted integer[]); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.take_wanted(p_wanted jsonb, p_accepted integer[]) IS 'Reservation in sum: adds what these orders want to the reserved count of each product.';

--
-- Name: write_orders(jsonb, integer[], timestamp with time zone); Type: FUNCTION; Schema: holdfast; Owner: holdfast_owner
--

CREATE FUNCTION holdfast.write_orders(p_orders jsonb, p_accepted integer[], p_now timestamp with time zone) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
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

ALTER FUNCTION holdfast.write_orders(p_orders jsonb, p_accepted integer[], p_now timestamp with time zone) OWNER TO holdfast_owner;

--
-- Name: FUNCTION write_orders(p_orders jsonb, p_accepted integer[], p_now timestamp with time zone); Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON FUNCTION holdfast.write_orders(p_orders jsonb, p_accepted integer[], p_now timestamp with time zone) IS 'Writes accepted orders with their lines, invoices, holds, stock movements and workflow starts; not the stock itself.';

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: account; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.account (
    user_id bigint NOT NULL,
    disabled_at timestamp with time zone,
    tokens_valid_after timestamp with time zone NOT NULL,
    version bigint NOT NULL,
    CONSTRAINT account_times_finite CHECK ((isfinite(disabled_at) AND isfinite(tokens_valid_after))),
    CONSTRAINT account_user_id_positive CHECK ((user_id > 0)),
    CONSTRAINT account_version_positive CHECK ((version > 0))
);

ALTER TABLE holdfast.account OWNER TO holdfast_owner;

--
-- Name: TABLE account; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.account IS 'When an account was disabled, and since when its tokens must have been issued; each change has the next version.';

--
-- Name: chain_status; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.chain_status (
    network text NOT NULL,
    start_height bigint NOT NULL,
    scanned_height bigint NOT NULL,
    settled_height bigint NOT NULL,
    rewind_to bigint,
    tip_height bigint NOT NULL,
    tip_asked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    caught_up_at timestamp with time zone,
    compares_balances boolean DEFAULT false NOT NULL,
    rewind_given_at bigint,
    source text DEFAULT COALESCE(holdfast.own_source(), 'watcher-1'::text) NOT NULL,
    confirmations integer,
    CONSTRAINT chain_status_confirmations_range CHECK (((confirmations >= 1) AND (confirmations <= 1000000))),
    CONSTRAINT chain_status_height_order CHECK ((((start_height - 1) <= settled_height) AND (settled_height <= scanned_height))),
    CONSTRAINT chain_status_rewind_given_range CHECK ((rewind_given_at >= '-1'::integer)),
    CONSTRAINT chain_status_rewind_range CHECK ((rewind_to >= (start_height - 1))),
    CONSTRAINT chain_status_source_shape CHECK ((source ~ '^[a-z0-9-]{1,63}$'::text)),
    CONSTRAINT chain_status_start_not_negative CHECK ((start_height >= 0)),
    CONSTRAINT chain_status_time_order CHECK ((caught_up_at <= tip_asked_at)),
    CONSTRAINT chain_status_tip_not_negative CHECK ((tip_height >= 0))
)
WITH (fillfactor='50');

ALTER TABLE holdfast.chain_status OWNER TO holdfast_owner;

--
-- Name: TABLE chain_status; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.chain_status IS 'One row per network and source. caught_up_at: chain time, never later than the scanned tip''s own; what the chain held up to it is scanned and delivered.';

--
-- Name: COLUMN chain_status.compares_balances; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_status.compares_balances IS 'Whether the watcher of the network compares balances, as it said with its last stamp.';

--
-- Name: COLUMN chain_status.rewind_given_at; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_status.rewind_given_at IS 'scanned_height when rewind_to was given.';

--
-- Name: COLUMN chain_status.confirmations; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_status.confirmations IS 'Depth at which the source''s watcher calls a transfer final; null: it has not said yet.';

--
-- Name: retired_source; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.retired_source (
    source text NOT NULL,
    reason text NOT NULL,
    retired_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT retired_source_reason_length CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 200))),
    CONSTRAINT retired_source_shape CHECK ((source ~ '^[a-z0-9-]{1,63}$'::text))
);

ALTER TABLE holdfast.retired_source OWNER TO holdfast_owner;

--
-- Name: TABLE retired_source; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.retired_source IS 'Sources whose words count only for outputs that no other source has spoken of. Written by retire_source.';

--
-- Name: active_source; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.active_source AS
 SELECT network,
    source,
    settled_height,
    scanned_height,
    tip_asked_at,
    caught_up_at,
    compares_balances,
    confirmations
   FROM holdfast.chain_status c
  WHERE (NOT (EXISTS ( SELECT
           FROM holdfast.retired_source x
          WHERE (x.source = c.source))));

ALTER VIEW holdfast.active_source OWNER TO holdfast_owner;

--
-- Name: VIEW active_source; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.active_source IS 'Sources of each network that our watchers have and that are not retired, with how far they have read it.';

--
-- Name: address_pool; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.address_pool (
    network text NOT NULL,
    address text NOT NULL,
    asset text NOT NULL,
    key_id uuid NOT NULL,
    pool_no bigint NOT NULL,
    leased_by text,
    leased_at timestamp with time zone,
    CONSTRAINT address_pool_lease_whole CHECK (((leased_by IS NULL) = (leased_at IS NULL))),
    CONSTRAINT address_pool_leased_by_length CHECK (((char_length(leased_by) >= 1) AND (char_length(leased_by) <= 80)))
);

ALTER TABLE holdfast.address_pool OWNER TO holdfast_owner;

--
-- Name: TABLE address_pool; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.address_pool IS 'Addresses made ahead. A lease is for ever: an address that a process took and lost may have been shown to somebody.';

--
-- Name: address_pool_pool_no_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.address_pool ALTER COLUMN pool_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.address_pool_pool_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: asset_rate; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.asset_rate (
    asset text NOT NULL,
    currency text NOT NULL,
    rate numeric(20,2) NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT asset_rate_at_finite CHECK (isfinite(at)),
    CONSTRAINT asset_rate_positive CHECK ((rate > (0)::numeric))
);

ALTER TABLE holdfast.asset_rate OWNER TO holdfast_owner;

--
-- Name: TABLE asset_rate; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.asset_rate IS 'The price of one coin at which the api quotes now. The api repeats it, so an old row means no present price.';

--
-- Name: audit_checkpoint; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.audit_checkpoint (
    checkpoint_no bigint NOT NULL,
    continues_no bigint NOT NULL,
    size bigint NOT NULL,
    root bytea NOT NULL,
    after_entry_id bigint NOT NULL,
    last_entry_id bigint NOT NULL,
    below_txid xid8 NOT NULL,
    sealed_at timestamp(3) with time zone NOT NULL,
    previous bytea NOT NULL,
    key_id text NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT audit_checkpoint_after_not_negative CHECK ((after_entry_id >= 0)),
    CONSTRAINT audit_checkpoint_entries CHECK ((last_entry_id >= after_entry_id)),
    CONSTRAINT audit_checkpoint_key_shape CHECK ((key_id ~ '^[0-9a-f]{16}$'::text)),
    CONSTRAINT audit_checkpoint_no_positive CHECK ((checkpoint_no > 0)),
    CONSTRAINT audit_checkpoint_order CHECK (((continues_no >= 0) AND (continues_no < checkpoint_no))),
    CONSTRAINT audit_checkpoint_previous_length CHECK ((octet_length(previous) = 32)),
    CONSTRAINT audit_checkpoint_root_length CHECK ((octet_length(root) = 32)),
    CONSTRAINT audit_checkpoint_signature_length CHECK ((octet_length(signature) = 64)),
    CONSTRAINT audit_checkpoint_size_positive CHECK ((size > 0))
);

ALTER TABLE holdfast.audit_checkpoint OWNER TO holdfast_owner;

--
-- Name: TABLE audit_checkpoint; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.audit_checkpoint IS 'What the sealer signed: the root over all entries of transactions below below_txid. Roots stay when the entries are purged.';

--
-- Name: audit_entry; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.audit_entry (
    entry_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    txid xid8 NOT NULL,
    kind text NOT NULL,
    aggregate_id text,
    seq bigint,
    prev_hash bytea,
    actor text NOT NULL,
    body text NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_entry_actor_length CHECK (((char_length(actor) >= 1) AND (char_length(actor) <= 80))),
    CONSTRAINT audit_entry_aggregate_length CHECK (((char_length(aggregate_id) >= 1) AND (char_length(aggregate_id) <= 80))),
    CONSTRAINT audit_entry_hash_length CHECK ((octet_length(hash) = 32)),
    CONSTRAINT audit_entry_kind_length CHECK (((char_length(kind) >= 1) AND (char_length(kind) <= 40))),
    CONSTRAINT audit_entry_link_whole CHECK ((((aggregate_id IS NULL) = (seq IS NULL)) AND ((prev_hash IS NULL) = ((seq IS NULL) OR (seq = 1))))),
    CONSTRAINT audit_entry_prev_length CHECK ((octet_length(prev_hash) = 32)),
    CONSTRAINT audit_entry_seq_positive CHECK ((seq > 0))
)
PARTITION BY RANGE (at);

ALTER TABLE holdfast.audit_entry OWNER TO holdfast_owner;

--
-- Name: TABLE audit_entry; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.audit_entry IS 'One row per aggregate and transaction, or per statement for stock and rules: body says who changed what, hash = SHA-256(prev_hash || body). Append-only, a partition per month.';

--
-- Name: audit_entry_default; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.audit_entry_default (
    entry_id bigint CONSTRAINT audit_entry_entry_id_not_null NOT NULL,
    at timestamp with time zone CONSTRAINT audit_entry_at_not_null NOT NULL,
    txid xid8 CONSTRAINT audit_entry_txid_not_null NOT NULL,
    kind text CONSTRAINT audit_entry_kind_not_null NOT NULL,
    aggregate_id text,
    seq bigint,
    prev_hash bytea,
    actor text CONSTRAINT audit_entry_actor_not_null NOT NULL,
    body text CONSTRAINT audit_entry_body_not_null NOT NULL,
    hash bytea CONSTRAINT audit_entry_hash_not_null NOT NULL,
    CONSTRAINT audit_entry_actor_length CHECK (((char_length(actor) >= 1) AND (char_length(actor) <= 80))),
    CONSTRAINT audit_entry_aggregate_length CHECK (((char_length(aggregate_id) >= 1) AND (char_length(aggregate_id) <= 80))),
    CONSTRAINT audit_entry_hash_length CHECK ((octet_length(hash) = 32)),
    CONSTRAINT audit_entry_kind_length CHECK (((char_length(kind) >= 1) AND (char_length(kind) <= 40))),
    CONSTRAINT audit_entry_link_whole CHECK ((((aggregate_id IS NULL) = (seq IS NULL)) AND ((prev_hash IS NULL) = ((seq IS NULL) OR (seq = 1))))),
    CONSTRAINT audit_entry_prev_length CHECK ((octet_length(prev_hash) = 32)),
    CONSTRAINT audit_entry_seq_positive CHECK ((seq > 0))
)
WITH (toast_tuple_target='8160');

ALTER TABLE holdfast.audit_entry_default OWNER TO holdfast_owner;

--
-- Name: TABLE audit_entry_default; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.audit_entry_default IS 'Entries of a month that has no partition yet: nothing is lost for want of one.';

--
-- Name: audit_entry_entry_id_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.audit_entry ALTER COLUMN entry_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.audit_entry_entry_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: audit_head; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.audit_head (
    kind text NOT NULL,
    aggregate_id text NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_head_aggregate_length CHECK (((char_length(aggregate_id) >= 1) AND (char_length(aggregate_id) <= 80))),
    CONSTRAINT audit_head_hash_length CHECK ((octet_length(hash) = 32)),
    CONSTRAINT audit_head_kind_length CHECK (((char_length(kind) >= 1) AND (char_length(kind) <= 40))),
    CONSTRAINT audit_head_seq_positive CHECK ((seq > 0))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.audit_head OWNER TO holdfast_owner;

--
-- Name: TABLE audit_head; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.audit_head IS 'The newest entry of each chain that has more than one, written with the entry; no role but the owner writes it.';

--
-- Name: audit_pending; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE UNLOGGED TABLE holdfast.audit_pending (
    txid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    change_no bigint NOT NULL,
    kind text NOT NULL,
    aggregate_id text,
    is_birth boolean NOT NULL,
    is_first boolean NOT NULL,
    context jsonb NOT NULL,
    changes text NOT NULL,
    CONSTRAINT audit_pending_change_positive CHECK ((change_no > 0))
);

ALTER TABLE holdfast.audit_pending OWNER TO holdfast_owner;

--
-- Name: TABLE audit_pending; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.audit_pending IS 'What this transaction changed so far, one row per statement and aggregate; becomes entries when it commits.';

--
-- Name: audit_pending_change_no_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.audit_pending ALTER COLUMN change_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.audit_pending_change_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: audit_scope; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.audit_scope (
    table_name text NOT NULL,
    kind text,
    columns text[],
    ignored text[],
    reason text,
    CONSTRAINT audit_scope_decided CHECK ((((kind IS NULL) = (columns IS NULL)) AND ((kind IS NULL) = (ignored IS NULL)) AND ((kind IS NULL) = (reason IS NOT NULL)))),
    CONSTRAINT audit_scope_kind_length CHECK (((char_length(kind) >= 1) AND (char_length(kind) <= 40))),
    CONSTRAINT audit_scope_reason_length CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 300)))
);

ALTER TABLE holdfast.audit_scope OWNER TO holdfast_owner;

--
-- Name: TABLE audit_scope; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.audit_scope IS 'Every table, and what of it is audited, or why it is not. audit_watch writes it.';

--
-- Name: audit_tile; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.audit_tile (
    level smallint NOT NULL,
    tile_no bigint NOT NULL,
    hashes bytea NOT NULL,
    CONSTRAINT audit_tile_level_range CHECK (((level >= 0) AND (level <= 7))),
    CONSTRAINT audit_tile_no_not_negative CHECK ((tile_no >= 0)),
    CONSTRAINT audit_tile_width CHECK ((((octet_length(hashes) >= 32) AND (octet_length(hashes) <= 8192)) AND ((octet_length(hashes) % 32) = 0)))
);
ALTER TABLE ONLY holdfast.audit_tile ALTER COLUMN hashes SET STORAGE EXTERNAL;

ALTER TABLE holdfast.audit_tile OWNER TO holdfast_owner;

--
-- Name: TABLE audit_tile; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.audit_tile IS 'The tree: 256 neighbouring hashes a row, of leaves at level 0, of subtrees of 256 leaves at level 1, and so on.';

--
-- Name: chain_balance; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.chain_balance (
    network text NOT NULL,
    address text NOT NULL,
    height bigint NOT NULL,
    block_hash text NOT NULL,
    balance numeric(78,0) NOT NULL,
    told numeric(78,0) NOT NULL,
    set_aside numeric(78,0) DEFAULT 0 NOT NULL,
    unexplained numeric(78,0) NOT NULL,
    checked_at timestamp with time zone,
    found_at timestamp with time zone,
    attributed_at timestamp with time zone,
    source text DEFAULT COALESCE(holdfast.own_source(), 'watcher-1'::text) NOT NULL,
    withdrawn numeric(78,0) DEFAULT 0 NOT NULL,
    CONSTRAINT chain_balance_address_length CHECK (((char_length(address) >= 1) AND (char_length(address) <= 128))),
    CONSTRAINT chain_balance_balance_not_negative CHECK ((balance >= (0)::numeric)),
    CONSTRAINT chain_balance_found_whole CHECK (((unexplained > (0)::numeric) = (found_at IS NOT NULL))),
    CONSTRAINT chain_balance_hash_length CHECK (((char_length(block_hash) >= 1) AND (char_length(block_hash) <= 128))),
    CONSTRAINT chain_balance_height_not_negative CHECK ((height >= 0)),
    CONSTRAINT chain_balance_open CHECK (((unexplained = (0)::numeric) OR (attributed_at IS NULL))),
    CONSTRAINT chain_balance_set_aside_not_negative CHECK ((set_aside >= (0)::numeric)),
    CONSTRAINT chain_balance_told_not_negative CHECK ((told >= (0)::numeric))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.chain_balance OWNER TO holdfast_owner;

--
-- Name: TABLE chain_balance; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.chain_balance IS 'The balance of a watched address at the block height, and how much of it no reported transfer explains. checked_at and found_at are chain time, checked_at that of the very block.';

--
-- Name: COLUMN chain_balance.withdrawn; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_balance.withdrawn IS 'How much of what reported transfers brought has left the address again, as far as its balances showed.';

--
-- Name: chain_block; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.chain_block (
    network text NOT NULL,
    height bigint NOT NULL,
    hash text NOT NULL,
    chain_time timestamp with time zone,
    source text DEFAULT COALESCE(holdfast.own_source(), 'watcher-1'::text) NOT NULL,
    CONSTRAINT chain_block_hash_length CHECK (((char_length(hash) >= 1) AND (char_length(hash) <= 128))),
    CONSTRAINT chain_block_height_not_negative CHECK ((height >= 0))
);

ALTER TABLE holdfast.chain_block OWNER TO holdfast_owner;

--
-- Name: TABLE chain_block; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.chain_block IS 'The newest blocks of the branch that was scanned: where a reorganisation finds the last common one.';

--
-- Name: COLUMN chain_block.chain_time; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_block.chain_time IS 'No later block of this branch has an earlier time of its own.';

--
-- Name: chain_operation; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.chain_operation (
    operation_no bigint NOT NULL,
    network text NOT NULL,
    operation text NOT NULL,
    height bigint,
    address text,
    amount numeric(78,0),
    reason text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    tx_id text,
    output_index integer,
    source text DEFAULT holdfast.own_source(),
    CONSTRAINT chain_operation_address_length CHECK (((char_length(address) >= 1) AND (char_length(address) <= 128))),
    CONSTRAINT chain_operation_amount_positive CHECK ((amount > (0)::numeric)),
    CONSTRAINT chain_operation_height_not_negative CHECK ((height >= 0)),
    CONSTRAINT chain_operation_index_not_negative CHECK ((output_index >= 0)),
    CONSTRAINT chain_operation_network_shape CHECK ((network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)),
    CONSTRAINT chain_operation_object CHECK ((((height IS NULL) = (address IS NOT NULL)) AND ((address IS NULL) = (amount IS NULL)))),
    CONSTRAINT chain_operation_operation CHECK ((operation = ANY (ARRAY['start'::text, 'rewind'::text, 'attribute'::text, 'set_aside'::text, 'report_again'::text, 'discard'::text]))),
    CONSTRAINT chain_operation_output CHECK ((((operation = ANY (ARRAY['report_again'::text, 'discard'::text])) = (tx_id IS NOT NULL)) AND ((tx_id IS NULL) = (output_index IS NULL)))),
    CONSTRAINT chain_operation_reason_length CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 200))),
    CONSTRAINT chain_operation_source_shape CHECK ((source ~ '^[a-z0-9-]{1,63}$'::text)),
    CONSTRAINT chain_operation_tx_length CHECK (((char_length(tx_id) >= 64) AND (char_length(tx_id) <= 88)))
);

ALTER TABLE holdfast.chain_operation OWNER TO holdfast_owner;

--
-- Name: TABLE chain_operation; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.chain_operation IS 'What operators did to a chain by hand, and why. Who did it is in the audit.';

--
-- Name: COLUMN chain_operation.tx_id; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_operation.tx_id IS 'Transaction of the output that was settled; null: about a height or an address.';

--
-- Name: COLUMN chain_operation.output_index; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_operation.output_index IS 'Number of that output in its transaction; null: about a height or an address.';

--
-- Name: COLUMN chain_operation.source; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_operation.source IS 'Whose rows were changed; null: noted before a network had several sources.';

--
-- Name: chain_operation_operation_no_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_operation ALTER COLUMN operation_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.chain_operation_operation_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: chain_output; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.chain_output (
    network text NOT NULL,
    tx_id text NOT NULL,
    output_index integer NOT NULL,
    asset text NOT NULL,
    address text NOT NULL,
    amount numeric(78,0) NOT NULL,
    state text NOT NULL,
    seq integer NOT NULL,
    block_height bigint NOT NULL,
    block_hash text NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    is_attributed boolean DEFAULT false NOT NULL,
    counted_height bigint,
    source text DEFAULT COALESCE(holdfast.own_source(), 'watcher-1'::text) NOT NULL,
    CONSTRAINT chain_output_address_length CHECK (((char_length(address) >= 1) AND (char_length(address) <= 128))),
    CONSTRAINT chain_output_amount_positive CHECK ((amount > (0)::numeric)),
    CONSTRAINT chain_output_counted_from CHECK ((counted_height >= block_height)),
    CONSTRAINT chain_output_hash_length CHECK (((char_length(block_hash) >= 1) AND (char_length(block_hash) <= 128))),
    CONSTRAINT chain_output_height_not_negative CHECK ((block_height >= 0)),
    CONSTRAINT chain_output_index_not_negative CHECK ((output_index >= 0)),
    CONSTRAINT chain_output_seq_positive CHECK ((seq > 0)),
    CONSTRAINT chain_output_state CHECK ((state = ANY (ARRAY['seen'::text, 'final'::text, 'reorged'::text, 'dropped'::text]))),
    CONSTRAINT chain_output_tx_length CHECK (((char_length(tx_id) >= 64) AND (char_length(tx_id) <= 88)))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.chain_output OWNER TO holdfast_owner;

--
-- Name: TABLE chain_output; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.chain_output IS 'Transfers to our addresses. seq counts the states of one output; the block is the last it was in, also after it was lost.';

--
-- Name: COLUMN chain_output.is_attributed; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_output.is_attributed IS 'Made by an operator of a balance that no transfer explained.';

--
-- Name: COLUMN chain_output.counted_height; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_output.counted_height IS 'Of an attributed output: the height at which the balance was read that it explains.';

--
-- Name: chain_report; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.chain_report (
    report_no bigint NOT NULL,
    network text NOT NULL,
    tx_id text NOT NULL,
    output_index integer NOT NULL,
    seq integer NOT NULL,
    state text NOT NULL,
    block_height bigint NOT NULL,
    block_hash text NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    refusals integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    refusal_reason text,
    source text DEFAULT COALESCE(holdfast.own_source(), 'watcher-1'::text) NOT NULL,
    CONSTRAINT chain_report_hash_length CHECK (((char_length(block_hash) >= 1) AND (char_length(block_hash) <= 128))),
    CONSTRAINT chain_report_height_not_negative CHECK ((block_height >= 0)),
    CONSTRAINT chain_report_refusals_not_negative CHECK ((refusals >= 0)),
    CONSTRAINT chain_report_seq_positive CHECK ((seq > 0)),
    CONSTRAINT chain_report_state CHECK ((state = ANY (ARRAY['seen'::text, 'final'::text, 'reorged'::text, 'dropped'::text])))
);

ALTER TABLE holdfast.chain_report OWNER TO holdfast_owner;

--
-- Name: TABLE chain_report; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.chain_report IS 'The watcher''s outbox, written with the effect it tells of; a row goes once its report was answered.';

--
-- Name: COLUMN chain_report.refusal_reason; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_report.refusal_reason IS 'Reason of the last refusal; null: not refused, or by an older watcher.';

--
-- Name: chain_report_report_no_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_report ALTER COLUMN report_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.chain_report_report_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: chain_suspension; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.chain_suspension (
    suspension_no bigint NOT NULL,
    network text NOT NULL,
    opened_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    closed_at timestamp with time zone,
    reason text,
    cause text DEFAULT 'deep_reorg'::text NOT NULL,
    source text DEFAULT COALESCE(holdfast.own_source(), 'watcher-1'::text) NOT NULL,
    CONSTRAINT chain_suspension_cause CHECK ((cause = ANY (ARRAY['deep_reorg'::text, 'nodes_differ'::text]))),
    CONSTRAINT chain_suspension_closed_finite CHECK (isfinite(closed_at)),
    CONSTRAINT chain_suspension_closed_whole CHECK (((closed_at IS NULL) = (reason IS NULL))),
    CONSTRAINT chain_suspension_network_shape CHECK ((network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)),
    CONSTRAINT chain_suspension_reason_length CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 200))),
    CONSTRAINT chain_suspension_source_shape CHECK ((source ~ '^[a-z0-9-]{1,63}$'::text))
);

ALTER TABLE holdfast.chain_suspension OWNER TO holdfast_owner;

--
-- Name: TABLE chain_suspension; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.chain_suspension IS 'Final blocks in doubt. While a row is open, the network is suspended; an operator closes it.';

--
-- Name: COLUMN chain_suspension.closed_at; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_suspension.closed_at IS 'When an operator closed it; null: open.';

--
-- Name: COLUMN chain_suspension.reason; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_suspension.reason IS 'Why it was closed; null: open.';

--
-- Name: COLUMN chain_suspension.cause; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_suspension.cause IS 'What opened it: deep_reorg or nodes_differ.';

--
-- Name: chain_suspension_suspension_no_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_suspension ALTER COLUMN suspension_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.chain_suspension_suspension_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: chain_sweep; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.chain_sweep (
    network text NOT NULL,
    source text NOT NULL,
    tier text NOT NULL,
    round bigint DEFAULT 1 NOT NULL,
    began_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    place uuid,
    is_over boolean DEFAULT false NOT NULL,
    swept_at timestamp with time zone,
    CONSTRAINT chain_sweep_began_finite CHECK (isfinite(began_at)),
    CONSTRAINT chain_sweep_network_shape CHECK ((network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)),
    CONSTRAINT chain_sweep_round_positive CHECK ((round > 0)),
    CONSTRAINT chain_sweep_source_shape CHECK ((source ~ '^[a-z0-9-]{1,63}$'::text)),
    CONSTRAINT chain_sweep_swept_finite CHECK (isfinite(swept_at)),
    CONSTRAINT chain_sweep_swept_whole CHECK (((NOT is_over) OR (swept_at IS NOT NULL))),
    CONSTRAINT chain_sweep_tier CHECK ((tier = ANY (ARRAY['recent'::text, 'retired'::text])))
)
WITH (fillfactor='50');

ALTER TABLE holdfast.chain_sweep OWNER TO holdfast_owner;

--
-- Name: TABLE chain_sweep; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.chain_sweep IS 'How far a watcher has come with each tier of addresses. recent: orders of the last week; retired: older ones.';

--
-- Name: COLUMN chain_sweep.place; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_sweep.place IS 'The order whose address was compared last, in order of time; null: nothing of the round is compared yet.';

--
-- Name: COLUMN chain_sweep.swept_at; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.chain_sweep.swept_at IS 'When the last complete round began: all addresses of the tier were compared since; null: no round is over yet.';

--
-- Name: consistency_run; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.consistency_run (
    run_no bigint NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    orders bigint NOT NULL,
    products bigint NOT NULL,
    answers bigint NOT NULL,
    workflows bigint NOT NULL,
    differences bigint NOT NULL,
    CONSTRAINT consistency_run_answers_not_negative CHECK ((answers >= 0)),
    CONSTRAINT consistency_run_differences_not_negative CHECK ((differences >= 0)),
    CONSTRAINT consistency_run_orders_not_negative CHECK ((orders >= 0)),
    CONSTRAINT consistency_run_products_not_negative CHECK ((products >= 0)),
    CONSTRAINT consistency_run_workflows_not_negative CHECK ((workflows >= 0))
);

ALTER TABLE holdfast.consistency_run OWNER TO holdfast_owner;

--
-- Name: TABLE consistency_run; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.consistency_run IS 'Each scheduled look at everything: when, at how much, and how many differences it found.';

--
-- Name: consistency_run_run_no_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.consistency_run ALTER COLUMN run_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.consistency_run_run_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: currency; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.currency (
    currency text NOT NULL,
    kind text NOT NULL,
    decimals smallint NOT NULL,
    dust_floor numeric(78,0) DEFAULT 0 NOT NULL,
    clock_tolerance interval DEFAULT '00:00:00'::interval NOT NULL,
    CONSTRAINT currency_clock_tolerance_range CHECK (((clock_tolerance >= '00:00:00'::interval) AND (clock_tolerance <= '1 day'::interval))),
    CONSTRAINT currency_decimals CHECK (((decimals >= 0) AND (decimals <= 18))),
    CONSTRAINT currency_dust_not_negative CHECK ((dust_floor >= (0)::numeric)),
    CONSTRAINT currency_kind CHECK ((kind = ANY (ARRAY['fiat'::text, 'coin'::text])))
);

ALTER TABLE holdfast.currency OWNER TO holdfast_owner;

--
-- Name: TABLE currency; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.currency IS 'Money the shop knows: fiat it prices in, coins it is paid in. dust_floor: base units up to which an excess is not owed back. clock_tolerance: how much earlier than an order its payment may have been seen. A test keeps both equal to ASSET_POLICY in src/domain/payment.ts.';

--
-- Name: customer; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.customer (
    user_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT customer_id_positive CHECK ((user_id > 0))
);

ALTER TABLE holdfast.customer OWNER TO holdfast_owner;

--
-- Name: TABLE customer; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.customer IS 'People who ordered at least once; the id is the token''s.';

--
-- Name: customer_key; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.customer_key (
    user_id bigint NOT NULL,
    ring_version integer NOT NULL,
    wrapped_key bytea NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT customer_key_ring_positive CHECK ((ring_version > 0)),
    CONSTRAINT customer_key_wrapped_length CHECK (((octet_length(wrapped_key) >= 60) AND (octet_length(wrapped_key) <= 256)))
);

ALTER TABLE holdfast.customer_key OWNER TO holdfast_owner;

--
-- Name: TABLE customer_key; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.customer_key IS 'The customer''s data key, sealed by the pii keyring.';

--
-- Name: duty; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.duty (
    duty text NOT NULL,
    holder text,
    held_until timestamp with time zone,
    started_at timestamp with time zone,
    succeeded_at timestamp with time zone,
    items bigint DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    CONSTRAINT duty_failures_not_negative CHECK ((failures >= 0)),
    CONSTRAINT duty_holder_length CHECK (((char_length(holder) >= 1) AND (char_length(holder) <= 80))),
    CONSTRAINT duty_items_not_negative CHECK ((items >= 0)),
    CONSTRAINT duty_name_length CHECK (((char_length(duty) >= 1) AND (char_length(duty) <= 40)))
);

ALTER TABLE holdfast.duty OWNER TO holdfast_owner;

--
-- Name: TABLE duty; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.duty IS 'A lease per background duty, and when it last succeeded.';

--
-- Name: invoice; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.invoice (
    order_id uuid NOT NULL,
    network text NOT NULL,
    asset text NOT NULL,
    address text NOT NULL,
    amount_due numeric(78,0) NOT NULL,
    rate numeric(20,2) NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    grace interval NOT NULL,
    confirm_within interval NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    rate_id uuid,
    CONSTRAINT invoice_address_length CHECK (((char_length(address) >= 1) AND (char_length(address) <= 128))),
    CONSTRAINT invoice_amount_positive CHECK ((amount_due > (0)::numeric)),
    CONSTRAINT invoice_confirm_within_range CHECK (((confirm_within >= '00:00:00'::interval) AND (confirm_within <= '7 days'::interval))),
    CONSTRAINT invoice_grace_range CHECK (((grace >= '00:00:00'::interval) AND (grace <= '01:00:00'::interval))),
    CONSTRAINT invoice_rate_positive CHECK ((rate > (0)::numeric)),
    CONSTRAINT invoice_time_order CHECK ((expires_at > created_at))
);

ALTER TABLE holdfast.invoice OWNER TO holdfast_owner;

--
-- Name: TABLE invoice; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.invoice IS 'What the buyer is asked to pay, where and until when. Immutable: no role may update it.';

--
-- Name: COLUMN invoice.rate_id; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.invoice.rate_id IS 'Where the rate came from; null: it was fixed by the configuration.';

--
-- Name: orders; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.orders (
    order_id uuid NOT NULL,
    user_id bigint NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    payment_state text DEFAULT 'awaiting'::text NOT NULL,
    payment_flags text[] DEFAULT '{}'::text[] NOT NULL,
    hold text DEFAULT 'none'::text NOT NULL,
    cancel_reason text,
    currency text NOT NULL,
    total numeric(14,2) NOT NULL,
    address_sealed bytea NOT NULL,
    generation integer DEFAULT 0 NOT NULL,
    step integer DEFAULT 0 NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT orders_address_sealed_length CHECK (((octet_length(address_sealed) >= 29) AND (octet_length(address_sealed) <= 4096))),
    CONSTRAINT orders_cancel_reason CHECK ((cancel_reason = ANY (ARRAY['customer'::text, 'admin'::text, 'expired'::text, 'underpaid'::text, 'out_of_stock'::text, 'fraud'::text]))),
    CONSTRAINT orders_cancelled_has_reason CHECK (((status = 'cancelled'::text) = (cancel_reason IS NOT NULL))),
    CONSTRAINT orders_generation_not_negative CHECK ((generation >= 0)),
    CONSTRAINT orders_hold CHECK ((hold = ANY (ARRAY['none'::text, 'fraud'::text, 'payment'::text, 'manual'::text]))),
    CONSTRAINT orders_payment_flags CHECK ((payment_flags <@ ARRAY['late'::text, 'under'::text, 'over'::text, 'within_tolerance'::text, 'wrong_asset'::text, 'replaced'::text, 'reorged'::text, 'slow_confirm'::text, 'manual'::text])),
    CONSTRAINT orders_payment_state CHECK ((payment_state = ANY (ARRAY['awaiting'::text, 'partial'::text, 'confirming'::text, 'paid'::text, 'at_risk'::text, 'reversed'::text, 'expired'::text, 'late_confirming'::text, 'unresolved'::text, 'cancelled'::text, 'refunding'::text, 'partially_refunded'::text, 'refunded'::text]))),
    CONSTRAINT orders_status CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'shipped'::text, 'delivered'::text, 'cancelled'::text]))),
    CONSTRAINT orders_step_not_negative CHECK ((step >= 0)),
    CONSTRAINT orders_time_order CHECK ((updated_at >= created_at)),
    CONSTRAINT orders_total_positive CHECK ((total > (0)::numeric)),
    CONSTRAINT orders_version_positive CHECK ((version > 0))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.orders OWNER TO holdfast_owner;

--
-- Name: TABLE orders; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.orders IS 'One row per order. The delivery address is ciphertext under the customer''s data key.';

--
-- Name: payment; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.payment (
    network text NOT NULL,
    tx_id text NOT NULL,
    output_index integer NOT NULL,
    order_id uuid NOT NULL,
    asset text NOT NULL,
    amount numeric(78,0) NOT NULL,
    state text NOT NULL,
    is_in_time boolean NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    is_honoured boolean DEFAULT false NOT NULL,
    CONSTRAINT payment_amount_positive CHECK ((amount > (0)::numeric)),
    CONSTRAINT payment_output_not_negative CHECK ((output_index >= 0)),
    CONSTRAINT payment_state CHECK ((state = ANY (ARRAY['seen'::text, 'final'::text, 'replaced'::text, 'dropped'::text, 'reorged'::text]))),
    CONSTRAINT payment_tx_length CHECK (((char_length(tx_id) >= 64) AND (char_length(tx_id) <= 88))),
    CONSTRAINT payment_version_positive CHECK ((version > 0))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.payment OWNER TO holdfast_owner;

--
-- Name: TABLE payment; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.payment IS 'One output, credited to at most one order. Written by assessPayments alone.';

--
-- Name: COLUMN payment.is_honoured; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payment.is_honoured IS 'Paid its order by the rules before 0024, which knew no late and no early money: it stays in time.';

--
-- Name: payment_report; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.payment_report (
    report_no bigint NOT NULL,
    source text NOT NULL,
    report_id text NOT NULL,
    network text NOT NULL,
    asset text NOT NULL,
    tx_id text NOT NULL,
    output_index integer NOT NULL,
    seq integer NOT NULL,
    state text NOT NULL,
    address text NOT NULL,
    amount numeric(78,0) NOT NULL,
    block_height bigint,
    block_hash text,
    first_seen_at timestamp with time zone NOT NULL,
    order_id uuid,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    is_assessed boolean DEFAULT false NOT NULL,
    CONSTRAINT payment_report_address_length CHECK (((char_length(address) >= 1) AND (char_length(address) <= 128))),
    CONSTRAINT payment_report_amount_positive CHECK ((amount > (0)::numeric)),
    CONSTRAINT payment_report_block_hash_length CHECK (((char_length(block_hash) >= 1) AND (char_length(block_hash) <= 128))),
    CONSTRAINT payment_report_height_not_negative CHECK ((block_height >= 0)),
    CONSTRAINT payment_report_id_shape CHECK ((report_id ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT payment_report_output_not_negative CHECK ((output_index >= 0)),
    CONSTRAINT payment_report_seq_positive CHECK ((seq > 0)),
    CONSTRAINT payment_report_source_shape CHECK ((source ~ '^[a-z0-9-]{1,63}$'::text)),
    CONSTRAINT payment_report_state CHECK ((state = ANY (ARRAY['seen'::text, 'final'::text, 'replaced'::text, 'dropped'::text, 'reorged'::text]))),
    CONSTRAINT payment_report_tx_canonical CHECK (
CASE
    WHEN (asset = 'SOL'::text) THEN (tx_id ~ '^[1-9A-HJ-NP-Za-km-z]{64,88}$'::text)
    WHEN (asset = 'ETH'::text) THEN (tx_id ~ '^0x[0-9a-f]{64}$'::text)
    ELSE (tx_id ~ '^[0-9a-f]{64}$'::text)
END)
)
WITH (fillfactor='70');

ALTER TABLE holdfast.payment_report OWNER TO holdfast_owner;

--
-- Name: TABLE payment_report; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.payment_report IS 'The inbox: each row a fact about the chain as one watcher saw it. The highest seq per source and output is the present view.';

--
-- Name: reservation; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.reservation (
    order_id uuid NOT NULL,
    product_id text NOT NULL,
    hold_no smallint DEFAULT 1 NOT NULL,
    quantity bigint NOT NULL,
    state text DEFAULT 'held'::text NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT reservation_hold_no_positive CHECK ((hold_no > 0)),
    CONSTRAINT reservation_quantity_range CHECK (((quantity >= 1) AND (quantity <= 100000))),
    CONSTRAINT reservation_state CHECK ((state = ANY (ARRAY['held'::text, 'committed'::text, 'consumed'::text, 'released'::text, 'expired'::text])))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.reservation OWNER TO holdfast_owner;

--
-- Name: TABLE reservation; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.reservation IS 'A hold on stock: held, committed (paid), consumed (shipped), released or expired. Ended rows stay as tombstones.';

--
-- Name: source_doubt; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.source_doubt (
    network text NOT NULL,
    tx_id text NOT NULL,
    output_index integer NOT NULL,
    order_id uuid NOT NULL,
    kind text NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT source_doubt_kind CHECK ((kind = ANY (ARRAY['lone'::text, 'differing'::text]))),
    CONSTRAINT source_doubt_network_shape CHECK ((network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)),
    CONSTRAINT source_doubt_output_not_negative CHECK ((output_index >= 0)),
    CONSTRAINT source_doubt_since_finite CHECK (isfinite(since)),
    CONSTRAINT source_doubt_tx_length CHECK (((char_length(tx_id) >= 64) AND (char_length(tx_id) <= 88)))
);

ALTER TABLE holdfast.source_doubt OWNER TO holdfast_owner;

--
-- Name: TABLE source_doubt; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.source_doubt IS 'Outputs on which the sources do not agree now. lone: fewer call it final than must. differing: they contradict each other. A row goes once they agree.';

--
-- Name: source_fork; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.source_fork AS
 SELECT a.network,
    a.source,
    b.source AS other_source,
    h.height,
    COALESCE(LEAST(x.chain_time, y.chain_time), statement_timestamp()) AS since
   FROM ((((holdfast.active_source a
     JOIN holdfast.active_source b ON (((b.network = a.network) AND (b.source > a.source))))
     CROSS JOIN LATERAL ( SELECT LEAST(a.settled_height, b.settled_height) AS height) h)
     JOIN holdfast.chain_block x ON (((x.network = a.network) AND (x.source = a.source) AND (x.height = h.height))))
     JOIN holdfast.chain_block y ON (((y.network = b.network) AND (y.source = b.source) AND (y.height = h.height))))
  WHERE (x.hash <> y.hash);

ALTER VIEW holdfast.source_fork OWNER TO holdfast_owner;

--
-- Name: VIEW source_fork; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.source_fork IS 'Pairs of active sources of a network that have another block at the highest height that is final for both: their nodes are on different branches, or one of them lies.';

--
-- Name: suspended_network; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.suspended_network AS
 SELECT s.network,
    s.cause,
    min(s.opened_at) AS since
   FROM holdfast.chain_suspension s
  WHERE ((s.closed_at IS NULL) AND (NOT (EXISTS ( SELECT
           FROM holdfast.retired_source x
          WHERE (x.source = s.source)))))
  GROUP BY s.network, s.cause
UNION ALL
 SELECT d.network,
    'sources_differ'::text AS cause,
    min(d.since) AS since
   FROM ( SELECT o.network,
            o.since
           FROM holdfast.source_doubt o
          WHERE (o.kind = 'differing'::text)
        UNION ALL
         SELECT f.network,
            f.since
           FROM holdfast.source_fork f) d
  GROUP BY d.network;

ALTER VIEW holdfast.suspended_network OWNER TO holdfast_owner;

--
-- Name: VIEW suspended_network; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.suspended_network IS 'Circuit breaker per chain: the networks that are suspended now, and why.';

--
-- Name: suspended_order; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.suspended_order (
    order_id uuid NOT NULL,
    network text NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    woken_at timestamp with time zone,
    CONSTRAINT suspended_order_network_shape CHECK ((network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)),
    CONSTRAINT suspended_order_since_finite CHECK (isfinite(since)),
    CONSTRAINT suspended_order_woken_finite CHECK (isfinite(woken_at))
);

ALTER TABLE holdfast.suspended_order OWNER TO holdfast_owner;

--
-- Name: TABLE suspended_order; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.suspended_order IS 'Orders with enough final money that wait for the end of a suspension. A row goes with the order''s next assessment.';

--
-- Name: COLUMN suspended_order.woken_at; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.suspended_order.woken_at IS 'When the assessment was asked for; null: not yet.';

--
-- Name: expirable; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.expirable AS
 SELECT o.order_id
   FROM (((holdfast.orders o
     JOIN holdfast.invoice i ON ((i.order_id = o.order_id)))
     CROSS JOIN LATERAL ( SELECT GREATEST((i.expires_at + i.grace), ( SELECT max(r.expires_at) AS max
                   FROM holdfast.reservation r
                  WHERE ((r.order_id = o.order_id) AND (r.state = 'held'::text)))) AS at) ends)
     CROSS JOIN LATERAL ( SELECT count(*) AS sources,
            COALESCE(max(b.unexplained) FILTER (WHERE c.compares_balances), (0)::numeric) AS unexplained
           FROM (holdfast.active_source c
             LEFT JOIN holdfast.chain_balance b ON (((b.network = c.network) AND (b.source = c.source) AND (b.address = i.address))))
          WHERE ((c.network = i.network) AND (c.caught_up_at > ends.at) AND ((NOT c.compares_balances) OR (b.checked_at > ends.at)))) vouched)
  WHERE ((o.status = 'pending'::text) AND (o.payment_state = ANY (ARRAY['awaiting'::text, 'partial'::text, 'confirming'::text])) AND (ends.at <= clock_timestamp()) AND (vouched.sources >= holdfast.required_sources(o.order_id, (0)::numeric)) AND (NOT (EXISTS ( SELECT
           FROM holdfast.suspended_network n
          WHERE (n.network = i.network)))) AND (NOT (EXISTS ( SELECT
           FROM holdfast.suspended_order s
          WHERE (s.order_id = o.order_id)))) AND (NOT (EXISTS ( SELECT
           FROM holdfast.payment_report r
          WHERE ((r.order_id = o.order_id) AND (NOT r.is_assessed))))) AND ((vouched.unexplained = (0)::numeric) OR (NOT holdfast.is_enough((vouched.unexplained + COALESCE(( SELECT sum(p.amount) AS sum
           FROM holdfast.payment p
          WHERE ((p.order_id = o.order_id) AND p.is_in_time AND (p.state = ANY (ARRAY['seen'::text, 'reorged'::text, 'final'::text])))), (0)::numeric)), i.amount_due))));

ALTER VIEW holdfast.expirable OWNER TO holdfast_owner;

--
-- Name: VIEW expirable; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.expirable IS 'Orders that may expire now: the one condition for workflow, sweeper and reclaim (design rule 2).';

--
-- Name: hold_aside; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.hold_aside (
    order_id uuid NOT NULL,
    reason text NOT NULL,
    tries integer DEFAULT 1 NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    next_at timestamp with time zone NOT NULL,
    CONSTRAINT hold_aside_reason_shape CHECK ((reason ~ '^[0-9A-Z]{5}$'::text)),
    CONSTRAINT hold_aside_tries_positive CHECK ((tries > 0))
);

ALTER TABLE holdfast.hold_aside OWNER TO holdfast_owner;

--
-- Name: TABLE hold_aside; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.hold_aside IS 'Dead letters of the hold sweep: orders whose expiry failed by itself, with the SQLSTATE, and when it is tried again.';

--
-- Name: idempotency; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.idempotency (
    actor text NOT NULL,
    method text NOT NULL,
    key uuid NOT NULL,
    request_hash bytea NOT NULL,
    order_id uuid,
    response jsonb,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT idempotency_actor_length CHECK (((char_length(actor) >= 1) AND (char_length(actor) <= 80))),
    CONSTRAINT idempotency_has_answer CHECK (((order_id IS NOT NULL) OR (response IS NOT NULL))),
    CONSTRAINT idempotency_hash_length CHECK ((octet_length(request_hash) = 32)),
    CONSTRAINT idempotency_method_length CHECK (((char_length(method) >= 1) AND (char_length(method) <= 80)))
);

ALTER TABLE holdfast.idempotency OWNER TO holdfast_owner;

--
-- Name: TABLE idempotency; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.idempotency IS 'The caller''s name for one attempt, what it asked (hash) and what it was told.';

--
-- Name: ignored_transfer; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.ignored_transfer (
    network text NOT NULL,
    source text DEFAULT COALESCE(holdfast.own_source(), 'watcher-1'::text) NOT NULL,
    address text NOT NULL,
    tx_id text NOT NULL,
    output_index integer NOT NULL,
    kind text NOT NULL,
    token text,
    sender text NOT NULL,
    amount numeric(78,0) NOT NULL,
    block_height bigint NOT NULL,
    block_hash text NOT NULL,
    first_seen_at timestamp with time zone NOT NULL,
    CONSTRAINT ignored_transfer_address_length CHECK (((char_length(address) >= 1) AND (char_length(address) <= 128))),
    CONSTRAINT ignored_transfer_amount_positive CHECK ((amount > (0)::numeric)),
    CONSTRAINT ignored_transfer_hash_length CHECK (((char_length(block_hash) >= 1) AND (char_length(block_hash) <= 128))),
    CONSTRAINT ignored_transfer_height_not_negative CHECK ((block_height >= 0)),
    CONSTRAINT ignored_transfer_index_not_negative CHECK ((output_index >= 0)),
    CONSTRAINT ignored_transfer_kind CHECK ((kind = ANY (ARRAY['wrong_asset'::text, 'own_transfer'::text]))),
    CONSTRAINT ignored_transfer_network_shape CHECK ((network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)),
    CONSTRAINT ignored_transfer_seen_finite CHECK (isfinite(first_seen_at)),
    CONSTRAINT ignored_transfer_sender_length CHECK (((char_length(sender) >= 1) AND (char_length(sender) <= 128))),
    CONSTRAINT ignored_transfer_source_shape CHECK ((source ~ '^[a-z0-9-]{1,63}$'::text)),
    CONSTRAINT ignored_transfer_token_length CHECK (((char_length(token) >= 1) AND (char_length(token) <= 128))),
    CONSTRAINT ignored_transfer_token_of_kind CHECK (((kind = 'wrong_asset'::text) = (token IS NOT NULL))),
    CONSTRAINT ignored_transfer_tx_length CHECK (((char_length(tx_id) >= 64) AND (char_length(tx_id) <= 88)))
);

ALTER TABLE holdfast.ignored_transfer OWNER TO holdfast_owner;

--
-- Name: TABLE ignored_transfer; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.ignored_transfer IS 'Transfers to addresses of orders that are no income, on the branch that the source has scanned. Never credited.';

--
-- Name: COLUMN ignored_transfer.output_index; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ignored_transfer.output_index IS 'Of a token, the number of its log in the block.';

--
-- Name: COLUMN ignored_transfer.kind; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ignored_transfer.kind IS 'wrong_asset: a token; own_transfer: coins from an account of our own.';

--
-- Name: COLUMN ignored_transfer.token; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ignored_transfer.token IS 'The contract, which may be worthless and may claim any amount and sender; null: the network''s coin.';

--
-- Name: COLUMN ignored_transfer.amount; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ignored_transfer.amount IS 'In the token''s own units, as its contract claims, or in base units.';

--
-- Name: inconsistency; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.inconsistency (
    check_name text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL,
    first_seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    CONSTRAINT inconsistency_check_shape CHECK ((check_name ~ '^[a-z_]{1,40}$'::text)),
    CONSTRAINT inconsistency_detail_length CHECK ((char_length(detail) <= 500)),
    CONSTRAINT inconsistency_subject_length CHECK (((char_length(subject) >= 1) AND (char_length(subject) <= 200)))
);

ALTER TABLE holdfast.inconsistency OWNER TO holdfast_owner;

--
-- Name: TABLE inconsistency; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.inconsistency IS 'What the last run found to be wrong, by check and by the order or product it is wrong about. A row goes when a run no longer finds it; nothing else is mended by it.';

--
-- Name: issued_address; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.issued_address AS
 SELECT i.network,
    i.address,
    o.created_at,
    o.order_id
   FROM (holdfast.orders o
     JOIN holdfast.invoice i ON ((i.order_id = o.order_id)));

ALTER VIEW holdfast.issued_address OWNER TO holdfast_owner;

--
-- Name: VIEW issued_address; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.issued_address IS 'Every address that was ever shown to a customer, with its order and when that was made.';

--
-- Name: key_epoch; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.key_epoch (
    epoch_id uuid NOT NULL,
    master_version integer NOT NULL,
    salt bytea NOT NULL,
    iterations integer NOT NULL,
    key_limit integer NOT NULL,
    key_count integer DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    last_used_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT key_epoch_count_range CHECK (((key_count >= 0) AND (key_count <= key_limit))),
    CONSTRAINT key_epoch_iterations_floor CHECK ((iterations >= 100000)),
    CONSTRAINT key_epoch_limit_range CHECK (((key_limit >= 1) AND (key_limit <= 1000))),
    CONSTRAINT key_epoch_salt_length CHECK ((octet_length(salt) = 32)),
    CONSTRAINT key_epoch_time_range CHECK ((last_used_at <= (created_at + '01:00:00'::interval)))
);

ALTER TABLE holdfast.key_epoch OWNER TO holdfast_owner;

--
-- Name: TABLE key_epoch; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.key_epoch IS 'Salt and iterations of one epoch KEK, and how many keys were sealed under it.';

--
-- Name: key_retire; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.key_retire (
    order_id uuid NOT NULL,
    network text NOT NULL,
    address text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    done_at timestamp with time zone,
    CONSTRAINT key_retire_attempts_not_negative CHECK ((attempts >= 0))
);

ALTER TABLE holdfast.key_retire OWNER TO holdfast_owner;

--
-- Name: TABLE key_retire; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.key_retire IS 'Closed orders whose key is to be sealed anew and moved to the retired tier; written with the terminal status.';

--
-- Name: late_decision; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.late_decision (
    order_id uuid NOT NULL,
    replacement_id uuid,
    refusal text,
    rate numeric(20,2),
    due_now numeric(78,0),
    decided_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT late_decision_due_positive CHECK ((due_now > (0)::numeric)),
    CONSTRAINT late_decision_either CHECK (((replacement_id IS NULL) = (refusal IS NOT NULL))),
    CONSTRAINT late_decision_of_another CHECK ((replacement_id <> order_id)),
    CONSTRAINT late_decision_rate_positive CHECK ((rate > (0)::numeric)),
    CONSTRAINT late_decision_refusal CHECK ((refusal = ANY (ARRAY['policy'::text, 'on_hold'::text, 'refund_begun'::text, 'too_late'::text, 'rate_unknown'::text, 'product_gone'::text, 'price_moved'::text, 'out_of_stock'::text])))
);

ALTER TABLE holdfast.late_decision OWNER TO holdfast_owner;

--
-- Name: TABLE late_decision; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.late_decision IS 'What became of the late money of an expired order, decided once: it pays the replacement, or it is owed back. Append-only. The payments stay with the expired order.';

--
-- Name: COLUMN late_decision.replacement_id; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.late_decision.replacement_id IS 'The order that the money pays; null: it is owed back.';

--
-- Name: COLUMN late_decision.refusal; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.late_decision.refusal IS 'Why the money is owed back; null: it was accepted.';

--
-- Name: COLUMN late_decision.rate; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.late_decision.rate IS 'The price of one coin at the decision; null: none was known.';

--
-- Name: COLUMN late_decision.due_now; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.late_decision.due_now IS 'Base units that the same lines cost at the decision; null: not known.';

--
-- Name: ledger_posting; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.ledger_posting (
    posting_no bigint NOT NULL,
    order_id uuid NOT NULL,
    network text NOT NULL,
    asset text NOT NULL,
    token text,
    cause text NOT NULL,
    received numeric(78,0) NOT NULL,
    customer_due numeric(78,0) NOT NULL,
    refund_due numeric(78,0) NOT NULL,
    refunded numeric(78,0) NOT NULL,
    fees numeric(78,0) NOT NULL,
    written_off numeric(78,0) NOT NULL,
    posted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT ledger_posting_at_finite CHECK (isfinite(posted_at)),
    CONSTRAINT ledger_posting_cause CHECK ((cause = ANY (ARRAY['payment'::text, 'refund_due'::text, 'refund'::text, 'status'::text, 'opening'::text]))),
    CONSTRAINT ledger_posting_customer_due_range CHECK ((abs(customer_due) < '1000000000000000000000000000000000000000000000000000000000000000000000000000000'::numeric)),
    CONSTRAINT ledger_posting_fees_range CHECK ((abs(fees) < '1000000000000000000000000000000000000000000000000000000000000000000000000000000'::numeric)),
    CONSTRAINT ledger_posting_moves_money CHECK (((received <> (0)::numeric) OR (customer_due <> (0)::numeric) OR (refund_due <> (0)::numeric) OR (refunded <> (0)::numeric) OR (fees <> (0)::numeric) OR (written_off <> (0)::numeric))),
    CONSTRAINT ledger_posting_network_length CHECK (((char_length(network) >= 1) AND (char_length(network) <= 32))),
    CONSTRAINT ledger_posting_received_range CHECK ((abs(received) < '1000000000000000000000000000000000000000000000000000000000000000000000000000000'::numeric)),
    CONSTRAINT ledger_posting_refund_due_range CHECK ((abs(refund_due) < '1000000000000000000000000000000000000000000000000000000000000000000000000000000'::numeric)),
    CONSTRAINT ledger_posting_refunded_range CHECK ((abs(refunded) < '1000000000000000000000000000000000000000000000000000000000000000000000000000000'::numeric)),
    CONSTRAINT ledger_posting_sums_to_zero CHECK (((((((received + customer_due) + refund_due) + refunded) + fees) + written_off) = (0)::numeric)),
    CONSTRAINT ledger_posting_token_length CHECK (((char_length(token) >= 1) AND (char_length(token) <= 128))),
    CONSTRAINT ledger_posting_written_off_range CHECK ((abs(written_off) < '1000000000000000000000000000000000000000000000000000000000000000000000000000000'::numeric))
);

ALTER TABLE holdfast.ledger_posting OWNER TO holdfast_owner;

--
-- Name: TABLE ledger_posting; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.ledger_posting IS 'Append-only double-entry ledger: one posting of one order and asset, with an amount per account in base units, debit positive, credit negative. Written by triggers alone. The view ledger_entry has a row per account.';

--
-- Name: COLUMN ledger_posting.token; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ledger_posting.token IS 'Contract of a token on the network; null: the coin of the network.';

--
-- Name: COLUMN ledger_posting.cause; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ledger_posting.cause IS 'What was written that moved money: a payment, what is owed back, a paid refund, or the status of the order; opening: what the order held when the ledger was made.';

--
-- Name: COLUMN ledger_posting.received; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ledger_posting.received IS 'Final money that came in: debit.';

--
-- Name: COLUMN ledger_posting.customer_due; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ledger_posting.customer_due IS 'Money of customers that stays with the shop, for their goods: credit.';

--
-- Name: COLUMN ledger_posting.refund_due; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ledger_posting.refund_due IS 'Money that is owed back and not paid yet: credit.';

--
-- Name: COLUMN ledger_posting.refunded; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ledger_posting.refunded IS 'Money that left for refunds, with the network fees that the shop bore: credit.';

--
-- Name: COLUMN ledger_posting.fees; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ledger_posting.fees IS 'Network fees of refunds that the shop bore: debit.';

--
-- Name: COLUMN ledger_posting.written_off; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.ledger_posting.written_off IS 'Losses, as debit: a shortfall within tolerance, money that went away after the goods or a refund; dust that a cancelled order keeps, as credit.';

--
-- Name: ledger_entry; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.ledger_entry AS
 SELECT p.posting_no,
    p.posted_at,
    p.order_id,
    p.network,
    p.asset,
    p.token,
    p.cause,
    e.account,
    e.amount
   FROM (holdfast.ledger_posting p
     CROSS JOIN LATERAL ( VALUES ('received'::text,p.received), ('customer_due'::text,p.customer_due), ('refund_due'::text,p.refund_due), ('refunded'::text,p.refunded), ('fees'::text,p.fees), ('written_off'::text,p.written_off)) e(account, amount))
  WHERE (e.amount <> (0)::numeric);

ALTER VIEW holdfast.ledger_entry OWNER TO holdfast_owner;

--
-- Name: VIEW ledger_entry; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.ledger_entry IS 'The ledger in the shape that accountants know: one row per posting and account that it moves.';

--
-- Name: ledger_posting_posting_no_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.ledger_posting ALTER COLUMN posting_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.ledger_posting_posting_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: payout; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.payout (
    payout_id uuid DEFAULT gen_random_uuid() NOT NULL,
    refund_id uuid NOT NULL,
    order_id uuid NOT NULL,
    network text NOT NULL,
    sender text NOT NULL,
    chain_id bigint NOT NULL,
    nonce bigint NOT NULL,
    destination text NOT NULL,
    amount numeric(78,0) NOT NULL,
    fee_bearer text NOT NULL,
    status text DEFAULT 'prepared'::text NOT NULL,
    failure text,
    block_height bigint,
    block_hash text,
    is_released boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    network_fee numeric(78,0),
    CONSTRAINT payout_amount_positive CHECK ((amount > (0)::numeric)),
    CONSTRAINT payout_block_hash_length CHECK (((char_length(block_hash) >= 1) AND (char_length(block_hash) <= 66))),
    CONSTRAINT payout_block_is_whole CHECK (((block_height IS NULL) = (block_hash IS NULL))),
    CONSTRAINT payout_chain_positive CHECK ((chain_id > 0)),
    CONSTRAINT payout_created_finite CHECK (isfinite(created_at)),
    CONSTRAINT payout_destination_shape CHECK ((destination ~ '^0x[0-9a-f]{40}$'::text)),
    CONSTRAINT payout_failure CHECK ((failure = ANY (ARRAY['reverted'::text, 'cancelled'::text, 'nonce_taken'::text]))),
    CONSTRAINT payout_failure_of_status CHECK (((status = 'failed'::text) = (failure IS NOT NULL))),
    CONSTRAINT payout_fee_bearer CHECK ((fee_bearer = ANY (ARRAY['shop'::text, 'customer'::text]))),
    CONSTRAINT payout_height_not_negative CHECK ((block_height >= 0)),
    CONSTRAINT payout_network_fee_range CHECK (((network_fee IS NULL) OR ((network_fee >= (0)::numeric) AND (status = 'failed'::text)))),
    CONSTRAINT payout_nonce_not_negative CHECK ((nonce >= 0)),
    CONSTRAINT payout_release_of_failed CHECK (((NOT is_released) OR (status = 'failed'::text))),
    CONSTRAINT payout_status CHECK ((status = ANY (ARRAY['prepared'::text, 'signed'::text, 'broadcast'::text, 'stuck'::text, 'confirmed'::text, 'failed'::text]))),
    CONSTRAINT payout_updated_finite CHECK (isfinite(updated_at))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.payout OWNER TO holdfast_owner;

--
-- Name: TABLE payout; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.payout IS 'Sending of one refund by one account with one nonce. Amounts in base units, before the network''s fee.';

--
-- Name: COLUMN payout.status; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout.status IS 'prepared and stuck wait for a signature, stuck as a replacement; signed: the bytes are stored; broadcast: a node took them; confirmed: final on the chain; failed: proven that no transaction that it knows can be executed.';

--
-- Name: COLUMN payout.failure; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout.failure IS 'reverted: executed without effect; cancelled: an empty transaction took its nonce; nonce_taken: an unknown one did, which a person must look at; null: not failed.';

--
-- Name: COLUMN payout.block_height; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout.block_height IS 'Of the block that has one of its transactions now; null: in no block.';

--
-- Name: COLUMN payout.block_hash; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout.block_hash IS 'Of the block that has one of its transactions now; null: in no block.';

--
-- Name: COLUMN payout.is_released; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout.is_released IS 'After a failure, an operator lets the refund be sent by another payout.';

--
-- Name: COLUMN payout.network_fee; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout.network_fee IS 'What the network took of a payout that failed by a transaction of its own, which the shop bears; null: not failed on the chain. That of a confirmed one is in refund.';

--
-- Name: refund; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.refund (
    refund_id uuid DEFAULT gen_random_uuid() NOT NULL,
    order_id uuid NOT NULL,
    network text NOT NULL,
    asset text NOT NULL,
    token text,
    amount numeric(78,0) NOT NULL,
    kind text NOT NULL,
    fee_bearer text,
    named_in text NOT NULL,
    fiat_amount numeric(14,2),
    rate_basis text,
    rate numeric(20,2),
    destination text,
    destination_confirmed_at timestamp with time zone,
    status text DEFAULT 'awaiting_destination'::text NOT NULL,
    requested_by text NOT NULL,
    reason text,
    tx_id text,
    network_fee numeric(78,0),
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    destination_seal text,
    CONSTRAINT refund_amount_positive CHECK ((amount > (0)::numeric)),
    CONSTRAINT refund_confirms_destination CHECK (((destination_confirmed_at IS NULL) OR (destination IS NOT NULL))),
    CONSTRAINT refund_created_finite CHECK (isfinite(created_at)),
    CONSTRAINT refund_destination_canonical CHECK ((((char_length(destination) >= 1) AND (char_length(destination) <= 128)) AND ((asset <> 'ETH'::text) OR (destination ~ '^0x[0-9a-f]{40}$'::text)))),
    CONSTRAINT refund_destination_confirmed_finite CHECK (isfinite(destination_confirmed_at)),
    CONSTRAINT refund_destination_seal_shape CHECK ((destination_seal ~ '^[0-9a-f]{16}\.[A-Za-z0-9_-]{86}$'::text)),
    CONSTRAINT refund_fee_bearer CHECK ((fee_bearer = ANY (ARRAY['shop'::text, 'customer'::text]))),
    CONSTRAINT refund_fee_within_amount CHECK (((fee_bearer <> 'customer'::text) OR (network_fee < amount))),
    CONSTRAINT refund_fiat_amount_positive CHECK ((fiat_amount > (0)::numeric)),
    CONSTRAINT refund_fiat_is_whole CHECK ((((named_in = 'fiat'::text) = (fiat_amount IS NOT NULL)) AND ((named_in = 'fiat'::text) = (rate_basis IS NOT NULL)) AND ((named_in = 'fiat'::text) = (rate IS NOT NULL)))),
    CONSTRAINT refund_goes_somewhere CHECK (((status = ANY (ARRAY['awaiting_destination'::text, 'rejected'::text, 'cancelled'::text])) OR ((destination_confirmed_at IS NOT NULL) AND (fee_bearer IS NOT NULL)))),
    CONSTRAINT refund_kind CHECK ((kind = ANY (ARRAY['owed'::text, 'goodwill'::text]))),
    CONSTRAINT refund_named_in CHECK ((named_in = ANY (ARRAY['coin'::text, 'fiat'::text]))),
    CONSTRAINT refund_network_fee_not_negative CHECK ((network_fee >= (0)::numeric)),
    CONSTRAINT refund_network_length CHECK (((char_length(network) >= 1) AND (char_length(network) <= 32))),
    CONSTRAINT refund_paid_is_whole CHECK ((((status = 'paid'::text) = (tx_id IS NOT NULL)) AND ((status = 'paid'::text) = (network_fee IS NOT NULL)))),
    CONSTRAINT refund_rate_basis CHECK ((rate_basis = ANY (ARRAY['order'::text, 'today'::text, 'stated'::text]))),
    CONSTRAINT refund_rate_positive CHECK ((rate > (0)::numeric)),
    CONSTRAINT refund_reason_length CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 200))),
    CONSTRAINT refund_reason_of_kind CHECK (((kind = 'owed'::text) = (reason IS NULL))),
    CONSTRAINT refund_requested_by_shape CHECK ((requested_by ~ '^[a-z]+:[a-z0-9-]{1,63}$'::text)),
    CONSTRAINT refund_status CHECK ((status = ANY (ARRAY['awaiting_destination'::text, 'awaiting_approval'::text, 'approved'::text, 'paying'::text, 'paid'::text, 'rejected'::text, 'cancelled'::text]))),
    CONSTRAINT refund_token_fee CHECK (((token IS NULL) OR (fee_bearer <> 'customer'::text))),
    CONSTRAINT refund_token_length CHECK (((char_length(token) >= 1) AND (char_length(token) <= 128))),
    CONSTRAINT refund_tx_length CHECK (((char_length(tx_id) >= 64) AND (char_length(tx_id) <= 88))),
    CONSTRAINT refund_updated_finite CHECK (isfinite(updated_at)),
    CONSTRAINT refund_version_positive CHECK ((version > 0))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.refund OWNER TO holdfast_owner;

--
-- Name: TABLE refund; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.refund IS 'Money that goes back to a customer: one decision with its destination, its approvals and its payout. Amounts in base units, before the network''s fee.';

--
-- Name: COLUMN refund.token; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.token IS 'Contract of a token on the network; null: the coin of the network.';

--
-- Name: COLUMN refund.fee_bearer; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.fee_bearer IS 'Who bears the network''s fee: shop sends the amount whole, customer gets it less the fee; null: stated when the destination is given.';

--
-- Name: COLUMN refund.fiat_amount; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.fiat_amount IS 'What was named, in the order''s currency; null: named in coin.';

--
-- Name: COLUMN refund.rate_basis; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.rate_basis IS 'Which rate turned fiat into coin: that of the order, of the day, or a stated one; null: named in coin.';

--
-- Name: COLUMN refund.rate; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.rate IS 'Fiat per coin; null: named in coin.';

--
-- Name: COLUMN refund.destination; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.destination IS 'Address in canonical form, given by the customer and never taken from a payment; null: not given yet.';

--
-- Name: COLUMN refund.destination_confirmed_at; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.destination_confirmed_at IS 'When the customer gave the same address again; null: not confirmed yet.';

--
-- Name: COLUMN refund.reason; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.reason IS 'The operator''s words; null: the order owes it.';

--
-- Name: COLUMN refund.tx_id; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.tx_id IS 'The transaction that paid it; null: not paid.';

--
-- Name: COLUMN refund.network_fee; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.network_fee IS 'What the network took, in base units of its coin; null: not paid.';

--
-- Name: COLUMN refund.destination_seal; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund.destination_seal IS 'Signature of the api over the address that the customer confirmed; null: not confirmed, or before seals were made.';

--
-- Name: refund_due; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.refund_due (
    order_id uuid NOT NULL,
    asset text NOT NULL,
    amount numeric(78,0) NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT refund_due_amount_not_negative CHECK ((amount >= (0)::numeric))
);

ALTER TABLE holdfast.refund_due OWNER TO holdfast_owner;

--
-- Name: TABLE refund_due; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.refund_due IS 'Final money owed back to a customer: the excess of a paid order, or all that a cancelled one received.';

--
-- Name: ledger_target; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.ledger_target AS
 SELECT a.order_id,
    a.network,
    a.asset,
    a.token,
    m.received,
    (- s.owed) AS refund_due,
    (- (a.paid + a.fees)) AS refunded,
    a.fees,
        CASE
            WHEN (NOT a.is_invoiced) THEN (0)::numeric
            ELSE ((
            CASE
                WHEN ((o.status = ANY (ARRAY['shipped'::text, 'delivered'::text])) OR ((o.status = 'processing'::text) AND holdfast.is_enough((m.in_time + t.taken), a.amount_due))) THEN GREATEST((0)::numeric, ((a.amount_due - m.in_time) - t.taken))
                ELSE (0)::numeric
            END + GREATEST((0)::numeric, (a.paid_of_owed - m.due))) -
            CASE
                WHEN ((o.status = 'cancelled'::text) AND ((((m.received + t.taken) - a.paid) >= (1)::numeric) AND (((m.received + t.taken) - a.paid) <= c.dust_floor))) THEN ((m.received + t.taken) - a.paid)
                ELSE (0)::numeric
            END)
        END AS written_off
   FROM (((((( SELECT x.order_id,
            x.network,
            x.asset,
            x.token,
            bool_or(x.is_invoiced) AS is_invoiced,
            max(x.amount_due) AS amount_due,
            sum(x.paid) AS paid,
            sum(x.paid_of_owed) AS paid_of_owed,
            sum(x.fee) AS fees
           FROM ( SELECT i.order_id,
                    i.network,
                    i.asset,
                    NULL::text AS token,
                    true AS is_invoiced,
                    i.amount_due,
                    0 AS paid,
                    0 AS paid_of_owed,
                    0 AS fee
                   FROM holdfast.invoice i
                UNION ALL
                 SELECT r.order_id,
                    r.network,
                    r.asset,
                    r.token,
                    false AS is_invoiced,
                    NULL::numeric AS amount_due,
                    r.amount AS paid,
                        CASE r.kind
                            WHEN 'owed'::text THEN r.amount
                            ELSE (0)::numeric
                        END AS paid_of_owed,
                    0 AS fee
                   FROM holdfast.refund r
                  WHERE (r.status = 'paid'::text)
                UNION ALL
                 SELECT r.order_id,
                    r.network,
                    r.asset,
                    NULL::text AS token,
                    false AS is_invoiced,
                    NULL::numeric AS amount_due,
                    0 AS paid,
                    0 AS paid_of_owed,
                    r.network_fee AS fee
                   FROM holdfast.refund r
                  WHERE ((r.status = 'paid'::text) AND (r.fee_bearer = 'shop'::text))
                UNION ALL
                 SELECT r.order_id,
                    r.network,
                    r.asset,
                    NULL::text AS token,
                    false AS is_invoiced,
                    NULL::numeric AS amount_due,
                    0 AS paid,
                    0 AS paid_of_owed,
                    p.network_fee AS fee
                   FROM (holdfast.payout p
                     JOIN holdfast.refund r ON ((r.refund_id = p.refund_id)))
                  WHERE (p.network_fee > (0)::numeric)) x
          GROUP BY x.order_id, x.network, x.asset, x.token) a
     JOIN holdfast.orders o ON ((o.order_id = a.order_id)))
     JOIN holdfast.currency c ON ((c.currency = a.asset)))
     CROSS JOIN LATERAL ( SELECT
                CASE
                    WHEN a.is_invoiced THEN COALESCE(sum(p.amount), (0)::numeric)
                    ELSE a.paid
                END AS received,
            COALESCE(sum(p.amount) FILTER (WHERE p.is_in_time), (0)::numeric) AS in_time,
            COALESCE(( SELECT d.amount
                   FROM holdfast.refund_due d
                  WHERE (a.is_invoiced AND (d.order_id = a.order_id))), (0)::numeric) AS due
           FROM holdfast.payment p
          WHERE (a.is_invoiced AND (p.order_id = a.order_id) AND (p.state = 'final'::text))) m)
     CROSS JOIN LATERAL ( SELECT
                CASE
                    WHEN (a.is_invoiced AND (EXISTS ( SELECT
                       FROM holdfast.late_decision d
                      WHERE (d.replacement_id = a.order_id)))) THEN ( SELECT (y.final - m.in_time)
                       FROM holdfast.order_money(ARRAY[a.order_id]) y(order_id, asset, amount_due, dust_floor, seen, final, late_seen, late_final, accepted, is_late, is_reorged, is_replaced))
                    ELSE (0)::numeric
                END AS taken) t)
     CROSS JOIN LATERAL ( SELECT
                CASE
                    WHEN (w.amount > c.dust_floor) THEN w.amount
                    ELSE (0)::numeric
                END AS owed
           FROM ( SELECT LEAST((m.due - a.paid_of_owed), ((m.received + t.taken) - a.paid)) AS amount) w) s);

ALTER VIEW holdfast.ledger_target OWNER TO holdfast_owner;

--
-- Name: VIEW ledger_target; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.ledger_target IS 'What the ledger must have in sum of each order and asset, as payments, refunds and status are now.';

--
-- Name: master_key; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.master_key (
    version integer NOT NULL,
    fingerprint bytea NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT master_key_fingerprint_length CHECK ((octet_length(fingerprint) = 32)),
    CONSTRAINT master_key_version_positive CHECK ((version > 0))
);

ALTER TABLE holdfast.master_key OWNER TO holdfast_owner;

--
-- Name: TABLE master_key; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.master_key IS 'Versions of the key ring that ever sealed something here, and a fingerprint by which a wrong ring is noticed. The secrets are never in the database.';

--
-- Name: notification; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.notification (
    notification_id bigint NOT NULL,
    order_id uuid NOT NULL,
    order_version bigint NOT NULL,
    channel text NOT NULL,
    status text NOT NULL,
    claimed_by text,
    claimed_until timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    delivered_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    payment_state text NOT NULL,
    cancel_reason text,
    changed_at timestamp with time zone NOT NULL,
    dead_reason text,
    dead_at timestamp with time zone,
    CONSTRAINT notification_attempts_not_negative CHECK ((attempts >= 0)),
    CONSTRAINT notification_cancel_reason CHECK ((cancel_reason = ANY (ARRAY['customer'::text, 'admin'::text, 'expired'::text, 'underpaid'::text, 'out_of_stock'::text, 'fraud'::text]))),
    CONSTRAINT notification_cancelled_has_reason CHECK (((status = 'cancelled'::text) = (cancel_reason IS NOT NULL))),
    CONSTRAINT notification_channel CHECK ((channel = ANY (ARRAY['log'::text, 'webhook'::text]))),
    CONSTRAINT notification_claimed_by_length CHECK (((char_length(claimed_by) >= 1) AND (char_length(claimed_by) <= 80))),
    CONSTRAINT notification_dead_length CHECK (((char_length(dead_reason) >= 1) AND (char_length(dead_reason) <= 200))),
    CONSTRAINT notification_dead_or_delivered CHECK (((dead_at IS NULL) OR (delivered_at IS NULL))),
    CONSTRAINT notification_dead_since CHECK (((dead_reason IS NULL) = (dead_at IS NULL))),
    CONSTRAINT notification_payment_state CHECK ((payment_state = ANY (ARRAY['awaiting'::text, 'partial'::text, 'confirming'::text, 'paid'::text, 'at_risk'::text, 'reversed'::text, 'expired'::text, 'late_confirming'::text, 'unresolved'::text, 'cancelled'::text, 'refunding'::text, 'partially_refunded'::text, 'refunded'::text]))),
    CONSTRAINT notification_status CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'shipped'::text, 'delivered'::text, 'cancelled'::text]))),
    CONSTRAINT notification_version_positive CHECK ((order_version > 0))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.notification OWNER TO holdfast_owner;

--
-- Name: TABLE notification; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.notification IS 'Changes of status to tell the world about, written with the change: facts, ids and words only. Dead: tried for long enough; a person may have it tried again.';

--
-- Name: notification_channel; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.notification_channel (
    channel text NOT NULL,
    is_enabled boolean NOT NULL,
    CONSTRAINT notification_channel_known CHECK ((channel = ANY (ARRAY['log'::text, 'webhook'::text])))
);

ALTER TABLE holdfast.notification_channel OWNER TO holdfast_owner;

--
-- Name: TABLE notification_channel; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.notification_channel IS 'Where changes of status are told. A row is written for each channel that is enabled at the instant of the change.';

--
-- Name: notification_notification_id_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.notification ALTER COLUMN notification_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.notification_notification_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: open_invoice; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.open_invoice AS
 SELECT i.network,
    i.address,
    i.created_at,
    i.ends_at,
    r.expires_at AS held_until
   FROM (holdfast.reservation r
     CROSS JOIN LATERAL ( SELECT v.network,
            v.address,
            v.created_at,
            (v.expires_at + v.grace) AS ends_at
           FROM (holdfast.orders o
             JOIN holdfast.invoice v ON ((v.order_id = o.order_id)))
          WHERE ((o.order_id = r.order_id) AND (o.status = 'pending'::text))
         LIMIT 1) i)
  WHERE (r.state = 'held'::text);

ALTER VIEW holdfast.open_invoice OWNER TO holdfast_owner;

--
-- Name: VIEW open_invoice; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.open_invoice IS 'Addresses whose orders wait for money and hold stock: a row per hold, found by when it ends.';

--
-- Name: order_line; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.order_line (
    order_id uuid NOT NULL,
    line_no smallint NOT NULL,
    product_id text NOT NULL,
    product_version bigint NOT NULL,
    name text NOT NULL,
    quantity integer NOT NULL,
    unit_price numeric(14,2) NOT NULL,
    CONSTRAINT order_line_name_length CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT order_line_no_range CHECK (((line_no >= 1) AND (line_no <= 100))),
    CONSTRAINT order_line_price_not_negative CHECK ((unit_price >= (0)::numeric)),
    CONSTRAINT order_line_product_version_positive CHECK ((product_version > 0)),
    CONSTRAINT order_line_quantity_range CHECK (((quantity >= 1) AND (quantity <= 1000)))
);

ALTER TABLE holdfast.order_line OWNER TO holdfast_owner;

--
-- Name: TABLE order_line; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.order_line IS 'The frozen agreement: item, quantity and the catalogue''s price at the instant of acceptance.';

--
-- Name: order_restart; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.order_restart (
    restart_no bigint NOT NULL,
    order_id uuid NOT NULL,
    generation integer NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT order_restart_generation_later CHECK ((generation > 1)),
    CONSTRAINT order_restart_no_positive CHECK ((restart_no > 0)),
    CONSTRAINT order_restart_reason_length CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 200)))
);

ALTER TABLE holdfast.order_restart OWNER TO holdfast_owner;

--
-- Name: TABLE order_restart; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.order_restart IS 'Why an operator had an order''s workflow started once more, and as which generation.';

--
-- Name: order_restart_restart_no_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.order_restart ALTER COLUMN restart_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.order_restart_restart_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: order_transition; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.order_transition (
    from_status text NOT NULL,
    to_status text NOT NULL,
    role text NOT NULL
);

ALTER TABLE holdfast.order_transition OWNER TO holdfast_owner;

--
-- Name: TABLE order_transition; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.order_transition IS 'Legal moves by role; a test keeps it equal to TRANSITIONS in src/domain/order.ts.';

--
-- Name: order_wake; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.order_wake (
    order_id uuid NOT NULL,
    wanted_seq bigint DEFAULT 1 NOT NULL,
    claimed_by text,
    claimed_until timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    dead_reason text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT order_wake_attempts_not_negative CHECK ((attempts >= 0)),
    CONSTRAINT order_wake_claimed_by_length CHECK (((char_length(claimed_by) >= 1) AND (char_length(claimed_by) <= 80))),
    CONSTRAINT order_wake_dead_length CHECK (((char_length(dead_reason) >= 1) AND (char_length(dead_reason) <= 200))),
    CONSTRAINT order_wake_wanted_positive CHECK ((wanted_seq > 0))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.order_wake OWNER TO holdfast_owner;

--
-- Name: TABLE order_wake; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.order_wake IS 'Workflows that must look again. The row goes when an assessment has seen its wanted_seq; until then the signal is sent again.';

--
-- Name: own_account; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.own_account (
    network text NOT NULL,
    address text NOT NULL,
    note text NOT NULL,
    added_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT own_account_added_finite CHECK (isfinite(added_at)),
    CONSTRAINT own_account_address_length CHECK (((char_length(address) >= 1) AND (char_length(address) <= 128))),
    CONSTRAINT own_account_address_lower CHECK (((address !~* '^0x'::text) OR (address = lower(address)))),
    CONSTRAINT own_account_network_shape CHECK ((network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)),
    CONSTRAINT own_account_note_length CHECK (((char_length(note) >= 1) AND (char_length(note) <= 200)))
);

ALTER TABLE holdfast.own_account OWNER TO holdfast_owner;

--
-- Name: TABLE own_account; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.own_account IS 'Accounts whose key is the shop''s alone, beside those of payouts: what they send to an order pays nothing.';

--
-- Name: COLUMN own_account.note; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.own_account.note IS 'What the account is for.';

--
-- Name: payment_key; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.payment_key (
    key_id uuid NOT NULL,
    network text NOT NULL,
    asset text NOT NULL,
    address text NOT NULL,
    tier text DEFAULT 'active'::text NOT NULL,
    format_version smallint NOT NULL,
    envelope_version integer NOT NULL,
    epoch_id uuid NOT NULL,
    master_version integer NOT NULL,
    salt bytea NOT NULL,
    wrap_nonce bytea NOT NULL,
    wrap_tag bytea NOT NULL,
    wrapped_key bytea NOT NULL,
    nonce bytea NOT NULL,
    tag bytea NOT NULL,
    ciphertext bytea NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    sealed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT payment_key_address_canonical CHECK ((((char_length(address) >= 1) AND (char_length(address) <= 128)) AND ((asset <> 'ETH'::text) OR (address ~ '^0x[0-9a-f]{40}$'::text)))),
    CONSTRAINT payment_key_ciphertext_length CHECK (((octet_length(ciphertext) >= 32) AND (octet_length(ciphertext) <= 64))),
    CONSTRAINT payment_key_envelope_positive CHECK ((envelope_version > 0)),
    CONSTRAINT payment_key_format CHECK ((format_version = 1)),
    CONSTRAINT payment_key_nonce_length CHECK ((octet_length(nonce) = 12)),
    CONSTRAINT payment_key_salt_length CHECK ((octet_length(salt) = 32)),
    CONSTRAINT payment_key_tag_length CHECK ((octet_length(tag) = 16)),
    CONSTRAINT payment_key_tier CHECK ((tier = ANY (ARRAY['active'::text, 'retired'::text]))),
    CONSTRAINT payment_key_wrap_nonce_length CHECK ((octet_length(wrap_nonce) = 12)),
    CONSTRAINT payment_key_wrap_tag_length CHECK ((octet_length(wrap_tag) = 16)),
    CONSTRAINT payment_key_wrapped_key_length CHECK ((octet_length(wrapped_key) = 32))
);

ALTER TABLE holdfast.payment_key OWNER TO holdfast_owner;

--
-- Name: TABLE payment_key; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.payment_key IS 'The private key behind an address, as ciphertext: sealed by a data key, which is wrapped under the epoch.';

--
-- Name: payment_report_report_no_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.payment_report ALTER COLUMN report_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.payment_report_report_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: payment_transition; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.payment_transition (
    from_state text NOT NULL,
    to_state text NOT NULL
);

ALTER TABLE holdfast.payment_transition OWNER TO holdfast_owner;

--
-- Name: TABLE payment_transition; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.payment_transition IS 'Legal moves of payment_state; a test keeps it equal to PAYMENT_MOVES in src/domain/payment.ts.';

--
-- Name: payout_attempt; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.payout_attempt (
    payout_id uuid NOT NULL,
    attempt smallint NOT NULL,
    order_id uuid NOT NULL,
    kind text NOT NULL,
    value numeric(78,0) NOT NULL,
    gas_limit bigint NOT NULL,
    max_fee numeric(78,0) NOT NULL,
    priority_fee numeric(78,0) NOT NULL,
    raw text,
    tx_id text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    broadcast_at timestamp with time zone,
    CONSTRAINT payout_attempt_broadcast_finite CHECK (isfinite(broadcast_at)),
    CONSTRAINT payout_attempt_created_finite CHECK (isfinite(created_at)),
    CONSTRAINT payout_attempt_fee_positive CHECK ((max_fee > (0)::numeric)),
    CONSTRAINT payout_attempt_gas_positive CHECK ((gas_limit > 0)),
    CONSTRAINT payout_attempt_kind CHECK ((kind = ANY (ARRAY['pay'::text, 'fill'::text]))),
    CONSTRAINT payout_attempt_positive CHECK ((attempt > 0)),
    CONSTRAINT payout_attempt_priority_range CHECK (((priority_fee >= (0)::numeric) AND (priority_fee <= max_fee))),
    CONSTRAINT payout_attempt_raw_shape CHECK (((raw ~ '^0x([0-9a-f]{2})+$'::text) AND (char_length(raw) <= 1024))),
    CONSTRAINT payout_attempt_signed_is_whole CHECK (((raw IS NULL) = (tx_id IS NULL))),
    CONSTRAINT payout_attempt_tx_shape CHECK ((tx_id ~ '^0x[0-9a-f]{64}$'::text)),
    CONSTRAINT payout_attempt_value_not_negative CHECK ((value >= (0)::numeric)),
    CONSTRAINT payout_attempt_value_of_kind CHECK (((kind = 'pay'::text) = (value > (0)::numeric)))
);

ALTER TABLE holdfast.payout_attempt OWNER TO holdfast_owner;

--
-- Name: TABLE payout_attempt; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.payout_attempt IS 'Transactions of a payout, all with its nonce: the first, and replacements with a higher fee. One at most is executed. Signed bytes are stored before they are sent, so that sending again sends the same transaction.';

--
-- Name: COLUMN payout_attempt.kind; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_attempt.kind IS 'pay: sends the value; fill: an empty one to the sender, which ends the payout.';

--
-- Name: COLUMN payout_attempt.gas_limit; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_attempt.gas_limit IS 'Most gas that it may use.';

--
-- Name: COLUMN payout_attempt.max_fee; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_attempt.max_fee IS 'Most that it pays per gas, in base units.';

--
-- Name: COLUMN payout_attempt.priority_fee; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_attempt.priority_fee IS 'Of it, at most this to the block''s producer, in base units.';

--
-- Name: COLUMN payout_attempt.raw; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_attempt.raw IS 'The signed bytes, hex; null: not signed.';

--
-- Name: COLUMN payout_attempt.tx_id; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_attempt.tx_id IS 'Their transaction id; null: not signed.';

--
-- Name: COLUMN payout_attempt.broadcast_at; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_attempt.broadcast_at IS 'When a node first took it; null: none yet.';

--
-- Name: payout_sender; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.payout_sender (
    network text NOT NULL,
    sender text NOT NULL,
    chain_id bigint NOT NULL,
    next_nonce bigint NOT NULL,
    holder text,
    held_until timestamp with time zone,
    CONSTRAINT payout_sender_chain_positive CHECK ((chain_id > 0)),
    CONSTRAINT payout_sender_held_finite CHECK (isfinite(held_until)),
    CONSTRAINT payout_sender_holder_length CHECK (((char_length(holder) >= 1) AND (char_length(holder) <= 80))),
    CONSTRAINT payout_sender_network_length CHECK (((char_length(network) >= 1) AND (char_length(network) <= 32))),
    CONSTRAINT payout_sender_nonce_not_negative CHECK ((next_nonce >= 0)),
    CONSTRAINT payout_sender_shape CHECK ((sender ~ '^0x[0-9a-f]{40}$'::text))
);

ALTER TABLE holdfast.payout_sender OWNER TO holdfast_owner;

--
-- Name: TABLE payout_sender; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.payout_sender IS 'Accounts that refunds are sent from: the next free nonce, and the lease of the process that sends.';

--
-- Name: COLUMN payout_sender.next_nonce; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_sender.next_nonce IS 'Only grows: a nonce belongs to one payout for ever.';

--
-- Name: COLUMN payout_sender.holder; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_sender.holder IS 'Process with the lease; null: free.';

--
-- Name: COLUMN payout_sender.held_until; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_sender.held_until IS 'When the lease ends; null: free.';

--
-- Name: payout_wait; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.payout_wait (
    refund_id uuid NOT NULL,
    reason text NOT NULL,
    tries integer DEFAULT 1 NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    next_try_at timestamp with time zone NOT NULL,
    CONSTRAINT payout_wait_next_finite CHECK (isfinite(next_try_at)),
    CONSTRAINT payout_wait_reason_length CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 40))),
    CONSTRAINT payout_wait_since_finite CHECK (isfinite(since)),
    CONSTRAINT payout_wait_tries_positive CHECK ((tries > 0))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.payout_wait OWNER TO holdfast_owner;

--
-- Name: TABLE payout_wait; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.payout_wait IS 'Refunds that got no payout when the payer looked at them, and when it looks again. Deleted when one is prepared.';

--
-- Name: COLUMN payout_wait.reason; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_wait.reason IS 'Why, as holdfast_payout_waiting names it.';

--
-- Name: COLUMN payout_wait.tries; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_wait.tries IS 'How often the payer has looked at it: the time to the next look doubles.';

--
-- Name: COLUMN payout_wait.since; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.payout_wait.since IS 'Since when it has waited for this reason.';

--
-- Name: pending_invoice; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.pending_invoice AS
 SELECT i.network,
    i.address,
    o.created_at,
    GREATEST(i.ends_at, h.held_until) AS ends_at,
    (h.held_until IS NOT NULL) AS is_held
   FROM ((holdfast.orders o
     CROSS JOIN LATERAL ( SELECT v.network,
            v.address,
            (v.expires_at + v.grace) AS ends_at
           FROM holdfast.invoice v
          WHERE (v.order_id = o.order_id)
         LIMIT 1) i)
     CROSS JOIN LATERAL ( SELECT max(r.expires_at) AS held_until
           FROM holdfast.reservation r
          WHERE ((r.order_id = o.order_id) AND (r.state = 'held'::text))) h)
  WHERE (o.status = 'pending'::text);

ALTER VIEW holdfast.pending_invoice OWNER TO holdfast_owner;

--
-- Name: VIEW pending_invoice; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.pending_invoice IS 'Addresses of all pending orders, those without a hold too, with the end of the quote and its grace or of the hold.';

--
-- Name: product; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.product (
    product_id text NOT NULL,
    name text NOT NULL,
    unit_price numeric(14,2) NOT NULL,
    currency text NOT NULL,
    is_active boolean DEFAULT true NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT product_id_shape CHECK ((product_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'::text)),
    CONSTRAINT product_name_length CHECK (((char_length(name) >= 1) AND (char_length(name) <= 200))),
    CONSTRAINT product_price_not_negative CHECK ((unit_price >= (0)::numeric)),
    CONSTRAINT product_version_positive CHECK ((version > 0))
);

ALTER TABLE holdfast.product OWNER TO holdfast_owner;

--
-- Name: TABLE product; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.product IS 'The catalogue. A price change takes the stock row first, so an order and a price change have an order.';

--
-- Name: quota_window; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE UNLOGGED TABLE holdfast.quota_window (
    key bytea NOT NULL,
    second bigint NOT NULL,
    hits integer[] DEFAULT array_fill(0, ARRAY[61]) NOT NULL,
    CONSTRAINT quota_window_hits_shape CHECK (((cardinality(hits) = 61) AND (0 <= ALL (hits)))),
    CONSTRAINT quota_window_key_length CHECK ((octet_length(key) = 32)),
    CONSTRAINT quota_window_second_not_negative CHECK ((second >= 0))
)
WITH (fillfactor='50');

ALTER TABLE holdfast.quota_window OWNER TO holdfast_owner;

--
-- Name: TABLE quota_window; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.quota_window IS 'Sliding windows of the shared rate limits. hits[1] counts the calls of `second` (Unix time), hits[2] those of the second before, and so on. key: SHA-256 of class, kind and subject.';

--
-- Name: quoted_rate; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.quoted_rate (
    rate_id uuid NOT NULL,
    asset text NOT NULL,
    currency text NOT NULL,
    rate numeric(20,2) NOT NULL,
    made_at timestamp with time zone NOT NULL,
    prices jsonb NOT NULL,
    CONSTRAINT quoted_rate_made_at_finite CHECK (isfinite(made_at)),
    CONSTRAINT quoted_rate_positive CHECK ((rate > (0)::numeric)),
    CONSTRAINT quoted_rate_prices_shape CHECK (((jsonb_typeof(prices) = 'array'::text) AND ((jsonb_array_length(prices) >= 1) AND (jsonb_array_length(prices) <= 16)) AND (octet_length((prices)::text) <= 4096)))
);

ALTER TABLE holdfast.quoted_rate OWNER TO holdfast_owner;

--
-- Name: TABLE quoted_rate; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.quoted_rate IS 'Rates that orders were quoted with. made_at: when the oldest of the prices was read, by the clock of the api. prices: [{source, price, read_at}], price as the source wrote it.';

--
-- Name: reclaimable_hold; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.reclaimable_hold AS
 SELECT order_id,
    product_id,
    expires_at
   FROM holdfast.reservation r
  WHERE ((state = 'held'::text) AND (expires_at < ( SELECT max(c.caught_up_at) AS max
           FROM holdfast.chain_status c)) AND ( SELECT true
           FROM holdfast.expirable e
          WHERE (e.order_id = r.order_id)) AND ((( SELECT a.next_at
           FROM holdfast.hold_aside a
          WHERE (a.order_id = r.order_id)) > statement_timestamp()) IS NOT TRUE));

ALTER VIEW holdfast.reclaimable_hold OWNER TO holdfast_owner;

--
-- Name: VIEW reclaimable_hold; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.reclaimable_hold IS 'Holds that may be given back once their time is over. Without those set aside: until their next try their stock is not to be had.';

--
-- Name: refund_approval; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.refund_approval (
    refund_id uuid NOT NULL,
    version bigint NOT NULL,
    approver text NOT NULL,
    order_id uuid NOT NULL,
    approved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    seal text,
    CONSTRAINT refund_approval_approver_shape CHECK ((approver ~ '^[a-z]+:[a-z0-9-]{1,63}$'::text)),
    CONSTRAINT refund_approval_at_finite CHECK (isfinite(approved_at)),
    CONSTRAINT refund_approval_seal_shape CHECK ((seal ~ '^[0-9a-f]{16}\.[A-Za-z0-9_-]{86}$'::text)),
    CONSTRAINT refund_approval_version_positive CHECK ((version > 0))
);

ALTER TABLE holdfast.refund_approval OWNER TO holdfast_owner;

--
-- Name: TABLE refund_approval; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.refund_approval IS 'Who approved a refund as it was in this version: a later change of amount or destination ends all approvals.';

--
-- Name: COLUMN refund_approval.seal; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.refund_approval.seal IS 'Signature of the api over what was approved, and by whom; null: before seals were made.';

--
-- Name: refund_transition; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.refund_transition (
    from_status text NOT NULL,
    to_status text NOT NULL
);

ALTER TABLE holdfast.refund_transition OWNER TO holdfast_owner;

--
-- Name: TABLE refund_transition; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.refund_transition IS 'Legal moves of a refund; a test keeps it equal to REFUND_MOVES in src/domain/refund.ts.';

--
-- Name: returning_hold; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.returning_hold AS
 SELECT order_id,
    product_id,
    expires_at,
    quantity
   FROM holdfast.reservation r
  WHERE ((state = 'held'::text) AND (expires_at < ( SELECT max(c.caught_up_at) AS max
           FROM holdfast.chain_status c)) AND ( SELECT true
           FROM holdfast.expirable e
          WHERE (e.order_id = r.order_id)) AND COALESCE(( SELECT ((a.tries < 3) OR (a.next_at <= statement_timestamp()))
           FROM holdfast.hold_aside a
          WHERE (a.order_id = r.order_id)), true));

ALTER VIEW holdfast.returning_hold OWNER TO holdfast_owner;

--
-- Name: VIEW returning_hold; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.returning_hold IS 'Holds whose stock is to be had soon once their time is over.';

--
-- Name: schema_version; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.schema_version (
    version bigint NOT NULL,
    name text,
    md5 text,
    run_at timestamp with time zone
);

ALTER TABLE holdfast.schema_version OWNER TO holdfast_owner;

--
-- Name: TABLE schema_version; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.schema_version IS 'The runner''s: which migrations this database has, and their checksums.';

--
-- Name: security_event; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.security_event (
    event_no bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    kind text NOT NULL,
    subject text,
    peer text,
    method text,
    object text,
    request_id uuid,
    events integer NOT NULL,
    CONSTRAINT security_event_at_finite CHECK (isfinite(at)),
    CONSTRAINT security_event_events_positive CHECK ((events > 0)),
    CONSTRAINT security_event_kind CHECK ((kind = ANY (ARRAY['unauthenticated'::text, 'denied_order'::text, 'denied_admin'::text, 'denied'::text, 'unknown_order'::text, 'invalid'::text, 'calls'::text]))),
    CONSTRAINT security_event_method_shape CHECK ((method ~ '^/[a-zA-Z0-9.]{1,60}/[a-zA-Z]{1,60}$'::text)),
    CONSTRAINT security_event_object_shape CHECK ((object ~ '^[0-9a-f]{32}$'::text)),
    CONSTRAINT security_event_peer_shape CHECK ((peer ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT security_event_subject_shape CHECK ((subject ~ '^[a-z]+:[a-z0-9-]{1,63}$'::text))
);

ALTER TABLE holdfast.security_event OWNER TO holdfast_owner;

--
-- Name: TABLE security_event; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.security_event IS 'Refused calls by kind, caller and place, so many within about a second each; kind calls: all calls of a peer. Append-only. No personal data: peers and orders are keyed hashes, and nothing is a text of the caller.';

--
-- Name: COLUMN security_event.at; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.security_event.at IS 'When the last of them ended, on the clock of the database.';

--
-- Name: COLUMN security_event.subject; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.security_event.subject IS 'The principal, such as user:7; null: no token was accepted, or kind calls.';

--
-- Name: COLUMN security_event.peer; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.security_event.peer IS 'Keyed hash of the caller''s address; null: behind a proxy that did not say for whom it calls.';

--
-- Name: COLUMN security_event.method; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.security_event.method IS 'The path of the method; null: several.';

--
-- Name: COLUMN security_event.object; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.security_event.object IS 'Keyed hash of the order id that was asked for; null: none, or several.';

--
-- Name: COLUMN security_event.request_id; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON COLUMN holdfast.security_event.request_id IS 'The call, where the events are one; null: several, or no UUID.';

--
-- Name: security_event_event_no_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.security_event ALTER COLUMN event_no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.security_event_event_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: source_login; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.source_login (
    login text NOT NULL,
    source text NOT NULL,
    CONSTRAINT source_login_length CHECK (((char_length(login) >= 1) AND (char_length(login) <= 63))),
    CONSTRAINT source_login_source_shape CHECK ((source ~ '^[a-z0-9-]{1,63}$'::text))
);

ALTER TABLE holdfast.source_login OWNER TO holdfast_owner;

--
-- Name: TABLE source_login; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.source_login IS 'Database logins that may write one source''s rows only. Written by bind_source. A login without a row may write those of the source that its session names.';

--
-- Name: source_rule; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.source_rule (
    asset text NOT NULL,
    since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    sources smallint NOT NULL,
    above numeric(78,0) NOT NULL,
    reason text NOT NULL,
    CONSTRAINT source_rule_above_not_negative CHECK ((above >= (0)::numeric)),
    CONSTRAINT source_rule_reason_length CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 200))),
    CONSTRAINT source_rule_since_finite CHECK (isfinite(since)),
    CONSTRAINT source_rule_sources_range CHECK (((sources >= 1) AND (sources <= 5)))
);

ALTER TABLE holdfast.source_rule OWNER TO holdfast_owner;

--
-- Name: TABLE source_rule; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.source_rule IS 'How many sources must agree before money is final, for orders made since then and amounts above a limit in base units. Without a row: one. Append-only: an order keeps the rule it was made under.';

--
-- Name: stock; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.stock (
    product_id text NOT NULL,
    on_hand bigint DEFAULT 0 NOT NULL,
    reserved bigint DEFAULT 0 NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    CONSTRAINT stock_never_oversold CHECK (((reserved >= 0) AND (reserved <= on_hand))),
    CONSTRAINT stock_on_hand_range CHECK (((on_hand >= 0) AND (on_hand <= '1000000000000'::bigint))),
    CONSTRAINT stock_version_positive CHECK ((version > 0))
)
WITH (fillfactor='50');

ALTER TABLE holdfast.stock OWNER TO holdfast_owner;

--
-- Name: TABLE stock; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.stock IS 'Counters per product. available = on_hand - reserved and is never stored.';

--
-- Name: stock_movement; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.stock_movement (
    movement_id bigint NOT NULL,
    product_id text NOT NULL,
    order_id uuid,
    hold_no smallint,
    kind text NOT NULL,
    on_hand_delta bigint NOT NULL,
    reserved_delta bigint NOT NULL,
    actor text NOT NULL,
    reason text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT stock_movement_actor_length CHECK (((char_length(actor) >= 1) AND (char_length(actor) <= 80))),
    CONSTRAINT stock_movement_hold_no_positive CHECK ((hold_no > 0)),
    CONSTRAINT stock_movement_kind CHECK ((kind = ANY (ARRAY['reserve'::text, 'release'::text, 'expire'::text, 'consume'::text, 'adjust'::text]))),
    CONSTRAINT stock_movement_of_order CHECK ((((order_id IS NULL) = (kind = 'adjust'::text)) AND ((order_id IS NULL) = (hold_no IS NULL)))),
    CONSTRAINT stock_movement_on_hand_range CHECK (((on_hand_delta >= '-1000000000000'::bigint) AND (on_hand_delta <= '1000000000000'::bigint))),
    CONSTRAINT stock_movement_reason_length CHECK (((char_length(reason) >= 1) AND (char_length(reason) <= 200))),
    CONSTRAINT stock_movement_reserved_range CHECK (((reserved_delta >= '-1000000000000'::bigint) AND (reserved_delta <= '1000000000000'::bigint)))
);

ALTER TABLE holdfast.stock_movement OWNER TO holdfast_owner;

--
-- Name: TABLE stock_movement; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.stock_movement IS 'Append-only ledger; its sums equal the counters of stock.';

--
-- Name: stock_movement_movement_id_seq; Type: SEQUENCE; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.stock_movement ALTER COLUMN movement_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME holdfast.stock_movement_movement_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: unattributed_output; Type: VIEW; Schema: holdfast; Owner: holdfast_owner
--

CREATE VIEW holdfast.unattributed_output AS
 SELECT source,
    network,
    tx_id,
    output_index,
    address,
    asset,
    amount,
    order_id,
    first_seen_at
   FROM holdfast.payment_report r
  WHERE ((state = 'final'::text) AND ((order_id IS NULL) OR is_assessed) AND (NOT (EXISTS ( SELECT
           FROM holdfast.payment p
          WHERE ((p.network = r.network) AND (p.tx_id = r.tx_id) AND (p.output_index = r.output_index))))) AND (NOT (EXISTS ( SELECT
           FROM holdfast.payment_report l
          WHERE (((l.source = r.source) AND (l.network = r.network) AND (l.tx_id = r.tx_id) AND (l.output_index = r.output_index)) AND (l.seq > r.seq))))));

ALTER VIEW holdfast.unattributed_output OWNER TO holdfast_owner;

--
-- Name: VIEW unattributed_output; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON VIEW holdfast.unattributed_output IS 'Final money that no order was credited with, for an operator to attribute or to give back.';

--
-- Name: workflow_start; Type: TABLE; Schema: holdfast; Owner: holdfast_owner
--

CREATE TABLE holdfast.workflow_start (
    order_id uuid NOT NULL,
    generation integer DEFAULT 1 NOT NULL,
    urgency smallint DEFAULT 1 NOT NULL,
    quote_ends_at timestamp with time zone NOT NULL,
    claimed_by text,
    claimed_until timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    dead_reason text,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT workflow_start_attempts_not_negative CHECK ((attempts >= 0)),
    CONSTRAINT workflow_start_claimed_by_length CHECK (((char_length(claimed_by) >= 1) AND (char_length(claimed_by) <= 80))),
    CONSTRAINT workflow_start_dead_length CHECK (((char_length(dead_reason) >= 1) AND (char_length(dead_reason) <= 200))),
    CONSTRAINT workflow_start_generation_positive CHECK ((generation > 0)),
    CONSTRAINT workflow_start_urgency CHECK ((urgency = ANY (ARRAY[0, 1])))
)
WITH (fillfactor='70');

ALTER TABLE holdfast.workflow_start OWNER TO holdfast_owner;

--
-- Name: TABLE workflow_start; Type: COMMENT; Schema: holdfast; Owner: holdfast_owner
--

COMMENT ON TABLE holdfast.workflow_start IS 'Orders whose workflow is still to be started. Urgency 0: a payment or a command waits for it.';

--
-- Name: audit_entry_default; Type: TABLE ATTACH; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.audit_entry ATTACH PARTITION holdfast.audit_entry_default DEFAULT;

--
-- Name: account account_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.account
    ADD CONSTRAINT account_pk PRIMARY KEY (user_id);

--
-- Name: account account_version_unique; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.account
    ADD CONSTRAINT account_version_unique UNIQUE (version);

--
-- Name: address_pool address_pool_key_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.address_pool
    ADD CONSTRAINT address_pool_key_once UNIQUE (key_id);

--
-- Name: address_pool address_pool_no_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.address_pool
    ADD CONSTRAINT address_pool_no_once UNIQUE (pool_no);

--
-- Name: address_pool address_pool_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.address_pool
    ADD CONSTRAINT address_pool_pk PRIMARY KEY (network, address);

--
-- Name: address_pool address_pool_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.address_pool
    ADD CONSTRAINT address_pool_times_finite CHECK (isfinite(leased_at)) NOT VALID;

--
-- Name: asset_rate asset_rate_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.asset_rate
    ADD CONSTRAINT asset_rate_pk PRIMARY KEY (asset, currency);

--
-- Name: audit_checkpoint audit_checkpoint_one_next; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.audit_checkpoint
    ADD CONSTRAINT audit_checkpoint_one_next UNIQUE (continues_no);

--
-- Name: audit_checkpoint audit_checkpoint_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.audit_checkpoint
    ADD CONSTRAINT audit_checkpoint_pk PRIMARY KEY (checkpoint_no);

--
-- Name: audit_checkpoint audit_checkpoint_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.audit_checkpoint
    ADD CONSTRAINT audit_checkpoint_times_finite CHECK (isfinite(sealed_at)) NOT VALID;

--
-- Name: audit_entry audit_entry_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.audit_entry
    ADD CONSTRAINT audit_entry_pk PRIMARY KEY (entry_id, at);

--
-- Name: audit_entry_default audit_entry_default_pkey; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.audit_entry_default
    ADD CONSTRAINT audit_entry_default_pkey PRIMARY KEY (entry_id, at);

--
-- Name: audit_head audit_head_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.audit_head
    ADD CONSTRAINT audit_head_pk PRIMARY KEY (kind, aggregate_id);

--
-- Name: audit_pending audit_pending_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.audit_pending
    ADD CONSTRAINT audit_pending_pk PRIMARY KEY (txid, change_no);

--
-- Name: audit_scope audit_scope_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.audit_scope
    ADD CONSTRAINT audit_scope_pk PRIMARY KEY (table_name);

--
-- Name: audit_tile audit_tile_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.audit_tile
    ADD CONSTRAINT audit_tile_pk PRIMARY KEY (level, tile_no);

--
-- Name: chain_balance chain_balance_difference; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_balance
    ADD CONSTRAINT chain_balance_difference CHECK ((unexplained = GREATEST((0)::numeric, ((balance - (told - withdrawn)) - set_aside)))) NOT VALID;

--
-- Name: chain_balance chain_balance_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_balance
    ADD CONSTRAINT chain_balance_pk PRIMARY KEY (network, address, source);

--
-- Name: chain_balance chain_balance_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_balance
    ADD CONSTRAINT chain_balance_times_finite CHECK ((isfinite(attributed_at) AND isfinite(checked_at) AND isfinite(found_at))) NOT VALID;

--
-- Name: chain_balance chain_balance_withdrawn_range; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_balance
    ADD CONSTRAINT chain_balance_withdrawn_range CHECK (((withdrawn >= (0)::numeric) AND (withdrawn <= told))) NOT VALID;

--
-- Name: chain_block chain_block_hash_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_block
    ADD CONSTRAINT chain_block_hash_once UNIQUE (network, hash, source);

--
-- Name: chain_block chain_block_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_block
    ADD CONSTRAINT chain_block_pk PRIMARY KEY (network, height, source);

--
-- Name: chain_block chain_block_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_block
    ADD CONSTRAINT chain_block_times_finite CHECK (isfinite(chain_time)) NOT VALID;

--
-- Name: chain_operation chain_operation_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_operation
    ADD CONSTRAINT chain_operation_pk PRIMARY KEY (operation_no);

--
-- Name: chain_output chain_output_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_output
    ADD CONSTRAINT chain_output_pk PRIMARY KEY (network, tx_id, output_index, source);

--
-- Name: chain_output chain_output_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_output
    ADD CONSTRAINT chain_output_times_finite CHECK (isfinite(first_seen_at)) NOT VALID;

--
-- Name: chain_report chain_report_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_report
    ADD CONSTRAINT chain_report_once UNIQUE (network, tx_id, output_index, source, seq);

--
-- Name: chain_report chain_report_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_report
    ADD CONSTRAINT chain_report_pk PRIMARY KEY (report_no);

--
-- Name: chain_report chain_report_refusal_length; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_report
    ADD CONSTRAINT chain_report_refusal_length CHECK (((char_length(refusal_reason) >= 1) AND (char_length(refusal_reason) <= 60))) NOT VALID;

--
-- Name: chain_report chain_report_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_report
    ADD CONSTRAINT chain_report_times_finite CHECK ((isfinite(first_seen_at) AND isfinite(next_at))) NOT VALID;

--
-- Name: chain_status chain_status_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_status
    ADD CONSTRAINT chain_status_pk PRIMARY KEY (network, source);

--
-- Name: chain_status chain_status_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_status
    ADD CONSTRAINT chain_status_times_finite CHECK ((isfinite(caught_up_at) AND isfinite(tip_asked_at))) NOT VALID;

--
-- Name: chain_suspension chain_suspension_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_suspension
    ADD CONSTRAINT chain_suspension_pk PRIMARY KEY (suspension_no);

--
-- Name: chain_sweep chain_sweep_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_sweep
    ADD CONSTRAINT chain_sweep_pk PRIMARY KEY (network, source, tier);

--
-- Name: consistency_run consistency_run_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.consistency_run
    ADD CONSTRAINT consistency_run_pk PRIMARY KEY (run_no);

--
-- Name: consistency_run consistency_run_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.consistency_run
    ADD CONSTRAINT consistency_run_times_finite CHECK ((isfinite(finished_at) AND isfinite(started_at))) NOT VALID;

--
-- Name: currency currency_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.currency
    ADD CONSTRAINT currency_pk PRIMARY KEY (currency);

--
-- Name: customer_key customer_key_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.customer_key
    ADD CONSTRAINT customer_key_pk PRIMARY KEY (user_id);

--
-- Name: customer_key customer_key_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.customer_key
    ADD CONSTRAINT customer_key_times_finite CHECK (isfinite(created_at)) NOT VALID;

--
-- Name: customer customer_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.customer
    ADD CONSTRAINT customer_pk PRIMARY KEY (user_id);

--
-- Name: duty duty_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.duty
    ADD CONSTRAINT duty_pk PRIMARY KEY (duty);

--
-- Name: duty duty_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.duty
    ADD CONSTRAINT duty_times_finite CHECK ((isfinite(held_until) AND isfinite(started_at) AND isfinite(succeeded_at))) NOT VALID;

--
-- Name: hold_aside hold_aside_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.hold_aside
    ADD CONSTRAINT hold_aside_pk PRIMARY KEY (order_id);

--
-- Name: idempotency idempotency_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.idempotency
    ADD CONSTRAINT idempotency_pk PRIMARY KEY (actor, method, key);

--
-- Name: idempotency idempotency_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.idempotency
    ADD CONSTRAINT idempotency_times_finite CHECK (isfinite(created_at)) NOT VALID;

--
-- Name: ignored_transfer ignored_transfer_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.ignored_transfer
    ADD CONSTRAINT ignored_transfer_pk PRIMARY KEY (network, address, tx_id, output_index, kind, source);

--
-- Name: inconsistency inconsistency_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.inconsistency
    ADD CONSTRAINT inconsistency_pk PRIMARY KEY (check_name, subject);

--
-- Name: inconsistency inconsistency_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.inconsistency
    ADD CONSTRAINT inconsistency_times_finite CHECK ((isfinite(first_seen_at) AND isfinite(last_seen_at))) NOT VALID;

--
-- Name: invoice invoice_one_order_per_address; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.invoice
    ADD CONSTRAINT invoice_one_order_per_address UNIQUE (network, address);

--
-- Name: invoice invoice_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.invoice
    ADD CONSTRAINT invoice_pk PRIMARY KEY (order_id);

--
-- Name: invoice invoice_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.invoice
    ADD CONSTRAINT invoice_times_finite CHECK ((isfinite(created_at) AND isfinite(expires_at))) NOT VALID;

--
-- Name: key_epoch key_epoch_master_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.key_epoch
    ADD CONSTRAINT key_epoch_master_once UNIQUE (epoch_id, master_version);

--
-- Name: key_epoch key_epoch_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.key_epoch
    ADD CONSTRAINT key_epoch_pk PRIMARY KEY (epoch_id);

--
-- Name: key_epoch key_epoch_salt_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.key_epoch
    ADD CONSTRAINT key_epoch_salt_once UNIQUE (salt);

--
-- Name: key_epoch key_epoch_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.key_epoch
    ADD CONSTRAINT key_epoch_times_finite CHECK ((isfinite(created_at) AND isfinite(last_used_at))) NOT VALID;

--
-- Name: key_retire key_retire_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.key_retire
    ADD CONSTRAINT key_retire_pk PRIMARY KEY (order_id);

--
-- Name: key_retire key_retire_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.key_retire
    ADD CONSTRAINT key_retire_times_finite CHECK ((isfinite(created_at) AND isfinite(done_at) AND isfinite(next_at))) NOT VALID;

--
-- Name: late_decision late_decision_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.late_decision
    ADD CONSTRAINT late_decision_pk PRIMARY KEY (order_id);

--
-- Name: late_decision late_decision_replacement_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.late_decision
    ADD CONSTRAINT late_decision_replacement_once UNIQUE (replacement_id);

--
-- Name: ledger_posting ledger_posting_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.ledger_posting
    ADD CONSTRAINT ledger_posting_pk PRIMARY KEY (posting_no);

--
-- Name: master_key master_key_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.master_key
    ADD CONSTRAINT master_key_pk PRIMARY KEY (version);

--
-- Name: master_key master_key_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.master_key
    ADD CONSTRAINT master_key_times_finite CHECK (isfinite(created_at)) NOT VALID;

--
-- Name: notification_channel notification_channel_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.notification_channel
    ADD CONSTRAINT notification_channel_pk PRIMARY KEY (channel);

--
-- Name: notification notification_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.notification
    ADD CONSTRAINT notification_once UNIQUE (order_id, order_version, channel);

--
-- Name: notification notification_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.notification
    ADD CONSTRAINT notification_pk PRIMARY KEY (notification_id);

--
-- Name: notification notification_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.notification
    ADD CONSTRAINT notification_times_finite CHECK ((isfinite(claimed_until) AND isfinite(dead_at) AND isfinite(delivered_at) AND isfinite(next_at))) NOT VALID;

--
-- Name: order_line order_line_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.order_line
    ADD CONSTRAINT order_line_pk PRIMARY KEY (order_id, line_no);

--
-- Name: order_restart order_restart_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.order_restart
    ADD CONSTRAINT order_restart_pk PRIMARY KEY (order_id, restart_no);

--
-- Name: order_transition order_transition_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.order_transition
    ADD CONSTRAINT order_transition_pk PRIMARY KEY (from_status, to_status, role);

--
-- Name: order_wake order_wake_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.order_wake
    ADD CONSTRAINT order_wake_pk PRIMARY KEY (order_id);

--
-- Name: order_wake order_wake_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.order_wake
    ADD CONSTRAINT order_wake_times_finite CHECK ((isfinite(claimed_until) AND isfinite(created_at) AND isfinite(next_at))) NOT VALID;

--
-- Name: orders orders_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.orders
    ADD CONSTRAINT orders_pk PRIMARY KEY (order_id);

--
-- Name: own_account own_account_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.own_account
    ADD CONSTRAINT own_account_pk PRIMARY KEY (network, address);

--
-- Name: payment_key payment_key_identity; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_key
    ADD CONSTRAINT payment_key_identity UNIQUE (key_id, network, asset, address);

--
-- Name: payment_key payment_key_one_per_address; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_key
    ADD CONSTRAINT payment_key_one_per_address UNIQUE (network, address);

--
-- Name: payment_key payment_key_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_key
    ADD CONSTRAINT payment_key_pk PRIMARY KEY (key_id);

--
-- Name: payment_key payment_key_salt_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_key
    ADD CONSTRAINT payment_key_salt_once UNIQUE (salt);

--
-- Name: payment_key payment_key_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.payment_key
    ADD CONSTRAINT payment_key_times_finite CHECK (isfinite(sealed_at)) NOT VALID;

--
-- Name: payment payment_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment
    ADD CONSTRAINT payment_pk PRIMARY KEY (network, tx_id, output_index);

--
-- Name: payment_report payment_report_id_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_report
    ADD CONSTRAINT payment_report_id_once UNIQUE (source, report_id);

--
-- Name: payment_report payment_report_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_report
    ADD CONSTRAINT payment_report_pk PRIMARY KEY (report_no);

--
-- Name: payment_report payment_report_seq_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_report
    ADD CONSTRAINT payment_report_seq_once UNIQUE (source, network, tx_id, output_index, seq);

--
-- Name: payment_report payment_report_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.payment_report
    ADD CONSTRAINT payment_report_times_finite CHECK ((isfinite(first_seen_at) AND isfinite(received_at))) NOT VALID;

--
-- Name: payment payment_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.payment
    ADD CONSTRAINT payment_times_finite CHECK ((isfinite(first_seen_at) AND isfinite(updated_at))) NOT VALID;

--
-- Name: payment_transition payment_transition_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_transition
    ADD CONSTRAINT payment_transition_pk PRIMARY KEY (from_state, to_state);

--
-- Name: payout_attempt payout_attempt_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout_attempt
    ADD CONSTRAINT payout_attempt_pk PRIMARY KEY (payout_id, attempt);

--
-- Name: payout_attempt payout_attempt_tx_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout_attempt
    ADD CONSTRAINT payout_attempt_tx_once UNIQUE (tx_id);

--
-- Name: payout payout_nonce_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout
    ADD CONSTRAINT payout_nonce_once UNIQUE (network, sender, nonce);

--
-- Name: payout payout_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout
    ADD CONSTRAINT payout_pk PRIMARY KEY (payout_id);

--
-- Name: payout_sender payout_sender_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout_sender
    ADD CONSTRAINT payout_sender_pk PRIMARY KEY (network, sender);

--
-- Name: payout_wait payout_wait_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout_wait
    ADD CONSTRAINT payout_wait_pk PRIMARY KEY (refund_id);

--
-- Name: product product_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.product
    ADD CONSTRAINT product_pk PRIMARY KEY (product_id);

--
-- Name: quota_window quota_window_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.quota_window
    ADD CONSTRAINT quota_window_pk PRIMARY KEY (key);

--
-- Name: quoted_rate quoted_rate_invoice_key; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.quoted_rate
    ADD CONSTRAINT quoted_rate_invoice_key UNIQUE (rate_id, rate);

--
-- Name: quoted_rate quoted_rate_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.quoted_rate
    ADD CONSTRAINT quoted_rate_pk PRIMARY KEY (rate_id);

--
-- Name: refund_approval refund_approval_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.refund_approval
    ADD CONSTRAINT refund_approval_pk PRIMARY KEY (refund_id, version, approver);

--
-- Name: refund_due refund_due_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.refund_due
    ADD CONSTRAINT refund_due_pk PRIMARY KEY (order_id);

--
-- Name: refund_due refund_due_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.refund_due
    ADD CONSTRAINT refund_due_times_finite CHECK (isfinite(updated_at)) NOT VALID;

--
-- Name: refund refund_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.refund
    ADD CONSTRAINT refund_pk PRIMARY KEY (refund_id);

--
-- Name: refund_transition refund_transition_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.refund_transition
    ADD CONSTRAINT refund_transition_pk PRIMARY KEY (from_status, to_status);

--
-- Name: reservation reservation_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.reservation
    ADD CONSTRAINT reservation_pk PRIMARY KEY (order_id, product_id, hold_no);

--
-- Name: reservation reservation_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.reservation
    ADD CONSTRAINT reservation_times_finite CHECK (isfinite(expires_at)) NOT VALID;

--
-- Name: retired_source retired_source_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.retired_source
    ADD CONSTRAINT retired_source_pk PRIMARY KEY (source);

--
-- Name: schema_version schema_version_pkey; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.schema_version
    ADD CONSTRAINT schema_version_pkey PRIMARY KEY (version);

--
-- Name: security_event security_event_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.security_event
    ADD CONSTRAINT security_event_pk PRIMARY KEY (event_no);

--
-- Name: source_doubt source_doubt_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.source_doubt
    ADD CONSTRAINT source_doubt_pk PRIMARY KEY (network, tx_id, output_index);

--
-- Name: source_login source_login_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.source_login
    ADD CONSTRAINT source_login_pk PRIMARY KEY (login);

--
-- Name: source_rule source_rule_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.source_rule
    ADD CONSTRAINT source_rule_pk PRIMARY KEY (asset, since);

--
-- Name: stock_movement stock_movement_once; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.stock_movement
    ADD CONSTRAINT stock_movement_once UNIQUE (order_id, product_id, hold_no, kind);

--
-- Name: stock_movement stock_movement_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.stock_movement
    ADD CONSTRAINT stock_movement_pk PRIMARY KEY (movement_id);

--
-- Name: stock_movement stock_movement_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.stock_movement
    ADD CONSTRAINT stock_movement_times_finite CHECK (isfinite(created_at)) NOT VALID;

--
-- Name: stock stock_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.stock
    ADD CONSTRAINT stock_pk PRIMARY KEY (product_id);

--
-- Name: suspended_order suspended_order_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.suspended_order
    ADD CONSTRAINT suspended_order_pk PRIMARY KEY (order_id);

--
-- Name: workflow_start workflow_start_pk; Type: CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.workflow_start
    ADD CONSTRAINT workflow_start_pk PRIMARY KEY (order_id);

--
-- Name: workflow_start workflow_start_times_finite; Type: CHECK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.workflow_start
    ADD CONSTRAINT workflow_start_times_finite CHECK ((isfinite(claimed_until) AND isfinite(created_at) AND isfinite(next_at) AND isfinite(quote_ends_at))) NOT VALID;

--
-- Name: address_pool_free; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX address_pool_free ON holdfast.address_pool USING btree (network, asset, pool_no) WHERE (leased_at IS NULL);

--
-- Name: audit_checkpoint_by_txid; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX audit_checkpoint_by_txid ON holdfast.audit_checkpoint USING btree (after_entry_id, below_txid);

--
-- Name: audit_entry_default_link_once; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE UNIQUE INDEX audit_entry_default_link_once ON holdfast.audit_entry_default USING btree (kind, aggregate_id, seq);

--
-- Name: audit_entry_to_seal; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX audit_entry_to_seal ON ONLY holdfast.audit_entry USING btree (txid, entry_id);

--
-- Name: audit_entry_default_txid_entry_id_idx; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX audit_entry_default_txid_entry_id_idx ON holdfast.audit_entry_default USING btree (txid, entry_id);

--
-- Name: chain_balance_to_look_at; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX chain_balance_to_look_at ON holdfast.chain_balance USING btree (network, ((unexplained = (0)::numeric)), checked_at NULLS FIRST) WHERE ((unexplained > (0)::numeric) OR (checked_at IS NULL));

--
-- Name: chain_output_attributed; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX chain_output_attributed ON holdfast.chain_output USING btree (network, address) WHERE is_attributed;

--
-- Name: chain_output_by_address; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX chain_output_by_address ON holdfast.chain_output USING btree (network, address);

--
-- Name: chain_output_by_block; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX chain_output_by_block ON holdfast.chain_output USING btree (network, block_height);

--
-- Name: chain_suspension_open; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE UNIQUE INDEX chain_suspension_open ON holdfast.chain_suspension USING btree (network, source) WHERE (closed_at IS NULL);

--
-- Name: idempotency_by_age; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX idempotency_by_age ON holdfast.idempotency USING btree (created_at);

--
-- Name: key_retire_due; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX key_retire_due ON holdfast.key_retire USING btree (next_at) WHERE (done_at IS NULL);

--
-- Name: ledger_posting_by_order; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX ledger_posting_by_order ON holdfast.ledger_posting USING btree (order_id);

--
-- Name: ledger_posting_by_time; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX ledger_posting_by_time ON holdfast.ledger_posting USING btree (posted_at, posting_no);

--
-- Name: notification_dead; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX notification_dead ON holdfast.notification USING btree (notification_id) WHERE (dead_at IS NOT NULL);

--
-- Name: notification_delivered; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX notification_delivered ON holdfast.notification USING btree (delivered_at) WHERE (delivered_at IS NOT NULL);

--
-- Name: notification_due; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX notification_due ON holdfast.notification USING btree (channel, next_at) WHERE ((delivered_at IS NULL) AND (dead_at IS NULL));

--
-- Name: notification_open_by_order; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX notification_open_by_order ON holdfast.notification USING btree (order_id, channel, notification_id) WHERE ((delivered_at IS NULL) AND (dead_at IS NULL));

--
-- Name: order_wake_due; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX order_wake_due ON holdfast.order_wake USING btree (next_at) WHERE (dead_reason IS NULL);

--
-- Name: orders_by_customer; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX orders_by_customer ON holdfast.orders USING btree (user_id, created_at DESC, order_id DESC);

--
-- Name: orders_by_status; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX orders_by_status ON holdfast.orders USING btree (status, created_at DESC, order_id DESC);

--
-- Name: orders_by_time; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX orders_by_time ON holdfast.orders USING btree (created_at DESC, order_id DESC);

--
-- Name: orders_with_trouble; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX orders_with_trouble ON holdfast.orders USING btree (payment_state) WHERE (payment_state = ANY (ARRAY['at_risk'::text, 'reversed'::text]));

--
-- Name: payment_by_order; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX payment_by_order ON holdfast.payment USING btree (order_id);

--
-- Name: payment_by_time; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX payment_by_time ON holdfast.payment USING btree (first_seen_at, network, tx_id, output_index);

--
-- Name: payment_report_by_order; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX payment_report_by_order ON holdfast.payment_report USING btree (order_id, network, tx_id, output_index, seq DESC);

--
-- Name: payment_report_unassessed; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX payment_report_unassessed ON holdfast.payment_report USING btree (order_id) WHERE (NOT is_assessed);

--
-- Name: payout_attempt_by_order; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX payout_attempt_by_order ON holdfast.payout_attempt USING btree (order_id);

--
-- Name: payout_by_order; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX payout_by_order ON holdfast.payout USING btree (order_id);

--
-- Name: payout_by_refund; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX payout_by_refund ON holdfast.payout USING btree (refund_id);

--
-- Name: payout_failed_fee; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX payout_failed_fee ON holdfast.payout USING btree (order_id) WHERE (network_fee > (0)::numeric);

--
-- Name: payout_one_live; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE UNIQUE INDEX payout_one_live ON holdfast.payout USING btree (refund_id) WHERE (status <> 'failed'::text);

--
-- Name: payout_open; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX payout_open ON holdfast.payout USING btree (network, sender, nonce) WHERE (status <> ALL (ARRAY['confirmed'::text, 'failed'::text]));

--
-- Name: refund_approval_by_order; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX refund_approval_by_order ON holdfast.refund_approval USING btree (order_id);

--
-- Name: refund_by_order; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX refund_by_order ON holdfast.refund USING btree (order_id);

--
-- Name: refund_by_status; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX refund_by_status ON holdfast.refund USING btree (status, created_at, refund_id);

--
-- Name: refund_by_time; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX refund_by_time ON holdfast.refund USING btree (created_at, refund_id);

--
-- Name: refund_by_tx; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX refund_by_tx ON holdfast.refund USING btree (tx_id) WHERE (tx_id IS NOT NULL);

--
-- Name: refund_one_owed; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE UNIQUE INDEX refund_one_owed ON holdfast.refund USING btree (order_id, network, asset, COALESCE(token, ''::text)) WHERE ((kind = 'owed'::text) AND (status = ANY (ARRAY['awaiting_destination'::text, 'awaiting_approval'::text])));

--
-- Name: reservation_committed; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX reservation_committed ON holdfast.reservation USING btree (product_id) INCLUDE (quantity) WHERE (state = 'committed'::text);

--
-- Name: reservation_expiring; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX reservation_expiring ON holdfast.reservation USING btree (product_id, expires_at) WHERE (state = 'held'::text);

--
-- Name: reservation_expiry; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX reservation_expiry ON holdfast.reservation USING btree (expires_at) WHERE (state = 'held'::text);

--
-- Name: security_event_by_time; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX security_event_by_time ON holdfast.security_event USING btree (at);

--
-- Name: security_event_calls; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX security_event_calls ON holdfast.security_event USING btree (at) WHERE (kind = 'calls'::text);

--
-- Name: source_doubt_differing; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX source_doubt_differing ON holdfast.source_doubt USING btree (network) WHERE (kind = 'differing'::text);

--
-- Name: stock_movement_counted; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX stock_movement_counted ON holdfast.stock_movement USING btree (product_id) INCLUDE (on_hand_delta) WHERE (on_hand_delta <> 0);

--
-- Name: suspended_order_waiting; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX suspended_order_waiting ON holdfast.suspended_order USING btree (network) WHERE (woken_at IS NULL);

--
-- Name: workflow_start_due; Type: INDEX; Schema: holdfast; Owner: holdfast_owner
--

CREATE INDEX workflow_start_due ON holdfast.workflow_start USING btree (urgency, quote_ends_at) WHERE (dead_reason IS NULL);

--
-- Name: audit_entry_default_pkey; Type: INDEX ATTACH; Schema: holdfast; Owner: holdfast_owner
--

ALTER INDEX holdfast.audit_entry_pk ATTACH PARTITION holdfast.audit_entry_default_pkey;

--
-- Name: audit_entry_default_txid_entry_id_idx; Type: INDEX ATTACH; Schema: holdfast; Owner: holdfast_owner
--

ALTER INDEX holdfast.audit_entry_to_seal ATTACH PARTITION holdfast.audit_entry_default_txid_entry_id_idx;

--
-- Name: account account_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER account_audit_delete AFTER DELETE ON holdfast.account REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_account();

--
-- Name: account account_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER account_audit_insert AFTER INSERT ON holdfast.account REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_account();

--
-- Name: account account_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER account_audit_truncate BEFORE TRUNCATE ON holdfast.account FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: account account_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER account_audit_update AFTER UPDATE ON holdfast.account REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_account();

--
-- Name: address_pool address_pool_guard_lease; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER address_pool_guard_lease BEFORE UPDATE ON holdfast.address_pool FOR EACH ROW EXECUTE FUNCTION holdfast.guard_address_lease();

--
-- Name: audit_checkpoint audit_checkpoint_stays; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER audit_checkpoint_stays BEFORE DELETE OR UPDATE OR TRUNCATE ON holdfast.audit_checkpoint FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_unsealing();

--
-- Name: audit_entry audit_entry_append_only; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER audit_entry_append_only BEFORE DELETE OR UPDATE ON holdfast.audit_entry FOR EACH ROW EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: audit_entry audit_entry_no_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER audit_entry_no_truncate BEFORE TRUNCATE ON holdfast.audit_entry FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: audit_entry_default audit_entry_no_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER audit_entry_no_truncate BEFORE TRUNCATE ON holdfast.audit_entry_default FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: audit_pending audit_pending_flush; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE CONSTRAINT TRIGGER audit_pending_flush AFTER INSERT ON holdfast.audit_pending DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.is_first) EXECUTE FUNCTION holdfast.audit_flush();

--
-- Name: audit_tile audit_tile_grows; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER audit_tile_grows BEFORE UPDATE ON holdfast.audit_tile FOR EACH ROW EXECUTE FUNCTION holdfast.guard_tile_growth();

--
-- Name: audit_tile audit_tile_stays; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER audit_tile_stays BEFORE DELETE OR TRUNCATE ON holdfast.audit_tile FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_unsealing();

--
-- Name: chain_balance chain_balance_guard_aside; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_balance_guard_aside BEFORE INSERT OR UPDATE OF set_aside ON holdfast.chain_balance FOR EACH ROW WHEN (((CURRENT_USER = 'watcher'::name) AND (new.set_aside > (0)::numeric))) EXECUTE FUNCTION holdfast.guard_chain_operation('set_aside');

--
-- Name: chain_balance chain_balance_times_past; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_balance_times_past BEFORE INSERT OR UPDATE OF checked_at ON holdfast.chain_balance FOR EACH ROW WHEN (((CURRENT_USER = 'watcher'::name) AND (new.checked_at > (clock_timestamp() + '1 day'::interval)))) EXECUTE FUNCTION holdfast.refuse_time_to_come();

--
-- Name: chain_operation chain_operation_append_only; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_operation_append_only BEFORE DELETE OR UPDATE ON holdfast.chain_operation FOR EACH ROW EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: chain_operation chain_operation_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_operation_audit_delete AFTER DELETE ON holdfast.chain_operation REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_chain_operation();

--
-- Name: chain_operation chain_operation_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_operation_audit_insert AFTER INSERT ON holdfast.chain_operation REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_chain_operation();

--
-- Name: chain_operation chain_operation_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_operation_audit_truncate BEFORE TRUNCATE ON holdfast.chain_operation FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: chain_operation chain_operation_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_operation_audit_update AFTER UPDATE ON holdfast.chain_operation REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_chain_operation();

--
-- Name: chain_operation chain_operation_guard_operator; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_operation_guard_operator BEFORE INSERT ON holdfast.chain_operation FOR EACH ROW WHEN ((CURRENT_USER = 'watcher'::name)) EXECUTE FUNCTION holdfast.guard_chain_operator();

--
-- Name: chain_output chain_output_guard_attribute; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_output_guard_attribute BEFORE INSERT ON holdfast.chain_output FOR EACH ROW WHEN (((CURRENT_USER = 'watcher'::name) AND new.is_attributed)) EXECUTE FUNCTION holdfast.guard_chain_operation('attribute');

--
-- Name: chain_status chain_status_guard_rewind; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_status_guard_rewind BEFORE UPDATE OF rewind_to ON holdfast.chain_status FOR EACH ROW WHEN (((CURRENT_USER = 'watcher'::name) AND (new.rewind_to IS NOT NULL) AND (new.rewind_to IS DISTINCT FROM old.rewind_to))) EXECUTE FUNCTION holdfast.guard_chain_operation('rewind');

--
-- Name: chain_status chain_status_guard_start; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_status_guard_start BEFORE UPDATE OF start_height ON holdfast.chain_status FOR EACH ROW WHEN (((CURRENT_USER = 'watcher'::name) AND (new.start_height <> old.start_height))) EXECUTE FUNCTION holdfast.guard_chain_operation('start');

--
-- Name: chain_status chain_status_network_shape; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_status_network_shape BEFORE INSERT OR UPDATE OF network ON holdfast.chain_status FOR EACH ROW WHEN ((new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)) EXECUTE FUNCTION holdfast.refuse_network_name();

--
-- Name: chain_status chain_status_times_past; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_status_times_past BEFORE INSERT ON holdfast.chain_status FOR EACH ROW WHEN (((CURRENT_USER = 'watcher'::name) AND (GREATEST(new.tip_asked_at, new.caught_up_at) > clock_timestamp()))) EXECUTE FUNCTION holdfast.refuse_time_to_come();

--
-- Name: chain_status chain_status_times_raised; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_status_times_raised BEFORE UPDATE OF tip_asked_at, caught_up_at ON holdfast.chain_status FOR EACH ROW WHEN (((CURRENT_USER = 'watcher'::name) AND (((new.tip_asked_at > clock_timestamp()) AND (new.tip_asked_at > COALESCE(old.tip_asked_at, '-infinity'::timestamp with time zone))) OR ((new.caught_up_at > clock_timestamp()) AND (new.caught_up_at > COALESCE(old.caught_up_at, '-infinity'::timestamp with time zone)))))) EXECUTE FUNCTION holdfast.refuse_time_to_come();

--
-- Name: chain_suspension chain_suspension_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_suspension_audit_delete AFTER DELETE ON holdfast.chain_suspension REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_chain_suspension();

--
-- Name: chain_suspension chain_suspension_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_suspension_audit_insert AFTER INSERT ON holdfast.chain_suspension REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_chain_suspension();

--
-- Name: chain_suspension chain_suspension_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_suspension_audit_truncate BEFORE TRUNCATE ON holdfast.chain_suspension FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: chain_suspension chain_suspension_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_suspension_audit_update AFTER UPDATE ON holdfast.chain_suspension REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_chain_suspension();

--
-- Name: chain_suspension chain_suspension_guard_close; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER chain_suspension_guard_close BEFORE UPDATE ON holdfast.chain_suspension FOR EACH ROW WHEN ((CURRENT_USER = 'watcher'::name)) EXECUTE FUNCTION holdfast.guard_chain_operator();

--
-- Name: currency currency_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER currency_audit_delete AFTER DELETE ON holdfast.currency REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_currency();

--
-- Name: currency currency_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER currency_audit_insert AFTER INSERT ON holdfast.currency REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_currency();

--
-- Name: currency currency_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER currency_audit_truncate BEFORE TRUNCATE ON holdfast.currency FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: currency currency_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER currency_audit_update AFTER UPDATE ON holdfast.currency REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_currency();

--
-- Name: customer customer_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER customer_audit_delete AFTER DELETE ON holdfast.customer REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_customer();

--
-- Name: customer customer_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER customer_audit_insert AFTER INSERT ON holdfast.customer REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_customer();

--
-- Name: customer customer_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER customer_audit_truncate BEFORE TRUNCATE ON holdfast.customer FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: customer customer_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER customer_audit_update AFTER UPDATE ON holdfast.customer REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_customer();

--
-- Name: customer_key customer_key_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER customer_key_audit_delete AFTER DELETE ON holdfast.customer_key REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_customer_key();

--
-- Name: customer_key customer_key_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER customer_key_audit_insert AFTER INSERT ON holdfast.customer_key REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_customer_key();

--
-- Name: customer_key customer_key_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER customer_key_audit_truncate BEFORE TRUNCATE ON holdfast.customer_key FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: customer_key customer_key_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER customer_key_audit_update AFTER UPDATE ON holdfast.customer_key REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_customer_key();

--
-- Name: ignored_transfer ignored_transfer_flag; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER ignored_transfer_flag AFTER INSERT ON holdfast.ignored_transfer REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.flag_wrong_asset();

--
-- Name: invoice invoice_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER invoice_audit_delete AFTER DELETE ON holdfast.invoice REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_invoice();

--
-- Name: invoice invoice_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER invoice_audit_insert AFTER INSERT ON holdfast.invoice REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_invoice();

--
-- Name: invoice invoice_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER invoice_audit_truncate BEFORE TRUNCATE ON holdfast.invoice FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: invoice invoice_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER invoice_audit_update AFTER UPDATE ON holdfast.invoice REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_invoice();

--
-- Name: invoice invoice_network_shape; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER invoice_network_shape BEFORE INSERT OR UPDATE OF network ON holdfast.invoice FOR EACH ROW WHEN ((new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)) EXECUTE FUNCTION holdfast.refuse_network_name();

--
-- Name: key_epoch key_epoch_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER key_epoch_audit_delete AFTER DELETE ON holdfast.key_epoch REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_key_epoch();

--
-- Name: key_epoch key_epoch_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER key_epoch_audit_insert AFTER INSERT ON holdfast.key_epoch REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_key_epoch();

--
-- Name: key_epoch key_epoch_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER key_epoch_audit_truncate BEFORE TRUNCATE ON holdfast.key_epoch FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: key_epoch key_epoch_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER key_epoch_audit_update AFTER UPDATE ON holdfast.key_epoch REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_key_epoch();

--
-- Name: late_decision late_decision_append_only; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER late_decision_append_only BEFORE DELETE OR UPDATE ON holdfast.late_decision FOR EACH ROW EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: late_decision late_decision_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER late_decision_audit_delete AFTER DELETE ON holdfast.late_decision REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_late_decision();

--
-- Name: late_decision late_decision_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER late_decision_audit_insert AFTER INSERT ON holdfast.late_decision REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_late_decision();

--
-- Name: late_decision late_decision_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER late_decision_audit_truncate BEFORE TRUNCATE ON holdfast.late_decision FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: late_decision late_decision_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER late_decision_audit_update AFTER UPDATE ON holdfast.late_decision REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_late_decision();

--
-- Name: ledger_posting ledger_posting_append_only; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER ledger_posting_append_only BEFORE DELETE OR UPDATE ON holdfast.ledger_posting FOR EACH ROW EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: ledger_posting ledger_posting_no_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER ledger_posting_no_truncate BEFORE TRUNCATE ON holdfast.ledger_posting FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: master_key master_key_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER master_key_audit_delete AFTER DELETE ON holdfast.master_key REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_master_key();

--
-- Name: master_key master_key_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER master_key_audit_insert AFTER INSERT ON holdfast.master_key REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_master_key();

--
-- Name: master_key master_key_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER master_key_audit_truncate BEFORE TRUNCATE ON holdfast.master_key FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: master_key master_key_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER master_key_audit_update AFTER UPDATE ON holdfast.master_key REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_master_key();

--
-- Name: order_line order_line_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_line_audit_delete AFTER DELETE ON holdfast.order_line REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_order_line();

--
-- Name: order_line order_line_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_line_audit_insert AFTER INSERT ON holdfast.order_line REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_order_line();

--
-- Name: order_line order_line_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_line_audit_truncate BEFORE TRUNCATE ON holdfast.order_line FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: order_line order_line_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_line_audit_update AFTER UPDATE ON holdfast.order_line REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_order_line();

--
-- Name: order_restart order_restart_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_restart_audit_delete AFTER DELETE ON holdfast.order_restart REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_order_restart();

--
-- Name: order_restart order_restart_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_restart_audit_insert AFTER INSERT ON holdfast.order_restart REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_order_restart();

--
-- Name: order_restart order_restart_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_restart_audit_truncate BEFORE TRUNCATE ON holdfast.order_restart FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: order_restart order_restart_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_restart_audit_update AFTER UPDATE ON holdfast.order_restart REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_order_restart();

--
-- Name: order_transition order_transition_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_transition_audit_delete AFTER DELETE ON holdfast.order_transition REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_order_transition();

--
-- Name: order_transition order_transition_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_transition_audit_insert AFTER INSERT ON holdfast.order_transition REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_order_transition();

--
-- Name: order_transition order_transition_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_transition_audit_truncate BEFORE TRUNCATE ON holdfast.order_transition FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: order_transition order_transition_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER order_transition_audit_update AFTER UPDATE ON holdfast.order_transition REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_order_transition();

--
-- Name: orders orders_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_audit_delete AFTER DELETE ON holdfast.orders REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_orders();

--
-- Name: orders orders_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_audit_insert AFTER INSERT ON holdfast.orders REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_orders();

--
-- Name: orders orders_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_audit_truncate BEFORE TRUNCATE ON holdfast.orders FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: orders orders_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_audit_update AFTER UPDATE ON holdfast.orders REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_orders();

--
-- Name: orders orders_derive_refund; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_derive_refund BEFORE UPDATE ON holdfast.orders FOR EACH ROW WHEN (((new.payment_state <> old.payment_state) AND ((new.payment_state = ANY (ARRAY['unresolved'::text, 'cancelled'::text, 'expired'::text, 'late_confirming'::text])) OR ((new.payment_state = 'paid'::text) AND (old.payment_state = ANY (ARRAY['at_risk'::text, 'reversed'::text, 'refunding'::text, 'partially_refunded'::text, 'refunded'::text])))))) EXECUTE FUNCTION holdfast.derive_refund_state();

--
-- Name: orders orders_guard_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_guard_insert BEFORE INSERT ON holdfast.orders FOR EACH ROW EXECUTE FUNCTION holdfast.guard_order_insert();

--
-- Name: orders orders_guard_payment; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_guard_payment BEFORE UPDATE ON holdfast.orders FOR EACH ROW WHEN ((new.payment_state <> old.payment_state)) EXECUTE FUNCTION holdfast.guard_order_payment();

--
-- Name: orders orders_guard_standstill; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_guard_standstill BEFORE UPDATE OF status ON holdfast.orders FOR EACH ROW WHEN ((new.status = old.status)) EXECUTE FUNCTION holdfast.guard_order_status();

--
-- Name: orders orders_guard_status; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_guard_status BEFORE UPDATE ON holdfast.orders FOR EACH ROW WHEN ((new.status <> old.status)) EXECUTE FUNCTION holdfast.guard_order_status();

--
-- Name: orders orders_guard_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_guard_update BEFORE UPDATE ON holdfast.orders FOR EACH ROW EXECUTE FUNCTION holdfast.guard_order_update();

--
-- Name: orders orders_note_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_note_insert AFTER INSERT ON holdfast.orders REFERENCING NEW TABLE AS new_order FOR EACH STATEMENT EXECUTE FUNCTION holdfast.note_status_change();

--
-- Name: orders orders_note_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_note_update AFTER UPDATE ON holdfast.orders FOR EACH ROW WHEN ((new.status IS DISTINCT FROM old.status)) EXECUTE FUNCTION holdfast.note_status_change();

--
-- Name: orders orders_post; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER orders_post AFTER UPDATE ON holdfast.orders FOR EACH ROW WHEN (((new.status <> old.status) AND (new.status <> 'delivered'::text))) EXECUTE FUNCTION holdfast.follow_money('status');

--
-- Name: own_account own_account_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER own_account_audit_delete AFTER DELETE ON holdfast.own_account REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_own_account();

--
-- Name: own_account own_account_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER own_account_audit_insert AFTER INSERT ON holdfast.own_account REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_own_account();

--
-- Name: own_account own_account_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER own_account_audit_truncate BEFORE TRUNCATE ON holdfast.own_account FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: own_account own_account_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER own_account_audit_update AFTER UPDATE ON holdfast.own_account REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_own_account();

--
-- Name: payment payment_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_audit_delete AFTER DELETE ON holdfast.payment REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment();

--
-- Name: payment payment_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_audit_insert AFTER INSERT ON holdfast.payment REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment();

--
-- Name: payment payment_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_audit_truncate BEFORE TRUNCATE ON holdfast.payment FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: payment payment_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_audit_update AFTER UPDATE ON holdfast.payment REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment();

--
-- Name: payment payment_guard_amount; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_guard_amount BEFORE UPDATE ON holdfast.payment FOR EACH ROW WHEN ((new.amount <> old.amount)) EXECUTE FUNCTION holdfast.guard_payment_amount();

--
-- Name: payment payment_honoured; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_honoured BEFORE UPDATE ON holdfast.payment FOR EACH ROW WHEN (old.is_honoured) EXECUTE FUNCTION holdfast.keep_honoured();

--
-- Name: payment_key payment_key_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_key_audit_delete AFTER DELETE ON holdfast.payment_key REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment_key();

--
-- Name: payment_key payment_key_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_key_audit_insert AFTER INSERT ON holdfast.payment_key REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment_key();

--
-- Name: payment_key payment_key_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_key_audit_truncate BEFORE TRUNCATE ON holdfast.payment_key FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: payment_key payment_key_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_key_audit_update AFTER UPDATE ON holdfast.payment_key REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment_key();

--
-- Name: payment_key payment_key_network_shape; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_key_network_shape BEFORE INSERT OR UPDATE OF network ON holdfast.payment_key FOR EACH ROW WHEN ((new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)) EXECUTE FUNCTION holdfast.refuse_network_name();

--
-- Name: payment payment_network_shape; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_network_shape BEFORE INSERT OR UPDATE OF network ON holdfast.payment FOR EACH ROW WHEN ((new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)) EXECUTE FUNCTION holdfast.refuse_network_name();

--
-- Name: payment payment_post_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_post_insert AFTER INSERT ON holdfast.payment REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.follow_money('payment');

--
-- Name: payment payment_post_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_post_update AFTER UPDATE ON holdfast.payment REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.follow_money('payment');

--
-- Name: payment_report payment_report_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_report_audit_delete AFTER DELETE ON holdfast.payment_report REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment_report();

--
-- Name: payment_report payment_report_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_report_audit_insert AFTER INSERT ON holdfast.payment_report REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment_report();

--
-- Name: payment_report payment_report_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_report_audit_truncate BEFORE TRUNCATE ON holdfast.payment_report FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: payment_report payment_report_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_report_audit_update AFTER UPDATE ON holdfast.payment_report REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment_report();

--
-- Name: payment_report payment_report_network_shape; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_report_network_shape BEFORE INSERT OR UPDATE OF network ON holdfast.payment_report FOR EACH ROW WHEN ((new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$'::text)) EXECUTE FUNCTION holdfast.refuse_network_name();

--
-- Name: payment_transition payment_transition_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_transition_audit_delete AFTER DELETE ON holdfast.payment_transition REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment_transition();

--
-- Name: payment_transition payment_transition_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_transition_audit_insert AFTER INSERT ON holdfast.payment_transition REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment_transition();

--
-- Name: payment_transition payment_transition_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_transition_audit_truncate BEFORE TRUNCATE ON holdfast.payment_transition FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: payment_transition payment_transition_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_transition_audit_update AFTER UPDATE ON holdfast.payment_transition REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payment_transition();

--
-- Name: payment payment_version; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payment_version BEFORE UPDATE ON holdfast.payment FOR EACH ROW EXECUTE FUNCTION holdfast.move_version();

--
-- Name: payout_attempt payout_attempt_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_attempt_audit_delete AFTER DELETE ON holdfast.payout_attempt REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payout_attempt();

--
-- Name: payout_attempt payout_attempt_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_attempt_audit_insert AFTER INSERT ON holdfast.payout_attempt REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payout_attempt();

--
-- Name: payout_attempt payout_attempt_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_attempt_audit_truncate BEFORE TRUNCATE ON holdfast.payout_attempt FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: payout_attempt payout_attempt_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_attempt_audit_update AFTER UPDATE ON holdfast.payout_attempt REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payout_attempt();

--
-- Name: payout_attempt payout_attempt_guard; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_attempt_guard BEFORE INSERT OR UPDATE ON holdfast.payout_attempt FOR EACH ROW EXECUTE FUNCTION holdfast.guard_payout_attempt();

--
-- Name: payout payout_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_audit_delete AFTER DELETE ON holdfast.payout REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payout();

--
-- Name: payout payout_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_audit_insert AFTER INSERT ON holdfast.payout REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payout();

--
-- Name: payout payout_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_audit_truncate BEFORE TRUNCATE ON holdfast.payout FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: payout payout_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_audit_update AFTER UPDATE ON holdfast.payout REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_payout();

--
-- Name: payout payout_guard; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_guard BEFORE INSERT OR UPDATE ON holdfast.payout FOR EACH ROW EXECUTE FUNCTION holdfast.guard_payout();

--
-- Name: payout payout_post; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER payout_post AFTER UPDATE ON holdfast.payout FOR EACH ROW WHEN ((new.network_fee IS DISTINCT FROM old.network_fee)) EXECUTE FUNCTION holdfast.follow_money('refund');

--
-- Name: product product_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER product_audit_delete AFTER DELETE ON holdfast.product REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_product();

--
-- Name: product product_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER product_audit_insert AFTER INSERT ON holdfast.product REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_product();

--
-- Name: product product_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER product_audit_truncate BEFORE TRUNCATE ON holdfast.product FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: product product_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER product_audit_update AFTER UPDATE ON holdfast.product REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_product();

--
-- Name: product product_version; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER product_version BEFORE UPDATE ON holdfast.product FOR EACH ROW EXECUTE FUNCTION holdfast.move_version();

--
-- Name: quoted_rate quoted_rate_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER quoted_rate_audit_delete AFTER DELETE ON holdfast.quoted_rate REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_quoted_rate();

--
-- Name: quoted_rate quoted_rate_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER quoted_rate_audit_insert AFTER INSERT ON holdfast.quoted_rate REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_quoted_rate();

--
-- Name: quoted_rate quoted_rate_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER quoted_rate_audit_truncate BEFORE TRUNCATE ON holdfast.quoted_rate FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: quoted_rate quoted_rate_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER quoted_rate_audit_update AFTER UPDATE ON holdfast.quoted_rate REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_quoted_rate();

--
-- Name: refund_approval refund_approval_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_approval_audit_delete AFTER DELETE ON holdfast.refund_approval REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund_approval();

--
-- Name: refund_approval refund_approval_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_approval_audit_insert AFTER INSERT ON holdfast.refund_approval REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund_approval();

--
-- Name: refund_approval refund_approval_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_approval_audit_truncate BEFORE TRUNCATE ON holdfast.refund_approval FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: refund_approval refund_approval_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_approval_audit_update AFTER UPDATE ON holdfast.refund_approval REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund_approval();

--
-- Name: refund_approval refund_approval_guard; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_approval_guard BEFORE INSERT OR UPDATE ON holdfast.refund_approval FOR EACH ROW EXECUTE FUNCTION holdfast.guard_refund_approval();

--
-- Name: refund refund_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_audit_delete AFTER DELETE ON holdfast.refund REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund();

--
-- Name: refund refund_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_audit_insert AFTER INSERT ON holdfast.refund REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund();

--
-- Name: refund refund_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_audit_truncate BEFORE TRUNCATE ON holdfast.refund FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: refund refund_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_audit_update AFTER UPDATE ON holdfast.refund REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund();

--
-- Name: refund_due refund_due_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_due_audit_delete AFTER DELETE ON holdfast.refund_due REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund_due();

--
-- Name: refund_due refund_due_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_due_audit_insert AFTER INSERT ON holdfast.refund_due REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund_due();

--
-- Name: refund_due refund_due_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_due_audit_truncate BEFORE TRUNCATE ON holdfast.refund_due FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: refund_due refund_due_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_due_audit_update AFTER UPDATE ON holdfast.refund_due REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund_due();

--
-- Name: refund_due refund_due_change_refund; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_due_change_refund AFTER UPDATE ON holdfast.refund_due FOR EACH ROW WHEN ((new.amount <> old.amount)) EXECUTE FUNCTION holdfast.follow_refund_due();

--
-- Name: refund_due refund_due_open_refund; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_due_open_refund AFTER INSERT ON holdfast.refund_due FOR EACH ROW WHEN ((new.amount > (0)::numeric)) EXECUTE FUNCTION holdfast.follow_refund_due();

--
-- Name: refund_due refund_due_post_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_due_post_insert AFTER INSERT ON holdfast.refund_due FOR EACH ROW WHEN ((new.amount > (0)::numeric)) EXECUTE FUNCTION holdfast.follow_money('refund_due');

--
-- Name: refund_due refund_due_post_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_due_post_update AFTER UPDATE ON holdfast.refund_due FOR EACH ROW WHEN ((new.amount <> old.amount)) EXECUTE FUNCTION holdfast.follow_money('refund_due');

--
-- Name: refund refund_guard; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_guard BEFORE INSERT OR UPDATE ON holdfast.refund FOR EACH ROW EXECUTE FUNCTION holdfast.guard_refund();

--
-- Name: refund refund_open_next; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_open_next AFTER UPDATE ON holdfast.refund FOR EACH ROW WHEN (((new.status <> old.status) AND (new.status = ANY (ARRAY['rejected'::text, 'cancelled'::text])))) EXECUTE FUNCTION holdfast.follow_refund_due();

--
-- Name: refund refund_post; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_post AFTER UPDATE ON holdfast.refund FOR EACH ROW WHEN (((new.status <> old.status) AND (new.status = 'paid'::text))) EXECUTE FUNCTION holdfast.follow_money('refund');

--
-- Name: refund_transition refund_transition_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_transition_audit_delete AFTER DELETE ON holdfast.refund_transition REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund_transition();

--
-- Name: refund_transition refund_transition_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_transition_audit_insert AFTER INSERT ON holdfast.refund_transition REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund_transition();

--
-- Name: refund_transition refund_transition_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_transition_audit_truncate BEFORE TRUNCATE ON holdfast.refund_transition FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: refund_transition refund_transition_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER refund_transition_audit_update AFTER UPDATE ON holdfast.refund_transition REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_refund_transition();

--
-- Name: reservation reservation_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER reservation_audit_delete AFTER DELETE ON holdfast.reservation REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_reservation();

--
-- Name: reservation reservation_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER reservation_audit_insert AFTER INSERT ON holdfast.reservation REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_reservation();

--
-- Name: reservation reservation_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER reservation_audit_truncate BEFORE TRUNCATE ON holdfast.reservation FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: reservation reservation_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER reservation_audit_update AFTER UPDATE ON holdfast.reservation REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_reservation();

--
-- Name: reservation reservation_guard_end; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER reservation_guard_end BEFORE UPDATE OF expires_at ON holdfast.reservation FOR EACH ROW WHEN (((CURRENT_USER = 'app_api'::name) AND (new.expires_at < old.expires_at))) EXECUTE FUNCTION holdfast.refuse_hold_change();

--
-- Name: reservation reservation_guard_state; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER reservation_guard_state BEFORE UPDATE OF state ON holdfast.reservation FOR EACH ROW WHEN (((new.state <> old.state) AND ((((((old.state <> 'held'::text) OR (new.state <> 'committed'::text)) AND ((old.state <> 'held'::text) OR (new.state <> 'released'::text))) AND ((old.state <> 'held'::text) OR (new.state <> 'expired'::text))) AND ((old.state <> 'committed'::text) OR (new.state <> 'consumed'::text))) AND ((old.state <> 'committed'::text) OR (new.state <> 'released'::text))))) EXECUTE FUNCTION holdfast.refuse_hold_change();

--
-- Name: retired_source retired_source_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER retired_source_audit_delete AFTER DELETE ON holdfast.retired_source REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_retired_source();

--
-- Name: retired_source retired_source_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER retired_source_audit_insert AFTER INSERT ON holdfast.retired_source REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_retired_source();

--
-- Name: retired_source retired_source_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER retired_source_audit_truncate BEFORE TRUNCATE ON holdfast.retired_source FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: retired_source retired_source_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER retired_source_audit_update AFTER UPDATE ON holdfast.retired_source REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_retired_source();

--
-- Name: security_event security_event_append_only; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER security_event_append_only BEFORE UPDATE ON holdfast.security_event FOR EACH ROW EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: security_event security_event_no_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER security_event_no_truncate BEFORE TRUNCATE ON holdfast.security_event FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: source_login source_login_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER source_login_audit_delete AFTER DELETE ON holdfast.source_login REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_source_login();

--
-- Name: source_login source_login_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER source_login_audit_insert AFTER INSERT ON holdfast.source_login REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_source_login();

--
-- Name: source_login source_login_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER source_login_audit_truncate BEFORE TRUNCATE ON holdfast.source_login FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: source_login source_login_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER source_login_audit_update AFTER UPDATE ON holdfast.source_login REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_source_login();

--
-- Name: source_rule source_rule_append_only; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER source_rule_append_only BEFORE DELETE OR UPDATE ON holdfast.source_rule FOR EACH ROW EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: source_rule source_rule_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER source_rule_audit_delete AFTER DELETE ON holdfast.source_rule REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_source_rule();

--
-- Name: source_rule source_rule_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER source_rule_audit_insert AFTER INSERT ON holdfast.source_rule REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_source_rule();

--
-- Name: source_rule source_rule_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER source_rule_audit_truncate BEFORE TRUNCATE ON holdfast.source_rule FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: source_rule source_rule_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER source_rule_audit_update AFTER UPDATE ON holdfast.source_rule REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_source_rule();

--
-- Name: stock stock_audit_delete; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER stock_audit_delete AFTER DELETE ON holdfast.stock REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_stock();

--
-- Name: stock stock_audit_insert; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER stock_audit_insert AFTER INSERT ON holdfast.stock REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_stock();

--
-- Name: stock stock_audit_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER stock_audit_truncate BEFORE TRUNCATE ON holdfast.stock FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_truncate();

--
-- Name: stock stock_audit_update; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER stock_audit_update AFTER UPDATE ON holdfast.stock REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION holdfast.audit_stock();

--
-- Name: stock_movement stock_movement_append_only; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER stock_movement_append_only BEFORE DELETE OR UPDATE ON holdfast.stock_movement FOR EACH ROW EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: stock_movement stock_movement_no_truncate; Type: TRIGGER; Schema: holdfast; Owner: holdfast_owner
--

CREATE TRIGGER stock_movement_no_truncate BEFORE TRUNCATE ON holdfast.stock_movement FOR EACH STATEMENT EXECUTE FUNCTION holdfast.refuse_rewriting();

--
-- Name: address_pool address_pool_key_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.address_pool
    ADD CONSTRAINT address_pool_key_fk FOREIGN KEY (key_id, network, asset, address) REFERENCES holdfast.payment_key(key_id, network, asset, address) ON DELETE RESTRICT;

--
-- Name: asset_rate asset_rate_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.asset_rate
    ADD CONSTRAINT asset_rate_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: asset_rate asset_rate_currency_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.asset_rate
    ADD CONSTRAINT asset_rate_currency_fk FOREIGN KEY (currency) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: chain_balance chain_balance_status_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_balance
    ADD CONSTRAINT chain_balance_status_fk FOREIGN KEY (network, source) REFERENCES holdfast.chain_status(network, source) ON DELETE RESTRICT;

--
-- Name: chain_block chain_block_status_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_block
    ADD CONSTRAINT chain_block_status_fk FOREIGN KEY (network, source) REFERENCES holdfast.chain_status(network, source) ON DELETE RESTRICT;

--
-- Name: chain_output chain_output_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_output
    ADD CONSTRAINT chain_output_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: chain_output chain_output_status_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_output
    ADD CONSTRAINT chain_output_status_fk FOREIGN KEY (network, source) REFERENCES holdfast.chain_status(network, source) ON DELETE RESTRICT;

--
-- Name: chain_report chain_report_output_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.chain_report
    ADD CONSTRAINT chain_report_output_fk FOREIGN KEY (network, tx_id, output_index, source) REFERENCES holdfast.chain_output(network, tx_id, output_index, source) ON DELETE RESTRICT;

--
-- Name: customer_key customer_key_customer_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.customer_key
    ADD CONSTRAINT customer_key_customer_fk FOREIGN KEY (user_id) REFERENCES holdfast.customer(user_id) ON DELETE RESTRICT;

--
-- Name: hold_aside hold_aside_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.hold_aside
    ADD CONSTRAINT hold_aside_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: idempotency idempotency_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.idempotency
    ADD CONSTRAINT idempotency_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT DEFERRABLE INITIALLY DEFERRED;

--
-- Name: invoice invoice_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.invoice
    ADD CONSTRAINT invoice_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: invoice invoice_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.invoice
    ADD CONSTRAINT invoice_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: invoice invoice_rate_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.invoice
    ADD CONSTRAINT invoice_rate_fk FOREIGN KEY (rate_id, rate) REFERENCES holdfast.quoted_rate(rate_id, rate) ON DELETE RESTRICT;

--
-- Name: key_epoch key_epoch_master_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.key_epoch
    ADD CONSTRAINT key_epoch_master_fk FOREIGN KEY (master_version) REFERENCES holdfast.master_key(version) ON DELETE RESTRICT;

--
-- Name: key_retire key_retire_invoice_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.key_retire
    ADD CONSTRAINT key_retire_invoice_fk FOREIGN KEY (network, address) REFERENCES holdfast.invoice(network, address) ON DELETE RESTRICT;

--
-- Name: key_retire key_retire_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.key_retire
    ADD CONSTRAINT key_retire_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: late_decision late_decision_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.late_decision
    ADD CONSTRAINT late_decision_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: late_decision late_decision_replacement_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.late_decision
    ADD CONSTRAINT late_decision_replacement_fk FOREIGN KEY (replacement_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: ledger_posting ledger_posting_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.ledger_posting
    ADD CONSTRAINT ledger_posting_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: ledger_posting ledger_posting_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.ledger_posting
    ADD CONSTRAINT ledger_posting_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: notification notification_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.notification
    ADD CONSTRAINT notification_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: order_line order_line_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.order_line
    ADD CONSTRAINT order_line_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: order_line order_line_product_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.order_line
    ADD CONSTRAINT order_line_product_fk FOREIGN KEY (product_id) REFERENCES holdfast.product(product_id) ON DELETE RESTRICT;

--
-- Name: order_restart order_restart_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.order_restart
    ADD CONSTRAINT order_restart_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: order_wake order_wake_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.order_wake
    ADD CONSTRAINT order_wake_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: orders orders_currency_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.orders
    ADD CONSTRAINT orders_currency_fk FOREIGN KEY (currency) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: orders orders_customer_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.orders
    ADD CONSTRAINT orders_customer_fk FOREIGN KEY (user_id) REFERENCES holdfast.customer(user_id) ON DELETE RESTRICT;

--
-- Name: payment payment_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment
    ADD CONSTRAINT payment_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: payment_key payment_key_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_key
    ADD CONSTRAINT payment_key_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: payment_key payment_key_epoch_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_key
    ADD CONSTRAINT payment_key_epoch_fk FOREIGN KEY (epoch_id, master_version) REFERENCES holdfast.key_epoch(epoch_id, master_version) ON DELETE RESTRICT;

--
-- Name: payment payment_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment
    ADD CONSTRAINT payment_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: payment_report payment_report_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_report
    ADD CONSTRAINT payment_report_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: payment_report payment_report_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payment_report
    ADD CONSTRAINT payment_report_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: payout_attempt payout_attempt_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout_attempt
    ADD CONSTRAINT payout_attempt_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: payout_attempt payout_attempt_payout_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout_attempt
    ADD CONSTRAINT payout_attempt_payout_fk FOREIGN KEY (payout_id) REFERENCES holdfast.payout(payout_id) ON DELETE RESTRICT;

--
-- Name: payout payout_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout
    ADD CONSTRAINT payout_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: payout payout_refund_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout
    ADD CONSTRAINT payout_refund_fk FOREIGN KEY (refund_id) REFERENCES holdfast.refund(refund_id) ON DELETE RESTRICT;

--
-- Name: payout payout_sender_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout
    ADD CONSTRAINT payout_sender_fk FOREIGN KEY (network, sender) REFERENCES holdfast.payout_sender(network, sender) ON DELETE RESTRICT;

--
-- Name: payout_wait payout_wait_refund_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.payout_wait
    ADD CONSTRAINT payout_wait_refund_fk FOREIGN KEY (refund_id) REFERENCES holdfast.refund(refund_id) ON DELETE RESTRICT;

--
-- Name: product product_currency_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.product
    ADD CONSTRAINT product_currency_fk FOREIGN KEY (currency) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: quoted_rate quoted_rate_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.quoted_rate
    ADD CONSTRAINT quoted_rate_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: quoted_rate quoted_rate_currency_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.quoted_rate
    ADD CONSTRAINT quoted_rate_currency_fk FOREIGN KEY (currency) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: refund_approval refund_approval_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.refund_approval
    ADD CONSTRAINT refund_approval_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: refund_approval refund_approval_refund_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.refund_approval
    ADD CONSTRAINT refund_approval_refund_fk FOREIGN KEY (refund_id) REFERENCES holdfast.refund(refund_id) ON DELETE RESTRICT;

--
-- Name: refund refund_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.refund
    ADD CONSTRAINT refund_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: refund_due refund_due_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.refund_due
    ADD CONSTRAINT refund_due_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: refund_due refund_due_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.refund_due
    ADD CONSTRAINT refund_due_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: refund refund_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.refund
    ADD CONSTRAINT refund_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: reservation reservation_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.reservation
    ADD CONSTRAINT reservation_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: reservation reservation_product_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.reservation
    ADD CONSTRAINT reservation_product_fk FOREIGN KEY (product_id) REFERENCES holdfast.product(product_id) ON DELETE RESTRICT;

--
-- Name: source_doubt source_doubt_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.source_doubt
    ADD CONSTRAINT source_doubt_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: source_rule source_rule_asset_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.source_rule
    ADD CONSTRAINT source_rule_asset_fk FOREIGN KEY (asset) REFERENCES holdfast.currency(currency) ON DELETE RESTRICT;

--
-- Name: stock_movement stock_movement_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.stock_movement
    ADD CONSTRAINT stock_movement_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: stock_movement stock_movement_product_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.stock_movement
    ADD CONSTRAINT stock_movement_product_fk FOREIGN KEY (product_id) REFERENCES holdfast.product(product_id) ON DELETE RESTRICT;

--
-- Name: stock stock_product_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.stock
    ADD CONSTRAINT stock_product_fk FOREIGN KEY (product_id) REFERENCES holdfast.product(product_id) ON DELETE RESTRICT;

--
-- Name: suspended_order suspended_order_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.suspended_order
    ADD CONSTRAINT suspended_order_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: workflow_start workflow_start_order_fk; Type: FK CONSTRAINT; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE ONLY holdfast.workflow_start
    ADD CONSTRAINT workflow_start_order_fk FOREIGN KEY (order_id) REFERENCES holdfast.orders(order_id) ON DELETE RESTRICT;

--
-- Name: chain_balance; Type: ROW SECURITY; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_balance ENABLE ROW LEVEL SECURITY;

--
-- Name: chain_balance chain_balance_list; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_balance_list ON holdfast.chain_balance FOR SELECT TO watcher USING ((( SELECT holdfast.own_source() AS own_source) IS NULL));

--
-- Name: chain_balance chain_balance_own; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_balance_own ON holdfast.chain_balance TO watcher USING ((source = ( SELECT holdfast.own_source() AS own_source)));

--
-- Name: chain_balance chain_balance_read; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_balance_read ON holdfast.chain_balance FOR SELECT TO auditor USING (true);

--
-- Name: chain_block; Type: ROW SECURITY; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_block ENABLE ROW LEVEL SECURITY;

--
-- Name: chain_block chain_block_list; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_block_list ON holdfast.chain_block FOR SELECT TO watcher USING ((( SELECT holdfast.own_source() AS own_source) IS NULL));

--
-- Name: chain_block chain_block_own; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_block_own ON holdfast.chain_block TO watcher USING ((source = ( SELECT holdfast.own_source() AS own_source)));

--
-- Name: chain_block chain_block_read; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_block_read ON holdfast.chain_block FOR SELECT TO auditor USING (true);

--
-- Name: chain_output; Type: ROW SECURITY; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_output ENABLE ROW LEVEL SECURITY;

--
-- Name: chain_output chain_output_list; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_output_list ON holdfast.chain_output FOR SELECT TO watcher USING ((( SELECT holdfast.own_source() AS own_source) IS NULL));

--
-- Name: chain_output chain_output_own; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_output_own ON holdfast.chain_output TO watcher USING ((source = ( SELECT holdfast.own_source() AS own_source)));

--
-- Name: chain_output chain_output_read; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_output_read ON holdfast.chain_output FOR SELECT TO auditor USING (true);

--
-- Name: chain_report; Type: ROW SECURITY; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_report ENABLE ROW LEVEL SECURITY;

--
-- Name: chain_report chain_report_list; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_report_list ON holdfast.chain_report FOR SELECT TO watcher USING ((( SELECT holdfast.own_source() AS own_source) IS NULL));

--
-- Name: chain_report chain_report_own; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_report_own ON holdfast.chain_report TO watcher USING ((source = ( SELECT holdfast.own_source() AS own_source)));

--
-- Name: chain_report chain_report_read; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_report_read ON holdfast.chain_report FOR SELECT TO auditor USING (true);

--
-- Name: chain_status; Type: ROW SECURITY; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_status ENABLE ROW LEVEL SECURITY;

--
-- Name: chain_status chain_status_list; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_status_list ON holdfast.chain_status FOR SELECT TO watcher USING ((( SELECT holdfast.own_source() AS own_source) IS NULL));

--
-- Name: chain_status chain_status_own; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_status_own ON holdfast.chain_status TO watcher USING ((source = ( SELECT holdfast.own_source() AS own_source)));

--
-- Name: chain_status chain_status_read; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_status_read ON holdfast.chain_status FOR SELECT TO app_api, app_worker, auditor USING (true);

--
-- Name: chain_suspension; Type: ROW SECURITY; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_suspension ENABLE ROW LEVEL SECURITY;

--
-- Name: chain_suspension chain_suspension_list; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_suspension_list ON holdfast.chain_suspension FOR SELECT TO watcher USING ((( SELECT holdfast.own_source() AS own_source) IS NULL));

--
-- Name: chain_suspension chain_suspension_own; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_suspension_own ON holdfast.chain_suspension TO watcher USING ((source = ( SELECT holdfast.own_source() AS own_source)));

--
-- Name: chain_suspension chain_suspension_read; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_suspension_read ON holdfast.chain_suspension FOR SELECT TO app_api, app_worker, auditor USING (true);

--
-- Name: chain_sweep; Type: ROW SECURITY; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.chain_sweep ENABLE ROW LEVEL SECURITY;

--
-- Name: chain_sweep chain_sweep_list; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_sweep_list ON holdfast.chain_sweep FOR SELECT TO watcher USING ((( SELECT holdfast.own_source() AS own_source) IS NULL));

--
-- Name: chain_sweep chain_sweep_own; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_sweep_own ON holdfast.chain_sweep TO watcher USING ((source = ( SELECT holdfast.own_source() AS own_source)));

--
-- Name: chain_sweep chain_sweep_read; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY chain_sweep_read ON holdfast.chain_sweep FOR SELECT TO auditor USING (true);

--
-- Name: ignored_transfer; Type: ROW SECURITY; Schema: holdfast; Owner: holdfast_owner
--

ALTER TABLE holdfast.ignored_transfer ENABLE ROW LEVEL SECURITY;

--
-- Name: ignored_transfer ignored_transfer_list; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY ignored_transfer_list ON holdfast.ignored_transfer FOR SELECT TO watcher USING ((( SELECT holdfast.own_source() AS own_source) IS NULL));

--
-- Name: ignored_transfer ignored_transfer_own; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY ignored_transfer_own ON holdfast.ignored_transfer TO watcher USING ((source = ( SELECT holdfast.own_source() AS own_source)));

--
-- Name: ignored_transfer ignored_transfer_read; Type: POLICY; Schema: holdfast; Owner: holdfast_owner
--

CREATE POLICY ignored_transfer_read ON holdfast.ignored_transfer FOR SELECT TO app_api, app_worker, auditor USING (true);

--
-- Name: SCHEMA holdfast; Type: ACL; Schema: -; Owner: holdfast_owner
--

GRANT USAGE ON SCHEMA holdfast TO app_api;
GRANT USAGE ON SCHEMA holdfast TO app_worker;
GRANT USAGE ON SCHEMA holdfast TO app_keys;
GRANT USAGE ON SCHEMA holdfast TO watcher;
GRANT USAGE ON SCHEMA holdfast TO audit_sealer;
GRANT USAGE ON SCHEMA holdfast TO auditor;
GRANT USAGE ON SCHEMA holdfast TO analytics;

--
-- Name: TYPE audit_draft; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON TYPE holdfast.audit_draft FROM PUBLIC;

--
-- Name: FUNCTION accept_locked(p_orders jsonb, p_fresh integer[], p_wanted jsonb, p_is_last_try boolean); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.accept_locked(p_orders jsonb, p_fresh integer[], p_wanted jsonb, p_is_last_try boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.accept_locked(p_orders jsonb, p_fresh integer[], p_wanted jsonb, p_is_last_try boolean) TO app_api;

--
-- Name: FUNCTION accept_optimistic(p_orders jsonb, p_fresh integer[], p_wanted jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.accept_optimistic(p_orders jsonb, p_fresh integer[], p_wanted jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.accept_optimistic(p_orders jsonb, p_fresh integer[], p_wanted jsonb) TO app_api;

--
-- Name: FUNCTION accept_orders(p_orders jsonb, p_is_last_try boolean); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.accept_orders(p_orders jsonb, p_is_last_try boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.accept_orders(p_orders jsonb, p_is_last_try boolean) TO app_api;

--
-- Name: FUNCTION actor_of(p_aggregate_id text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.actor_of(p_aggregate_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.actor_of(p_aggregate_id text) TO app_worker;
GRANT ALL ON FUNCTION holdfast.actor_of(p_aggregate_id text) TO app_api;

--
-- Name: FUNCTION actor_text(p_context jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.actor_text(p_context jsonb) FROM PUBLIC;

--
-- Name: FUNCTION assessed_order(p_order_id uuid); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.assessed_order(p_order_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.assessed_order(p_order_id uuid) TO app_worker;

--
-- Name: FUNCTION audit_account(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_account() FROM PUBLIC;

--
-- Name: FUNCTION audit_append_customer(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_append_customer(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) FROM PUBLIC;

--
-- Name: FUNCTION audit_append_key(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_append_key(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) FROM PUBLIC;

--
-- Name: FUNCTION audit_append_order(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_append_order(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) FROM PUBLIC;

--
-- Name: FUNCTION audit_append_product(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_append_product(p_drafts holdfast.audit_draft[], p_run bigint, p_at timestamp with time zone, p_at_text text, p_txid xid8, p_db_role text) FROM PUBLIC;

--
-- Name: FUNCTION audit_body(p_draft holdfast.audit_draft, p_seq bigint, p_at text, p_txid xid8, p_db_role text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_body(p_draft holdfast.audit_draft, p_seq bigint, p_at text, p_txid xid8, p_db_role text) FROM PUBLIC;

--
-- Name: FUNCTION audit_capture(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_capture(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]) FROM PUBLIC;

--
-- Name: FUNCTION audit_chain_operation(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_chain_operation() FROM PUBLIC;

--
-- Name: FUNCTION audit_chain_suspension(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_chain_suspension() FROM PUBLIC;

--
-- Name: FUNCTION audit_columns(p_table text, p_ignored text[], p_digested text[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_columns(p_table text, p_ignored text[], p_digested text[]) FROM PUBLIC;

--
-- Name: FUNCTION audit_currency(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_currency() FROM PUBLIC;

--
-- Name: FUNCTION audit_customer(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_customer() FROM PUBLIC;

--
-- Name: FUNCTION audit_customer_key(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_customer_key() FROM PUBLIC;

--
-- Name: FUNCTION audit_flush(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_flush() FROM PUBLIC;

--
-- Name: FUNCTION audit_invoice(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_invoice() FROM PUBLIC;

--
-- Name: FUNCTION audit_key_epoch(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_key_epoch() FROM PUBLIC;

--
-- Name: FUNCTION audit_last(p_kind text, p_aggregate_id text, p_from timestamp with time zone); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_last(p_kind text, p_aggregate_id text, p_from timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION audit_late_decision(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_late_decision() FROM PUBLIC;

--
-- Name: FUNCTION audit_make_partitions(p_from date, p_months integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_make_partitions(p_from date, p_months integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.audit_make_partitions(p_from date, p_months integer) TO audit_sealer;

--
-- Name: FUNCTION audit_master_key(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_master_key() FROM PUBLIC;

--
-- Name: FUNCTION audit_note_reads(p_order_ids uuid[], p_fields text[], p_actor text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_note_reads(p_order_ids uuid[], p_fields text[], p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.audit_note_reads(p_order_ids uuid[], p_fields text[], p_actor text) TO app_api;

--
-- Name: FUNCTION audit_order_line(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_order_line() FROM PUBLIC;

--
-- Name: FUNCTION audit_order_restart(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_order_restart() FROM PUBLIC;

--
-- Name: FUNCTION audit_order_transition(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_order_transition() FROM PUBLIC;

--
-- Name: FUNCTION audit_orders(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_orders() FROM PUBLIC;

--
-- Name: FUNCTION audit_own_account(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_own_account() FROM PUBLIC;

--
-- Name: FUNCTION audit_payment(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_payment() FROM PUBLIC;

--
-- Name: FUNCTION audit_payment_key(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_payment_key() FROM PUBLIC;

--
-- Name: FUNCTION audit_payment_report(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_payment_report() FROM PUBLIC;

--
-- Name: FUNCTION audit_payment_transition(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_payment_transition() FROM PUBLIC;

--
-- Name: FUNCTION audit_payout(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_payout() FROM PUBLIC;

--
-- Name: FUNCTION audit_payout_attempt(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_payout_attempt() FROM PUBLIC;

--
-- Name: FUNCTION audit_product(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_product() FROM PUBLIC;

--
-- Name: FUNCTION audit_purge(p_before timestamp with time zone); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_purge(p_before timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.audit_purge(p_before timestamp with time zone) TO audit_sealer;

--
-- Name: FUNCTION audit_quoted_rate(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_quoted_rate() FROM PUBLIC;

--
-- Name: FUNCTION audit_refund(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_refund() FROM PUBLIC;

--
-- Name: FUNCTION audit_refund_approval(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_refund_approval() FROM PUBLIC;

--
-- Name: FUNCTION audit_refund_due(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_refund_due() FROM PUBLIC;

--
-- Name: FUNCTION audit_refund_transition(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_refund_transition() FROM PUBLIC;

--
-- Name: FUNCTION audit_reservation(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_reservation() FROM PUBLIC;

--
-- Name: FUNCTION audit_retired_source(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_retired_source() FROM PUBLIC;

--
-- Name: FUNCTION audit_root(p_table text, p_kind text, p_id text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_root(p_table text, p_kind text, p_id text) FROM PUBLIC;

--
-- Name: FUNCTION audit_source_login(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_source_login() FROM PUBLIC;

--
-- Name: FUNCTION audit_source_rule(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_source_rule() FROM PUBLIC;

--
-- Name: FUNCTION audit_stock(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_stock() FROM PUBLIC;

--
-- Name: FUNCTION audit_watch(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.audit_watch(p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[]) FROM PUBLIC;

--
-- Name: FUNCTION begin_assessment(p_order_id uuid, p_generation integer, p_step integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.begin_assessment(p_order_id uuid, p_generation integer, p_step integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.begin_assessment(p_order_id uuid, p_generation integer, p_step integer) TO app_worker;

--
-- Name: FUNCTION begin_payout(p_refund_id uuid, p_actor text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.begin_payout(p_refund_id uuid, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.begin_payout(p_refund_id uuid, p_actor text) TO app_worker;

--
-- Name: FUNCTION bind_source(p_login text, p_source text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.bind_source(p_login text, p_source text) FROM PUBLIC;

--
-- Name: FUNCTION catalogue_of(p_wanted jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.catalogue_of(p_wanted jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.catalogue_of(p_wanted jsonb) TO app_api;

--
-- Name: FUNCTION change_account(p_user_id bigint, p_change text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.change_account(p_user_id bigint, p_change text) FROM PUBLIC;

--
-- Name: FUNCTION command_order(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb, p_actor text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.command_order(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.command_order(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb, p_actor text) TO app_worker;

--
-- Name: FUNCTION command_target(p_command text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.command_target(p_command text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.command_target(p_command text) TO app_worker;

--
-- Name: FUNCTION consume_stock(p_order_id uuid, p_actor text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.consume_stock(p_order_id uuid, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.consume_stock(p_order_id uuid, p_actor text) TO app_worker;

--
-- Name: FUNCTION credit_payments(p_order_id uuid, p_limit integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.credit_payments(p_order_id uuid, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.credit_payments(p_order_id uuid, p_limit integer) TO app_worker;

--
-- Name: FUNCTION decide_in_order(p_wanted jsonb, p_is_last_try boolean); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.decide_in_order(p_wanted jsonb, p_is_last_try boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.decide_in_order(p_wanted jsonb, p_is_last_try boolean) TO app_api;

--
-- Name: FUNCTION decide_late_money(p_order_id uuid, p_policy jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.decide_late_money(p_order_id uuid, p_policy jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.decide_late_money(p_order_id uuid, p_policy jsonb) TO app_worker;

--
-- Name: FUNCTION derive_refund_state(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.derive_refund_state() FROM PUBLIC;

--
-- Name: FUNCTION do_command(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.do_command(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.do_command(p_order_id uuid, p_generation integer, p_step integer, p_command text, p_input jsonb) TO app_worker;

--
-- Name: FUNCTION due_units(p_wanted jsonb, p_reserved jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.due_units(p_wanted jsonb, p_reserved jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.due_units(p_wanted jsonb, p_reserved jsonb) TO app_api;

--
-- Name: FUNCTION end_assessment(p_order_id uuid, p_generation integer, p_step integer, p_payment_state text, p_flags text[], p_status text, p_hold text, p_refund numeric); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.end_assessment(p_order_id uuid, p_generation integer, p_step integer, p_payment_state text, p_flags text[], p_status text, p_hold text, p_refund numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.end_assessment(p_order_id uuid, p_generation integer, p_step integer, p_payment_state text, p_flags text[], p_status text, p_hold text, p_refund numeric) TO app_worker;

--
-- Name: FUNCTION end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) TO app_worker;

--
-- Name: FUNCTION end_payout(p_payout_id uuid, p_tx_id text, p_is_reverted boolean, p_network_fee numeric, p_actor text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.end_payout(p_payout_id uuid, p_tx_id text, p_is_reverted boolean, p_network_fee numeric, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.end_payout(p_payout_id uuid, p_tx_id text, p_is_reverted boolean, p_network_fee numeric, p_actor text) TO app_worker;

--
-- Name: FUNCTION expire_due(p_order_ids uuid[], p_skip_locked boolean); Type: ACL; Schema: holdfast; Owner: app_worker
--

REVOKE ALL ON FUNCTION holdfast.expire_due(p_order_ids uuid[], p_skip_locked boolean) FROM PUBLIC;

--
-- Name: FUNCTION expire_orders(p_order_ids uuid[], p_skip_locked boolean); Type: ACL; Schema: holdfast; Owner: app_worker
--

REVOKE ALL ON FUNCTION holdfast.expire_orders(p_order_ids uuid[], p_skip_locked boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.expire_orders(p_order_ids uuid[], p_skip_locked boolean) TO app_api;

--
-- Name: FUNCTION fence_step(p_order_id uuid, p_generation integer, p_step integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.fence_step(p_order_id uuid, p_generation integer, p_step integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.fence_step(p_order_id uuid, p_generation integer, p_step integer) TO app_worker;

--
-- Name: FUNCTION finish_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.finish_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.finish_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text) TO app_worker;

--
-- Name: FUNCTION fits_in_sum(p_wanted jsonb, p_refused jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.fits_in_sum(p_wanted jsonb, p_refused jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.fits_in_sum(p_wanted jsonb, p_refused jsonb) TO app_api;

--
-- Name: FUNCTION flag_wrong_asset(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.flag_wrong_asset() FROM PUBLIC;

--
-- Name: FUNCTION follow_money(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.follow_money() FROM PUBLIC;

--
-- Name: FUNCTION follow_refund_due(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.follow_refund_due() FROM PUBLIC;

--
-- Name: FUNCTION forget_answers(p_limit integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.forget_answers(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.forget_answers(p_limit integer) TO app_worker;

--
-- Name: FUNCTION forget_notifications(p_limit integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.forget_notifications(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.forget_notifications(p_limit integer) TO app_worker;

--
-- Name: FUNCTION forget_quotas(p_limit integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.forget_quotas(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.forget_quotas(p_limit integer) TO app_api;

--
-- Name: FUNCTION forget_security_events(p_limit integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.forget_security_events(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.forget_security_events(p_limit integer) TO app_worker;

--
-- Name: FUNCTION fresh_outputs(p_order_id uuid, p_limit integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.fresh_outputs(p_order_id uuid, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.fresh_outputs(p_order_id uuid, p_limit integer) TO app_api;
GRANT ALL ON FUNCTION holdfast.fresh_outputs(p_order_id uuid, p_limit integer) TO app_worker;

--
-- Name: FUNCTION guard_address_lease(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_address_lease() FROM PUBLIC;

--
-- Name: FUNCTION guard_chain_operation(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_chain_operation() FROM PUBLIC;

--
-- Name: FUNCTION guard_chain_operator(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_chain_operator() FROM PUBLIC;

--
-- Name: FUNCTION guard_order_insert(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_order_insert() FROM PUBLIC;

--
-- Name: FUNCTION guard_order_payment(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_order_payment() FROM PUBLIC;

--
-- Name: FUNCTION guard_order_status(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_order_status() FROM PUBLIC;

--
-- Name: FUNCTION guard_order_update(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_order_update() FROM PUBLIC;

--
-- Name: FUNCTION guard_payment_amount(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_payment_amount() FROM PUBLIC;

--
-- Name: FUNCTION guard_payout(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_payout() FROM PUBLIC;

--
-- Name: FUNCTION guard_payout_attempt(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_payout_attempt() FROM PUBLIC;

--
-- Name: FUNCTION guard_refund(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_refund() FROM PUBLIC;

--
-- Name: FUNCTION guard_refund_approval(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_refund_approval() FROM PUBLIC;

--
-- Name: FUNCTION guard_tile_growth(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.guard_tile_growth() FROM PUBLIC;

--
-- Name: FUNCTION is_command_legal(p_order_id uuid, p_command text, p_input jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.is_command_legal(p_order_id uuid, p_command text, p_input jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.is_command_legal(p_order_id uuid, p_command text, p_input jsonb) TO app_worker;

--
-- Name: FUNCTION is_enough(sum numeric, due numeric); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.is_enough(sum numeric, due numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.is_enough(sum numeric, due numeric) TO app_api;
GRANT ALL ON FUNCTION holdfast.is_enough(sum numeric, due numeric) TO app_worker;
GRANT ALL ON FUNCTION holdfast.is_enough(sum numeric, due numeric) TO auditor;

--
-- Name: FUNCTION is_enough_seen(p_order_id uuid); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.is_enough_seen(p_order_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.is_enough_seen(p_order_id uuid) TO app_api;

--
-- Name: FUNCTION is_terminal(status text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.is_terminal(status text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.is_terminal(status text) TO app_api;
GRANT ALL ON FUNCTION holdfast.is_terminal(status text) TO app_worker;
GRANT ALL ON FUNCTION holdfast.is_terminal(status text) TO auditor;

--
-- Name: FUNCTION keep_honoured(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.keep_honoured() FROM PUBLIC;

--
-- Name: FUNCTION keep_owed_refund(p_order_id uuid); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.keep_owed_refund(p_order_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.keep_owed_refund(p_order_id uuid) TO app_api;
GRANT ALL ON FUNCTION holdfast.keep_owed_refund(p_order_id uuid) TO app_worker;

--
-- Name: FUNCTION late_refusal(p_order_id uuid, p_policy jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.late_refusal(p_order_id uuid, p_policy jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.late_refusal(p_order_id uuid, p_policy jsonb) TO app_worker;

--
-- Name: FUNCTION lock_wanted(p_wanted jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.lock_wanted(p_wanted jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.lock_wanted(p_wanted jsonb) TO app_api;

--
-- Name: FUNCTION move_version(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.move_version() FROM PUBLIC;

--
-- Name: FUNCTION no_actor(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.no_actor() FROM PUBLIC;

--
-- Name: FUNCTION note_status_change(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.note_status_change() FROM PUBLIC;

--
-- Name: FUNCTION open_replacement(p_order_id uuid, p_rate numeric, p_due_now numeric); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.open_replacement(p_order_id uuid, p_rate numeric, p_due_now numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.open_replacement(p_order_id uuid, p_rate numeric, p_due_now numeric) TO app_worker;

--
-- Name: FUNCTION open_transactions(p_longer_than interval); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.open_transactions(p_longer_than interval) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.open_transactions(p_longer_than interval) TO app_worker;
GRANT ALL ON FUNCTION holdfast.open_transactions(p_longer_than interval) TO auditor;

--
-- Name: FUNCTION order_answers(p_orders jsonb, p_fresh integer[], p_refused jsonb); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.order_answers(p_orders jsonb, p_fresh integer[], p_refused jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.order_answers(p_orders jsonb, p_fresh integer[], p_refused jsonb) TO app_api;

--
-- Name: FUNCTION order_money(p_order_ids uuid[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.order_money(p_order_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.order_money(p_order_ids uuid[]) TO app_api;
GRANT ALL ON FUNCTION holdfast.order_money(p_order_ids uuid[]) TO app_worker;
GRANT ALL ON FUNCTION holdfast.order_money(p_order_ids uuid[]) TO auditor;

--
-- Name: FUNCTION order_state(p_order_id uuid); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.order_state(p_order_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.order_state(p_order_id uuid) TO app_worker;
GRANT ALL ON FUNCTION holdfast.order_state(p_order_id uuid) TO app_api;

--
-- Name: FUNCTION owed_refund(p_order_id uuid); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.owed_refund(p_order_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.owed_refund(p_order_id uuid) TO app_api;
GRANT ALL ON FUNCTION holdfast.owed_refund(p_order_id uuid) TO app_worker;
GRANT ALL ON FUNCTION holdfast.owed_refund(p_order_id uuid) TO auditor;

--
-- Name: FUNCTION own_source(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.own_source() FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.own_source() TO watcher;

--
-- Name: FUNCTION post_ledger(p_order_id uuid, p_cause text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.post_ledger(p_order_id uuid, p_cause text) FROM PUBLIC;

--
-- Name: FUNCTION prepare_payout(p_refund_id uuid, p_sender text, p_chain_id bigint, p_chain_nonce bigint, p_gas_limit bigint, p_max_fee numeric, p_priority_fee numeric, p_actor text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.prepare_payout(p_refund_id uuid, p_sender text, p_chain_id bigint, p_chain_nonce bigint, p_gas_limit bigint, p_max_fee numeric, p_priority_fee numeric, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.prepare_payout(p_refund_id uuid, p_sender text, p_chain_id bigint, p_chain_nonce bigint, p_gas_limit bigint, p_max_fee numeric, p_priority_fee numeric, p_actor text) TO app_worker;

--
-- Name: FUNCTION present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index integer) TO app_api;
GRANT ALL ON FUNCTION holdfast.present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index integer) TO app_worker;
GRANT ALL ON FUNCTION holdfast.present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index integer) TO auditor;

--
-- Name: FUNCTION promised_refunds(p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.promised_refunds(p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.promised_refunds(p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid) TO app_api;
GRANT ALL ON FUNCTION holdfast.promised_refunds(p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid) TO app_worker;
GRANT ALL ON FUNCTION holdfast.promised_refunds(p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid) TO auditor;

--
-- Name: FUNCTION quote_due(total numeric, rate numeric, decimals smallint); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.quote_due(total numeric, rate numeric, decimals smallint) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.quote_due(total numeric, rate numeric, decimals smallint) TO app_api;
GRANT ALL ON FUNCTION holdfast.quote_due(total numeric, rate numeric, decimals smallint) TO app_worker;
GRANT ALL ON FUNCTION holdfast.quote_due(total numeric, rate numeric, decimals smallint) TO auditor;

--
-- Name: FUNCTION received_money(p_order_id uuid, p_network text, p_asset text, p_token text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.received_money(p_order_id uuid, p_network text, p_asset text, p_token text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.received_money(p_order_id uuid, p_network text, p_asset text, p_token text) TO app_api;
GRANT ALL ON FUNCTION holdfast.received_money(p_order_id uuid, p_network text, p_asset text, p_token text) TO app_worker;
GRANT ALL ON FUNCTION holdfast.received_money(p_order_id uuid, p_network text, p_asset text, p_token text) TO auditor;

--
-- Name: FUNCTION record_report(p_source text, p_facts jsonb, p_actor text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.record_report(p_source text, p_facts jsonb, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.record_report(p_source text, p_facts jsonb, p_actor text) TO app_api;

--
-- Name: FUNCTION refund_state(p_order_id uuid, p_status text, p_payment_state text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.refund_state(p_order_id uuid, p_status text, p_payment_state text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.refund_state(p_order_id uuid, p_status text, p_payment_state text) TO app_worker;
GRANT ALL ON FUNCTION holdfast.refund_state(p_order_id uuid, p_status text, p_payment_state text) TO auditor;

--
-- Name: FUNCTION refuse_hold_change(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.refuse_hold_change() FROM PUBLIC;

--
-- Name: FUNCTION refuse_network_name(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.refuse_network_name() FROM PUBLIC;

--
-- Name: FUNCTION refuse_rewriting(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.refuse_rewriting() FROM PUBLIC;

--
-- Name: FUNCTION refuse_time_to_come(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.refuse_time_to_come() FROM PUBLIC;

--
-- Name: FUNCTION refuse_truncate(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.refuse_truncate() FROM PUBLIC;

--
-- Name: FUNCTION refuse_unsealing(); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.refuse_unsealing() FROM PUBLIC;

--
-- Name: FUNCTION refused_orders(p_orders jsonb, p_fresh integer[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.refused_orders(p_orders jsonb, p_fresh integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.refused_orders(p_orders jsonb, p_fresh integer[]) TO app_api;

--
-- Name: FUNCTION replace_payout(p_payout_id uuid, p_after integer, p_kind text, p_max_fee numeric, p_priority_fee numeric); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.replace_payout(p_payout_id uuid, p_after integer, p_kind text, p_max_fee numeric, p_priority_fee numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.replace_payout(p_payout_id uuid, p_after integer, p_kind text, p_max_fee numeric, p_priority_fee numeric) TO app_worker;

--
-- Name: FUNCTION reported_elsewhere(p_network text, p_addresses text[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.reported_elsewhere(p_network text, p_addresses text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.reported_elsewhere(p_network text, p_addresses text[]) TO watcher;

--
-- Name: FUNCTION request_wake(p_order_ids uuid[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.request_wake(p_order_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.request_wake(p_order_ids uuid[]) TO app_api;
GRANT ALL ON FUNCTION holdfast.request_wake(p_order_ids uuid[]) TO app_worker;

--
-- Name: FUNCTION require_sources(p_asset text, p_sources integer, p_above numeric, p_reason text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.require_sources(p_asset text, p_sources integer, p_above numeric, p_reason text) FROM PUBLIC;

--
-- Name: FUNCTION required_sources(p_order_id uuid, p_amount numeric); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.required_sources(p_order_id uuid, p_amount numeric) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.required_sources(p_order_id uuid, p_amount numeric) TO app_api;
GRANT ALL ON FUNCTION holdfast.required_sources(p_order_id uuid, p_amount numeric) TO app_worker;
GRANT ALL ON FUNCTION holdfast.required_sources(p_order_id uuid, p_amount numeric) TO auditor;

--
-- Name: FUNCTION restart_orders(p_order_ids uuid[], p_reason text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.restart_orders(p_order_ids uuid[], p_reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.restart_orders(p_order_ids uuid[], p_reason text) TO app_api;

--
-- Name: FUNCTION resume_orders(p_limit integer); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.resume_orders(p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.resume_orders(p_limit integer) TO app_worker;

--
-- Name: FUNCTION retire_source(p_source text, p_reason text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.retire_source(p_source text, p_reason text) FROM PUBLIC;

--
-- Name: FUNCTION revive_relays(p_order_ids uuid[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.revive_relays(p_order_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.revive_relays(p_order_ids uuid[]) TO app_api;

--
-- Name: FUNCTION set_hold_aside(p_order_id uuid, p_reason text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.set_hold_aside(p_order_id uuid, p_reason text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.set_hold_aside(p_order_id uuid, p_reason text) TO app_api;
GRANT ALL ON FUNCTION holdfast.set_hold_aside(p_order_id uuid, p_reason text) TO app_worker;

--
-- Name: FUNCTION settle_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.settle_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.settle_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text) TO app_worker;

--
-- Name: FUNCTION settle_refund_state(p_order_id uuid); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.settle_refund_state(p_order_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.settle_refund_state(p_order_id uuid) TO app_worker;

--
-- Name: FUNCTION settle_report(p_network text, p_tx_id text, p_output_index integer, p_decision text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.settle_report(p_network text, p_tx_id text, p_output_index integer, p_decision text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.settle_report(p_network text, p_tx_id text, p_output_index integer, p_decision text) TO watcher;

--
-- Name: FUNCTION step_order(p_order_id uuid, p_generation integer, p_step integer, p_what text); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.step_order(p_order_id uuid, p_generation integer, p_step integer, p_what text) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.step_order(p_order_id uuid, p_generation integer, p_step integer, p_what text) TO app_worker;

--
-- Name: FUNCTION store_rates(p_orders jsonb, p_fresh integer[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.store_rates(p_orders jsonb, p_fresh integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.store_rates(p_orders jsonb, p_fresh integer[]) TO app_api;

--
-- Name: FUNCTION suspend_order(p_order_id uuid, p_is_held boolean); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.suspend_order(p_order_id uuid, p_is_held boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.suspend_order(p_order_id uuid, p_is_held boolean) TO app_worker;

--
-- Name: FUNCTION take_quota(p_users bytea[], p_user_limits integer[], p_addresses bytea[], p_address_limits integer[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.take_quota(p_users bytea[], p_user_limits integer[], p_addresses bytea[], p_address_limits integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.take_quota(p_users bytea[], p_user_limits integer[], p_addresses bytea[], p_address_limits integer[]) TO app_api;

--
-- Name: FUNCTION take_stock(p_order_id uuid); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.take_stock(p_order_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.take_stock(p_order_id uuid) TO app_worker;

--
-- Name: FUNCTION take_wanted(p_wanted jsonb, p_accepted integer[]); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.take_wanted(p_wanted jsonb, p_accepted integer[]) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.take_wanted(p_wanted jsonb, p_accepted integer[]) TO app_api;

--
-- Name: FUNCTION write_orders(p_orders jsonb, p_accepted integer[], p_now timestamp with time zone); Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

REVOKE ALL ON FUNCTION holdfast.write_orders(p_orders jsonb, p_accepted integer[], p_now timestamp with time zone) FROM PUBLIC;
GRANT ALL ON FUNCTION holdfast.write_orders(p_orders jsonb, p_accepted integer[], p_now timestamp with time zone) TO app_api;

--
-- Name: TABLE account; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.account TO app_api;
GRANT SELECT ON TABLE holdfast.account TO auditor;

--
-- Name: TABLE chain_status; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.chain_status TO watcher;
GRANT SELECT ON TABLE holdfast.chain_status TO app_api;
GRANT SELECT ON TABLE holdfast.chain_status TO app_worker;
GRANT SELECT ON TABLE holdfast.chain_status TO auditor;

--
-- Name: COLUMN chain_status.start_height; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(start_height) ON TABLE holdfast.chain_status TO watcher;

--
-- Name: COLUMN chain_status.scanned_height; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(scanned_height) ON TABLE holdfast.chain_status TO watcher;

--
-- Name: COLUMN chain_status.settled_height; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(settled_height) ON TABLE holdfast.chain_status TO watcher;

--
-- Name: COLUMN chain_status.rewind_to; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(rewind_to) ON TABLE holdfast.chain_status TO watcher;

--
-- Name: COLUMN chain_status.tip_height; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(tip_height) ON TABLE holdfast.chain_status TO watcher;

--
-- Name: COLUMN chain_status.tip_asked_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(tip_asked_at) ON TABLE holdfast.chain_status TO watcher;

--
-- Name: COLUMN chain_status.caught_up_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(caught_up_at) ON TABLE holdfast.chain_status TO watcher;

--
-- Name: COLUMN chain_status.compares_balances; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(compares_balances) ON TABLE holdfast.chain_status TO watcher;

--
-- Name: COLUMN chain_status.rewind_given_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(rewind_given_at) ON TABLE holdfast.chain_status TO watcher;

--
-- Name: COLUMN chain_status.confirmations; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(confirmations) ON TABLE holdfast.chain_status TO watcher;

--
-- Name: TABLE retired_source; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.retired_source TO app_api;
GRANT SELECT ON TABLE holdfast.retired_source TO app_worker;
GRANT SELECT ON TABLE holdfast.retired_source TO auditor;

--
-- Name: TABLE active_source; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.active_source TO app_api;
GRANT SELECT ON TABLE holdfast.active_source TO app_worker;
GRANT SELECT ON TABLE holdfast.active_source TO auditor;

--
-- Name: TABLE address_pool; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.address_pool TO app_keys;
GRANT SELECT ON TABLE holdfast.address_pool TO app_api;
GRANT SELECT ON TABLE holdfast.address_pool TO auditor;

--
-- Name: COLUMN address_pool.network; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT(network) ON TABLE holdfast.address_pool TO watcher;
GRANT SELECT(network) ON TABLE holdfast.address_pool TO app_worker;

--
-- Name: COLUMN address_pool.address; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT(address) ON TABLE holdfast.address_pool TO watcher;
GRANT SELECT(address) ON TABLE holdfast.address_pool TO app_worker;

--
-- Name: COLUMN address_pool.leased_by; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(leased_by) ON TABLE holdfast.address_pool TO app_api;

--
-- Name: COLUMN address_pool.leased_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(leased_at) ON TABLE holdfast.address_pool TO app_api;

--
-- Name: TABLE asset_rate; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.asset_rate TO app_api;
GRANT SELECT ON TABLE holdfast.asset_rate TO app_worker;
GRANT SELECT ON TABLE holdfast.asset_rate TO auditor;

--
-- Name: COLUMN asset_rate.rate; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(rate) ON TABLE holdfast.asset_rate TO app_api;

--
-- Name: COLUMN asset_rate.at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(at) ON TABLE holdfast.asset_rate TO app_api;

--
-- Name: TABLE audit_checkpoint; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.audit_checkpoint TO audit_sealer;
GRANT SELECT ON TABLE holdfast.audit_checkpoint TO auditor;
GRANT SELECT ON TABLE holdfast.audit_checkpoint TO app_api;

--
-- Name: TABLE audit_entry; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.audit_entry TO auditor;
GRANT SELECT ON TABLE holdfast.audit_entry TO audit_sealer;
GRANT SELECT ON TABLE holdfast.audit_entry TO app_api;
GRANT SELECT ON TABLE holdfast.audit_entry TO app_worker;

--
-- Name: TABLE audit_head; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.audit_head TO app_worker;
GRANT SELECT ON TABLE holdfast.audit_head TO auditor;

--
-- Name: TABLE audit_scope; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.audit_scope TO auditor;
GRANT SELECT ON TABLE holdfast.audit_scope TO audit_sealer;

--
-- Name: TABLE audit_tile; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.audit_tile TO audit_sealer;
GRANT SELECT ON TABLE holdfast.audit_tile TO auditor;
GRANT SELECT ON TABLE holdfast.audit_tile TO app_api;

--
-- Name: COLUMN audit_tile.hashes; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(hashes) ON TABLE holdfast.audit_tile TO audit_sealer;

--
-- Name: TABLE chain_balance; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.chain_balance TO watcher;
GRANT SELECT ON TABLE holdfast.chain_balance TO auditor;

--
-- Name: COLUMN chain_balance.height; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(height) ON TABLE holdfast.chain_balance TO watcher;

--
-- Name: COLUMN chain_balance.block_hash; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(block_hash) ON TABLE holdfast.chain_balance TO watcher;

--
-- Name: COLUMN chain_balance.balance; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(balance) ON TABLE holdfast.chain_balance TO watcher;

--
-- Name: COLUMN chain_balance.told; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(told) ON TABLE holdfast.chain_balance TO watcher;

--
-- Name: COLUMN chain_balance.set_aside; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(set_aside) ON TABLE holdfast.chain_balance TO watcher;

--
-- Name: COLUMN chain_balance.unexplained; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(unexplained) ON TABLE holdfast.chain_balance TO watcher;

--
-- Name: COLUMN chain_balance.checked_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(checked_at) ON TABLE holdfast.chain_balance TO watcher;

--
-- Name: COLUMN chain_balance.found_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(found_at) ON TABLE holdfast.chain_balance TO watcher;

--
-- Name: COLUMN chain_balance.attributed_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(attributed_at) ON TABLE holdfast.chain_balance TO watcher;

--
-- Name: COLUMN chain_balance.withdrawn; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(withdrawn) ON TABLE holdfast.chain_balance TO watcher;

--
-- Name: TABLE chain_block; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT,DELETE ON TABLE holdfast.chain_block TO watcher;

--
-- Name: TABLE chain_operation; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.chain_operation TO watcher;
GRANT SELECT ON TABLE holdfast.chain_operation TO auditor;

--
-- Name: COLUMN chain_operation.network; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(network) ON TABLE holdfast.chain_operation TO watcher;

--
-- Name: COLUMN chain_operation.operation; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(operation) ON TABLE holdfast.chain_operation TO watcher;

--
-- Name: COLUMN chain_operation.height; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(height) ON TABLE holdfast.chain_operation TO watcher;

--
-- Name: COLUMN chain_operation.address; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(address) ON TABLE holdfast.chain_operation TO watcher;

--
-- Name: COLUMN chain_operation.amount; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(amount) ON TABLE holdfast.chain_operation TO watcher;

--
-- Name: COLUMN chain_operation.reason; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(reason) ON TABLE holdfast.chain_operation TO watcher;

--
-- Name: COLUMN chain_operation.tx_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(tx_id) ON TABLE holdfast.chain_operation TO watcher;

--
-- Name: COLUMN chain_operation.output_index; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(output_index) ON TABLE holdfast.chain_operation TO watcher;

--
-- Name: TABLE chain_output; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.chain_output TO watcher;
GRANT SELECT ON TABLE holdfast.chain_output TO auditor;

--
-- Name: COLUMN chain_output.amount; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(amount) ON TABLE holdfast.chain_output TO watcher;

--
-- Name: COLUMN chain_output.state; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(state) ON TABLE holdfast.chain_output TO watcher;

--
-- Name: COLUMN chain_output.seq; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(seq) ON TABLE holdfast.chain_output TO watcher;

--
-- Name: COLUMN chain_output.block_height; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(block_height) ON TABLE holdfast.chain_output TO watcher;

--
-- Name: COLUMN chain_output.block_hash; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(block_hash) ON TABLE holdfast.chain_output TO watcher;

--
-- Name: COLUMN chain_output.first_seen_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(first_seen_at) ON TABLE holdfast.chain_output TO watcher;

--
-- Name: TABLE chain_report; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT,DELETE ON TABLE holdfast.chain_report TO watcher;
GRANT SELECT ON TABLE holdfast.chain_report TO auditor;

--
-- Name: COLUMN chain_report.refusals; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(refusals) ON TABLE holdfast.chain_report TO watcher;

--
-- Name: COLUMN chain_report.next_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(next_at) ON TABLE holdfast.chain_report TO watcher;

--
-- Name: COLUMN chain_report.refusal_reason; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(refusal_reason) ON TABLE holdfast.chain_report TO watcher;

--
-- Name: TABLE chain_suspension; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.chain_suspension TO watcher;
GRANT SELECT ON TABLE holdfast.chain_suspension TO app_api;
GRANT SELECT ON TABLE holdfast.chain_suspension TO app_worker;
GRANT SELECT ON TABLE holdfast.chain_suspension TO auditor;

--
-- Name: COLUMN chain_suspension.network; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(network) ON TABLE holdfast.chain_suspension TO watcher;

--
-- Name: COLUMN chain_suspension.closed_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(closed_at) ON TABLE holdfast.chain_suspension TO watcher;

--
-- Name: COLUMN chain_suspension.reason; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(reason) ON TABLE holdfast.chain_suspension TO watcher;

--
-- Name: COLUMN chain_suspension.cause; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(cause) ON TABLE holdfast.chain_suspension TO watcher;

--
-- Name: TABLE chain_sweep; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.chain_sweep TO watcher;
GRANT SELECT ON TABLE holdfast.chain_sweep TO auditor;

--
-- Name: COLUMN chain_sweep.round; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(round) ON TABLE holdfast.chain_sweep TO watcher;

--
-- Name: COLUMN chain_sweep.began_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(began_at) ON TABLE holdfast.chain_sweep TO watcher;

--
-- Name: COLUMN chain_sweep.place; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(place) ON TABLE holdfast.chain_sweep TO watcher;

--
-- Name: COLUMN chain_sweep.is_over; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(is_over) ON TABLE holdfast.chain_sweep TO watcher;

--
-- Name: COLUMN chain_sweep.swept_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(swept_at) ON TABLE holdfast.chain_sweep TO watcher;

--
-- Name: TABLE consistency_run; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.consistency_run TO app_worker;
GRANT SELECT ON TABLE holdfast.consistency_run TO auditor;

--
-- Name: TABLE currency; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.currency TO app_api;
GRANT SELECT ON TABLE holdfast.currency TO app_worker;
GRANT SELECT ON TABLE holdfast.currency TO auditor;
GRANT SELECT ON TABLE holdfast.currency TO app_keys;
GRANT SELECT ON TABLE holdfast.currency TO watcher;

--
-- Name: TABLE customer; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.customer TO app_api;
GRANT SELECT ON TABLE holdfast.customer TO app_worker;
GRANT SELECT ON TABLE holdfast.customer TO auditor;

--
-- Name: COLUMN customer.user_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(user_id) ON TABLE holdfast.customer TO app_api;

--
-- Name: TABLE customer_key; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.customer_key TO app_api;

--
-- Name: TABLE duty; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.duty TO auditor;
GRANT SELECT ON TABLE holdfast.duty TO app_api;
GRANT SELECT,UPDATE ON TABLE holdfast.duty TO app_worker;
GRANT SELECT,UPDATE ON TABLE holdfast.duty TO audit_sealer;

--
-- Name: TABLE invoice; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.invoice TO app_api;
GRANT SELECT ON TABLE holdfast.invoice TO app_worker;
GRANT SELECT ON TABLE holdfast.invoice TO auditor;

--
-- Name: COLUMN invoice.network; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT(network) ON TABLE holdfast.invoice TO watcher;

--
-- Name: COLUMN invoice.asset; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT(asset) ON TABLE holdfast.invoice TO watcher;

--
-- Name: COLUMN invoice.address; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT(address) ON TABLE holdfast.invoice TO watcher;

--
-- Name: TABLE orders; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.orders TO app_api;
GRANT SELECT ON TABLE holdfast.orders TO app_worker;
GRANT SELECT ON TABLE holdfast.orders TO auditor;

--
-- Name: COLUMN orders.order_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(order_id) ON TABLE holdfast.orders TO app_api;

--
-- Name: COLUMN orders.user_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(user_id) ON TABLE holdfast.orders TO app_api;

--
-- Name: COLUMN orders.status; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(status) ON TABLE holdfast.orders TO app_worker;

--
-- Name: COLUMN orders.payment_state; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(payment_state) ON TABLE holdfast.orders TO app_worker;

--
-- Name: COLUMN orders.payment_flags; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(payment_flags) ON TABLE holdfast.orders TO app_worker;

--
-- Name: COLUMN orders.hold; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(hold) ON TABLE holdfast.orders TO app_worker;

--
-- Name: COLUMN orders.cancel_reason; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(cancel_reason) ON TABLE holdfast.orders TO app_worker;

--
-- Name: COLUMN orders.currency; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(currency) ON TABLE holdfast.orders TO app_api;

--
-- Name: COLUMN orders.total; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(total) ON TABLE holdfast.orders TO app_api;

--
-- Name: COLUMN orders.address_sealed; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(address_sealed),UPDATE(address_sealed) ON TABLE holdfast.orders TO app_api;

--
-- Name: COLUMN orders.generation; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(generation) ON TABLE holdfast.orders TO app_worker;

--
-- Name: COLUMN orders.step; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(step) ON TABLE holdfast.orders TO app_worker;

--
-- Name: TABLE payment; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.payment TO app_worker;
GRANT SELECT ON TABLE holdfast.payment TO auditor;
GRANT SELECT ON TABLE holdfast.payment TO app_api;

--
-- Name: COLUMN payment.amount; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(amount) ON TABLE holdfast.payment TO app_worker;

--
-- Name: COLUMN payment.state; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(state) ON TABLE holdfast.payment TO app_worker;

--
-- Name: COLUMN payment.is_in_time; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(is_in_time) ON TABLE holdfast.payment TO app_worker;

--
-- Name: TABLE payment_report; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.payment_report TO app_api;
GRANT SELECT ON TABLE holdfast.payment_report TO app_worker;
GRANT SELECT ON TABLE holdfast.payment_report TO auditor;

--
-- Name: COLUMN payment_report.is_assessed; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(is_assessed) ON TABLE holdfast.payment_report TO app_worker;

--
-- Name: TABLE reservation; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.reservation TO app_api;
GRANT SELECT,INSERT ON TABLE holdfast.reservation TO app_worker;
GRANT SELECT ON TABLE holdfast.reservation TO auditor;

--
-- Name: COLUMN reservation.state; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(state) ON TABLE holdfast.reservation TO app_worker;

--
-- Name: COLUMN reservation.expires_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(expires_at) ON TABLE holdfast.reservation TO app_api;
GRANT UPDATE(expires_at) ON TABLE holdfast.reservation TO app_worker;

--
-- Name: TABLE source_doubt; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.source_doubt TO app_api;
GRANT SELECT,INSERT,DELETE ON TABLE holdfast.source_doubt TO app_worker;
GRANT SELECT ON TABLE holdfast.source_doubt TO auditor;

--
-- Name: COLUMN source_doubt.kind; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(kind) ON TABLE holdfast.source_doubt TO app_worker;

--
-- Name: COLUMN source_doubt.since; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(since) ON TABLE holdfast.source_doubt TO app_worker;

--
-- Name: TABLE source_fork; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.source_fork TO app_api;
GRANT SELECT ON TABLE holdfast.source_fork TO app_worker;
GRANT SELECT ON TABLE holdfast.source_fork TO auditor;

--
-- Name: TABLE suspended_network; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.suspended_network TO app_api;
GRANT SELECT ON TABLE holdfast.suspended_network TO app_worker;
GRANT SELECT ON TABLE holdfast.suspended_network TO auditor;

--
-- Name: TABLE suspended_order; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.suspended_order TO app_api;
GRANT SELECT,DELETE ON TABLE holdfast.suspended_order TO app_worker;
GRANT SELECT ON TABLE holdfast.suspended_order TO auditor;

--
-- Name: COLUMN suspended_order.order_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(order_id) ON TABLE holdfast.suspended_order TO app_worker;

--
-- Name: COLUMN suspended_order.network; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(network) ON TABLE holdfast.suspended_order TO app_worker;

--
-- Name: COLUMN suspended_order.woken_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(woken_at) ON TABLE holdfast.suspended_order TO app_worker;

--
-- Name: TABLE expirable; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.expirable TO app_api;
GRANT SELECT ON TABLE holdfast.expirable TO app_worker;
GRANT SELECT ON TABLE holdfast.expirable TO auditor;

--
-- Name: TABLE hold_aside; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.hold_aside TO app_worker;
GRANT SELECT ON TABLE holdfast.hold_aside TO auditor;

--
-- Name: TABLE idempotency; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT,DELETE ON TABLE holdfast.idempotency TO app_api;
GRANT SELECT,INSERT ON TABLE holdfast.idempotency TO app_worker;
GRANT SELECT ON TABLE holdfast.idempotency TO auditor;

--
-- Name: COLUMN idempotency.order_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(order_id) ON TABLE holdfast.idempotency TO app_api;

--
-- Name: COLUMN idempotency.response; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(response) ON TABLE holdfast.idempotency TO app_api;

--
-- Name: TABLE ignored_transfer; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT,DELETE ON TABLE holdfast.ignored_transfer TO watcher;
GRANT SELECT ON TABLE holdfast.ignored_transfer TO app_api;
GRANT SELECT ON TABLE holdfast.ignored_transfer TO app_worker;
GRANT SELECT ON TABLE holdfast.ignored_transfer TO auditor;

--
-- Name: TABLE inconsistency; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE holdfast.inconsistency TO app_worker;
GRANT SELECT ON TABLE holdfast.inconsistency TO auditor;

--
-- Name: TABLE issued_address; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.issued_address TO watcher;

--
-- Name: TABLE key_epoch; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.key_epoch TO app_keys;

--
-- Name: COLUMN key_epoch.key_count; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(key_count) ON TABLE holdfast.key_epoch TO app_keys;

--
-- Name: COLUMN key_epoch.last_used_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(last_used_at) ON TABLE holdfast.key_epoch TO app_keys;

--
-- Name: TABLE key_retire; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.key_retire TO app_keys;
GRANT SELECT,INSERT ON TABLE holdfast.key_retire TO app_worker;
GRANT SELECT ON TABLE holdfast.key_retire TO auditor;

--
-- Name: COLUMN key_retire.attempts; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(attempts) ON TABLE holdfast.key_retire TO app_keys;

--
-- Name: COLUMN key_retire.next_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(next_at) ON TABLE holdfast.key_retire TO app_keys;

--
-- Name: COLUMN key_retire.done_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(done_at) ON TABLE holdfast.key_retire TO app_keys;

--
-- Name: TABLE late_decision; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.late_decision TO app_api;
GRANT SELECT ON TABLE holdfast.late_decision TO app_worker;
GRANT SELECT ON TABLE holdfast.late_decision TO auditor;

--
-- Name: COLUMN late_decision.order_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(order_id) ON TABLE holdfast.late_decision TO app_worker;

--
-- Name: COLUMN late_decision.refusal; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(refusal) ON TABLE holdfast.late_decision TO app_worker;

--
-- Name: COLUMN late_decision.rate; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(rate) ON TABLE holdfast.late_decision TO app_worker;

--
-- Name: COLUMN late_decision.due_now; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(due_now) ON TABLE holdfast.late_decision TO app_worker;

--
-- Name: TABLE ledger_posting; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.ledger_posting TO app_api;
GRANT SELECT ON TABLE holdfast.ledger_posting TO app_worker;
GRANT SELECT ON TABLE holdfast.ledger_posting TO auditor;

--
-- Name: TABLE ledger_entry; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.ledger_entry TO app_api;
GRANT SELECT ON TABLE holdfast.ledger_entry TO auditor;

--
-- Name: TABLE payout; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.payout TO app_worker;
GRANT SELECT ON TABLE holdfast.payout TO auditor;
GRANT SELECT ON TABLE holdfast.payout TO app_api;

--
-- Name: COLUMN payout.refund_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(refund_id) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.order_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(order_id) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.network; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(network) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.sender; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(sender) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.chain_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(chain_id) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.nonce; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(nonce) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.destination; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(destination) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.amount; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(amount) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.fee_bearer; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(fee_bearer) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.status; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(status) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.failure; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(failure) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.block_height; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(block_height) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.block_hash; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(block_hash) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.is_released; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(is_released) ON TABLE holdfast.payout TO app_worker;

--
-- Name: COLUMN payout.network_fee; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(network_fee) ON TABLE holdfast.payout TO app_worker;

--
-- Name: TABLE refund; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.refund TO app_api;
GRANT SELECT ON TABLE holdfast.refund TO app_worker;
GRANT SELECT ON TABLE holdfast.refund TO auditor;

--
-- Name: COLUMN refund.order_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(order_id) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(order_id) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.network; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(network) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(network) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.asset; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(asset) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(asset) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.token; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(token) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(token) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.amount; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(amount),UPDATE(amount) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(amount),UPDATE(amount) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.kind; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(kind) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(kind) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.fee_bearer; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(fee_bearer),UPDATE(fee_bearer) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(fee_bearer) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.named_in; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(named_in) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(named_in) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.fiat_amount; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(fiat_amount) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(fiat_amount) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.rate_basis; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(rate_basis) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(rate_basis) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.rate; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(rate) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(rate) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.destination; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(destination) ON TABLE holdfast.refund TO app_api;

--
-- Name: COLUMN refund.destination_confirmed_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(destination_confirmed_at) ON TABLE holdfast.refund TO app_api;

--
-- Name: COLUMN refund.status; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(status) ON TABLE holdfast.refund TO app_api;
GRANT UPDATE(status) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.requested_by; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(requested_by) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(requested_by) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.reason; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(reason) ON TABLE holdfast.refund TO app_api;
GRANT INSERT(reason) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.tx_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(tx_id) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.network_fee; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(network_fee) ON TABLE holdfast.refund TO app_worker;

--
-- Name: COLUMN refund.destination_seal; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(destination_seal) ON TABLE holdfast.refund TO app_api;

--
-- Name: TABLE refund_due; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.refund_due TO app_worker;
GRANT SELECT ON TABLE holdfast.refund_due TO auditor;
GRANT SELECT ON TABLE holdfast.refund_due TO app_api;

--
-- Name: COLUMN refund_due.amount; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(amount) ON TABLE holdfast.refund_due TO app_worker;

--
-- Name: COLUMN refund_due.updated_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(updated_at) ON TABLE holdfast.refund_due TO app_worker;

--
-- Name: TABLE master_key; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.master_key TO app_keys;

--
-- Name: TABLE notification; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.notification TO app_worker;
GRANT SELECT ON TABLE holdfast.notification TO auditor;
GRANT SELECT ON TABLE holdfast.notification TO app_api;

--
-- Name: COLUMN notification.claimed_by; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(claimed_by) ON TABLE holdfast.notification TO app_worker;

--
-- Name: COLUMN notification.claimed_until; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(claimed_until) ON TABLE holdfast.notification TO app_worker;

--
-- Name: COLUMN notification.attempts; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(attempts) ON TABLE holdfast.notification TO app_worker;
GRANT UPDATE(attempts) ON TABLE holdfast.notification TO app_api;

--
-- Name: COLUMN notification.next_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(next_at) ON TABLE holdfast.notification TO app_worker;
GRANT UPDATE(next_at) ON TABLE holdfast.notification TO app_api;

--
-- Name: COLUMN notification.delivered_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(delivered_at) ON TABLE holdfast.notification TO app_worker;

--
-- Name: COLUMN notification.dead_reason; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(dead_reason) ON TABLE holdfast.notification TO app_worker;
GRANT UPDATE(dead_reason) ON TABLE holdfast.notification TO app_api;

--
-- Name: COLUMN notification.dead_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(dead_at) ON TABLE holdfast.notification TO app_worker;
GRANT UPDATE(dead_at) ON TABLE holdfast.notification TO app_api;

--
-- Name: TABLE notification_channel; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.notification_channel TO app_worker;
GRANT SELECT ON TABLE holdfast.notification_channel TO auditor;

--
-- Name: COLUMN notification_channel.is_enabled; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(is_enabled) ON TABLE holdfast.notification_channel TO app_worker;

--
-- Name: TABLE open_invoice; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.open_invoice TO watcher;

--
-- Name: TABLE order_line; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.order_line TO app_api;
GRANT SELECT ON TABLE holdfast.order_line TO app_worker;
GRANT SELECT ON TABLE holdfast.order_line TO auditor;

--
-- Name: TABLE order_restart; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.order_restart TO auditor;

--
-- Name: TABLE order_transition; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.order_transition TO app_api;
GRANT SELECT ON TABLE holdfast.order_transition TO app_worker;
GRANT SELECT ON TABLE holdfast.order_transition TO auditor;

--
-- Name: TABLE order_wake; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.order_wake TO app_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE holdfast.order_wake TO app_worker;
GRANT SELECT ON TABLE holdfast.order_wake TO auditor;

--
-- Name: COLUMN order_wake.wanted_seq; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(wanted_seq) ON TABLE holdfast.order_wake TO app_api;

--
-- Name: COLUMN order_wake.next_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(next_at) ON TABLE holdfast.order_wake TO app_api;

--
-- Name: COLUMN order_wake.dead_reason; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(dead_reason) ON TABLE holdfast.order_wake TO app_api;

--
-- Name: TABLE own_account; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.own_account TO watcher;
GRANT SELECT ON TABLE holdfast.own_account TO auditor;

--
-- Name: TABLE payment_key; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.key_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(key_id) ON TABLE holdfast.payment_key TO app_keys;
GRANT SELECT(key_id) ON TABLE holdfast.payment_key TO auditor;

--
-- Name: COLUMN payment_key.network; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(network) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.asset; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(asset) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.address; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(address) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.tier; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(tier) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.format_version; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(format_version) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.envelope_version; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(envelope_version),UPDATE(envelope_version) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.epoch_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(epoch_id),UPDATE(epoch_id) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.master_version; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(master_version),UPDATE(master_version) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.salt; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(salt),UPDATE(salt) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.wrap_nonce; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(wrap_nonce),UPDATE(wrap_nonce) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.wrap_tag; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(wrap_tag),UPDATE(wrap_tag) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.wrapped_key; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(wrapped_key),UPDATE(wrapped_key) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.nonce; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(nonce),UPDATE(nonce) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.tag; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(tag),UPDATE(tag) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.ciphertext; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(ciphertext),UPDATE(ciphertext) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: COLUMN payment_key.sealed_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(sealed_at) ON TABLE holdfast.payment_key TO app_keys;

--
-- Name: TABLE payment_transition; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.payment_transition TO app_worker;
GRANT SELECT ON TABLE holdfast.payment_transition TO auditor;

--
-- Name: TABLE payout_attempt; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.payout_attempt TO app_worker;
GRANT SELECT ON TABLE holdfast.payout_attempt TO auditor;

--
-- Name: COLUMN payout_attempt.payout_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(payout_id) ON TABLE holdfast.payout_attempt TO app_worker;
GRANT SELECT(payout_id) ON TABLE holdfast.payout_attempt TO app_api;

--
-- Name: COLUMN payout_attempt.attempt; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(attempt) ON TABLE holdfast.payout_attempt TO app_worker;
GRANT SELECT(attempt) ON TABLE holdfast.payout_attempt TO app_api;

--
-- Name: COLUMN payout_attempt.order_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(order_id) ON TABLE holdfast.payout_attempt TO app_worker;
GRANT SELECT(order_id) ON TABLE holdfast.payout_attempt TO app_api;

--
-- Name: COLUMN payout_attempt.kind; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(kind) ON TABLE holdfast.payout_attempt TO app_worker;
GRANT SELECT(kind) ON TABLE holdfast.payout_attempt TO app_api;

--
-- Name: COLUMN payout_attempt.value; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(value) ON TABLE holdfast.payout_attempt TO app_worker;

--
-- Name: COLUMN payout_attempt.gas_limit; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(gas_limit) ON TABLE holdfast.payout_attempt TO app_worker;

--
-- Name: COLUMN payout_attempt.max_fee; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(max_fee) ON TABLE holdfast.payout_attempt TO app_worker;

--
-- Name: COLUMN payout_attempt.priority_fee; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(priority_fee) ON TABLE holdfast.payout_attempt TO app_worker;

--
-- Name: COLUMN payout_attempt.raw; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(raw) ON TABLE holdfast.payout_attempt TO app_worker;

--
-- Name: COLUMN payout_attempt.tx_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(tx_id) ON TABLE holdfast.payout_attempt TO app_worker;
GRANT SELECT(tx_id) ON TABLE holdfast.payout_attempt TO app_api;

--
-- Name: COLUMN payout_attempt.created_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT(created_at) ON TABLE holdfast.payout_attempt TO app_api;

--
-- Name: COLUMN payout_attempt.broadcast_at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(broadcast_at) ON TABLE holdfast.payout_attempt TO app_worker;
GRANT SELECT(broadcast_at) ON TABLE holdfast.payout_attempt TO app_api;

--
-- Name: TABLE payout_sender; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.payout_sender TO app_worker;
GRANT SELECT ON TABLE holdfast.payout_sender TO auditor;

--
-- Name: COLUMN payout_sender.network; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT(network) ON TABLE holdfast.payout_sender TO watcher;

--
-- Name: COLUMN payout_sender.sender; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT(sender) ON TABLE holdfast.payout_sender TO watcher;

--
-- Name: COLUMN payout_sender.next_nonce; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(next_nonce) ON TABLE holdfast.payout_sender TO app_worker;

--
-- Name: COLUMN payout_sender.holder; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(holder) ON TABLE holdfast.payout_sender TO app_worker;

--
-- Name: COLUMN payout_sender.held_until; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(held_until) ON TABLE holdfast.payout_sender TO app_worker;

--
-- Name: TABLE payout_wait; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE holdfast.payout_wait TO app_worker;
GRANT SELECT ON TABLE holdfast.payout_wait TO auditor;

--
-- Name: TABLE pending_invoice; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.pending_invoice TO watcher;

--
-- Name: TABLE product; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.product TO app_api;
GRANT SELECT ON TABLE holdfast.product TO app_worker;
GRANT SELECT ON TABLE holdfast.product TO auditor;

--
-- Name: COLUMN product.product_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(product_id) ON TABLE holdfast.product TO app_api;

--
-- Name: COLUMN product.name; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(name),UPDATE(name) ON TABLE holdfast.product TO app_api;

--
-- Name: COLUMN product.unit_price; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(unit_price),UPDATE(unit_price) ON TABLE holdfast.product TO app_api;

--
-- Name: COLUMN product.currency; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(currency),UPDATE(currency) ON TABLE holdfast.product TO app_api;

--
-- Name: COLUMN product.is_active; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(is_active),UPDATE(is_active) ON TABLE holdfast.product TO app_api;

--
-- Name: TABLE quoted_rate; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.quoted_rate TO app_api;
GRANT SELECT ON TABLE holdfast.quoted_rate TO app_worker;
GRANT SELECT ON TABLE holdfast.quoted_rate TO auditor;

--
-- Name: TABLE reclaimable_hold; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.reclaimable_hold TO app_api;
GRANT SELECT ON TABLE holdfast.reclaimable_hold TO app_worker;

--
-- Name: TABLE refund_approval; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.refund_approval TO app_api;
GRANT SELECT ON TABLE holdfast.refund_approval TO app_worker;
GRANT SELECT ON TABLE holdfast.refund_approval TO auditor;

--
-- Name: COLUMN refund_approval.refund_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(refund_id) ON TABLE holdfast.refund_approval TO app_api;

--
-- Name: COLUMN refund_approval.version; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(version) ON TABLE holdfast.refund_approval TO app_api;

--
-- Name: COLUMN refund_approval.approver; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(approver) ON TABLE holdfast.refund_approval TO app_api;

--
-- Name: COLUMN refund_approval.order_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(order_id) ON TABLE holdfast.refund_approval TO app_api;

--
-- Name: COLUMN refund_approval.seal; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(seal) ON TABLE holdfast.refund_approval TO app_api;

--
-- Name: TABLE refund_transition; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.refund_transition TO app_api;
GRANT SELECT ON TABLE holdfast.refund_transition TO app_worker;
GRANT SELECT ON TABLE holdfast.refund_transition TO auditor;

--
-- Name: TABLE returning_hold; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.returning_hold TO app_api;

--
-- Name: TABLE schema_version; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.schema_version TO app_api;
GRANT SELECT ON TABLE holdfast.schema_version TO app_worker;
GRANT SELECT ON TABLE holdfast.schema_version TO app_keys;
GRANT SELECT ON TABLE holdfast.schema_version TO watcher;
GRANT SELECT ON TABLE holdfast.schema_version TO auditor;
GRANT SELECT ON TABLE holdfast.schema_version TO audit_sealer;

--
-- Name: TABLE security_event; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.security_event TO app_worker;
GRANT SELECT ON TABLE holdfast.security_event TO auditor;

--
-- Name: COLUMN security_event.at; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(at) ON TABLE holdfast.security_event TO app_api;

--
-- Name: COLUMN security_event.kind; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(kind) ON TABLE holdfast.security_event TO app_api;

--
-- Name: COLUMN security_event.subject; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(subject) ON TABLE holdfast.security_event TO app_api;

--
-- Name: COLUMN security_event.peer; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(peer) ON TABLE holdfast.security_event TO app_api;

--
-- Name: COLUMN security_event.method; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(method) ON TABLE holdfast.security_event TO app_api;

--
-- Name: COLUMN security_event.object; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(object) ON TABLE holdfast.security_event TO app_api;

--
-- Name: COLUMN security_event.request_id; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(request_id) ON TABLE holdfast.security_event TO app_api;

--
-- Name: COLUMN security_event.events; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT INSERT(events) ON TABLE holdfast.security_event TO app_api;

--
-- Name: TABLE source_login; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.source_login TO watcher;
GRANT SELECT ON TABLE holdfast.source_login TO auditor;

--
-- Name: TABLE source_rule; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.source_rule TO app_api;
GRANT SELECT ON TABLE holdfast.source_rule TO app_worker;
GRANT SELECT ON TABLE holdfast.source_rule TO auditor;

--
-- Name: TABLE stock; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.stock TO app_api;
GRANT SELECT ON TABLE holdfast.stock TO app_worker;
GRANT SELECT ON TABLE holdfast.stock TO auditor;

--
-- Name: COLUMN stock.on_hand; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(on_hand) ON TABLE holdfast.stock TO app_api;
GRANT UPDATE(on_hand) ON TABLE holdfast.stock TO app_worker;

--
-- Name: COLUMN stock.reserved; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(reserved) ON TABLE holdfast.stock TO app_api;
GRANT UPDATE(reserved) ON TABLE holdfast.stock TO app_worker;

--
-- Name: COLUMN stock.version; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(version) ON TABLE holdfast.stock TO app_api;
GRANT UPDATE(version) ON TABLE holdfast.stock TO app_worker;

--
-- Name: TABLE stock_movement; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.stock_movement TO app_api;
GRANT SELECT,INSERT ON TABLE holdfast.stock_movement TO app_worker;
GRANT SELECT ON TABLE holdfast.stock_movement TO auditor;

--
-- Name: TABLE unattributed_output; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT ON TABLE holdfast.unattributed_output TO app_worker;
GRANT SELECT ON TABLE holdfast.unattributed_output TO auditor;
GRANT SELECT ON TABLE holdfast.unattributed_output TO app_api;

--
-- Name: TABLE workflow_start; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT SELECT,INSERT ON TABLE holdfast.workflow_start TO app_api;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE holdfast.workflow_start TO app_worker;
GRANT SELECT ON TABLE holdfast.workflow_start TO auditor;

--
-- Name: COLUMN workflow_start.urgency; Type: ACL; Schema: holdfast; Owner: holdfast_owner
--

GRANT UPDATE(urgency) ON TABLE holdfast.workflow_start TO app_api;

--
-- PostgreSQL database dump complete
--
