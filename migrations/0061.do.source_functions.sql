-- Who must have read a network before an order of it expires, and what suspends it, now that a network has several
-- sources. An order expires once as many active sources as its money needs have read past its end: a stopped source
-- that is not needed holds back nothing. Two sources with another final block at one height suspend their network.
--
-- Locks: none but those of new functions and views. Older processes call the same functions with the same results.
--
-- Functions as migrations/function has them: active_source, bind_source, required_sources, source_fork,
-- suspended_network, expirable, guard_chain_operation, present_output, settle_report.

-- Sources of each network that our watchers have and that are not retired, with how far they have read it.
-- caught_up_at: chain time up to which everything is read and delivered. confirmations: the depth at which its watcher
-- calls a transfer final; null: it has not said yet.
create or replace view active_source as
select c.network, c.source, c.settled_height, c.scanned_height, c.tip_asked_at, c.caught_up_at, c.compares_balances,
  c.confirmations
from chain_status c
where not exists (select from retired_source x where x.source = c.source);
grant select on active_source to app_api, app_worker, auditor;
comment on view active_source is
  'Sources of each network that our watchers have and that are not retired, with how far they have read it.';

-- Binds a database login to one source: from its next statement on it writes that source's rows and no others, whatever
-- its session sets. For operators, where each watcher has a login of its own.
-- Locks: the row of source_login. Repeating it is harmless.
create or replace function bind_source(p_login text, p_source text) returns void language sql as $$
  insert into source_login (login, source) values (p_login, p_source)
  on conflict (login) do update set source = excluded.source where source_login.source <> excluded.source
$$;
revoke execute on function bind_source from public;
comment on function bind_source is
  'Binds a database login to one source: from its next statement on it writes that source''s rows and no others,'
  ' whatever its session sets.';

-- Quorum: how many sources must agree before an output of p_amount base units is final money of an order, and must have
-- read its network before it expires (p_amount 0), by the rule that the order was made under (source_rule).
-- Locks: none. Changes nothing.
create or replace function required_sources(p_order_id uuid, p_amount numeric) returns int language sql stable as $$
  select coalesce((
    select case when greatest(i.amount_due, p_amount) > r.above then r.sources end
    from invoice i join source_rule r on r.asset = i.asset and r.since <= i.created_at
    where i.order_id = p_order_id order by r.since desc limit 1), 1)::int
$$;
revoke execute on function required_sources from public;
grant execute on function required_sources to app_api, app_worker, auditor;
comment on function required_sources is
  'Quorum: how many sources must agree before an output of p_amount base units is final money of an order, and'
  ' must have read its network before it expires (p_amount 0), by the rule that the order was made under'
  ' (source_rule).';

-- Pairs of active sources of a network that have another block at the highest height that is final for both: their
-- nodes are on different branches, or one of them lies. Blocks are linked, so that one height tells for all below it.
-- A source that is a thousand blocks behind is compared once it has caught up: older blocks are not kept.
create or replace view source_fork as
select a.network, a.source, b.source as other_source, h.height,
  coalesce(least(x.chain_time, y.chain_time), statement_timestamp()) as since
from active_source a
join active_source b on b.network = a.network and b.source > a.source
cross join lateral (select least(a.settled_height, b.settled_height) as height) h
join chain_block x on (x.network, x.source, x.height) = (a.network, a.source, h.height)
join chain_block y on (y.network, y.source, y.height) = (b.network, b.source, h.height)
where x.hash <> y.hash;
grant select on source_fork to app_api, app_worker, auditor;
comment on view source_fork is
  'Pairs of active sources of a network that have another block at the highest height that is final for both:'
  ' their nodes are on different branches, or one of them lies.';

-- Circuit breaker per chain: the networks that are suspended now, and why. deep_reorg: a reorganisation below final
-- blocks. nodes_differ: two nodes of a watcher have different final blocks. Both are open until an operator closes
-- them or retires the source whose watcher met them. sources_differ: two sources contradict each other about an output
-- or about a final block, until they agree or one is retired.
create or replace view suspended_network as
select s.network, s.cause, min(s.opened_at) as since
from chain_suspension s
where s.closed_at is null and not exists (select from retired_source x where x.source = s.source)
group by s.network, s.cause
union all
select d.network, 'sources_differ', min(d.since)
from (
  select o.network, o.since from source_doubt o where o.kind = 'differing'
  union all
  select f.network, f.since from source_fork f) d
group by d.network;
grant select on suspended_network to app_api, app_worker, auditor;
comment on view suspended_network is
  'Circuit breaker per chain: the networks that are suspended now, and why.';

-- Orders that may expire now: the one condition for workflow, sweeper and reclaim (design rule 2).
-- Paid in time is never given away. The end is that of the quote and its grace, or that of the hold where a payment
-- seen in time extended it: the confirm deadline. The chain must have been read past the end by as many active sources
-- as the order's money needs, and no report may be unassessed. A source that is not needed holds back nothing.
-- Nothing expires while its network is suspended, and no order that a suspension kept from being paid.
-- Where a source compares balances, it counts only once it has read that of the order's address after the end; and what
-- no transfer explains, such as coins sent by a contract, is not enough together with what came in time.
-- Takes no lock: it only says which orders to ask for; expire_due asks again under the lock.
create or replace view expirable as
select o.order_id
from orders o
join invoice i on i.order_id = o.order_id
cross join lateral (
  select greatest(i.expires_at + i.grace, (
    select max(r.expires_at) from reservation r where r.order_id = o.order_id and r.state = 'held')) as at
) ends
cross join lateral (
  select count(*) as sources, coalesce(max(b.unexplained) filter (where c.compares_balances), 0) as unexplained
  from active_source c
  left join chain_balance b on (b.network, b.source, b.address) = (c.network, c.source, i.address)
  where c.network = i.network and c.caught_up_at > ends.at and (not c.compares_balances or b.checked_at > ends.at)
) vouched
where o.status = 'pending'
  and o.payment_state in ('awaiting', 'partial', 'confirming')
  and ends.at <= clock_timestamp()
  and vouched.sources >= required_sources(o.order_id, 0)
  and not exists (select from suspended_network n where n.network = i.network)
  and not exists (select from suspended_order s where s.order_id = o.order_id)
  and not exists (select from payment_report r where r.order_id = o.order_id and not r.is_assessed)
  and (vouched.unexplained = 0 or not is_enough(vouched.unexplained + coalesce((
    select sum(p.amount) from payment p
    where p.order_id = o.order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0), i.amount_due));
grant select on expirable to app_api, app_worker, auditor;
comment on view expirable is
  'Orders that may expire now: the one condition for workflow, sweeper and reclaim (design rule 2).';

-- Guard of chain operations: a trigger function that refuses a change by the watcher's role that the same transaction
-- has not noted in chain_operation for the same source. The trigger's argument names the operation: start, rewind,
-- attribute or set_aside.
-- Error: HF022.
create or replace function guard_chain_operation() returns trigger language plpgsql as $$
declare
  v_operation text := tg_argv[0];
  v_new jsonb := to_jsonb(new);
  v_aside numeric;
begin
  if v_operation = 'set_aside' then
    -- An upsert shows its row as an insert first, even where one stands.
    v_aside := (v_new ->> 'set_aside')::numeric - coalesce((
      select b.set_aside from holdfast.chain_balance b
      where (b.network, b.source) = (new.network, new.source) and b.address = v_new ->> 'address'), 0);
    if v_aside <= 0 then
      return new;
    end if;
  end if;
  if not exists (
    select from holdfast.chain_operation o
    where (o.network, o.source) = (new.network, new.source) and o.operation = v_operation
      and o.xmin = pg_current_xact_id()::xid
      and case v_operation
      when 'start' then o.height = (v_new ->> 'start_height')::bigint
      when 'rewind' then o.height = (v_new ->> 'rewind_to')::bigint
      when 'attribute' then o.address = v_new ->> 'address' and o.amount = (v_new ->> 'amount')::numeric
      else o.address = v_new ->> 'address' and o.amount = v_aside end) then
    raise exception '%: the operation % is not noted', tg_table_name, v_operation using errcode = 'HF022';
  end if;
  return new;
end
$$;
revoke execute on function guard_chain_operation from public;

create or replace trigger chain_status_guard_start before update of start_height on chain_status
  for each row when (current_user = 'watcher' and new.start_height <> old.start_height)
  execute function guard_chain_operation('start');
create or replace trigger chain_status_guard_rewind before update of rewind_to on chain_status
  for each row when (current_user = 'watcher' and new.rewind_to is not null
    and new.rewind_to is distinct from old.rewind_to)
  execute function guard_chain_operation('rewind');
create or replace trigger chain_output_guard_attribute before insert on chain_output
  for each row when (current_user = 'watcher' and new.is_attributed)
  execute function guard_chain_operation('attribute');
create or replace trigger chain_balance_guard_aside before insert or update of set_aside on chain_balance
  for each row when (current_user = 'watcher' and new.set_aside > 0)
  execute function guard_chain_operation('set_aside');
comment on function guard_chain_operation is
  'Guard of chain operations: a trigger function that refuses a change by the watcher''s role that the same'
  ' transaction has not noted in chain_operation for the same source.';

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
    select required_sources(p_order_id, (select c.amount from chosen c)) as sources
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

-- Dead letters of a watcher: settles an output of the session's source (own_source), whose report was refused, or whose
-- last word in the shop is wrong.
-- p_decision: 'report_again' replaces the waiting reports of the output by its present state, under the next sequence
-- number that is free in the inbox; 'discard' deletes the waiting reports and drops the output until the watcher reads
-- its block again, so that nothing more is reported from what was refused.
-- Returns 'done', or 'unknown': no such output, or for discard no refused report of it.
-- Locks: the chain_status row, as each step of the watcher; then the output and its reports. Runs as the owner: the
-- watcher reads no inbox, and renumbers nothing by itself.
-- Errors: HF022 when the transaction has not noted the decision in chain_operation; P0001 for another decision.
-- Repeating report_again reports the same state once more, which changes nothing; repeating discard is 'unknown'.
create or replace function settle_report(p_network text, p_tx_id text, p_output_index int, p_decision text)
returns text language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_stored int;
  v_source text := own_source();
begin
  if p_decision not in ('report_again', 'discard') then
    raise exception 'chain_report: % is not a decision: report_again or discard', p_decision;
  end if;
  if not exists (
    select from chain_operation o
    where (o.network, o.source, o.operation, o.tx_id, o.output_index)
        = (p_network, v_source, p_decision, p_tx_id, p_output_index)
      and o.xmin = pg_current_xact_id()::xid) then
    raise exception 'chain_report: the operation % is not noted', p_decision using errcode = 'HF022';
  end if;
  perform 1 from chain_status c where (c.network, c.source) = (p_network, v_source) for no key update;
  if p_decision = 'discard' and not exists (
    select from chain_report r
    where (r.network, r.source, r.tx_id, r.output_index) = (p_network, v_source, p_tx_id, p_output_index)
      and r.refusals > 0)
  then
    return 'unknown';
  end if;
  select coalesce(max(r.seq), 0) into v_stored
  from payment_report r
  where (r.network, r.source, r.tx_id, r.output_index) = (p_network, v_source, p_tx_id, p_output_index);

  delete from chain_report r
  where (r.network, r.source, r.tx_id, r.output_index) = (p_network, v_source, p_tx_id, p_output_index);
  update chain_output o
  set state = case p_decision when 'discard' then 'dropped' else o.state end,
    seq = greatest(o.seq, v_stored) + case p_decision when 'discard' then 0 else 1 end
  where (o.network, o.source, o.tx_id, o.output_index) = (p_network, v_source, p_tx_id, p_output_index);
  if not found then
    return 'unknown';
  end if;
  if p_decision = 'report_again' then
    insert into chain_report (network, source, tx_id, output_index, seq, state, block_height, block_hash, first_seen_at)
    select o.network, o.source, o.tx_id, o.output_index, o.seq, o.state, o.block_height, o.block_hash, o.first_seen_at
    from chain_output o
    where (o.network, o.source, o.tx_id, o.output_index) = (p_network, v_source, p_tx_id, p_output_index);
  else
    -- Whether the money is there after all, the balance tells.
    update chain_balance b set checked_at = null
    from chain_output o
    where (o.network, o.source, o.tx_id, o.output_index) = (p_network, v_source, p_tx_id, p_output_index)
      and (b.network, b.source, b.address) = (o.network, o.source, o.address);
  end if;
  return 'done';
end
$$;
revoke execute on function settle_report from public;
grant execute on function settle_report to watcher;
comment on function settle_report is
  'Dead letters of a watcher: settles an output of the session''s source (own_source), whose report was refused,'
  ' or whose last word in the shop is wrong.';
