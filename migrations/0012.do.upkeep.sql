-- What a shop needs after years: the results of the consistency check, and the removal of what is no longer needed.
-- What may be removed is decided in these functions; no role has the right to delete such rows itself.

create table consistency_run (
  run_no bigint generated always as identity constraint consistency_run_pk primary key,
  started_at timestamptz not null,
  finished_at timestamptz not null default clock_timestamp(),
  orders bigint not null constraint consistency_run_orders_not_negative check (orders >= 0),
  products bigint not null constraint consistency_run_products_not_negative check (products >= 0),
  answers bigint not null constraint consistency_run_answers_not_negative check (answers >= 0),
  workflows bigint not null constraint consistency_run_workflows_not_negative check (workflows >= 0),
  differences bigint not null constraint consistency_run_differences_not_negative check (differences >= 0)
);
comment on table consistency_run is
  'Each scheduled look at everything: when, at how much, and how many differences it found.';

-- In the database, so that every worker shows the same and a restart forgets nothing.
create table inconsistency (
  check_name text not null constraint inconsistency_check_shape check (check_name ~ '^[a-z_]{1,40}$'),
  subject text not null constraint inconsistency_subject_length check (char_length(subject) between 1 and 200),
  detail text not null constraint inconsistency_detail_length check (char_length(detail) <= 500),
  first_seen_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null,
  constraint inconsistency_pk primary key (check_name, subject)
);
comment on table inconsistency is
  'What the last run found to be wrong, by check and by the order or product it is wrong about. '
  'A row goes when a run no longer finds it; nothing else is mended by it.';

insert into audit_scope (table_name, reason) values
  ('consistency_run', 'tells of a look, not of a change'),
  ('inconsistency', 'repeats what the tables themselves show');

-- Answers are kept for 30 days (requirements D-26): then a key may be used again. The key of an order that is still
-- open stays, whatever its age: a repeated command must find its recorded answer.
create function forget_answers(p_limit integer) returns integer
language sql security definer set search_path = holdfast, pg_catalog as $$
  with old as (
    select k.actor, k.method, k.key from idempotency k
    where k.created_at < statement_timestamp() - interval '30 days'
      and not exists (
        select from orders o where o.order_id = k.order_id and o.status not in ('delivered', 'cancelled'))
    order by k.created_at limit p_limit for update skip locked
  ), forgotten as (
    delete from idempotency k using old where (k.actor, k.method, k.key) = (old.actor, old.method, old.key) returning 1
  )
  select count(*)::integer from forgotten
$$;
comment on function forget_answers is
  'Removes at most so many answers that are older than 30 days and whose order, if any, has ended. '
  'Returns how many.';

-- The order of what is told depends only on the rows that are still to be delivered. None of those goes, nor a dead
-- letter.
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
comment on function forget_notifications is
  'Removes at most so many notifications that were delivered more than 30 days ago. Returns how many.';

-- Whole months only, and none younger than the law allows. A month that no checkpoint covers is refused: it would leave
-- nothing to tell of it. Verification excuses a missing entry by the signed time of the checkpoint above it, so that
-- checkpoint has to be as old. A chain whose first entry goes must still know its hash: its head is written first.
create function audit_purge(p_before timestamptz) returns setof text
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_kept_from timestamptz := date_trunc('month', p_before at time zone 'utc') at time zone 'utc';
  v_months text[];
  v_default text[] := '{}';
  v_partition text;
  v_seal audit_checkpoint;
  -- In its own count of transaction ids, or in one before it. After a restore that the sealer has not adopted, ids
  -- begin
  -- anew and look sealed; those entries come after the last one that was.
  v_is_sealed constant text := 'coalesce(entry_id <= $2 and (entry_id <= $3 or txid < $4), false)';
  v_is_lost boolean;
begin
  if p_before > clock_timestamp() - interval '7 years' then
    raise exception 'audit: entries are kept for seven years' using errcode = 'HF008';
  end if;
  v_months := array(
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'audit_entry'::regclass and c.relname ~ '^audit_entry_\d{4}_\d\d$'
      and (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') at time zone 'utc' <= p_before
    order by 1);
  if exists (select from audit_entry_default where at < v_kept_from) then
    v_default := '{audit_entry_default}';
  end if;
  select * into v_seal from audit_checkpoint where sealed_at <= p_before order by checkpoint_no desc limit 1;

  foreach v_partition in array v_months || v_default loop
    -- Race closed with an entry that a wrong clock puts into a month of long ago: nobody writes there any more. The
    -- default partition may be in use, and is not emptied of what is not sealed.
    if v_partition = any (v_months) then
      execute format('lock table %I in share row exclusive mode', v_partition);
    end if;
    execute format('select exists (select from %I where at < $1 and not %s)', v_partition, v_is_sealed)
    into v_is_lost using v_kept_from, v_seal.last_entry_id, v_seal.after_entry_id, v_seal.below_txid;
    if v_is_lost then
      raise exception 'audit: % has entries that no checkpoint of that age covers', v_partition using errcode = 'HF012';
    end if;
    execute format('insert into audit_head (kind, aggregate_id, seq, hash)
      select kind, aggregate_id, seq, hash from %I where seq = 1 and at < $1 on conflict do nothing', v_partition)
    using v_kept_from;
  end loop;

  -- After all that takes long: the first drop stops everybody who writes an entry.
  foreach v_partition in array v_months loop
    execute format('drop table %I', v_partition);
    return next v_partition;
  end loop;
  foreach v_partition in array v_default loop
    -- Its lock lets nobody else write here while the guard is down.
    alter table audit_entry_default disable trigger audit_entry_append_only;
    execute format('delete from audit_entry_default where at < $1 and %s', v_is_sealed)
    using v_kept_from, v_seal.last_entry_id, v_seal.after_entry_id, v_seal.below_txid;
    alter table audit_entry_default enable trigger audit_entry_append_only;
    return next v_partition;
  end loop;
end
$$;
comment on function audit_purge is
  'Removes the months that ended before an instant at least seven years ago, all of them sealed by then. '
  'Returns the partitions they were in.';

-- Shows a session that stays in a transaction past its limits: no role sees what another's sessions do. The owner is a
-- member of the roles (role.sql) and may look at their sessions. A caller sees no more of them than when they began: no
-- statement, no address, and no session of other roles.
create function open_transactions(p_longer_than interval)
returns table (role_name name, pid integer, application text, state text, began_at timestamptz)
language sql security definer set search_path = holdfast, pg_catalog as $$
  select a.usename, a.pid, a.application_name, a.state, a.xact_start from pg_stat_activity a
  where a.datname = current_database() and a.pid <> pg_backend_pid()
    and a.xact_start < clock_timestamp() - p_longer_than
$$;
comment on function open_transactions is
  'Sessions of our roles on this database, but for the one that asks, '
  'that have been in a transaction for longer than this.';

revoke execute on function forget_answers, forget_notifications, audit_purge, open_transactions from public;
grant execute on function forget_answers, forget_notifications, open_transactions to app_worker;
grant execute on function open_transactions to auditor;
grant execute on function audit_purge to audit_sealer;
grant select, insert on consistency_run to app_worker;
grant select, insert, update, delete on inconsistency to app_worker;
grant select on consistency_run, inconsistency to auditor;
