-- A payment is assessed at once, and not when a lease ends. A report made the start of its order urgent also where a
-- relay had that start under way; the relay then skipped the locked row when it settled it, and the wake of the report
-- waited 15 s for the lease of a start that was long made. And an order that ended while a relay asked its run left its
-- news to aftercare only after that lease.
--
-- Locks: none beyond those of creating functions. Older processes go on: both functions keep their signatures.
--
-- Functions as migrations/function has them: do_command, record_report.

-- Carries out a command that is legal (is_command_legal). p_command, p_input: see command_order.
-- Returns 'done', or 'IDEMPOTENCY_KEY_REUSED' without any effect: the answer is written before the effect it tells of,
-- so that a key which another request took meanwhile leaves none.
-- Locks: the caller holds the order row; here the idempotency key, then those of end_orders or consume_stock.
-- Shipping and delivery write the fence (p_generation, p_step) with the status; the caller does it for a cancellation.
create or replace function do_command(p_order_id uuid, p_generation int, p_step int, p_command text, p_input jsonb)
returns text language plpgsql as $$
declare
  v_actor text := p_input ->> 'actor';
  v_target text := command_target(p_command);
begin
  insert into idempotency (actor, method, key, request_hash, order_id, response)
  select v_actor, p_input ->> 'method', (p_input ->> 'key')::uuid, decode(p_input ->> 'requestHash', 'hex'), p_order_id,
    jsonb_build_object('status', v_target, 'version', o.version + 1)
  from orders o where o.order_id = p_order_id
  on conflict do nothing;
  if not found then
    return 'IDEMPOTENCY_KEY_REUSED';
  end if;

  if p_command = 'cancel' then
    perform end_orders(
      array[p_order_id], case p_input ->> 'role' when 'admin' then 'admin' else 'customer' end, 'released', v_actor);
  else
    update orders set status = v_target, generation = p_generation, step = p_step where order_id = p_order_id;
    if p_command = 'ship' then
      perform consume_stock(p_order_id, v_actor);
      return 'done';
    end if;
    insert into key_retire (order_id, network, address)
    select order_id, network, address from invoice where order_id = p_order_id on conflict do nothing;
  end if;
  -- The order has ended: reports that are not assessed are its aftercare's (design rule 15).
  if exists (select from payment_report where order_id = p_order_id and not is_assessed) then
    perform request_wake(array[p_order_id]);
    -- A relay may be asking the run, which looks no more: aftercare need not wait for that lease.
    update order_wake set claimed_by = null, claimed_until = null
    where order_id = p_order_id and claimed_by is not null;
  end if;
  return 'done';
end
$$;
revoke execute on function do_command from public;
grant execute on function do_command to app_worker;
comment on function do_command is
  'Carries out a command that is legal (is_command_legal).';

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
