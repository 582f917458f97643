-- Several sources, and a circuit breaker per chain (D-5, D-9). From an amount on, money is final only once more
-- than one source agrees on it. A chain is suspended after a reorganisation below final blocks, until an operator
-- closes that, and while two sources contradict each other: no quotes are given, no order is paid, and none expires.
--
-- Locks: new tables and a view; functions are replaced, and a trigger is made on an empty table. Older processes: an
-- older worker calls functions with other results. It retries each assessment until it is replaced.

create table source_rule (
  asset text not null constraint source_rule_asset_fk references currency on delete restrict,
  since timestamptz not null default clock_timestamp() constraint source_rule_since_finite check (isfinite(since)),
  sources smallint not null constraint source_rule_sources_range check (sources between 1 and 5),
  above numeric(78, 0) not null constraint source_rule_above_not_negative check (above >= 0),
  reason text not null constraint source_rule_reason_length check (char_length(reason) between 1 and 200),
  constraint source_rule_pk primary key (asset, since)
);
comment on table source_rule is
  'How many sources must agree before money is final, for orders made since then and amounts above a limit in base '
  'units. Without a row: one. Append-only: an order keeps the rule it was made under.';
select audit_watch('source_rule', 'source_rule', null);
grant select on source_rule to app_api, app_worker, auditor;

create table source_doubt (
  network text not null constraint source_doubt_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
  tx_id text not null constraint source_doubt_tx_length check (char_length(tx_id) between 64 and 88),
  output_index integer not null constraint source_doubt_output_not_negative check (output_index >= 0),
  order_id uuid not null constraint source_doubt_order_fk references orders on delete restrict,
  kind text not null constraint source_doubt_kind check (kind in ('lone', 'differing')),
  since timestamptz not null default clock_timestamp() constraint source_doubt_since_finite check (isfinite(since)),
  constraint source_doubt_pk primary key (network, tx_id, output_index)
);
comment on table source_doubt is
  'Outputs on which the sources do not agree now. lone: fewer call it final than must. differing: they contradict each '
  'other. A row goes once they agree.';
insert into audit_scope (table_name, reason) values
  ('source_doubt', 'follows from payment_report, which is audited');
create index source_doubt_differing on source_doubt (network) where kind = 'differing';
grant select on source_doubt to app_api, app_worker, auditor;
grant insert, delete, update (kind, since) on source_doubt to app_worker;

create table chain_suspension (
  suspension_no bigint generated always as identity constraint chain_suspension_pk primary key,
  network text not null constraint chain_suspension_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
  opened_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz -- null: open
    constraint chain_suspension_closed_finite check (isfinite(closed_at)),
  reason text -- null: open
    constraint chain_suspension_reason_length check (char_length(reason) between 1 and 200),
  constraint chain_suspension_closed_whole check ((closed_at is null) = (reason is null))
);
comment on table chain_suspension is
  'Reorganisations below final blocks. While a row is open, the network is suspended; an operator closes it.';
comment on column chain_suspension.closed_at is 'When an operator closed it; null: open.';
comment on column chain_suspension.reason is 'Why it was closed; null: open.';
create unique index chain_suspension_open on chain_suspension (network) where closed_at is null;
select audit_watch('chain_suspension', 'chain_suspension', null);
grant select on chain_suspension to watcher, app_api, app_worker, auditor;
grant insert (network), update (closed_at, reason) on chain_suspension to watcher;

create table suspended_order (
  order_id uuid constraint suspended_order_pk primary key
    constraint suspended_order_order_fk references orders on delete restrict,
  network text not null constraint suspended_order_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
  since timestamptz not null default clock_timestamp()
    constraint suspended_order_since_finite check (isfinite(since)),
  woken_at timestamptz -- null: the network is suspended
    constraint suspended_order_woken_finite check (isfinite(woken_at))
);
comment on table suspended_order is
  'Orders with enough final money that wait for the end of a suspension. A row goes with the order''s next assessment.';
comment on column suspended_order.woken_at is 'When the assessment was asked for; null: not yet.';
insert into audit_scope (table_name, reason) values
  ('suspended_order', 'is a queue; the change of the order that follows is audited');
create index suspended_order_waiting on suspended_order (network) where woken_at is null;
grant select on suspended_order to app_api, app_worker, auditor;
grant insert (order_id, network), delete, update (woken_at) on suspended_order to app_worker;

drop function begin_assessment;
drop function present_output;
drop function fresh_outputs;

-- Functions as migrations/function has them: present_output, fresh_outputs, credit_payments, suspended_network,
-- suspend_order, begin_assessment, expirable, guard_chain_operator, refuse_rewriting, require_sources, resume_orders,
-- retire_source.

-- Quorum view of one output: what its sources together say of it now; all columns null when it has no report.
-- Of the sources' last words the least favourable wins (replaced, dropped, reorged), unless it is more than a day older
-- than the newest word. If none is unfavourable, the output is final once one source has it final, or as many agree on
-- asset and amount as the order needs (source_rule). Retired sources do not count while there are others.
-- first_seen_at: the earliest sighting, which decides what is late. last_first_seen_at: the latest, for what is too
-- early. doubt: 'differing' where sources contradict each other, 'lone' where too few call it final, else null.
-- Locks: none. Changes nothing.
create or replace function present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index int)
returns table (
  asset text, amount numeric, state text, first_seen_at timestamptz, last_first_seen_at timestamptz, doubt text
)
language sql stable as $$
  with said as (
    select distinct on (r.source) r.source, r.asset, r.amount, r.state, r.first_seen_at, r.received_at, r.report_no,
      case r.state when 'replaced' then 0 when 'dropped' then 1 when 'reorged' then 2 else 3 end as favour
    from payment_report r
    where r.order_id = p_order_id and r.network = p_network and r.tx_id = p_tx_id and r.output_index = p_output_index
    order by r.source, r.seq desc
  ), active as (
    select s.* from said s where not exists (select from retired_source x where x.source = s.source)
  ), word as (
    select * from active
    union all select * from said where not exists (select from active)
  ), fresh as (
    select * from word where favour = 3 or received_at > (select max(w.received_at) from word w) - interval '1 day'
  ), chosen as (
    select f.* from fresh f order by f.favour, f.state = 'final' desc, f.amount, f.report_no desc limit 1
  ), agreed as (
    select count(*) filter (where f.state = 'final' and (f.asset, f.amount) = (c.asset, c.amount)) as sources,
      coalesce(bool_or((f.asset, f.amount) <> (c.asset, c.amount)), false)
        or min(f.favour) < 3 and coalesce(bool_or(f.state = 'final'), false) as is_differing
    from fresh f cross join chosen c
  ), needed as (
    select coalesce((
      select case when greatest(i.amount_due, (select c.amount from chosen c)) > r.above then r.sources end
      from invoice i join source_rule r on r.asset = i.asset and r.since <= i.created_at
      where i.order_id = p_order_id order by r.since desc limit 1), 1) as sources
  )
  select (select c.asset from chosen c), (select c.amount from chosen c),
    (select case when c.state = 'final' and a.sources < n.sources then 'seen' else c.state end from chosen c),
    (select min(w.first_seen_at) from word w), (select max(w.first_seen_at) from word w),
    case when a.is_differing then 'differing' when a.sources between 1 and n.sources - 1 then 'lone' end
  from agreed a cross join needed n
$$;
revoke execute on function present_output from public;
grant execute on function present_output to app_api, app_worker, auditor;
comment on function present_output is
  'Quorum view of one output: what its sources together say of it now; all columns null when it has no report.';

-- Inbox: the oldest p_limit outputs of an order that have news (null: all), as their sources have them now.
-- is_early: seen before the order was made, less the chain's clock tolerance. is_in_time: neither that, nor after the
-- quote and its grace. report_nos: the numbers of the news. doubt: see present_output.
-- Locks: none. Changes nothing.
create or replace function fresh_outputs(p_order_id uuid, p_limit int)
returns table (
  network text, tx_id text, output_index int, asset text, amount numeric, state text, first_seen_at timestamptz,
  is_right_asset boolean, is_early boolean, is_in_time boolean, report_nos bigint[], doubt text
)
language sql stable as $$
  select f.network, f.tx_id, f.output_index, p.asset, p.amount, p.state, p.first_seen_at, p.asset = i.asset, t.is_early,
    not t.is_early and p.first_seen_at <= i.expires_at + i.grace, f.report_nos, p.doubt
  from (
    select r.network, r.tx_id, r.output_index, array_agg(r.report_no) as report_nos from payment_report r
    where r.order_id = p_order_id and not r.is_assessed
    group by 1, 2, 3 order by min(r.report_no) limit p_limit
  ) f
  cross join lateral present_output(p_order_id, f.network, f.tx_id, f.output_index) p
  join invoice i on i.order_id = p_order_id
  join currency c on c.currency = i.asset
  cross join lateral (select p.last_first_seen_at < i.created_at - c.clock_tolerance as is_early) t
$$;
revoke execute on function fresh_outputs from public;
grant execute on function fresh_outputs to app_api, app_worker;
comment on function fresh_outputs is
  'Inbox: the oldest p_limit outputs of an order that have news (null: all), as their sources have them now.';

-- Credits up to p_limit outputs that have news to an order, and marks that news as assessed.
-- Result: how many outputs; whether one was in the wrong asset; whether one was older than the order. An output that is
-- older than its order is no payment of it: it stays in the inbox (unattributed_output).
-- What its sources do not agree on is in source_doubt until they do.
-- Locks: the caller holds the order row; here payments, doubts and reports.
-- Race closed: a wrong report claims an output for two orders. The primary key gives it to one of them.
-- Repeating it is harmless: what is assessed is no news.
create or replace function credit_payments(p_order_id uuid, p_limit int)
returns table (outputs int, has_wrong_asset boolean, has_early boolean)
language sql as $$
  with present as materialized (
    select * from fresh_outputs(p_order_id, p_limit)
  ), credited as (
    insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
    select p.network, p.tx_id, p.output_index, p_order_id, p.asset, p.amount, p.state, p.is_in_time, p.first_seen_at
    from present p
    where p.is_right_asset and (not p.is_early or exists (
      select from payment y where (y.network, y.tx_id, y.output_index) = (p.network, p.tx_id, p.output_index)))
    on conflict (network, tx_id, output_index) do update
      set amount = excluded.amount, state = excluded.state, is_in_time = excluded.is_in_time
    where payment.order_id = excluded.order_id
      and (payment.amount, payment.state, payment.is_in_time)
        is distinct from (excluded.amount, excluded.state, excluded.is_in_time)
  ), doubted as (
    insert into source_doubt (network, tx_id, output_index, order_id, kind)
    select p.network, p.tx_id, p.output_index, p_order_id, p.doubt from present p where p.doubt is not null
    on conflict (network, tx_id, output_index) do update
      set kind = excluded.kind, since = clock_timestamp() where source_doubt.kind <> excluded.kind
  ), agreed as (
    delete from source_doubt d using present p
    where (d.network, d.tx_id, d.output_index) = (p.network, p.tx_id, p.output_index) and p.doubt is null
  ), assessed as (
    -- By their numbers: joined to the outputs, all that the order has unassessed would be gone through for each.
    update payment_report r set is_assessed = true
    where r.report_no = any (array(select unnest(p.report_nos) from present p))
  )
  select count(*)::int, coalesce(bool_or(not is_right_asset), false),
    coalesce(bool_or(is_right_asset and is_early), false)
  from present
$$;
revoke execute on function credit_payments from public;
grant execute on function credit_payments to app_worker;
comment on function credit_payments is
  'Credits up to p_limit outputs that have news to an order, and marks that news as assessed.';

-- Circuit breaker per chain: the networks that are suspended now, and why. deep_reorg: a reorganisation below final
-- blocks, open until an operator closes it. sources_differ: two sources contradict each other about an output, which
-- ends when they agree or one is retired.
create or replace view suspended_network as
select s.network, 'deep_reorg' as cause, s.opened_at as since from chain_suspension s where s.closed_at is null
union all
select d.network, 'sources_differ', min(d.since) from source_doubt d where d.kind = 'differing' group by d.network;
grant select on suspended_network to app_api, app_worker, auditor;
comment on view suspended_network is
  'Circuit breaker per chain: the networks that are suspended now, and why.';

-- Circuit breaker, for one order in an assessment: 'suspended' while its network is suspended; 'resumed' when it waited
-- for the end of that; else 'free'. p_is_held: the caller holds the order row, and the order may be noted as waiting.
-- An order waits that has enough final money and is pending, or expired without a decision on its late money.
-- Locks: the row of suspended_order. Repeating it: an order that waits stays so, and one is resumed once.
create or replace function suspend_order(p_order_id uuid, p_is_held boolean) returns text language plpgsql as $$
declare
  v_network text := (select i.network from invoice i where i.order_id = p_order_id);
begin
  if exists (select from suspended_network n where n.network = v_network) then
    if p_is_held then
      insert into suspended_order (order_id, network)
      select p_order_id, v_network from assessed_order(p_order_id) a
      where a.is_undecided or a.status = 'pending' and is_enough(a.final, a.amount_due)
      on conflict (order_id) do update set woken_at = null where suspended_order.woken_at is not null;
    end if;
    return 'suspended';
  end if;
  if p_is_held then
    delete from suspended_order s where s.order_id = p_order_id;
    if found then
      return 'resumed';
    end if;
  end if;
  return 'free';
end
$$;
revoke execute on function suspend_order from public;
grant execute on function suspend_order to app_worker;
comment on function suspend_order is
  'Circuit breaker, for one order in an assessment: ''suspended'' while its network is suspended; ''resumed'''
  ' when it waited for the end of that; else ''free''.';

-- First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to. The caller
-- decides what that means and calls end_assessment in the same transaction.
-- p_step: null for the aftercare of a terminal order, which has no step to count; an open order is its own run's.
-- outcome: that of fence_step. outputs: how many had news, 500 at most, and 1 where late money is undecided or a
-- suspension is over; 0: nothing to decide. is_suspended: the order may not become paid now (suspend_order). The other
-- columns: see assessed_order.
-- Locks: the order row FOR UPDATE, and for aftercare its replacement's, in order of id; then those of credit_payments.
-- Repeating it: the fence answers 'repeated'.
create or replace function begin_assessment(p_order_id uuid, p_generation int, p_step int)
returns table (
  outcome text, outputs int, status text, payment_state text, cancel_reason text, hold text, flags text[],
  amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric, late_final numeric,
  accepted numeric, is_late boolean, is_reorged boolean, is_replaced boolean, replacement_id uuid, is_undecided boolean,
  has_wrong_asset boolean, has_early boolean, is_suspended boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text;
  v_credit record;
  v_suspension text;
  v_is_own boolean := false;
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
    v_is_own := (select is_terminal(o.status) from orders o where o.order_id = p_order_id) = (p_step is null);
    if v_is_own and (p_step is null or exists (select from reservation r where r.order_id = p_order_id)) then
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
  v_suspension := suspend_order(p_order_id, v_is_own);
  return query
  select v_outcome,
    greatest(v_credit.outputs, (v_suspension = 'resumed' or p_step is null and v_is_own and a.is_undecided)::int),
    a.*, v_credit.has_wrong_asset, v_credit.has_early, v_suspension = 'suspended'
  from assessed_order(p_order_id) a;
end
$$;
revoke execute on function begin_assessment from public;
grant execute on function begin_assessment to app_worker;
comment on function begin_assessment is
  'First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to.';

-- Orders that may expire now: the one condition for workflow, sweeper and reclaim (design rule 2).
-- Paid in time is never given away. The end is that of the quote and its grace, or that of the hold where a payment
-- seen in time extended it: the confirm deadline. The chain must have been read past the end, and no report may be
-- unassessed.
-- Nothing expires while its network is suspended, and no order that a suspension kept from being paid.
-- Where balances are compared, that of the order's address was read after the end; and what no transfer explains, such
-- as coins sent by a contract, is not enough together with what came in time.
-- Takes no lock: it only says which orders to ask for; expire_due asks again under the lock.
create or replace view expirable as
select o.order_id
from orders o
join invoice i on i.order_id = o.order_id
join chain_status c on c.network = i.network
cross join lateral (
  select greatest(i.expires_at + i.grace, (
    select max(r.expires_at) from reservation r where r.order_id = o.order_id and r.state = 'held')) as at
) ends
where o.status = 'pending'
  and o.payment_state in ('awaiting', 'partial', 'confirming')
  and ends.at <= clock_timestamp()
  and c.caught_up_at > ends.at
  and not exists (select from suspended_network n where n.network = i.network)
  and not exists (select from suspended_order s where s.order_id = o.order_id)
  and not exists (select from payment_report r where r.order_id = o.order_id and not r.is_assessed)
  and (not c.compares_balances or exists (
    select from chain_balance b
    where b.network = i.network and b.address = i.address and b.checked_at > ends.at and (
      b.unexplained = 0 or not is_enough(b.unexplained + coalesce((
        select sum(p.amount) from payment p
        where p.order_id = o.order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0),
        i.amount_due))));
grant select on expirable to app_api, app_worker, auditor;
comment on view expirable is
  'Orders that may expire now: the one condition for workflow, sweeper and reclaim (design rule 2).';

-- Guard of chain operations: a trigger function that lets the watcher's role note an operation in an operator's name
-- only.
-- Error: HF022 when the actor of the transaction is not an operator.
create or replace function guard_chain_operator() returns trigger language plpgsql as $$
declare
  v_actor jsonb := nullif(current_setting('holdfast.actor', true), '')::jsonb;
begin
  if v_actor ->> 'role' is distinct from 'admin' or coalesce(v_actor ->> 'actor', '') !~ '^operator:.' then
    raise exception 'chain_operation: only an operator operates a chain' using errcode = 'HF022';
  end if;
  return new;
end
$$;
revoke execute on function guard_chain_operator from public;

create or replace trigger chain_operation_guard_operator before insert on chain_operation
  for each row when (current_user = 'watcher') execute function guard_chain_operator();
create or replace trigger chain_suspension_guard_close before update on chain_suspension
  for each row when (current_user = 'watcher') execute function guard_chain_operator();
comment on function guard_chain_operator is
  'Guard of chain operations: a trigger function that lets the watcher''s role note an operation in an'
  ' operator''s name only.';

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
create or replace trigger source_rule_append_only before update or delete on source_rule
  for each row execute function refuse_rewriting();
comment on function refuse_rewriting is
  'Append-only guard: a trigger function that refuses any update, delete or truncate of history.';

-- Quorum: sets how many sources must agree before money is final, for orders made from now on whose amount due, or an
-- output of theirs, is above p_above base units. For operators.
-- Locks: a new row. Repeating it adds the same rule again.
create or replace function require_sources(p_asset text, p_sources int, p_above numeric, p_reason text) returns void
language sql as $$
  insert into source_rule (asset, sources, above, reason) values (p_asset, p_sources, p_above, p_reason)
$$;
revoke execute on function require_sources from public;
comment on function require_sources is
  'Quorum: sets how many sources must agree before money is final, for orders made from now on whose amount due,'
  ' or an output of theirs, is above p_above base units.';

-- Circuit breaker: asks for the assessment of up to p_limit orders that waited for the end of a suspension.
-- Returns how many.
-- Locks: the rows of suspended_order; locked ones are skipped. Then those of request_wake. Repeating it is harmless:
-- each order is woken once.
create or replace function resume_orders(p_limit int) returns int language plpgsql as $$
declare
  v_order_ids uuid[];
begin
  with free as (
    select s.order_id from suspended_order s
    where s.woken_at is null and not exists (select from suspended_network n where n.network = s.network)
    order by s.order_id limit p_limit for update of s skip locked
  ), woken as (
    update suspended_order s set woken_at = clock_timestamp() from free f where s.order_id = f.order_id
    returning s.order_id
  )
  select coalesce(array_agg(w.order_id), '{}') into v_order_ids from woken w;
  perform request_wake(v_order_ids);
  return cardinality(v_order_ids);
end
$$;
revoke execute on function resume_orders from public;
grant execute on function resume_orders to app_worker;
comment on function resume_orders is
  'Circuit breaker: asks for the assessment of up to p_limit orders that waited for the end of a suspension.';

-- Retires a source of reports: from now on its word does not stand against others, and orders it stood against, or
-- about which it did not agree with another source, are assessed again. For operators. Returns how many orders.
-- Locks: the new row of retired_source, where a concurrent call for the same source waits; the order rows FOR NO KEY
-- UPDATE, in order of id; then reports and wakes.
-- Error: 23505 (unique violation) when the source is retired already.
create or replace function retire_source(p_source text, p_reason text) returns int language plpgsql as $$
declare
  v_order_ids uuid[];
begin
  insert into retired_source (source, reason) values (p_source, p_reason);
  v_order_ids := array(
    select distinct r.order_id from payment_report r
    where r.source = p_source and r.order_id is not null and (r.state in ('reorged', 'dropped', 'replaced')
      or exists (
        select from source_doubt d
        where (d.network, d.tx_id, d.output_index) = (r.network, r.tx_id, r.output_index)))
    order by 1);
  perform 1 from orders o where o.order_id = any (v_order_ids) order by o.order_id for no key update;
  update payment_report r set is_assessed = false
  where r.order_id = any (v_order_ids) and r.source = p_source and r.is_assessed
    and (r.state in ('reorged', 'dropped', 'replaced')
      or exists (
        select from source_doubt d
        where (d.network, d.tx_id, d.output_index) = (r.network, r.tx_id, r.output_index)));
  perform request_wake(v_order_ids);
  return cardinality(v_order_ids);
end
$$;
revoke execute on function retire_source from public;
comment on function retire_source is
  'Retires a source of reports: from now on its word does not stand against others, and orders it stood against,'
  ' or about which it did not agree with another source, are assessed again.';
