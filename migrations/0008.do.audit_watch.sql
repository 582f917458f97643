-- How a change becomes an audit entry: every change to a watched table is part of an entry in the same transaction, for
-- every writer and every statement, and a change without an actor is refused.

-- WHO -----------------------------------------------------------------------------------------------------------------
-- The context is the transaction's: `holdfast.actor` holds {actor, role, requestId?, tokenId?, ipHash?, requestHash?,
-- reason?}; a batch of many callers' orders sets `holdfast.actors` to a map of the same by aggregate id. System
-- processes have a default for their sessions, the api has none.

create function no_actor() returns jsonb language plpgsql as $$
begin
  raise exception 'audit: nobody is named as the actor of this change' using errcode = 'HF006';
end
$$;
comment on function no_actor is 'Refuses a write by nobody.';

create function actor_of(p_aggregate_id text) returns jsonb language sql stable as $$
  select case when coalesce(current_setting('holdfast.actors', true), '') <> ''
    then current_setting('holdfast.actors', true)::jsonb -> p_aggregate_id
    else nullif(current_setting('holdfast.actor', true), '')::jsonb end
$$;
comment on function actor_of is
  'Who changes this aggregate in the present transaction; null when nobody is named.';

-- One spelling per actor, so that each entry names an actor who can be found (PCI-8).
create function actor_text(p_context jsonb) returns text language plpgsql stable as $$
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
$$;
comment on function actor_text is 'An actor''s context in its canonical form; refuses one that names nobody.';

-- NOTING A CHANGE -----------------------------------------------------------------------------------------------------

-- Writes the trigger function of one table, with its columns by name: one function for all tables would cost the order
-- path twice as much. A migration that adds a column calls it again.
-- p_aggregate: the column with the aggregate's id; null: an entry is about the whole statement.
-- p_ignored: columns that are the machinery's own. p_digested: columns kept as their SHA-256, because they are key
-- material, even if sealed.
create function audit_watch(
  p_table text, p_kind text, p_aggregate text, p_ignored text[] default '{}', p_digested text[] default '{}'
)
returns void language plpgsql set search_path = holdfast, pg_catalog as $watch$
declare
  -- Below, @ stands for the row's name: n, new, or o, old.
  v_id text := case when p_aggregate is null then 'null::text' else format('@.%I::text', p_aggregate) end;
  v_columns text[];
  v_row text;
  v_key text;
  v_either text; -- the key, of whichever row there is
  v_join text;
  v_changed text;
  v_differs text;
  v_note text;
  -- An aggregate is born with the row whose id refers to nothing else.
  v_is_root boolean := p_aggregate is not null and not exists (
    select from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and a.attnum = any (k.conkey)
    where k.conrelid = p_table::regclass and k.contype = 'f' and a.attname = p_aggregate);
begin
  with watched as (
    select a.attnum, quote_ident(a.attname) as name, '"' || a.attname || '":' as label,
      a.attnum = any (k.conkey) as is_key,
      -- Exact whoever reads it: 64-bit numbers and amounts as text, bytes as hex, spans in seconds.
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
    coalesce(string_agg(format('case when n.%s is distinct from o.%1$s then %L || '
      'coalesce(to_json(%s)::text, ''null'') end', name, label, value),
      ', ' order by attnum) filter (where not is_key), 'null'),
    string_agg(format('n.%s is distinct from o.%1$s', name), ' or ' order by attnum)
  into v_columns, v_key, v_either, v_row, v_join, v_changed, v_differs
  from watched;

  v_note := format($note$
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then %L else %L end, c.id, %s, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()),
            c.changes
        from $note$, p_table, p_kind, case when v_is_root then 'tg_op = ''INSERT''' else 'false' end);

  execute format($trigger$
    create or replace function %I() returns trigger
    language plpgsql security definer set search_path = holdfast, pg_catalog set timezone = 'UTC' as $capture$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then %s (
          select %s as id, string_agg('{"table":"%s","op":"INSERT","key":' || row_to_json(k) || ',"new":'
            || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select %s) k cross join lateral (select %s) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then %2$s (
          select d.id, string_agg('{"table":"%4$s","op":"UPDATE","key":' || d.key || ',"old":{' || d.before
            || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(%3$s, %7$s) as id, row_to_json(k)::text as key, concat_ws(',', %12$s) as before,
              concat_ws(',', %13$s) as after
            from old_rows o full join new_rows n on %11$s cross join lateral (select %10$s) k
            where %14$s
          ) d group by d.id
        ) c where c.changes is not null;
      else %2$s (
          select %7$s as id, string_agg('{"table":"%4$s","op":"DELETE","key":' || row_to_json(k) || ',"old":'
            || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select %8$s) k cross join lateral (select %9$s) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $capture$
  $trigger$, 'audit_' || p_table, v_note, replace(v_id, '@', 'n'), p_table, replace(v_key, '@', 'n'), replace(v_row,
    '@', 'n'),
    replace(v_id, '@', 'o'), replace(v_key, '@', 'o'), replace(v_row, '@', 'o'), v_either, v_join,
    replace(v_changed, '@', 'o'), replace(v_changed, '@', 'n'), v_differs);
  execute format('comment on function %I is %L', 'audit_' || p_table, format('Notes every change to %s for the audit.',
    p_table));
  execute format('revoke execute on function %I from public', 'audit_' || p_table);

  if not exists (select from audit_scope s where s.table_name = p_table) then
    execute format('create trigger %1$I after insert on %2$I referencing new table as new_rows for each statement '
      'execute function %3$I()',
      p_table || '_audit_insert', p_table, 'audit_' || p_table);
    execute format('create trigger %1$I after update on %2$I referencing old table as old_rows new table as '
      'new_rows for each statement execute function %3$I()',
      p_table || '_audit_update', p_table, 'audit_' || p_table);
    execute format('create trigger %1$I after delete on %2$I referencing old table as old_rows for each statement '
      'execute function %3$I()',
      p_table || '_audit_delete', p_table, 'audit_' || p_table);
    execute format('create trigger %1$I before truncate on %2$I for each statement execute function refuse_truncate()',
      p_table || '_audit_truncate', p_table);
  end if;
  insert into audit_scope (table_name, kind, columns, ignored) values (p_table, p_kind, v_columns, p_ignored)
  on conflict (table_name) do update set kind = excluded.kind, columns = excluded.columns, ignored = excluded.ignored;
end
$watch$;
comment on function audit_watch is 'Has every change to a table audited from now on.';

-- FROM CHANGES TO ENTRIES, AT COMMIT ----------------------------------------------------------------------------------

-- The last link of a chain that has no head: that of its creation. There are many partitions, so it looks first where
-- the entry should be, at p_from or later; the day before allows for a wrong clock.
create function audit_last(p_kind text, p_aggregate_id text, p_from timestamptz) returns table (seq bigint, hash bytea)
language plpgsql stable as $$
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
comment on function audit_last is 'The newest entry of a chain, for heads that are not on their row.';

create function audit_body(p_draft audit_draft, p_seq bigint, p_at text, p_txid xid8, p_db_role text) returns text
language sql stable as $$
  select '{"kind":' || to_json((p_draft).kind)::text || ',"id":' || coalesce(to_json((p_draft).aggregate_id)::text,
    'null')
    || ',"seq":' || coalesce('"' || p_seq || '"', 'null') || ',"at":"' || p_at || '","txid":"' || p_txid
      || '","dbRole":' || to_json(p_db_role)::text
    || ',"by":' || actor_text((p_draft).context) || ',"changes":[' || (p_draft).changes || ']}'
$$;
comment on function audit_body is
  'The bytes an entry''s hash is taken of; src/domain/audit.ts reads and writes the same.';

-- Writes the function that appends to the chains of one kind of aggregate.
-- Race: two transactions that append to one chain. The aggregates' rows are locked first, in the order of their ids;
-- the transaction has nearly always locked them already. The end of the chain is read by the next statement, which sees
-- what the previous holder of the lock has written.
-- A chain without a head has one entry, looked for by the age of its aggregate. LIMIT and OFFSET keep the planner from
-- joining instead: it would read all heads of a kind, and look for the entry of a chain that has a head.
create function audit_root(p_table text, p_kind text, p_id text) returns void
language plpgsql set search_path = holdfast, pg_catalog as $root$
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
$root$;
comment on function audit_root is 'Makes the function that appends to the chains of one kind of aggregate.';

-- At commit: all that the transaction changed of an aggregate becomes one entry per actor, in the order of the changes.
-- Runs with the rights of the tables' owner: no role can log in as it or become it, and the text is constant.
create function audit_flush() returns trigger
language plpgsql security definer set search_path = holdfast, pg_catalog set timezone = 'UTC' as $$
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
comment on function audit_flush is 'Turns what a transaction changed into its audit entries, when it commits.';
create constraint trigger audit_pending_flush after insert on audit_pending deferrable initially deferred
  for each row when (new.is_first) execute function audit_flush();

revoke execute on function no_actor, actor_of, actor_text, audit_watch, audit_last, audit_body, audit_root, audit_flush
  from public;
grant execute on function actor_of to app_worker;

-- WHAT IS WATCHED -----------------------------------------------------------------------------------------------------

select audit_root('orders', 'order', 'order_id');
select audit_root('product', 'product', 'product_id');
select audit_root('customer', 'customer', 'user_id');
select audit_root('payment_key', 'key', 'key_id');

-- The fence (generation, step) is the workflow's bookmark: each step moves it, also one that changes nothing else.
select audit_watch('orders', 'order', 'order_id', '{generation,step}');
select audit_watch('order_line', 'order', 'order_id');
select audit_watch('invoice', 'order', 'order_id');
select audit_watch('reservation', 'order', 'order_id');
select audit_watch('payment', 'order', 'order_id');
select audit_watch('payment_report', 'order', 'order_id');
select audit_watch('refund_due', 'order', 'order_id');
select audit_watch('customer', 'customer', 'user_id');
select audit_watch('customer_key', 'customer', 'user_id', '{}', '{wrapped_key}');
select audit_watch('product', 'product', 'product_id');
select audit_watch(
  'payment_key', 'key', 'key_id', '{}', '{salt,wrap_nonce,wrap_tag,wrapped_key,nonce,tag,ciphertext}');
select audit_watch('stock', 'stock', null);
select audit_watch('key_epoch', 'key_epoch', null, '{}', '{salt}');
select audit_watch('master_key', 'master_key', null);
select audit_watch('currency', 'currency', null);
select audit_watch('order_transition', 'order_transition', null);
select audit_watch('payment_transition', 'payment_transition', null);

insert into audit_scope (table_name, reason) values
  ('stock_movement', 'is itself the append-only record of what the entries of stock say in sum'),
  ('idempotency',
    'holds answers, not facts, and is cleared after a while; the request''s hash is in the entry of its effect'),
  ('workflow_start', 'is a to-do list: its rows go when they are done'),
  ('order_wake', 'is a to-do list: its rows go when they are done'),
  ('key_retire', 'is a to-do list; what comes of it is an entry of the key'),
  ('notification', 'is an outbox: it tells of changes that have their own entries'),
  ('notification_channel', 'says where news is sent, not what happened'),
  ('duty', 'is a lease and a clock'),
  ('address_pool',
    'repeats the identity of payment_key by foreign key; a lease goes one way, and what it led to is an invoice'),
  ('chain_status', 'is the watcher''s memory of a public chain; what it told is in payment_report'),
  ('chain_block', 'is the watcher''s memory of a public chain; what it told is in payment_report'),
  ('chain_output', 'is the watcher''s memory of a public chain; what it told is in payment_report'),
  ('chain_report', 'is the watcher''s outbox'),
  ('audit_entry', 'is the audit'),
  ('audit_entry_default', 'is the audit'),
  ('audit_head', 'is the audit: where its chains end'),
  ('audit_pending', 'is the audit, being written'),
  ('audit_scope', 'is this list: the owner''s, changed by migrations alone'),
  ('audit_checkpoint', 'is the audit, sealed'),
  ('audit_tile', 'is the audit, sealed');
