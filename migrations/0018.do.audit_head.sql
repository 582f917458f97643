-- Where a chain ends stands in a table of its own. It stood on the aggregate's row, so that each step of an order wrote
-- that row a second time: fourteen checks, five triggers and, since the row was its own transaction's, two foreign keys
-- asked again, for 40 bytes that say nothing of the order. That was a fifth of what an order cost the database. Now
-- a narrow row is written, from an aggregate's second entry on. The columns go under a lock as short as the statement; what
-- they held is copied first.

create table audit_head (
  kind text not null constraint audit_head_kind_length check (char_length(kind) between 1 and 40),
  aggregate_id text not null constraint audit_head_aggregate_length check (char_length(aggregate_id) between 1 and 80),
  seq bigint not null constraint audit_head_seq_positive check (seq > 0),
  hash bytea not null constraint audit_head_hash_length check (octet_length(hash) = 32),
  constraint audit_head_pk primary key (kind, aggregate_id)
) with (fillfactor = 70);
comment on table audit_head is 'The newest entry of each chain that has more than one, written with the entry; no role but the owner writes it.';
insert into audit_scope (table_name, reason) values ('audit_head', 'is the audit: where its chains end');
grant select on audit_head to app_worker, auditor;

insert into audit_head (kind, aggregate_id, seq, hash)
select 'order', order_id::text, audit_seq, audit_hash from orders where audit_seq is not null
union all select 'product', product_id, audit_seq, audit_hash from product where audit_seq is not null
union all select 'customer', user_id::text, audit_seq, audit_hash from customer where audit_seq is not null
union all select 'key', key_id::text, audit_seq, audit_hash from payment_key where audit_seq is not null;

drop trigger product_version on product;
create trigger product_version before update on product for each row execute function move_version();
alter table orders drop column audit_seq, drop column audit_hash;
alter table product drop column audit_seq, drop column audit_hash;
alter table customer drop column audit_seq, drop column audit_hash;
alter table payment_key drop column audit_seq, drop column audit_hash;
grant select (key_id) on payment_key to auditor;

-- As in 0010, but for how it knows an aggregate's own table.
create or replace function audit_watch(p_table text, p_kind text, p_aggregate text, p_ignored text[] default '{}', p_digested text[] default '{}')
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

select audit_watch('orders', 'order', 'order_id', '{generation,step}');
select audit_watch('customer', 'customer', 'user_id');
select audit_watch('product', 'product', 'product_id');
select audit_watch('payment_key', 'key', 'key_id', '{}', '{salt,wrap_nonce,wrap_tag,wrapped_key,nonce,tag,ciphertext}');

-- Writes the function that appends to the chains of one kind of aggregate. The aggregates are locked first, in order of
-- id, and the end of a chain is read by the next statement, which sees what whoever held the lock has written. Their
-- transaction has nearly always locked them already. A chain without a head has one entry, looked for where its
-- aggregate's age says. LIMIT and OFFSET keep the planner from joining instead: it would read all heads of a kind, and look
-- for the entry of a chain that has a head.
create or replace function audit_root(p_table text, p_kind text, p_id text) returns void
language plpgsql set search_path = holdfast, pg_catalog as $root$
begin
  execute format($append$
    create or replace function %1$I(p_drafts audit_draft[], p_run bigint, p_at timestamptz, p_at_text text, p_txid xid8, p_db_role text) returns void
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
        from link k cross join lateral (select audit_body(k.whole, k.seq, p_at_text, p_txid, p_db_role) as body offset 0) b
        returning aggregate_id, seq, hash
      )
      insert into audit_head (kind, aggregate_id, seq, hash) select %3$L, w.aggregate_id, w.seq, w.hash from written w
      on conflict (kind, aggregate_id) do update set seq = excluded.seq, hash = excluded.hash;
    end
    $body$
  $append$, 'audit_append_' || p_kind, p_table, p_kind, p_id,
    (select format_type(atttypid, atttypmod) from pg_attribute where attrelid = p_table::regclass and attname = p_id));
  execute format('comment on function %I is %L', 'audit_append_' || p_kind, format('Adds entries to the chains of %s.', p_table));
  execute format('revoke execute on function %I from public', 'audit_append_' || p_kind);
end
$root$;
select audit_root('orders', 'order', 'order_id');
select audit_root('product', 'product', 'product_id');
select audit_root('customer', 'customer', 'user_id');
select audit_root('payment_key', 'key', 'key_id');
