-- Audit guard: a trigger function that refuses TRUNCATE, which leaves no rows to audit. Its triggers on the audited
-- tables are made by audit_watch.
-- Error: HF009.
create or replace function refuse_truncate() returns trigger language plpgsql as $$
begin
  raise exception '%: rows would go without a trace', tg_table_name using errcode = 'HF009';
end
$$;
revoke execute on function refuse_truncate from public;
