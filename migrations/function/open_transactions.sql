-- Monitoring: sessions of our roles on this database, but for the caller's, in a transaction longer than p_longer_than.
-- Runs as the owner, a member of our roles (role.sql), and shows no statement, no address and no session of other
-- users.
create or replace function open_transactions(p_longer_than interval)
returns table (role_name name, pid integer, application text, state text, began_at timestamptz)
language sql security definer set search_path = holdfast, pg_catalog as $$
  select a.usename, a.pid, a.application_name, a.state, a.xact_start from pg_stat_activity a
  where a.datname = current_database() and a.pid <> pg_backend_pid()
    and a.xact_start < clock_timestamp() - p_longer_than
$$;
revoke execute on function open_transactions from public;
grant execute on function open_transactions to app_worker, auditor;
