-- Late money may buy its order again (D-8, design rule 7). An expired order whose late money is final is either
-- replaced by a linked order that holds stock and is paid, or its money is owed back. late_decision says which, once.
--
-- Locks: new tables; functions are replaced. Older processes: an older worker calls functions that are dropped here. It
-- retries each assessment until it is replaced, and decides nothing. Late money of before was owed back, and stays so.

create table asset_rate (
  asset text not null constraint asset_rate_asset_fk references currency on delete restrict,
  currency text not null constraint asset_rate_currency_fk references currency on delete restrict,
  rate numeric(20, 2) not null constraint asset_rate_positive check (rate > 0),
  at timestamptz not null default clock_timestamp() constraint asset_rate_at_finite check (isfinite(at)),
  constraint asset_rate_pk primary key (asset, currency)
);
comment on table asset_rate is
  'The price of one coin at which the api quotes now. The api repeats it, so an old row means no present price.';
insert into audit_scope (table_name, reason) values
  ('asset_rate', 'is a copy of a public price; a decision that used it keeps it in late_decision');
grant select, insert, update (rate, at) on asset_rate to app_api;
grant select on asset_rate to app_worker, auditor;

create table late_decision (
  order_id uuid constraint late_decision_pk primary key
    constraint late_decision_order_fk references orders on delete restrict,
  replacement_id uuid -- null: the money is owed back
    constraint late_decision_replacement_once unique
    constraint late_decision_replacement_fk references orders on delete restrict,
  refusal text -- null: accepted
    constraint late_decision_refusal check (refusal in (
      'policy', 'on_hold', 'refund_begun', 'too_late', 'rate_unknown', 'product_gone', 'price_moved', 'out_of_stock')),
  rate numeric(20, 2) -- null: no present price was known
    constraint late_decision_rate_positive check (rate > 0),
  due_now numeric(78, 0) -- null: what the order would cost now was not known
    constraint late_decision_due_positive check (due_now > 0),
  decided_at timestamptz not null default clock_timestamp(),
  constraint late_decision_either check ((replacement_id is null) = (refusal is not null)),
  constraint late_decision_of_another check (replacement_id <> order_id)
);
comment on table late_decision is
  'What became of the late money of an expired order, decided once: it pays the replacement, or it is owed back. '
  'Append-only. The payments stay with the expired order.';
comment on column late_decision.replacement_id is 'The order that the money pays; null: it is owed back.';
comment on column late_decision.refusal is 'Why the money is owed back; null: it was accepted.';
comment on column late_decision.rate is 'The price of one coin at the decision; null: none was known.';
comment on column late_decision.due_now is 'Base units that the same lines cost at the decision; null: not known.';
select audit_watch('late_decision', 'order', 'order_id');
grant select on late_decision to app_api, app_worker, auditor;
grant insert (order_id, refusal, rate, due_now) on late_decision to app_worker;

drop function begin_assessment;

-- Functions as migrations/function has them: order_money, assessed_order, begin_assessment, late_refusal,
-- open_replacement, decide_late_money, end_orders, is_command_legal, refuse_rewriting.

-- Money of orders: the sums of their outputs in base units, one row per order. final: in time and final. seen: these,
-- and what is seen or reorged. late_final, late_seen: the same of what came late.
-- accepted: final money that a replacement took; it is part of the sums. A replacement (late_decision) counts as much
-- of the money of the order that it replaces as it costs, and as money in time.
-- Locks: none. Changes nothing.
create or replace function order_money(p_order_ids uuid[])
returns table (
  order_id uuid, asset text, amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric,
  late_final numeric, accepted numeric, is_late boolean, is_reorged boolean, is_replaced boolean
)
language sql stable as $$
  select i.order_id, i.asset, i.amount_due, c.dust_floor, m.seen + t.seen, m.final + t.final, m.late_seen, m.late_final,
    case when d.order_id is null then 0 else least(m.final + m.late_final, i.amount_due) end,
    m.is_late or t.is_late, m.is_reorged or t.is_reorged, m.is_replaced
  from invoice i
  join currency c on c.currency = i.asset
  cross join lateral (
    select coalesce(sum(p.amount) filter (where p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0) as seen,
      coalesce(sum(p.amount) filter (where p.is_in_time and p.state = 'final'), 0) as final,
      coalesce(sum(p.amount) filter (where not p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0)
        as late_seen,
      coalesce(sum(p.amount) filter (where not p.is_in_time and p.state = 'final'), 0) as late_final,
      coalesce(bool_or(not p.is_in_time), false) as is_late,
      coalesce(bool_or(p.state = 'reorged'), false) as is_reorged,
      coalesce(bool_or(p.state = 'replaced'), false) as is_replaced
    from payment p where p.order_id = i.order_id
  ) m
  cross join lateral (
    select least(i.amount_due, coalesce(sum(p.amount) filter (where p.state in ('seen', 'reorged', 'final')), 0))
        as seen,
      least(i.amount_due, coalesce(sum(p.amount) filter (where p.state = 'final'), 0)) as final,
      count(*) > 0 as is_late, coalesce(bool_or(p.state = 'reorged'), false) as is_reorged
    from late_decision s join payment p on p.order_id = s.order_id where s.replacement_id = i.order_id
  ) t
  left join late_decision d on d.order_id = i.order_id and d.replacement_id is not null
  where i.order_id = any (p_order_ids)
$$;
revoke execute on function order_money from public;
grant execute on function order_money to app_api, app_worker, auditor;
comment on function order_money is
  'Money of orders: the sums of their outputs in base units, one row per order.';

-- What an assessment reads of an order: its states, the sums of its money (order_money) and its late decision.
-- replacement_id: the order that its late money paid. is_undecided: it expired, enough final money is there, and what
-- becomes of it is not decided yet (decide_late_money).
-- Locks: none; the caller holds the order row. Changes nothing.
create or replace function assessed_order(p_order_id uuid)
returns table (
  status text, payment_state text, cancel_reason text, hold text, flags text[], amount_due numeric, dust_floor numeric,
  seen numeric, final numeric, late_seen numeric, late_final numeric, accepted numeric, is_late boolean,
  is_reorged boolean, is_replaced boolean, replacement_id uuid, is_undecided boolean
)
language sql stable as $$
  select o.status, o.payment_state, o.cancel_reason, o.hold, o.payment_flags, m.amount_due, m.dust_floor, m.seen,
    m.final, m.late_seen, m.late_final, m.accepted, m.is_late, m.is_reorged, m.is_replaced, d.replacement_id,
    d.order_id is null and o.cancel_reason is not distinct from 'expired'
      and is_enough(m.final + m.late_final, m.amount_due)
  from orders o
  cross join lateral order_money(array[o.order_id]) m
  left join late_decision d on d.order_id = o.order_id
  where o.order_id = p_order_id
$$;
revoke execute on function assessed_order from public;
grant execute on function assessed_order to app_worker;
comment on function assessed_order is
  'What an assessment reads of an order: its states, the sums of its money (order_money) and its late decision.';

-- First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to. The caller
-- decides what that means and calls end_assessment in the same transaction.
-- p_step: null for the aftercare of a terminal order, which has no step to count; an open order is its own run's.
-- outcome: that of fence_step. outputs: how many had news, 500 at most, and 1 where late money is undecided; 0: nothing
-- to decide, and the step is done. The other columns: see assessed_order.
-- Locks: the order row FOR UPDATE, and for aftercare its replacement's, in order of id; then those of credit_payments.
-- Repeating it: the fence answers 'repeated'.
create or replace function begin_assessment(p_order_id uuid, p_generation int, p_step int)
returns table (
  outcome text, outputs int, status text, payment_state text, cancel_reason text, hold text, flags text[],
  amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric, late_final numeric,
  accepted numeric, is_late boolean, is_reorged boolean, is_replaced boolean, replacement_id uuid, is_undecided boolean,
  has_wrong_asset boolean, has_early boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text;
  v_credit record;
begin
  if p_step is null then
    perform 1 from orders o
    where o.order_id in (
      select p_order_id union all select d.replacement_id from late_decision d where d.order_id = p_order_id)
    order by o.order_id for update;
  end if;
  v_outcome := fence_step(p_order_id, p_generation, p_step);
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
  select v_outcome, greatest(v_credit.outputs, (p_step is null and a.is_undecided)::int), a.*, v_credit.has_wrong_asset,
    v_credit.has_early
  from assessed_order(p_order_id) a;
end
$$;
revoke execute on function begin_assessment from public;
grant execute on function begin_assessment to app_worker;
comment on function begin_assessment is
  'First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to.';

-- Late policy: why the late money of an expired order cannot buy it again; refusal is null where it can.
-- p_policy: {accepts, withinMs, driftBps, rateAgeMs}. Money counts that came within withinMs after the quote and its
-- grace. due_now: what the same lines cost at today's prices and today's rate, which may differ from the amount due by
-- driftBps / 10,000. A rate older than rateAgeMs is unknown.
-- Locks: none; the caller holds the order row and the stock rows, so that prices and stock stay. Changes nothing.
create or replace function late_refusal(p_order_id uuid, p_policy jsonb)
returns table (refusal text, rate numeric, due_now numeric)
language sql stable as $$
  select case
      when not (p_policy ->> 'accepts')::boolean then 'policy'
      when o.hold <> 'none' then 'on_hold'
      when o.payment_state in ('refunding', 'partially_refunded', 'refunded') then 'refund_begun'
      when not is_enough(m.amount, i.amount_due) then 'too_late'
      when not n.is_sold then 'product_gone'
      when q.rate is null then 'rate_unknown'
      when abs(n.due - i.amount_due) * 10000 > i.amount_due * (p_policy ->> 'driftBps')::int then 'price_moved'
      when not n.fits then 'out_of_stock' end,
    q.rate, n.due
  from orders o
  join invoice i on i.order_id = o.order_id
  join currency c on c.currency = i.asset
  cross join lateral (
    select coalesce(sum(p.amount), 0) as amount from payment p
    where p.order_id = o.order_id and p.state = 'final' and p.first_seen_at <= i.expires_at + i.grace
      + make_interval(secs => (p_policy ->> 'withinMs')::bigint / 1000.0)) m
  left join asset_rate q on q.asset = i.asset and q.currency = o.currency
    and q.at > clock_timestamp() - make_interval(secs => (p_policy ->> 'rateAgeMs')::bigint / 1000.0)
  cross join lateral (
    select bool_and(p.is_active and p.currency = o.currency) as is_sold,
      quote_due(sum(l.quantity * p.unit_price), q.rate, c.decimals) as due,
      bool_and(s.on_hand - s.reserved >= l.quantity) as fits
    from (select x.product_id, sum(x.quantity) as quantity from order_line x where x.order_id = o.order_id group by 1) l
    join product p on p.product_id = l.product_id join stock s on s.product_id = l.product_id) n
  where o.order_id = p_order_id
$$;
revoke execute on function late_refusal from public;
grant execute on function late_refusal to app_worker;
comment on function late_refusal is
  'Late policy: why the late money of an expired order cannot buy it again; refusal is null where it can.';

-- Late acceptance: makes the order that replaces an expired one, with its lines, prices and rate, a payment address of
-- its own and the start of its workflow, and records the decision. The payments stay with the expired order.
-- Returns the id of the new order. It is pending: the caller takes its stock and pays it in the same transaction.
-- Locks: the caller holds the row of the expired order; here a free address, which is skipped where it is locked.
-- Errors: HF046 when the order did not expire, has not enough final money, or no address is free. 23505 (unique
-- violation) when it was decided before.
-- Runs as the owner: no other role may make an order without a call of its customer.
create or replace function open_replacement(p_order_id uuid, p_rate numeric, p_due_now numeric) returns uuid
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_id uuid := gen_random_uuid();
  v_address text;
begin
  if not exists (select from assessed_order(p_order_id) a where a.is_undecided) then
    raise exception 'late_decision: this order has no late money to decide on' using errcode = 'HF046';
  end if;
  update address_pool p set leased_by = 'system:replacement', leased_at = clock_timestamp()
  from (
    select f.network, f.address from address_pool f join invoice i on i.network = f.network and i.asset = f.asset
    where i.order_id = p_order_id and f.leased_at is null
    order by f.pool_no limit 1 for update of f skip locked) free
  where (p.network, p.address) = (free.network, free.address)
  returning p.address into v_address;
  if v_address is null then
    raise exception 'late_decision: no payment address is free' using errcode = 'HF046';
  end if;

  insert into orders (order_id, user_id, currency, total, address_sealed)
  select v_id, o.user_id, o.currency, o.total, o.address_sealed from orders o where o.order_id = p_order_id;
  insert into order_line (order_id, line_no, product_id, product_version, name, quantity, unit_price)
  select v_id, l.line_no, l.product_id, l.product_version, l.name, l.quantity, l.unit_price
  from order_line l where l.order_id = p_order_id;
  -- Nothing is to be paid at the new address: its quote ends at once.
  insert into invoice (
    order_id, network, asset, address, amount_due, rate, expires_at, grace, confirm_within, created_at)
  select v_id, i.network, i.asset, v_address, i.amount_due, i.rate, n.now + interval '1 millisecond', interval '0',
    i.confirm_within, n.now
  from invoice i cross join (select clock_timestamp() as now) n where i.order_id = p_order_id;
  insert into workflow_start (order_id, quote_ends_at, urgency)
  select i.order_id, i.expires_at, 0 from invoice i where i.order_id = v_id;
  insert into late_decision (order_id, replacement_id, rate, due_now) values (p_order_id, v_id, p_rate, p_due_now);
  return v_id;
end
$$;
revoke execute on function open_replacement from public;
grant execute on function open_replacement to app_worker;
comment on function open_replacement is
  'Late acceptance: makes the order that replaces an expired one, with its lines, prices and rate, a payment'
  ' address of its own and the start of its workflow, and records the decision.';

-- Late decision: exactly one of a paid replacement order or money that is owed back, for an expired order with enough
-- final money. p_policy: see late_refusal.
-- Result: the refusal, null where the money was accepted; and the new order, null where it was not.
-- Locks: the caller holds the row of the expired order (begin_assessment); here stock rows FOR NO KEY UPDATE, by
-- product_id, then new rows and those of open_replacement.
-- Race closed: two assessments, or a decision and its repeat. late_decision has one row per order.
-- Errors: those of open_replacement; HF046 when stock that was free under its lock is not. Repeating it: 23505.
create or replace function decide_late_money(p_order_id uuid, p_policy jsonb)
returns table (refusal text, replacement_id uuid)
language plpgsql as $$
#variable_conflict use_column
declare
  v_rate numeric;
  v_due_now numeric;
begin
  perform 1 from stock where product_id in (select product_id from order_line where order_id = p_order_id)
  order by product_id for no key update;
  select r.refusal, r.rate, r.due_now into refusal, v_rate, v_due_now from late_refusal(p_order_id, p_policy) r;
  if refusal is not null then
    insert into late_decision (order_id, refusal, rate, due_now) values (p_order_id, refusal, v_rate, v_due_now);
    return next;
    return;
  end if;
  replacement_id := open_replacement(p_order_id, v_rate, v_due_now);
  perform take_stock(replacement_id);
  update reservation r set state = 'committed' where r.order_id = replacement_id;
  if not found then
    raise exception 'late_decision: the stock was free under its lock' using errcode = 'HF046';
  end if;
  update orders o set status = 'processing', payment_state = 'paid', payment_flags = array['late']
  where o.order_id = replacement_id;
  return next;
end
$$;
revoke execute on function decide_late_money from public;
grant execute on function decide_late_money to app_worker;
comment on function decide_late_money is
  'Late decision: exactly one of a paid replacement order or money that is owed back, for an expired order with'
  ' enough final money.';

-- Ends pending or processing orders without shipping them, with all that follows: status, holds, stock, ledger, refunds
-- due, retirement of the payment key, and a wake where the payment missed its confirm deadline, or where the money is
-- enough but late, so that aftercare decides on it.
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
  v_late uuid[] := '{}';
begin
  if p_reason = 'expired' then
    v_slow := array(
      select o.order_id from orders o where o.order_id = any (p_order_ids) and o.payment_state = 'confirming');
    v_late := array(
      select m.order_id from order_money(p_order_ids) m where is_enough(m.final + m.late_final, m.amount_due));
  end if;

  update orders o set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when m.final + m.late_final > m.dust_floor then 'unresolved'
      when m.seen + m.late_seen > m.final + m.late_final then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = array(
      select flag from (
        select unnest(o.payment_flags) except select 'under'
        union select 'under' where m.seen + m.late_seen > 0 and not is_enough(m.seen + m.late_seen, m.amount_due)
        union select 'slow_confirm' where o.order_id = any (v_slow)) f (flag)
      order by flag collate "C")
  from order_money(p_order_ids) m
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
  select m.order_id, m.asset, m.final + m.late_final from order_money(p_order_ids) m
  where m.final + m.late_final > m.dust_floor
  on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp();

  insert into key_retire (order_id, network, address)
  select order_id, network, address from invoice where order_id = any (p_order_ids) on conflict do nothing;

  if cardinality(v_slow || v_late) > 0 then
    perform request_wake(array(select distinct unnest(v_slow || v_late)));
  end if;
end
$$;
revoke execute on function end_orders from public;
grant execute on function end_orders to app_worker;
comment on function end_orders is
  'Ends pending or processing orders without shipping them, with all that follows: status, holds, stock, ledger,'
  ' refunds due, retirement of the payment key, and a wake where the payment missed its confirm deadline, or where'
  ' the money is enough but late, so that aftercare decides on it.';

-- Whether an order may be cancelled, shipped or delivered as it is now. p_command, p_input: see command_order.
-- Nothing is shipped that is on hold or not paid, or while there is news, its own or of the order that it replaces: it
-- may say that the money is gone.
-- isReapplied: a run that was reset is given its commands again. Such a command only gets the answer it got when it was
-- done. Locks: the caller holds the order row. Changes nothing.
create or replace function is_command_legal(p_order_id uuid, p_command text, p_input jsonb) returns boolean
language sql stable as $$
  select coalesce((p_input ->> 'expectedVersion')::bigint = o.version, true)
    and not coalesce((p_input ->> 'isReapplied')::boolean, false)
    and exists (
      select from order_transition t
      where t.from_status = o.status and t.to_status = command_target(p_command) and t.role = p_input ->> 'role')
    and (p_command <> 'ship' or o.hold = 'none' and o.payment_state = 'paid'
      and not exists (
        select from payment_report r
        where not r.is_assessed and r.order_id in (
          select p_order_id union all select d.order_id from late_decision d where d.replacement_id = p_order_id)))
  from orders o where o.order_id = p_order_id
$$;
revoke execute on function is_command_legal from public;
grant execute on function is_command_legal to app_worker;
comment on function is_command_legal is
  'Whether an order may be cancelled, shipped or delivered as it is now.';

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
create or replace trigger late_decision_append_only before update or delete on late_decision
  for each row execute function refuse_rewriting();
comment on function refuse_rewriting is
  'Append-only guard: a trigger function that refuses any update, delete or truncate of history.';
