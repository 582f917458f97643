-- Guard of chain operations: a trigger function that refuses a change by the watcher's role that the same transaction
-- has not noted in chain_operation for the same source. The trigger's argument names the operation: start, rewind,
-- attribute or set_aside.
-- Error: HF022.
create or replace function guard_chain_operation() returns trigger language plpgsql as $$
declare
  v_operation text := tg_argv[0];
  v_new jsonb := to_jsonb(new);
  v_aside numeric;
begin
  if v_operation = 'set_aside' then
    -- An upsert shows its row as an insert first, even where one stands.
    v_aside := (v_new ->> 'set_aside')::numeric - coalesce((
      select b.set_aside from holdfast.chain_balance b
      where (b.network, b.source) = (new.network, new.source) and b.address = v_new ->> 'address'), 0);
    if v_aside <= 0 then
      return new;
    end if;
  end if;
  if not exists (
    select from holdfast.chain_operation o
    where (o.network, o.source) = (new.network, new.source) and o.operation = v_operation
      and o.xmin = pg_current_xact_id()::xid
      and case v_operation
      when 'start' then o.height = (v_new ->> 'start_height')::bigint
      when 'rewind' then o.height = (v_new ->> 'rewind_to')::bigint
      when 'attribute' then o.address = v_new ->> 'address' and o.amount = (v_new ->> 'amount')::numeric
      else o.address = v_new ->> 'address' and o.amount = v_aside end) then
    raise exception '%: the operation % is not noted', tg_table_name, v_operation using errcode = 'HF022';
  end if;
  return new;
end
$$;
revoke execute on function guard_chain_operation from public;

create or replace trigger chain_status_guard_start before update of start_height on chain_status
  for each row when (current_user = 'watcher' and new.start_height <> old.start_height)
  execute function guard_chain_operation('start');
create or replace trigger chain_status_guard_rewind before update of rewind_to on chain_status
  for each row when (current_user = 'watcher' and new.rewind_to is not null
    and new.rewind_to is distinct from old.rewind_to)
  execute function guard_chain_operation('rewind');
create or replace trigger chain_output_guard_attribute before insert on chain_output
  for each row when (current_user = 'watcher' and new.is_attributed)
  execute function guard_chain_operation('attribute');
create or replace trigger chain_balance_guard_aside before insert or update of set_aside on chain_balance
  for each row when (current_user = 'watcher' and new.set_aside > 0)
  execute function guard_chain_operation('set_aside');
