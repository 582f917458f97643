-- Reports of a retired source still counted where no active source had spoken of the output: a watcher that was retired
-- because its node lies, or because it was taken over, and that still ran, had orders paid. Now they are refused.
--
-- Locks: none beyond the function's row in the catalogue. Older processes: an older api answers INTERNAL to the report
-- of a retired source, and stores nothing of it.
--
-- Functions as migrations/function has them: record_report.

-- Inbox: stores a verified report of a watcher, extends holds for what was seen in time, and wakes the workflows.
-- p_source: name of the watcher. p_facts: [{report_id, network, asset, tx_id, output_index, seq, state, address,
--   amount, block_height, block_hash, first_seen_at}], amounts as text. p_actor: text of the audit context (actor_of).
-- Returns how many facts were new.
-- Locks: the order rows FOR NO KEY UPDATE, in order of id, as expiry and assessment do; then the new
-- rows of payment_report, where a concurrent repeat of a fact waits; then holds, starts and wakes.
-- The confirm deadline is set once, when enough is first seen: later reports do not move it.
-- Error: HF036 when another fact is stored under the source, output and seq of a fact; detail is its place in p_facts,
-- from 0. Nothing of the report is then stored. The first sighting is no part of the comparison: the stored one counts.
-- HF076 when the source is retired: its words of before stay, and it adds none.
-- Repeating it is harmless: a fact that is stored is skipped.
create or replace function record_report(p_source text, p_facts jsonb, p_actor text) returns int language plpgsql as $$
declare
  v_order_ids uuid[];
  v_order_id uuid;
  v_fresh int;
  v_conflict text;
begin
  perform set_config('holdfast.actor', p_actor, true);
  if exists (select from retired_source x where x.source = p_source) then
    raise exception 'payment_report: the source % is retired', p_source using errcode = 'HF076';
  end if;
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
    -- Not a start that a relay has leased: its row is deleted once the workflow runs, and that skips locked rows.
    update workflow_start set urgency = 0
    where order_id = any (v_order_ids) and urgency <> 0
      and (claimed_until is null or claimed_until < clock_timestamp());
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
