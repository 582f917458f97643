-- Guard of chain operations: a trigger function that lets the watcher's role note an operation in an operator's name
-- only.
-- Error: HF022 when the actor of the transaction is not an operator.
create or replace function guard_chain_operator() returns trigger language plpgsql as $$
declare
  v_actor jsonb := nullif(current_setting('holdfast.actor', true), '')::jsonb;
begin
  if v_actor ->> 'role' is distinct from 'admin' or coalesce(v_actor ->> 'actor', '') !~ '^operator:.' then
    raise exception 'chain_operation: only an operator operates a chain' using errcode = 'HF022';
  end if;
  return new;
end
$$;
revoke execute on function guard_chain_operator from public;

create or replace trigger chain_operation_guard_operator before insert on chain_operation
  for each row when (current_user = 'watcher') execute function guard_chain_operator();
create or replace trigger chain_suspension_guard_close before update on chain_suspension
  for each row when (current_user = 'watcher') execute function guard_chain_operator();
