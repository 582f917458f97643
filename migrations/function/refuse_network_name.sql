-- Guard of names: a trigger function that refuses a row for the name of a network that its trigger found to be invalid.
-- A trigger and not a CHECK: a CHECK is asked at each change of a row, and would keep rows from before the rule
-- unchangeable.
-- The rule stands in src/domain/identifier.ts too. Error: 23514 (check violation).
create or replace function refuse_network_name() returns trigger language plpgsql as $$
begin
  raise exception '%: not a name of a network', tg_table_name using errcode = 'check_violation';
end
$$;
revoke execute on function refuse_network_name from public;

create or replace trigger chain_status_network_shape before insert or update of network on chain_status
  for each row when (new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$') execute function refuse_network_name();
create or replace trigger invoice_network_shape before insert or update of network on invoice
  for each row when (new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$') execute function refuse_network_name();
create or replace trigger payment_report_network_shape before insert or update of network on payment_report
  for each row when (new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$') execute function refuse_network_name();
create or replace trigger payment_network_shape before insert or update of network on payment
  for each row when (new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$') execute function refuse_network_name();
create or replace trigger payment_key_network_shape before insert or update of network on payment_key
  for each row when (new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$') execute function refuse_network_name();
