-- Guard of the audit: refuses a change that names no actor. Declared as returning jsonb to stand in a coalesce.
-- Error: HF006, always.
create or replace function no_actor() returns jsonb language plpgsql as $$
begin
  raise exception 'audit: this change has no actor: set holdfast.actor first' using errcode = 'HF006';
end
$$;
revoke execute on function no_actor from public;
