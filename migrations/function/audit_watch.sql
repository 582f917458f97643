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
