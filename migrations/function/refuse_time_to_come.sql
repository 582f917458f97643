-- Guard of times: a trigger function that refuses a row for a time in the future, which its trigger found.
-- Expiries rely on the time up to which the watcher vouches for a chain. The clock is the database's; a block's own
-- time may be ahead of it by what currency.clock_tolerance allows at most.
-- Error: 23514 (check violation).
create or replace function refuse_time_to_come() returns trigger language plpgsql as $$
begin
  raise exception '%: a time that is still to come', tg_table_name using errcode = 'check_violation';
end
$$;
revoke execute on function refuse_time_to_come from public;

create or replace trigger chain_status_times_past before insert on chain_status
  for each row when (current_user = 'watcher' and greatest(new.tip_asked_at, new.caught_up_at) > clock_timestamp())
  execute function refuse_time_to_come();
-- Only what is raised: after a failover to a server whose clock is behind, a stored time may lie ahead, and the watcher
-- must be able to go back all the same.
create or replace trigger chain_status_times_raised before update of tip_asked_at, caught_up_at on chain_status
  for each row when (current_user = 'watcher'
    and (new.tip_asked_at > clock_timestamp() and new.tip_asked_at > coalesce(old.tip_asked_at, '-infinity')
      or new.caught_up_at > clock_timestamp() and new.caught_up_at > coalesce(old.caught_up_at, '-infinity')))
  execute function refuse_time_to_come();
create or replace trigger chain_balance_times_past before insert or update of checked_at on chain_balance
  for each row when (current_user = 'watcher' and new.checked_at > clock_timestamp() + interval '1 day')
  execute function refuse_time_to_come();
