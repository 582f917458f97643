-- Who did what, kept by the database itself: every change to a table that matters becomes part of an audit entry in
-- the same transaction, whoever writes and by whatever statement, and a write by nobody is refused. The state machine
-- learns the actor's role here too, since both ask the same question. New tables are empty; existing ones get columns
-- without a default and triggers, each under a lock as short as the statement. Rows older than this migration begin
-- their chain with their next change.

-- WHO ---------------------------------------------------------------------------------------------------------------
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
comment on function actor_of is 'Who changes this aggregate in the present transaction; null when nobody is named.';

-- One spelling per actor, so that an entry names somebody who can be found (PCI-8).
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

-- WHAT IS KEPT ------------------------------------------------------------------------------------------------------

create table audit_entry (
  entry_id bigint generated always as identity,
  at timestamptz not null,
  txid xid8 not null,
  kind text not null constraint audit_entry_kind_length check (char_length(kind) between 1 and 40),
  aggregate_id text -- null: about a whole statement, no link of a chain
    constraint audit_entry_aggregate_length check (char_length(aggregate_id) between 1 and 80),
  seq bigint constraint audit_entry_seq_positive check (seq > 0), -- null: no link of a chain
  prev_hash bytea -- null: the first of its chain, or no link of one
    constraint audit_entry_prev_length check (octet_length(prev_hash) = 32),
  actor text not null constraint audit_entry_actor_length check (char_length(actor) between 1 and 80),
  body text not null,
  hash bytea not null constraint audit_entry_hash_length check (octet_length(hash) = 32),
  constraint audit_entry_pk primary key (entry_id, at),
  constraint audit_entry_link_whole check ((aggregate_id is null) = (seq is null) and (prev_hash is null) = (seq is null or seq = 1))
) partition by range (at);
comment on table audit_entry is 'One row per aggregate and transaction, or per statement for stock and rules: body says who changed what, hash = SHA-256(prev_hash || body). Append-only, a partition per month.';
create index audit_entry_to_seal on audit_entry (txid, entry_id);

create function refuse_rewriting() returns trigger language plpgsql as $$
begin
  raise exception '%: history is not rewritten', tg_table_name using errcode = 'HF007';
end
$$;
create function refuse_truncate() returns trigger language plpgsql as $$
begin
  raise exception '%: rows would go without a trace', tg_table_name using errcode = 'HF009';
end
$$;
create trigger audit_entry_append_only before update or delete on audit_entry
  for each row execute function refuse_rewriting();
create trigger audit_entry_no_truncate before truncate on audit_entry for each statement execute function refuse_rewriting();

-- An entry of an order with its lines fits into a page; beyond this Postgres would store it elsewhere, at a price.
create table audit_entry_default partition of audit_entry default with (toast_tuple_target = 8160);
comment on table audit_entry_default is 'Entries of a month that has no partition yet: nothing is lost for want of one.';
create trigger audit_entry_no_truncate before truncate on audit_entry_default for each statement execute function refuse_rewriting();
-- Once per partition, since a rule over all of them would have to name the month as well.
create unique index audit_entry_default_link_once on audit_entry_default (kind, aggregate_id, seq);

-- Attached rather than created in place, which would shut out every writer meanwhile.
create function audit_make_partitions(p_from date, p_months int) returns int
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
    execute format('create table %I (like audit_entry including defaults including constraints) with (toast_tuple_target = 8160)', v_name);
    execute format('comment on table %I is %L', v_name, 'Audit entries of one month.');
    execute format('create trigger audit_entry_no_truncate before truncate on %I for each statement execute function refuse_rewriting()', v_name);
    execute format('create unique index %I on %I (kind, aggregate_id, seq)', v_name || '_link_once', v_name);
    execute format('alter table audit_entry attach partition %I for values from (%L) to (%L)', v_name, v_month, v_end);
    v_made := v_made + 1;
  end loop;
  return v_made;
end
$$;
comment on function audit_make_partitions is 'Makes the partitions of so many months that have none yet. Returns how many it made.';

create table payment_transition (
  from_state text not null,
  to_state text not null,
  constraint payment_transition_pk primary key (from_state, to_state)
);
comment on table payment_transition is 'Legal moves of payment_state; a test keeps it equal to PAYMENT_MOVES in src/domain/payment.ts.';
insert into payment_transition (from_state, to_state)
select m.f, t from (values
  ('awaiting', '{partial,confirming,paid,expired,late_confirming,unresolved,cancelled}'::text[]),
  ('partial', '{awaiting,confirming,paid,expired,late_confirming,unresolved,cancelled}'),
  ('confirming', '{awaiting,partial,paid,expired,late_confirming,unresolved,cancelled}'),
  ('paid', '{at_risk,unresolved,refunding}'),
  ('at_risk', '{paid,reversed,late_confirming,unresolved,cancelled}'),
  ('expired', '{late_confirming,unresolved}'),
  ('late_confirming', '{unresolved}'),
  ('unresolved', '{late_confirming,refunding}'),
  ('cancelled', '{late_confirming,unresolved,refunding}'),
  ('refunding', '{partially_refunded,refunded}'),
  ('partially_refunded', '{refunding}')) m (f, too), unnest(m.too) t;
grant select on payment_transition to app_worker, auditor;

-- WHAT IS WATCHED ---------------------------------------------------------------------------------------------------

create table audit_scope (
  table_name text constraint audit_scope_pk primary key,
  kind text constraint audit_scope_kind_length check (char_length(kind) between 1 and 40), -- null: not audited
  columns text[], -- null: not audited
  ignored text[], -- null: not audited
  reason text constraint audit_scope_reason_length check (char_length(reason) between 1 and 300), -- null: audited
  constraint audit_scope_decided check ((kind is null) = (columns is null) and (kind is null) = (ignored is null) and (kind is null) = (reason is not null))
);
comment on table audit_scope is 'Every table, and what of it is audited, or why it is not. audit_watch writes it.';

-- Changes of the present transactions. A role that writes cannot touch it, and outside a transaction it is empty, so
-- it need not survive a crash.
create unlogged table audit_pending (
  txid xid8 not null default pg_current_xact_id(),
  change_no bigint generated always as identity constraint audit_pending_change_positive check (change_no > 0),
  kind text not null,
  aggregate_id text, -- null: about a whole statement
  is_birth boolean not null,
  is_first boolean not null,
  context jsonb not null,
  changes text not null,
  constraint audit_pending_pk primary key (txid, change_no)
);
comment on table audit_pending is 'What this transaction changed so far, one row per statement and aggregate; becomes entries when it commits.';

create type audit_draft as (kind text, aggregate_id text, run bigint, is_birth boolean, context jsonb, changes text);

-- The heads of chains stand on the aggregates' own rows. An aggregate's first entry writes none: accepting an order
-- would otherwise update what it has just inserted.
alter table orders
  add column audit_seq bigint constraint orders_audit_seq_positive check (audit_seq > 0), -- null: its first entry is its last
  add column audit_hash bytea -- null: its first entry is its last
    constraint orders_audit_hash_length check (octet_length(audit_hash) = 32);
alter table customer
  add column audit_seq bigint constraint customer_audit_seq_positive check (audit_seq > 0), -- null: its first entry is its last
  add column audit_hash bytea -- null: its first entry is its last
    constraint customer_audit_hash_length check (octet_length(audit_hash) = 32);
alter table product
  add column audit_seq bigint constraint product_audit_seq_positive check (audit_seq > 0), -- null: its first entry is its last
  add column audit_hash bytea -- null: its first entry is its last
    constraint product_audit_hash_length check (octet_length(audit_hash) = 32);
alter table payment_key
  add column audit_seq bigint constraint payment_key_audit_seq_positive check (audit_seq > 0), -- null: its first entry is its last
  add column audit_hash bytea -- null: its first entry is its last
    constraint payment_key_audit_hash_length check (octet_length(audit_hash) = 32);

-- HOW A CHANGE BECOMES AN ENTRY -------------------------------------------------------------------------------------

-- Writes the trigger function of one table, with its columns by name: one function for every table alike would cost the
-- order path twice as much. To be called again by a migration that adds a column. Columns in p_ignored are the
-- machinery's own; those in p_digested are kept as their SHA-256, because they are key material, even if sealed.
-- p_aggregate: the column with the aggregate's id; null: an entry is about the whole statement.
create function audit_watch(p_table text, p_kind text, p_aggregate text, p_ignored text[] default '{}', p_digested text[] default '{}')
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
begin
  with watched as (
    select a.attnum, quote_ident(a.attname) as name, '"' || a.attname || '":' as label, a.attnum = any (k.conkey) as is_key,
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
    string_agg(format('%s as %s', replace(value, '@.' || name, format('coalesce(n.%s, o.%1$s)', name)), name), ', ' order by attnum) filter (where is_key),
    string_agg(format('%s as %s', value, name), ', ' order by attnum) filter (where not is_key),
    string_agg(format('n.%s = o.%1$s', name), ' and ' order by attnum) filter (where is_key),
    coalesce(string_agg(format('case when n.%s is distinct from o.%1$s then %L || coalesce(to_json(%s)::text, ''null'') end', name, label, value),
      ', ' order by attnum) filter (where not is_key), 'null'),
    string_agg(format('n.%s is distinct from o.%1$s', name), ' or ' order by attnum)
  into v_columns, v_key, v_either, v_row, v_join, v_changed, v_differs
  from watched;

  v_note := format($note$
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then %L else %L end, c.id, %s, v_is_first and row_number() over () = 1,
          coalesce(case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from $note$, p_table, p_kind, case when 'audit_seq' = any (p_ignored) then 'tg_op = ''INSERT''' else 'false' end);

  execute format($trigger$
    create or replace function %I() returns trigger
    language plpgsql security definer set search_path = holdfast, pg_catalog set timezone = 'UTC' as $capture$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then %s (
          select %s as id, string_agg('{"table":"%s","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ',') as changes
          from new_rows n cross join lateral (select %s) k cross join lateral (select %s) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then %2$s (
          select d.id, string_agg('{"table":"%4$s","op":"UPDATE","key":' || d.key || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(%3$s, %7$s) as id, row_to_json(k)::text as key, concat_ws(',', %12$s) as before, concat_ws(',', %13$s) as after
            from old_rows o full join new_rows n on %11$s cross join lateral (select %10$s) k
            where %14$s
          ) d group by d.id
        ) c where c.changes is not null;
      else %2$s (
          select %7$s as id, string_agg('{"table":"%4$s","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ',') as changes
          from old_rows o cross join lateral (select %8$s) k cross join lateral (select %9$s) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $capture$
  $trigger$, 'audit_' || p_table, v_note, replace(v_id, '@', 'n'), p_table, replace(v_key, '@', 'n'), replace(v_row, '@', 'n'),
    replace(v_id, '@', 'o'), replace(v_key, '@', 'o'), replace(v_row, '@', 'o'), v_either, v_join,
    replace(v_changed, '@', 'o'), replace(v_changed, '@', 'n'), v_differs);
  execute format('comment on function %I is %L', 'audit_' || p_table, format('Notes every change to %s for the audit.', p_table));
  execute format('revoke execute on function %I from public', 'audit_' || p_table);

  if not exists (select from audit_scope s where s.table_name = p_table) then
    execute format('create trigger %1$I after insert on %2$I referencing new table as new_rows for each statement execute function %3$I()',
      p_table || '_audit_insert', p_table, 'audit_' || p_table);
    execute format('create trigger %1$I after update on %2$I referencing old table as old_rows new table as new_rows for each statement execute function %3$I()',
      p_table || '_audit_update', p_table, 'audit_' || p_table);
    execute format('create trigger %1$I after delete on %2$I referencing old table as old_rows for each statement execute function %3$I()',
      p_table || '_audit_delete', p_table, 'audit_' || p_table);
    execute format('create trigger %1$I before truncate on %2$I for each statement execute function refuse_truncate()',
      p_table || '_audit_truncate', p_table);
  end if;
  insert into audit_scope (table_name, kind, columns, ignored) values (p_table, p_kind, v_columns, p_ignored)
  on conflict (table_name) do update set kind = excluded.kind, columns = excluded.columns, ignored = excluded.ignored;
end
$watch$;
comment on function audit_watch is 'Has every change to a table audited from now on.';

-- The last link of a chain whose head does not stand on its row: that of its creation, or of a row that is gone. It is
-- looked for where it should be, since there are many partitions; a clock may have been wrong by more than that.
create function audit_last(p_kind text, p_aggregate_id text, p_from timestamptz) returns table (seq bigint, hash bytea)
language plpgsql stable as $$
#variable_conflict use_column
begin
  return query select e.seq, e.hash from audit_entry e
  where e.kind = p_kind and e.aggregate_id = p_aggregate_id and e.at >= p_from - interval '1 day' order by e.seq desc limit 1;
  if not found then
    return query select e.seq, e.hash from audit_entry e
    where e.kind = p_kind and e.aggregate_id = p_aggregate_id order by e.seq desc limit 1;
  end if;
end
$$;
comment on function audit_last is 'The newest entry of a chain, for heads that are not on their row.';

create function audit_body(p_draft audit_draft, p_seq bigint, p_at text, p_txid xid8, p_db_role text) returns text
language sql stable as $$
  select '{"kind":' || to_json((p_draft).kind)::text || ',"id":' || coalesce(to_json((p_draft).aggregate_id)::text, 'null')
    || ',"seq":' || coalesce('"' || p_seq || '"', 'null') || ',"at":"' || p_at || '","txid":"' || p_txid || '","dbRole":' || to_json(p_db_role)::text
    || ',"by":' || actor_text((p_draft).context) || ',"changes":[' || (p_draft).changes || ']}'
$$;
comment on function audit_body is 'The bytes an entry''s hash is taken of; src/domain/audit.ts reads and writes the same.';

-- Writes the function that appends to chains whose heads stand on one table. The rows are locked in order of id; their
-- transaction has nearly always locked them already.
create function audit_root(p_table text, p_kind text, p_id text) returns void language plpgsql set search_path = holdfast, pg_catalog as $root$
begin
  execute format($append$
    create or replace function %1$I(p_drafts audit_draft[], p_run bigint, p_at timestamptz, p_at_text text, p_txid xid8, p_db_role text) returns void
    language plpgsql as $body$
    begin
      with draft as (
        select d as whole, d.aggregate_id from unnest(p_drafts) d where d.kind = %3$L and d.run = p_run and not d.is_birth
      ), head as (
        select r.%4$I::text as id, r.audit_seq as seq, r.audit_hash as hash, r.created_at from %2$I r
        where r.%4$I = any (array(select aggregate_id from draft)::%5$s[]) order by r.%4$I for no key update
      ), link as (
        select d.whole, d.aggregate_id, coalesce(h.seq, l.seq, 0) + 1 as seq, coalesce(h.hash, l.hash) as prev
        from draft d left join head h on h.id = d.aggregate_id
        left join lateral audit_last(%3$L, d.aggregate_id, h.created_at) l on h.seq is null
      ), written as (
        insert into audit_entry (at, txid, kind, aggregate_id, seq, prev_hash, actor, body, hash)
        select p_at, p_txid, %3$L, k.aggregate_id, k.seq, k.prev, (k.whole).context ->> 'actor', b.body,
          sha256(coalesce(k.prev, '') || convert_to(b.body, 'UTF8'))
        from link k cross join lateral (select audit_body(k.whole, k.seq, p_at_text, p_txid, p_db_role) as body offset 0) b
        returning aggregate_id, seq, hash
      )
      update %2$I r set audit_seq = w.seq, audit_hash = w.hash from written w where r.%4$I = w.aggregate_id::%5$s;
    end
    $body$
  $append$, 'audit_append_' || p_kind, p_table, p_kind, p_id,
    (select format_type(atttypid, atttypmod) from pg_attribute where attrelid = p_table::regclass and attname = p_id));
  execute format('comment on function %I is %L', 'audit_append_' || p_kind, format('Adds entries to the chains of %s.', p_table));
  execute format('revoke execute on function %I from public', 'audit_append_' || p_kind);
end
$root$;
comment on function audit_root is 'Makes the function that appends to the chains of one kind of aggregate.';

-- At commit: all that the transaction changed of an aggregate becomes one entry per actor, in the order of the changes.
-- Owned by the tables' owner and with its rights: nobody can log in as it or become it, and the text is constant.
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
    from pending p window w as (partition by p.kind, p.aggregate_id, case when p.aggregate_id is null then p.change_no end order by p.change_no)
  ), counted as (
    select t.*, count(*) filter (where t.is_turn) over w as run
    from turned t window w as (partition by t.kind, t.aggregate_id, case when t.aggregate_id is null then t.change_no end order by t.change_no)
  ), draft as (
    select c.kind, c.aggregate_id, c.run, bool_or(c.is_birth) as is_birth, c.context, string_agg(c.changes, ',' order by c.change_no) as changes
    from counted c group by c.kind, c.aggregate_id, case when c.aggregate_id is null then c.change_no end, c.run, c.context
  )
  select array_agg(row(d.*)::audit_draft order by d.kind, d.aggregate_id), max(d.run),
    array_agg(distinct d.kind) filter (where d.aggregate_id is not null and not d.is_birth)
  into v_drafts, v_runs, v_kinds from draft d;

  while v_run <= v_runs loop
    insert into audit_entry (at, txid, kind, aggregate_id, seq, actor, body, hash)
    select v_at, v_txid, d.kind, d.aggregate_id, b.seq, d.context ->> 'actor', b.body, sha256(convert_to(b.body, 'UTF8'))
    from unnest(v_drafts) d
    cross join lateral (
      select s.seq, audit_body(d, s.seq, v_at_text, v_txid, v_db_role) as body
      from (select case when d.aggregate_id is not null then 1::bigint end as seq) s offset 0
    ) b
    where d.run = v_run and (d.is_birth or d.aggregate_id is null);

    if 'order' = any (v_kinds) then perform audit_append_order(v_drafts, v_run, v_at, v_at_text, v_txid, v_db_role); end if;
    if 'product' = any (v_kinds) then perform audit_append_product(v_drafts, v_run, v_at, v_at_text, v_txid, v_db_role); end if;
    if 'customer' = any (v_kinds) then perform audit_append_customer(v_drafts, v_run, v_at, v_at_text, v_txid, v_db_role); end if;
    if 'key' = any (v_kinds) then perform audit_append_key(v_drafts, v_run, v_at, v_at_text, v_txid, v_db_role); end if;
    v_run := v_run + 1;
  end loop;
  return null;
end
$$;
comment on function audit_flush is 'Turns what a transaction changed into its audit entries, when it commits.';
create constraint trigger audit_pending_flush after insert on audit_pending deferrable initially deferred
  for each row when (new.is_first) execute function audit_flush();

select audit_root('orders', 'order', 'order_id');
select audit_root('product', 'product', 'product_id');
select audit_root('customer', 'customer', 'user_id');
select audit_root('payment_key', 'key', 'key_id');

-- The fence (generation, step) is the workflow's bookmark: it moves with every step, also with one that changes nothing.
select audit_watch('orders', 'order', 'order_id', '{generation,step,audit_seq,audit_hash}');
select audit_watch('order_line', 'order', 'order_id');
select audit_watch('invoice', 'order', 'order_id');
select audit_watch('reservation', 'order', 'order_id');
select audit_watch('payment', 'order', 'order_id');
select audit_watch('payment_report', 'order', 'order_id');
select audit_watch('refund_due', 'order', 'order_id');
select audit_watch('customer', 'customer', 'user_id', '{audit_seq,audit_hash}');
select audit_watch('customer_key', 'customer', 'user_id', '{}', '{wrapped_key}');
select audit_watch('product', 'product', 'product_id', '{audit_seq,audit_hash}');
select audit_watch('payment_key', 'key', 'key_id', '{audit_seq,audit_hash}', '{salt,wrap_nonce,wrap_tag,wrapped_key,nonce,tag,ciphertext}');
select audit_watch('stock', 'stock', null);
select audit_watch('key_epoch', 'key_epoch', null, '{}', '{salt}');
select audit_watch('master_key', 'master_key', null);
select audit_watch('currency', 'currency', null);
select audit_watch('order_transition', 'order_transition', null);
select audit_watch('payment_transition', 'payment_transition', null);

insert into audit_scope (table_name, reason) values
  ('stock_movement', 'is itself the append-only record of what the entries of stock say in sum'),
  ('idempotency', 'holds answers, not facts, and is cleared after a while; the request''s hash is in the entry of its effect'),
  ('workflow_start', 'is a to-do list: its rows go when they are done'),
  ('order_wake', 'is a to-do list: its rows go when they are done'),
  ('key_retire', 'is a to-do list; what comes of it is an entry of the key'),
  ('notification', 'is an outbox: it tells of changes that have their own entries'),
  ('notification_channel', 'says where news is sent, not what happened'),
  ('duty', 'is a lease and a clock'),
  ('address_pool', 'repeats the identity of payment_key by foreign key; a lease goes one way, and what it led to is an invoice'),
  ('chain_status', 'is the watcher''s memory of a public chain; what it told is in payment_report'),
  ('chain_block', 'is the watcher''s memory of a public chain; what it told is in payment_report'),
  ('chain_output', 'is the watcher''s memory of a public chain; what it told is in payment_report'),
  ('chain_report', 'is the watcher''s outbox'),
  ('audit_entry', 'is the audit'),
  ('audit_entry_default', 'is the audit'),
  ('audit_pending', 'is the audit, being written'),
  ('audit_scope', 'is this list: the owner''s, changed by migrations alone');
create trigger stock_movement_append_only before update or delete on stock_movement
  for each row execute function refuse_rewriting();
create trigger stock_movement_no_truncate before truncate on stock_movement
  for each statement execute function refuse_rewriting();

-- THE STATE MACHINE, BY ROLE ----------------------------------------------------------------------------------------

-- Two moves of one row, each with a guard of its own: the role of the transaction's actor decides what may be asked, and
-- app_worker alone may write it. Nobody is exempt, not even the tables' owner.
create function guard_order_status() returns trigger language plpgsql as $$
begin
  if current_user <> 'app_worker' or not exists (
    select from holdfast.order_transition t where t.from_status = old.status and t.to_status = new.status
      and t.role = holdfast.actor_of(new.order_id::text) ->> 'role') then
    raise exception 'orders: % to % is not a legal move for this actor', old.status, new.status using errcode = 'HF002';
  end if;
  return new;
end
$$;
create function guard_order_payment() returns trigger language plpgsql as $$
begin
  if current_user <> 'app_worker' or not exists (
    select from holdfast.payment_transition t where t.from_state = old.payment_state and t.to_state = new.payment_state) then
    raise exception 'orders: payment does not go from % to %', old.payment_state, new.payment_state using errcode = 'HF004';
  end if;
  return new;
end
$$;
-- Named in the statement and yet the same: the illegal pairs that look like no change at all.
create trigger orders_guard_standstill before update of status on orders
  for each row when (new.status = old.status) execute function guard_order_status();
create trigger orders_guard_status before update on orders
  for each row when (new.status <> old.status) execute function guard_order_status();
create trigger orders_guard_payment before update on orders
  for each row when (new.payment_state <> old.payment_state) execute function guard_order_payment();

create or replace function guard_order_update() returns trigger language plpgsql as $$
begin
  if (new.order_id, new.user_id, new.currency, new.total, new.created_at)
     is distinct from (old.order_id, old.user_id, old.currency, old.total, old.created_at) then
    raise exception 'orders: id, customer, currency, total and creation time never change' using errcode = 'HF001';
  end if;
  -- The fence is not news to a reader: it moves neither version nor time.
  if (new.status, new.payment_state, new.payment_flags, new.hold, new.cancel_reason, new.address_sealed)
     is distinct from (old.status, old.payment_state, old.payment_flags, old.hold, old.cancel_reason, old.address_sealed) then
    new.version := old.version + 1;
    new.updated_at := greatest(clock_timestamp(), old.updated_at);
  else
    new.version := old.version;
    new.updated_at := old.updated_at;
  end if;
  return new;
end
$$;

-- A head that moves is not news either.
drop trigger product_version on product;
create trigger product_version before update on product
  for each row when ((new.audit_seq, new.audit_hash) is not distinct from (old.audit_seq, old.audit_hash)) execute function move_version();

-- Expiry is the system's doing whoever asks for it, and the api may ask in the name of nobody. The function keeps its
-- owner, app_worker; only a superuser could give it the context as a setting of its own.
grant create on schema holdfast to app_worker;
set local role app_worker;
alter function expire_orders(uuid[], boolean) rename to expire_due;
create function expire_orders(p_order_ids uuid[], p_skip_locked boolean)
returns table (order_id uuid, outcome text, wait_ms bigint)
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_actor text := coalesce(current_setting('holdfast.actor', true), '');
  v_actors text := coalesce(current_setting('holdfast.actors', true), '');
begin
  perform set_config('holdfast.actor', '{"actor":"system:expiry","role":"system"}', true), set_config('holdfast.actors', '', true);
  return query select e.order_id, e.outcome, e.wait_ms from expire_due(p_order_ids, p_skip_locked) e;
  perform set_config('holdfast.actor', v_actor, true), set_config('holdfast.actors', v_actors, true);
end
$$;
comment on function expire_orders is 'The one expiry, by the system. outcome: ended, paid, or wait (wait_ms until it is worth asking again; 0 when something else must happen first).';
comment on function expire_due is 'What expire_orders does, in the name of whoever the transaction names.';
revoke execute on function expire_orders from public;
revoke execute on function expire_due from app_api;
grant execute on function expire_orders to app_api;
set local role holdfast_owner;
revoke create on schema holdfast from app_worker;

-- Rows begin without a head: rights to whole tables would let a role set one.
revoke insert on customer, product from app_api;
grant insert (user_id) on customer to app_api;
grant insert (product_id, name, unit_price, currency, is_active) on product to app_api;
revoke insert on payment_key from app_keys;
grant insert (key_id, network, asset, address, format_version, envelope_version, epoch_id, master_version, salt, wrap_nonce,
  wrap_tag, wrapped_key, nonce, tag, ciphertext) on payment_key to app_keys;

-- AFTER SEVEN YEARS -------------------------------------------------------------------------------------------------

-- Whole months only, and none younger than the law allows. A chain whose first entry goes must still know its hash.
create function audit_purge(p_before timestamptz) returns setof text
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_partition text;
begin
  if p_before > clock_timestamp() - interval '7 years' then
    raise exception 'audit: entries are kept for seven years' using errcode = 'HF008';
  end if;
  for v_partition in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'audit_entry'::regclass and c.relname ~ '^audit_entry_\d{4}_\d\d$'
      and (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') at time zone 'utc' <= p_before
    order by 1
  loop
    execute format('update orders r set audit_seq = e.seq, audit_hash = e.hash from %I e
      where e.kind = ''order'' and e.seq = 1 and r.order_id::text = e.aggregate_id and r.audit_seq is null', v_partition);
    execute format('update product r set audit_seq = e.seq, audit_hash = e.hash from %I e
      where e.kind = ''product'' and e.seq = 1 and r.product_id = e.aggregate_id and r.audit_seq is null', v_partition);
    execute format('update customer r set audit_seq = e.seq, audit_hash = e.hash from %I e
      where e.kind = ''customer'' and e.seq = 1 and r.user_id::text = e.aggregate_id and r.audit_seq is null', v_partition);
    execute format('update payment_key r set audit_seq = e.seq, audit_hash = e.hash from %I e
      where e.kind = ''key'' and e.seq = 1 and r.key_id::text = e.aggregate_id and r.audit_seq is null', v_partition);
    execute format('drop table %I', v_partition);
    return next v_partition;
  end loop;
end
$$;
comment on function audit_purge is 'Drops the months that ended before an instant at least seven years ago. Returns their partitions.';

revoke execute on function no_actor, actor_of, actor_text, refuse_rewriting, refuse_truncate, audit_make_partitions, audit_watch,
  audit_last, audit_body, audit_root, audit_flush, guard_order_status, guard_order_payment, audit_purge from public;
revoke usage on type audit_draft from public;
grant execute on function actor_of to app_worker;
grant execute on function audit_make_partitions, audit_purge to audit_sealer;
grant select on audit_entry, audit_scope to auditor, audit_sealer;
