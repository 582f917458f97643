-- A report that contradicts a stored one is refused instead of being taken for a repeat. A read of personal data by
-- someone who does not own it is noted in the audit of the order. Security events are append-only and are forgotten.
--
-- Locks: functions are replaced; new triggers take SHARE ROW EXCLUSIVE on their tables for a change of the catalogue.
-- Older processes: an older api answers INTERNAL to such a report and stores nothing; its watcher then sends the others
-- alone. Its reads leave a log line only.

-- Functions as migrations/function has them: audit_note_reads, forget_security_events, record_report, refuse_rewriting.

-- Audit: notes that personal data of orders is about to be shown to someone who does not own it, as one entry in the
-- chain of each order. A caller shows nothing unless this has committed and has returned the number of its orders.
-- p_order_ids: the orders, each once. p_fields: the names of the fields. p_actor: text of the audit context (actor_of),
-- whose reason says why.
-- Returns how many orders were noted.
-- Locks: at commit, the order rows FOR NO KEY UPDATE, in order of id (audit_root).
-- Error: HF006 at commit, by actor_text. Repeating it notes another read. Runs as the owner: no other role writes
-- audit_pending.
create or replace function audit_note_reads(p_order_ids uuid[], p_fields text[], p_actor text) returns int
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_noted int;
begin
  if cardinality(p_fields) = 0 or array_length(p_fields, 1) > 20 then
    raise exception 'audit_note_reads: name the fields' using errcode = '22023';
  end if;
  insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
  select 'order', o.order_id::text, false,
    row_number() over () = 1 and not exists (select from audit_pending where txid = pg_current_xact_id()),
    p_actor::jsonb,
    '{"table":"pii_access","op":"READ","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}'
  from orders o
  cross join lateral (select o.order_id) k
  cross join lateral (select o.user_id::text as user_id, p_fields as fields) r
  where o.order_id = any (p_order_ids);
  get diagnostics v_noted = row_count;
  return v_noted;
end
$$;
revoke execute on function audit_note_reads from public;
grant execute on function audit_note_reads to app_api;
comment on function audit_note_reads is
  'Audit: notes that personal data of orders is about to be shown to someone who does not own it, as one entry in'
  ' the chain of each order.';

-- Retention: removes up to p_limit security events, the oldest first: counts of calls after an hour, since no rule
-- looks further back, all others after 90 days. Returns how many.
-- Locks: the rows it removes; locked ones are skipped. Repeating it is harmless. Runs as the owner: no role has a right
-- to delete an event itself.
create or replace function forget_security_events(p_limit integer) returns integer
language sql security definer set search_path = holdfast, pg_catalog as $$
  with old_calls as (
    select event_no from security_event
    where kind = 'calls' and at < statement_timestamp() - interval '1 hour'
    order by at limit p_limit for update skip locked
  ), old_events as (
    select event_no from security_event
    where at < statement_timestamp() - interval '90 days'
    order by at limit p_limit for update skip locked
  ), old as (
    select event_no from old_calls union select event_no from old_events limit p_limit
  ), forgotten as (
    delete from security_event e using old where e.event_no = old.event_no returning 1
  )
  select count(*)::integer from forgotten
$$;
revoke execute on function forget_security_events from public;
grant execute on function forget_security_events to app_worker;
comment on function forget_security_events is
  'Retention: removes up to p_limit security events, the oldest first: counts of calls after an hour, since no'
  ' rule looks further back, all others after 90 days.';

-- Inbox: stores a verified report of a watcher, extends holds for what was seen in time, and wakes the workflows.
-- p_source: name of the watcher. p_facts: [{report_id, network, asset, tx_id, output_index, seq, state, address,
--   amount, block_height, block_hash, first_seen_at}], amounts as text. p_actor: text of the audit context (actor_of).
-- Returns how many facts were new.
-- Locks: the order rows FOR NO KEY UPDATE, in order of id, as expiry and assessment do; then the new
-- rows of payment_report, where a concurrent repeat of a fact waits; then holds, starts and wakes.
-- The confirm deadline is set once, when enough is first seen: later reports do not move it.
-- Error: HF036 when another fact is stored under the source, output and seq of a fact; detail is its place in p_facts,
-- from 0. Nothing of the report is then stored. The first sighting is no part of the comparison: the stored one counts.
-- Repeating it is harmless: a fact that is stored is skipped.
create or replace function record_report(p_source text, p_facts jsonb, p_actor text) returns int language plpgsql as $$
declare
  v_order_ids uuid[];
  v_order_id uuid;
  v_fresh int;
  v_conflict text;
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id in (
    select i.order_id from invoice i
    join jsonb_to_recordset(p_facts) f (network text, address text) on f.network = i.network and f.address = i.address)
  order by o.order_id for no key update;

  with fresh as (
    insert into payment_report (source, report_id, network, asset, tx_id, output_index, seq, state, address, amount,
      block_height, block_hash, first_seen_at, order_id)
    select p_source, r.report_id, r.network, r.asset, r.tx_id, r.output_index, r.seq, r.state, r.address, r.amount,
      r.block_height, r.block_hash, r.first_seen_at, i.order_id
    from jsonb_to_recordset(p_facts) r (report_id text, network text, asset text, tx_id text, output_index int, seq int,
      state text, address text, amount numeric, block_height bigint, block_hash text, first_seen_at timestamptz)
    left join invoice i on i.network = r.network and i.address = r.address
    on conflict do nothing
    returning order_id
  )
  select count(*), coalesce(array_agg(distinct order_id) filter (where order_id is not null), '{}')
  into v_fresh, v_order_ids from fresh;

  -- A fact that was skipped must be stored as it is. The insert has waited for a concurrent report of the same seq, and
  -- this statement sees what that one committed.
  if v_fresh < jsonb_array_length(p_facts) then
    select (f.place - 1)::text into v_conflict
    from rows from (jsonb_to_recordset(p_facts) as (network text, asset text, tx_id text, output_index int, seq int,
      state text, address text, amount numeric, block_height bigint, block_hash text)) with ordinality
      f (network, asset, tx_id, output_index, seq, state, address, amount, block_height, block_hash, place)
    where not exists (
      select from payment_report p
      where p.source = p_source and p.network = f.network and p.tx_id = f.tx_id and p.output_index = f.output_index
        and p.seq = f.seq and (p.asset, p.state, p.address, p.amount) = (f.asset, f.state, f.address, f.amount)
        and (p.block_height, p.block_hash) is not distinct from (f.block_height, f.block_hash))
    order by f.place limit 1;
    if v_conflict is not null then
      raise exception 'payment_report: another fact is stored under this seq'
        using errcode = 'HF036', detail = v_conflict;
    end if;
  end if;

  if cardinality(v_order_ids) > 0 then
    -- One order at a time, so that its holds are found by its key. With an array of keys, an index of all holds of the
    -- shop looks as cheap to the planner.
    foreach v_order_id in array v_order_ids loop
      update reservation r set expires_at = greatest(r.expires_at, clock_timestamp() + i.confirm_within)
      from invoice i
      where i.order_id = v_order_id and r.order_id = v_order_id and r.state = 'held'
        and r.expires_at - i.grace <= i.expires_at and (select is_enough_seen(v_order_id));
    end loop;
    update workflow_start set urgency = 0 where order_id = any (v_order_ids) and urgency <> 0;
    perform request_wake(v_order_ids);
  end if;
  return v_fresh;
end
$$;
revoke execute on function record_report from public;
grant execute on function record_report to app_api;
comment on function record_report is
  'Inbox: stores a verified report of a watcher, extends holds for what was seen in time, and wakes the'
  ' workflows.';

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
-- Old events are deleted by forget_security_events.
create or replace trigger security_event_append_only before update on security_event
  for each row execute function refuse_rewriting();
create or replace trigger security_event_no_truncate before truncate on security_event
  for each statement execute function refuse_rewriting();
comment on function refuse_rewriting is
  'Append-only guard: a trigger function that refuses any update, delete or truncate of history.';
