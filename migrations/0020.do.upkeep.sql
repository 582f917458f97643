-- What a shop needs after years. News that was delivered stayed for ever, and the table grew without end. And no role sees
-- what another's sessions do, so that one which stays in a transaction, past its limits, went unseen. The index is built
-- under a lock that keeps orders from moving for about a second per million rows of news; the rest locks nothing.
create index notification_delivered on notification (delivered_at) where delivered_at is not null;

-- What may be forgotten is decided here, as in 0013: the worker has no right to delete news itself. The order of what is
-- told hangs on the rows that are still to be delivered alone, and of those none goes, nor a dead letter.
create function forget_notifications(p_limit integer) returns integer
language sql security definer set search_path = holdfast, pg_catalog as $$
  with old as (
    select notification_id from notification
    where delivered_at < statement_timestamp() - interval '30 days'
    order by delivered_at limit p_limit for update skip locked
  ), forgotten as (
    delete from notification n using old where n.notification_id = old.notification_id returning 1
  )
  select count(*)::integer from forgotten
$$;
comment on function forget_notifications is 'Removes at most so many notifications that were delivered more than 30 days ago. Returns how many.';
revoke execute on function forget_notifications from public;
grant execute on function forget_notifications to app_worker;

-- The owner is a member of our roles (role.sql) and may therefore look at their sessions. Whoever may call this sees no
-- more of them than when they began: no statement, no address, and no session of anybody else's.
create function open_transactions(p_longer_than interval)
returns table (role_name name, pid integer, application text, state text, began_at timestamptz)
language sql security definer set search_path = holdfast, pg_catalog as $$
  select a.usename, a.pid, a.application_name, a.state, a.xact_start from pg_stat_activity a
  where a.datname = current_database() and a.pid <> pg_backend_pid() and a.xact_start < clock_timestamp() - p_longer_than
$$;
comment on function open_transactions is 'Sessions of our roles on this database, but for the one that asks, that have been in a transaction for longer than this.';
revoke execute on function open_transactions from public;
grant execute on function open_transactions to app_worker, auditor;
