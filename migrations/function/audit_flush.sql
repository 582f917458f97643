-- Hash chain: a deferred trigger function that turns what a transaction changed into its audit entries, at commit.
-- All changes of an aggregate by one actor in a row become one entry, in the order of the changes.
-- Locks: see audit_root, kinds in the order order, product, customer, key.
-- Error: HF006, by actor_text. Runs as the owner, as which no one can log in; the text of its statements is constant.
create or replace function audit_flush() returns trigger
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
    from pending p window w as (
      partition by p.kind, p.aggregate_id, case when p.aggregate_id is null then p.change_no end order by p.change_no)
  ), counted as (
    select t.*, count(*) filter (where t.is_turn) over w as run
    from turned t window w as (
      partition by t.kind, t.aggregate_id, case when t.aggregate_id is null then t.change_no end order by t.change_no)
  ), draft as (
    select c.kind, c.aggregate_id, c.run, bool_or(c.is_birth) as is_birth, c.context,
      string_agg(c.changes, ',' order by c.change_no) as changes
    from counted c
    group by c.kind, c.aggregate_id, case when c.aggregate_id is null then c.change_no end, c.run, c.context
  )
  select array_agg(row(d.*)::audit_draft order by d.kind, d.aggregate_id), max(d.run),
    array_agg(distinct d.kind) filter (where d.aggregate_id is not null and not d.is_birth)
  into v_drafts, v_runs, v_kinds from draft d;

  while v_run <= v_runs loop
    insert into audit_entry (at, txid, kind, aggregate_id, seq, actor, body, hash)
    select v_at, v_txid, d.kind, d.aggregate_id, b.seq, d.context ->> 'actor', b.body,
      sha256(convert_to(b.body, 'UTF8'))
    from unnest(v_drafts) d
    cross join lateral (
      select s.seq, audit_body(d, s.seq, v_at_text, v_txid, v_db_role) as body
      from (select case when d.aggregate_id is not null then 1::bigint end as seq) s offset 0
    ) b
    where d.run = v_run and (d.is_birth or d.aggregate_id is null);

    if 'order' = any (v_kinds) then
      perform audit_append_order(v_drafts, v_run, v_at, v_at_text, v_txid, v_db_role);
    end if;
    if 'product' = any (v_kinds) then
      perform audit_append_product(v_drafts, v_run, v_at, v_at_text, v_txid, v_db_role);
    end if;
    if 'customer' = any (v_kinds) then
      perform audit_append_customer(v_drafts, v_run, v_at, v_at_text, v_txid, v_db_role);
    end if;
    if 'key' = any (v_kinds) then
      perform audit_append_key(v_drafts, v_run, v_at, v_at_text, v_txid, v_db_role);
    end if;
    v_run := v_run + 1;
  end loop;
  return null;
end
$$;
revoke execute on function audit_flush from public;

-- Postgres cannot replace a constraint trigger; dropping it needs its pending events done.
set constraints all immediate;
drop trigger if exists audit_pending_flush on audit_pending;
create constraint trigger audit_pending_flush after insert on audit_pending deferrable initially deferred
  for each row when (new.is_first) execute function audit_flush();
set constraints all deferred;
