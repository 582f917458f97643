-- The status that a command moves an order to; null for a word that is no command.
create or replace function command_target(p_command text) returns text
language sql immutable parallel safe as $$
  select case p_command when 'cancel' then 'cancelled' when 'ship' then 'shipped' when 'deliver' then 'delivered' end
$$;
revoke execute on function command_target from public;
grant execute on function command_target to app_worker;
