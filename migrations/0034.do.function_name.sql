-- Two functions get names that say what they do: fence_step (enter_step before) fences a step of a run, and
-- request_wake (want_wake before) asks the relay for a wake. The functions that call them follow. A change without an
-- actor is refused with an instruction, and quote_due names its oracle. Behaviour is unchanged.
--
-- Locks: functions are replaced, no table is touched. Older processes: a restart by an api or worker of before
-- (restart_orders, then want_wake) fails and stores nothing; all else goes on.
alter function want_wake(uuid[]) rename to request_wake;
alter function enter_step(uuid, int, int) rename to fence_step;
comment on function quote_due is 'Base units due, rounded up; equal to quoteDue in test/support/oracle.ts.';

-- Functions as migrations/function has them: begin_assessment, end_orders, do_command, command_order, no_actor,
-- record_report, retire_source, step_order.

-- First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to. The caller
-- decides what that means and calls end_assessment in the same transaction.
-- p_step: null for the aftercare of a terminal order, which has no step to count; an open order is its own run's.
-- outcome: that of fence_step. outputs: how many had news, 500 at most; 0: nothing to decide, and the step is done.
-- Amounts in base units. final, late_final: final money. seen, late_seen: these, and what is seen or reorged.
-- Locks: the order row FOR UPDATE, then those of credit_payments.
-- Repeating it: the fence answers 'repeated'.
create or replace function begin_assessment(p_order_id uuid, p_generation int, p_step int)
returns table (
  outcome text, outputs int, status text, payment_state text, cancel_reason text, hold text, flags text[],
  amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric, late_final numeric,
  is_late boolean, is_reorged boolean, is_replaced boolean, has_wrong_asset boolean, has_early boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text := fence_step(p_order_id, p_generation, p_step);
  v_credit record;
begin
  select 0 as outputs, false as has_wrong_asset, false as has_early into v_credit;
  if v_outcome = 'entered' then
    -- An order that never held stock is reserved first, and nothing is decided about its money before.
    if (select is_terminal(o.status) from orders o where o.order_id = p_order_id) = (p_step is null)
      and (p_step is null or exists (select from reservation r where r.order_id = p_order_id)) then
      select * into v_credit from credit_payments(p_order_id, 500);
      -- Asked to look, and there is nothing new.
      if v_credit.outputs = 0 then
        delete from order_wake where order_id = p_order_id;
      end if;
    end if;
    -- Nothing to decide: the step is done.
    if v_credit.outputs = 0 and p_step is not null then
      update orders set generation = p_generation, step = p_step where order_id = p_order_id;
    end if;
  end if;
  return query
  select v_outcome, v_credit.outputs, o.status, o.payment_state, o.cancel_reason, o.hold, o.payment_flags,
    i.amount_due, c.dust_floor,
    coalesce(sum(p.amount) filter (where p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0),
    coalesce(sum(p.amount) filter (where p.is_in_time and p.state = 'final'), 0),
    coalesce(sum(p.amount) filter (where not p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0),
    coalesce(sum(p.amount) filter (where not p.is_in_time and p.state = 'final'), 0),
    coalesce(bool_or(not p.is_in_time), false), coalesce(bool_or(p.state = 'reorged'), false),
    coalesce(bool_or(p.state = 'replaced'), false), v_credit.has_wrong_asset, v_credit.has_early
  from orders o join invoice i on i.order_id = o.order_id join currency c on c.currency = i.asset
  left join payment p on p.order_id = o.order_id and v_credit.outputs > 0
  where o.order_id = p_order_id
  group by o.order_id, i.order_id, c.currency;
end
$$;
revoke execute on function begin_assessment from public;
grant execute on function begin_assessment to app_worker;
comment on function begin_assessment is
  'First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to.';

-- Ends pending or processing orders without shipping them, with all that follows: status, holds, stock, ledger, refunds
-- due, retirement of the payment key, and a wake where the payment missed its confirm deadline.
-- p_reason: orders.cancel_reason. p_end_state: 'released' or 'expired', the state in which the holds end.
-- p_actor: who the stock ledger names.
-- Locks: the caller holds the order rows FOR UPDATE, taken in order of id; here stock rows FOR NO KEY UPDATE, by
-- product_id, then the reservations, refund_due, key_retire and order_wake.
-- Repeating it: holds end once, since only held or committed ones are changed; the refund due is an upsert.
-- Errors: HF002 and HF004, by the guards of orders, when this actor cannot cancel an order from its state.
create or replace function end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) returns void
language plpgsql as $$
declare
  v_slow uuid[] := '{}';
begin
  if p_reason = 'expired' then
    v_slow := array(
      select o.order_id from orders o where o.order_id = any (p_order_ids) and o.payment_state = 'confirming');
  end if;

  update orders o set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when m.final > m.dust_floor then 'unresolved'
      when m.waiting > 0 then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = array(
      select flag from (
        select unnest(o.payment_flags) except select 'under'
        union select 'under' where m.final + m.waiting > 0 and not is_enough(m.final + m.waiting, m.amount_due)
        union select 'slow_confirm' where o.order_id = any (v_slow)) f (flag)
      order by flag collate "C")
  from (
    select i.order_id, i.amount_due, c.dust_floor,
      coalesce(sum(p.amount) filter (where p.state = 'final'), 0) as final,
      coalesce(sum(p.amount) filter (where p.state in ('seen', 'reorged')), 0) as waiting
    from invoice i join currency c on c.currency = i.asset left join payment p on p.order_id = i.order_id
    where i.order_id = any (p_order_ids) group by 1, 2, 3
  ) m
  where o.order_id = m.order_id and o.order_id = any (p_order_ids);

  perform 1 from stock
  where product_id in (
    select product_id from reservation where order_id = any (p_order_ids) and state in ('held', 'committed'))
  order by product_id
  for no key update;

  -- Compare-and-set on the hold: stock moves only for rows that this very statement ended.
  with ended as (
    update reservation set state = p_end_state
    where order_id = any (p_order_ids) and state in ('held', 'committed')
    returning order_id, product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, order_id, hold_no, case p_end_state when 'expired' then 'expire' else 'release' end,
      0, -quantity, p_actor
    from ended
  )
  update stock s set reserved = s.reserved - e.quantity, version = s.version + 1
  from (select product_id, sum(quantity) as quantity from ended group by product_id) e
  where s.product_id = e.product_id;

  insert into refund_due (order_id, asset, amount)
  select p.order_id, p.asset, sum(p.amount) from payment p join currency c on c.currency = p.asset
  where p.order_id = any (p_order_ids) and p.state = 'final'
  group by p.order_id, p.asset, c.dust_floor having sum(p.amount) > c.dust_floor
  on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp();

  insert into key_retire (order_id, network, address)
  select order_id, network, address from invoice where order_id = any (p_order_ids) on conflict do nothing;

  if cardinality(v_slow) > 0 then
    perform request_wake(v_slow);
  end if;
end
$$;
revoke execute on function end_orders from public;
grant execute on function end_orders to app_worker;
comment on function end_orders is
  'Ends pending or processing orders without shipping them, with all that follows: status, holds, stock, ledger,'
  ' refunds due, retirement of the payment key, and a wake where the payment missed its confirm deadline.';

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
  perform request_wake(array[p_order_id])
  where exists (select from payment_report where order_id = p_order_id and not is_assessed);
  return 'done';
end
$$;
revoke execute on function do_command from public;
grant execute on function do_command to app_worker;
comment on function do_command is
  'Carries out a command that is legal (is_command_legal).';

-- Idempotent command: cancels, ships or delivers an order, once per idempotency key.
-- p_command: 'cancel', 'ship' or 'deliver'. p_actor: text of the audit context (actor_of).
-- p_input: {actor, role, method, key, requestHash (hex), expectedVersion?, isReapplied?}.
-- Result: no row when there is no such order; else outcome, the stored answer {status, version}, and order_state.
-- outcome: 'done'; 'repeated'; 'refused', for which the state says why (domain/command.ts); 'STALE_RUN';
-- 'IDEMPOTENCY_KEY_REUSED'.
-- Locks: the order row FOR UPDATE, the idempotency key, then those of end_orders or consume_stock.
-- Repeating it: the same key and hash get the stored answer.
create or replace function command_order(
  p_order_id uuid, p_generation int, p_step int, p_command text, p_input jsonb, p_actor text)
returns table (
  outcome text, answer jsonb, status text, payment_state text, hold text, cancel_reason text, version bigint,
  reservation text, expires_in_ms int, has_unassessed boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_actor text := p_input ->> 'actor';
  v_method text := p_input ->> 'method';
  v_key uuid := (p_input ->> 'key')::uuid;
  v_hash bytea := decode(p_input ->> 'requestHash', 'hex');
  v_outcome text;
begin
  perform set_config('holdfast.actor', p_actor, true);
  v_outcome := fence_step(p_order_id, p_generation, p_step);
  if v_outcome = 'entered' then
    if is_command_legal(p_order_id, p_command, p_input) then
      v_outcome := do_command(p_order_id, p_generation, p_step, p_command, p_input);
    else
      -- A command that took effect moved the status, so only one that the status refuses can have been done before.
      v_outcome := coalesce((
        select case when k.request_hash = v_hash then 'repeated' else 'IDEMPOTENCY_KEY_REUSED' end
        from idempotency k where k.actor = v_actor and k.method = v_method and k.key = v_key), 'refused');
    end if;
    -- Shipping and delivery have written the fence with the status.
    if v_outcome in ('refused', 'repeated') or v_outcome = 'done' and p_command = 'cancel' then
      update orders set generation = p_generation, step = p_step where order_id = p_order_id;
    end if;
  end if;
  return query
  select v_outcome,
    (select k.response from idempotency k
     where v_outcome in ('done', 'repeated') and k.actor = v_actor and k.method = v_method and k.key = v_key
       and k.request_hash = v_hash),
    s.* from order_state(p_order_id) s;
end
$$;
revoke execute on function command_order from public;
grant execute on function command_order to app_worker;
comment on function command_order is
  'Idempotent command: cancels, ships or delivers an order, once per idempotency key.';

-- Guard of the audit: refuses a change that names no actor. Declared as returning jsonb to stand in a coalesce.
-- Error: HF006, always.
create or replace function no_actor() returns jsonb language plpgsql as $$
begin
  raise exception 'audit: this change has no actor: set holdfast.actor first' using errcode = 'HF006';
end
$$;
revoke execute on function no_actor from public;
comment on function no_actor is
  'Guard of the audit: refuses a change that names no actor.';

-- Inbox: stores a verified report of a watcher, extends holds for what was seen in time, and wakes the workflows.
-- p_source: name of the watcher. p_facts: [{report_id, network, asset, tx_id, output_index, seq, state, address,
--   amount, block_height, block_hash, first_seen_at}], amounts as text. p_actor: text of the audit context (actor_of).
-- Returns how many facts were new.
-- Locks: the order rows FOR NO KEY UPDATE, in order of id, as expiry and assessment do; then holds, starts and wakes.
-- The confirm deadline is set once, when enough is first seen: later reports do not move it.
-- Repeating it is harmless: a fact that is stored is skipped.
create or replace function record_report(p_source text, p_facts jsonb, p_actor text) returns int language plpgsql as $$
declare
  v_order_ids uuid[];
  v_order_id uuid;
  v_fresh int;
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

-- Retires a source of reports: from now on its word does not stand against others, and orders it stood against are
-- assessed again. For operators. Returns how many orders.
-- Locks: the order rows FOR NO KEY UPDATE, in order of id; then reports and wakes.
-- Error: 23505 (unique violation) when the source is retired already.
create or replace function retire_source(p_source text, p_reason text) returns int language plpgsql as $$
declare
  v_order_ids uuid[];
begin
  insert into retired_source (source, reason) values (p_source, p_reason);
  v_order_ids := array(
    select distinct r.order_id from payment_report r
    where r.source = p_source and r.order_id is not null and r.state in ('reorged', 'dropped', 'replaced') order by 1);
  perform 1 from orders o where o.order_id = any (v_order_ids) order by o.order_id for no key update;
  update payment_report r set is_assessed = false
  where r.order_id = any (v_order_ids) and r.source = p_source and r.is_assessed
    and r.state in ('reorged', 'dropped', 'replaced');
  perform request_wake(v_order_ids);
  return cardinality(v_order_ids);
end
$$;
revoke execute on function retire_source from public;
comment on function retire_source is
  'Retires a source of reports: from now on its word does not stand against others, and orders it stood against'
  ' are assessed again.';

-- One step of an order's workflow that is no command. p_what: 'reserve', 'release' or 'expire'.
-- Result: outcome of fence_step and the state of the order (order_state); no row when there is no such order.
-- Locks: the order row FOR UPDATE, then those of take_stock, end_orders or expire_orders.
-- Repeating it is harmless: the fence answers 'repeated', with the present state.
-- Error: 20000 (case not found) for another p_what.
create or replace function step_order(p_order_id uuid, p_generation int, p_step int, p_what text)
returns table (
  outcome text, status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text,
  expires_in_ms int, has_unassessed boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text := fence_step(p_order_id, p_generation, p_step);
  v_status text;
begin
  if v_outcome = 'entered' then
    select o.status into v_status from orders o where o.order_id = p_order_id;
    case p_what
      when 'reserve' then
        -- Never again for one that did hold some.
        if v_status = 'pending' and not exists (select from reservation r where r.order_id = p_order_id) then
          perform take_stock(p_order_id);
        end if;
      when 'release' then
        if v_status in ('pending', 'processing') then
          perform end_orders(array[p_order_id], 'out_of_stock', 'released', 'system');
        end if;
      when 'expire' then
        perform expire_orders(array[p_order_id], false);
    end case;
    update orders set generation = p_generation, step = p_step where order_id = p_order_id;
  end if;
  return query select v_outcome, s.* from order_state(p_order_id) s;
end
$$;
revoke execute on function step_order from public;
grant execute on function step_order to app_worker;
comment on function step_order is
  'One step of an order''s workflow that is no command.';
