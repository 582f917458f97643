-- Retention: removes the audit months that ended before p_before, all of them sealed by then.
-- Returns the names of the partitions. Whole months only. The first entry of each chain leaves its hash in audit_head.
-- A checkpoint must be as old as p_before: verification excuses a missing entry by the signed time of the checkpoint
-- above.
-- Locks: each month SHARE ROW EXCLUSIVE while it is checked, then ACCESS EXCLUSIVE on audit_entry to drop them.
-- Errors: HF008 when p_before is less than seven years ago; HF012 when an entry has no checkpoint of that age.
-- Repeating it is harmless: what is gone is not found. Runs as the owner.
create or replace function audit_purge(p_before timestamptz) returns setof text
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_kept_from timestamptz := date_trunc('month', p_before at time zone 'utc') at time zone 'utc';
  v_months text[];
  v_default text[] := '{}';
  v_partition text;
  v_seal audit_checkpoint;
  -- In its own count of transaction ids, or in one before it. After a restore that the sealer has not adopted, ids
  -- start again and look sealed; those entries come after the last one that was.
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
    -- Race closed: a wrong clock puts an entry into a month of long ago. The lock keeps all writers out of it. The
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

  -- Last, after all that takes long: the first drop blocks every writer of entries.
  foreach v_partition in array v_months loop
    execute format('drop table %I', v_partition);
    return next v_partition;
  end loop;
  foreach v_partition in array v_default loop
    -- The lock of this statement keeps other writers out while the guard is off.
    alter table audit_entry_default disable trigger audit_entry_append_only;
    execute format('delete from audit_entry_default where at < $1 and %s', v_is_sealed)
    using v_kept_from, v_seal.last_entry_id, v_seal.after_entry_id, v_seal.below_txid;
    alter table audit_entry_default enable trigger audit_entry_append_only;
    return next v_partition;
  end loop;
end
$$;
revoke execute on function audit_purge from public;
grant execute on function audit_purge to audit_sealer;
