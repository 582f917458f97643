-- Audit: notes that personal data of orders is about to be shown to someone who does not own it, as one entry in the
-- chain of each order. A caller shows nothing unless this has committed and has returned the number of its orders.
-- p_order_ids: the orders, each once. p_fields: the names of the fields. p_actor: text of the audit context (actor_of),
-- whose reason says why.
-- Returns how many orders were noted.
-- Locks: at commit, the order rows FOR NO KEY UPDATE, in order of id (audit_root).
-- Error: HF006 at commit, by actor_text. Repeating it notes another read. Runs as the owner: no other role writes
-- audit_pending.
create or replace function audit_note_reads(p_order_ids uuid[], p_fields text[], p_actor text) returns int
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
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
revoke execute on function audit_note_reads from public;
grant execute on function audit_note_reads to app_api;
