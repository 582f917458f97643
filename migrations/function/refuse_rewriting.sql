-- Append-only guard: a trigger function that refuses any update, delete or truncate of history.
-- Error: HF007.
create or replace function refuse_rewriting() returns trigger language plpgsql as $$
begin
  raise exception '%: history is not rewritten', tg_table_name using errcode = 'HF007';
end
$$;
revoke execute on function refuse_rewriting from public;

create or replace trigger audit_entry_append_only before update or delete on audit_entry
  for each row execute function refuse_rewriting();
create or replace trigger audit_entry_no_truncate before truncate on audit_entry
  for each statement execute function refuse_rewriting();
create or replace trigger audit_entry_no_truncate before truncate on audit_entry_default
  for each statement execute function refuse_rewriting();
create or replace trigger stock_movement_append_only before update or delete on stock_movement
  for each row execute function refuse_rewriting();
create or replace trigger stock_movement_no_truncate before truncate on stock_movement
  for each statement execute function refuse_rewriting();
create or replace trigger chain_operation_append_only before update or delete on chain_operation
  for each row execute function refuse_rewriting();
create or replace trigger ledger_posting_append_only before update or delete on ledger_posting
  for each row execute function refuse_rewriting();
create or replace trigger ledger_posting_no_truncate before truncate on ledger_posting
  for each statement execute function refuse_rewriting();
-- Old events are deleted by forget_security_events.
create or replace trigger security_event_append_only before update on security_event
  for each row execute function refuse_rewriting();
create or replace trigger security_event_no_truncate before truncate on security_event
  for each statement execute function refuse_rewriting();
create or replace trigger late_decision_append_only before update or delete on late_decision
  for each row execute function refuse_rewriting();
create or replace trigger source_rule_append_only before update or delete on source_rule
  for each row execute function refuse_rewriting();
