-- Partition maintenance: makes the monthly partitions of audit_entry that do not exist yet, p_months from p_from on.
-- Returns how many it made. Partitions are attached, not created in place, which would lock out every writer.
-- A month with rows in the default partition gets none: those rows stay where they are.
-- Repeating it is harmless. Runs as the owner.
create or replace function audit_make_partitions(p_from date, p_months int) returns int
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
revoke execute on function audit_make_partitions from public;
grant execute on function audit_make_partitions to audit_sealer;
