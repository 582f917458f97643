-- Audit code generator: writes the function audit_append_<kind>, which appends entries to the hash chains of one kind.
-- p_table, p_id: the aggregates' table and the column with their id.
-- Locks, in the generated function: the aggregates FOR NO KEY UPDATE, in order of id; their transaction has nearly
-- always locked them already. The end of a chain is read by the next statement, which sees what the holder of the lock
-- wrote.
-- A chain without a head has one entry, searched for by the age of its aggregate.
-- LIMIT and OFFSET keep the planner from joining: it would read all heads of a kind.
-- Repeating it is harmless: the function is replaced.
create or replace function audit_root(p_table text, p_kind text, p_id text) returns void
language plpgsql set search_path = holdfast, pg_catalog as $root$
begin
  execute format($append$
    create or replace function %1$I(
      p_drafts audit_draft[], p_run bigint, p_at timestamptz, p_at_text text, p_txid xid8, p_db_role text) returns void
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
        from link k
        cross join lateral (select audit_body(k.whole, k.seq, p_at_text, p_txid, p_db_role) as body offset 0) b
        returning aggregate_id, seq, hash
      )
      insert into audit_head (kind, aggregate_id, seq, hash) select %3$L, w.aggregate_id, w.seq, w.hash from written w
      on conflict (kind, aggregate_id) do update set seq = excluded.seq, hash = excluded.hash;
    end
    $body$
  $append$, 'audit_append_' || p_kind, p_table, p_kind, p_id,
    (select format_type(atttypid, atttypmod) from pg_attribute where attrelid = p_table::regclass and attname = p_id));
  execute format('comment on function %I is %L', 'audit_append_' || p_kind,
    format('Adds entries to the chains of %s.', p_table));
  execute format('revoke execute on function %I from public', 'audit_append_' || p_kind);
end
$root$;
revoke execute on function audit_root from public;
