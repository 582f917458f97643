-- Money decided by the chain's time and by all sources, in bounded pieces. Found by a trial: late money was taken at the
-- old quote while the order happened to be open, money older than the order counted, «final» of one source outvoted the
-- «reorged» of another, 4,000 dust outputs made an order undecidable, a hold that was extended for a payment did not
-- keep its order from expiring, and the confirm deadline was never enforced. Columns with constant defaults: nothing is
-- rewritten. Functions with other results replace those of 0015 and 0022: a worker of the version before fails its step
-- with «undefined column» and tries again until it is replaced; nothing is lost meanwhile. One small index is made by a
-- read of all of orders, for which writes to it wait: some seconds with millions of orders.

-- What is not worth a refund, and how far a block's own time may lie from the true one.
alter table currency
  add column dust_floor numeric(78, 0) not null default 0
    constraint currency_dust_not_negative check (dust_floor >= 0),
  add column clock_tolerance interval not null default interval '0'
    constraint currency_clock_tolerance_range check (clock_tolerance between interval '0' and interval '1 day');
comment on table currency is 'Money the shop knows: fiat it prices in, coins it is paid in. dust_floor: base units up to which an excess is not owed back. clock_tolerance: how much earlier than an order its payment may have been seen. A test keeps both equal to ASSET_POLICY in src/domain/payment.ts.';
select audit_watch('currency', 'currency', null);
update currency c set dust_floor = v.dust, clock_tolerance = v.tolerance
from (values
  ('BTC', 546, interval '2 hours'), ('LTC', 5460, interval '2 hours'),
  ('ETH', 10000000000000, interval '1 minute'), ('SOL', 890880, interval '1 minute')) v (asset, dust, tolerance)
where c.currency = v.asset;

-- Reports of one outbox carry one name. Two watchers of a network under different names shared the outbox, so that each
-- source had half of every output's history. The first watcher claims the network; another name is refused at its start.
alter table chain_status
  add column source text constraint chain_status_source_shape check (source ~ '^[a-z0-9-]{1,63}$'); -- null: not claimed yet
grant update (source) on chain_status to watcher;

insert into payment_transition (from_state, to_state) values
  ('paid', 'reversed'), ('paid', 'late_confirming'), ('paid', 'cancelled'),
  ('reversed', 'paid'), ('reversed', 'at_risk'), ('reversed', 'late_confirming'), ('reversed', 'unresolved'), ('reversed', 'cancelled'),
  ('late_confirming', 'expired'), ('late_confirming', 'cancelled'),
  ('unresolved', 'expired'), ('unresolved', 'cancelled');

-- EXPIRY ------------------------------------------------------------------------------------------------------------

-- One condition for workflow, sweeper and reclaim (design rule 2). The end is that of the quote and its grace, or that
-- of the hold where a payment seen in time has extended it: the confirm deadline. The chain must have been read past it.
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
  and not exists (select from payment_report r where r.order_id = o.order_id and not r.is_assessed)
  -- Where balances are compared, that of its address was, at the end or later; and what no transfer explains would not be
  -- enough together with what came in time, such as coins sent by a contract.
  and (not c.compares_balances or exists (
    select from chain_balance b
    where b.network = i.network and b.address = i.address and b.checked_at > ends.at and (
      b.unexplained = 0 or (b.unexplained + coalesce((
        select sum(p.amount) from payment p
        where p.order_id = o.order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0)) * 1000 < i.amount_due * 999)));

-- As in 0009, but for what the payments of the order come to: dust is not owed back, a transfer that lost its block may
-- come back, and a payment that did not become final by its deadline is said to be slow. The order's workflow has no
-- timer for that deadline: it is woken.
create or replace function end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) returns void
language plpgsql as $$
declare
  v_slow uuid[] := '{}';
begin
  if p_reason = 'expired' then
    v_slow := array(select o.order_id from orders o where o.order_id = any (p_order_ids) and o.payment_state = 'confirming');
  end if;

  update orders o set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when m.final > m.dust_floor then 'unresolved'
      when m.waiting > 0 then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = case
      when p_reason <> 'expired' then o.payment_flags
      when o.payment_state = 'partial' and not o.payment_flags @> '{under}' then o.payment_flags || '{under}'::text[]
      when o.payment_state = 'confirming' and not o.payment_flags @> '{slow_confirm}' then o.payment_flags || '{slow_confirm}'::text[]
      else o.payment_flags end
  from (
    select i.order_id, c.dust_floor,
      coalesce(sum(p.amount) filter (where p.state = 'final'), 0) as final,
      coalesce(sum(p.amount) filter (where p.state in ('seen', 'reorged')), 0) as waiting
    from invoice i join currency c on c.currency = i.asset left join payment p on p.order_id = i.order_id
    where i.order_id = any (p_order_ids) group by 1, 2
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
    select product_id, order_id, hold_no, case p_end_state when 'expired' then 'expire' else 'release' end, 0, -quantity, p_actor
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
    perform want_wake(v_slow);
  end if;
end
$$;

-- As in 0015, but for the end of an extended hold, and for ends that lie further away than a timer of 2^31 ms can: who
-- waits that long asks again then.
create or replace function order_state(p_order_id uuid)
returns table (
  status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text, expires_in_ms int,
  has_unassessed boolean
)
language sql stable as $$
  select o.status, o.payment_state, o.hold, o.cancel_reason, o.version,
    coalesce((select r.state from reservation r where r.order_id = o.order_id order by r.hold_no desc limit 1), 'none'),
    least(2147483647, greatest(0, ceil(extract(epoch from greatest(i.expires_at + i.grace, (
      select max(r.expires_at) from reservation r where r.order_id = o.order_id and r.state = 'held')) - clock_timestamp()) * 1000)))::int,
    exists (select from payment_report p where p.order_id = o.order_id and not p.is_assessed)
  from orders o join invoice i on i.order_id = o.order_id where o.order_id = p_order_id
$$;

-- As in 0015, but nothing is shipped before all that watchers said of its payment is assessed: the inbox may already
-- hold that the money is gone.
create or replace function command_order(p_order_id uuid, p_generation int, p_step int, p_command text, p_input jsonb, p_actor text)
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
  v_target text := case p_command when 'cancel' then 'cancelled' when 'ship' then 'shipped' when 'deliver' then 'delivered' end;
  v_outcome text;
  v_order record;
begin
  perform set_config('holdfast.actor', p_actor, true);
  v_outcome := enter_step(p_order_id, p_generation, p_step);
  if v_outcome = 'entered' then
    select o.status, o.payment_state, o.hold, o.version into v_order from orders o where o.order_id = p_order_id;
    v_outcome := case
      when coalesce((p_input ->> 'expectedVersion')::bigint <> v_order.version, false)
        -- A run that was reset is given its commands once more: one that was refused when it was asked stays refused.
        or coalesce((p_input ->> 'askedAt')::timestamptz < clock_timestamp() - interval '5 minutes', false)
        or not exists (
          select from order_transition t
          where t.from_status = v_order.status and t.to_status = v_target and t.role = p_input ->> 'role')
        or p_command = 'ship' and (v_order.hold <> 'none' or v_order.payment_state <> 'paid'
          or exists (select from payment_report r where r.order_id = p_order_id and not r.is_assessed))
      then 'refused' else 'done' end;

    if v_outcome = 'done' then
      insert into idempotency (actor, method, key, request_hash, order_id, response)
      values (v_actor, v_method, v_key, v_hash, p_order_id,
        jsonb_build_object('status', v_target, 'version', v_order.version + 1))
      on conflict do nothing;
      if not found then
        v_outcome := 'IDEMPOTENCY_KEY_REUSED';
      elsif p_command = 'cancel' then
        perform end_orders(array[p_order_id], case p_input ->> 'role' when 'admin' then 'admin' else 'customer' end, 'released', v_actor);
      else
        update orders set status = v_target, generation = p_generation, step = p_step where order_id = p_order_id;
        if p_command = 'ship' then
          perform consume_stock(p_order_id, v_actor);
        else
          insert into key_retire (order_id, network, address)
          select order_id, network, address from invoice where order_id = p_order_id on conflict do nothing;
        end if;
      end if;
      -- Reports not yet assessed are aftercare's once the order has ended (design rule 15).
      if v_outcome = 'done' and p_command <> 'ship' then
        perform want_wake(array[p_order_id])
        where exists (select from payment_report where order_id = p_order_id and not is_assessed);
      end if;
    else
      -- A command that took effect moved the status, so only one that the status refuses can have been done before.
      v_outcome := coalesce((
        select case when k.request_hash = v_hash then 'repeated' else 'IDEMPOTENCY_KEY_REUSED' end
        from idempotency k where k.actor = v_actor and k.method = v_method and k.key = v_key), v_outcome);
    end if;
    -- Shipping and delivery have written the fence with the status.
    if v_outcome in ('refused', 'repeated') or v_outcome = 'done' and p_command = 'cancel' then
      update orders set generation = p_generation, step = p_step where order_id = p_order_id;
    end if;
  end if;
  return query
  select v_outcome,
    (select k.response from idempotency k
     where v_outcome in ('done', 'repeated') and k.actor = v_actor and k.method = v_method and k.key = v_key and k.request_hash = v_hash),
    s.* from order_state(p_order_id) s;
end
$$;

-- WHAT WATCHERS SAY -------------------------------------------------------------------------------------------------

-- Sources that report no more, or under another name now: what they said last would otherwise stand against the others.
create table retired_source (
  source text constraint retired_source_pk primary key constraint retired_source_shape check (source ~ '^[a-z0-9-]{1,63}$'),
  reason text not null constraint retired_source_reason_length check (char_length(reason) between 1 and 200),
  retired_at timestamptz not null default clock_timestamp()
);
comment on table retired_source is 'Sources whose words count only for outputs that no other source has spoken of. Written by retire_source.';
select audit_watch('retired_source', 'source', null);
grant select on retired_source to app_api, app_worker, auditor;

-- The present view of one output. Of its sources' last words the least favourable holds (replaced, dropped, reorged), for
-- paying as for shipping, unless it is more than a day older than the newest word about this output; where none is
-- unfavourable, the output is final once a source has it final. Times: the earliest sighting decides what is late, the
-- latest what is too early.
create function present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index int)
returns table (asset text, amount numeric, state text, first_seen_at timestamptz, last_first_seen_at timestamptz)
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
  )
  select (array_agg(f.asset order by f.favour, f.state = 'final' desc, f.report_no desc))[1],
    (array_agg(f.amount order by f.favour, f.state = 'final' desc, f.report_no desc))[1],
    (array_agg(f.state order by f.favour, f.state = 'final' desc))[1],
    (select min(w.first_seen_at) from word w), (select max(w.first_seen_at) from word w)
  from fresh f
$$;
comment on function present_output is 'What the sources of an output come to: asset, amount, state, and the earliest and latest first sighting.';

-- For operators: from now on a source's words no longer stand against those of others. What it said last of an output is
-- assessed once more.
create function retire_source(p_source text, p_reason text) returns int language plpgsql as $$
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
  perform want_wake(v_order_ids);
  return cardinality(v_order_ids);
end
$$;
comment on function retire_source is 'Retires a source and has the orders it stands against assessed once more; returns how many.';
revoke execute on function retire_source from public;

-- The oldest outputs of an order with news, and what each means for its invoice. is_early: seen before the order was
-- made, less the chain's clock tolerance; is_in_time: neither that nor after the quote and its grace.
create function fresh_outputs(p_order_id uuid, p_limit int)
returns table (
  network text, tx_id text, output_index int, asset text, amount numeric, state text, first_seen_at timestamptz,
  is_right_asset boolean, is_early boolean, is_in_time boolean, report_nos bigint[]
)
language sql stable as $$
  select f.network, f.tx_id, f.output_index, p.asset, p.amount, p.state, p.first_seen_at, p.asset = i.asset, t.is_early,
    not t.is_early and p.first_seen_at <= i.expires_at + i.grace, f.report_nos
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
comment on function fresh_outputs is 'At most so many outputs of an order that have news (null: all), as their sources have them now, and the numbers of that news.';

-- Whether enough was seen in time, news included: what was credited, but for outputs with news, and these.
create function is_enough_seen(p_order_id uuid) returns boolean language sql stable as $$
  with fresh as materialized (select * from fresh_outputs(p_order_id, null))
  select (
    coalesce((select sum(f.amount) from fresh f
      where f.is_right_asset and f.is_in_time and f.state in ('seen', 'reorged', 'final')), 0)
    + coalesce((select sum(p.amount) from payment p
      where p.order_id = p_order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')
        and (p.network, p.tx_id, p.output_index) not in (select f.network, f.tx_id, f.output_index from fresh f)), 0)
    ) * 1000 >= i.amount_due * 999
  from invoice i where i.order_id = p_order_id
$$;
comment on function is_enough_seen is 'Whether what was seen in time reaches the minimum that pays an order.';

-- As in 0015. The confirm deadline is set once, when enough is first seen: later reports do not move it.
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
  select count(*), coalesce(array_agg(distinct order_id) filter (where order_id is not null), '{}') into v_fresh, v_order_ids
  from fresh;

  if cardinality(v_order_ids) > 0 then
    -- One order at a time, so that its holds are found by its key: by an array of keys, an index of all holds of the shop
    -- looks as cheap to the planner.
    foreach v_order_id in array v_order_ids loop
      update reservation r set expires_at = greatest(r.expires_at, clock_timestamp() + i.confirm_within)
      from invoice i
      where i.order_id = v_order_id and r.order_id = v_order_id and r.state = 'held'
        and r.expires_at - i.grace <= i.expires_at and (select is_enough_seen(v_order_id));
    end loop;
    update workflow_start set urgency = 0 where order_id = any (v_order_ids) and urgency <> 0;
    perform want_wake(v_order_ids);
  end if;
  return v_fresh;
end
$$;

-- ASSESSMENT --------------------------------------------------------------------------------------------------------

drop function end_assessment, begin_assessment, credit_payments, present_outputs;

-- Race: an output claimed for two orders, by a wrong report, while both are assessed. The primary key lets one order
-- have it. Money that was there before the order is nobody's payment: it stays in the inbox (unattributed_output).
create function credit_payments(p_order_id uuid, p_limit int)
returns table (outputs int, has_wrong_asset boolean, has_early boolean)
language sql as $$
  with present as materialized (
    select * from fresh_outputs(p_order_id, p_limit)
  ), credited as (
    insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
    select p.network, p.tx_id, p.output_index, p_order_id, p.asset, p.amount, p.state, p.is_in_time, p.first_seen_at from present p
    where p.is_right_asset and (not p.is_early or exists (
      select from payment y where (y.network, y.tx_id, y.output_index) = (p.network, p.tx_id, p.output_index)))
    on conflict (network, tx_id, output_index) do update set state = excluded.state, is_in_time = excluded.is_in_time
    where payment.order_id = excluded.order_id and (payment.state, payment.is_in_time) is distinct from (excluded.state, excluded.is_in_time)
  ), assessed as (
    -- By their numbers: joined to the outputs, all that the order has unassessed would be gone through for each.
    update payment_report r set is_assessed = true
    where r.report_no = any (array(select unnest(p.report_nos) from present p))
  )
  select count(*)::int, coalesce(bool_or(not is_right_asset), false), coalesce(bool_or(is_right_asset and is_early), false)
  from present
$$;
comment on function credit_payments is 'Credits at most so many outputs that have news, and marks that news as assessed.';

-- The first half of an assessment; the caller decides what it means and ends it in the same transaction. An open
-- order is its own run's, one that has ended is its aftercare's, which has no step to count (null). Bounded: 500
-- outputs at a time are well within the limit of a statement; what is left shows as has_unassessed.
create function begin_assessment(p_order_id uuid, p_generation int, p_step int)
returns table (
  outcome text, outputs int, status text, payment_state text, cancel_reason text, hold text, flags text[], amount_due numeric,
  dust_floor numeric, seen numeric, final numeric, late_seen numeric, late_final numeric, is_late boolean,
  is_reorged boolean, is_replaced boolean, has_wrong_asset boolean, has_early boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text := enter_step(p_order_id, p_generation, p_step);
  v_credit record;
begin
  select 0 as outputs, false as has_wrong_asset, false as has_early into v_credit;
  if v_outcome = 'entered' then
    -- An order that never held stock is reserved first, and nothing is decided about its money before.
    if (select o.status in ('delivered', 'cancelled') from orders o where o.order_id = p_order_id) = (p_step is null)
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
  select v_outcome, v_credit.outputs, o.status, o.payment_state, o.cancel_reason, o.hold, o.payment_flags, i.amount_due, c.dust_floor,
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
comment on function begin_assessment is 'Locks an order, credits its inbox and says what its payments come to.';

-- The news it is about was marked by begin_assessment, in the same transaction. While there is more, the wake stays.
create function end_assessment(
  p_order_id uuid, p_generation int, p_step int, p_payment_state text, p_flags text[], p_status text, p_hold text, p_refund numeric
)
returns table (
  status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text, expires_in_ms int,
  has_unassessed boolean
)
language plpgsql as $$
#variable_conflict use_column
begin
  -- A status is written only where it moves: the database refuses a move to where the order already is.
  if p_status <> (select o.status from orders o where o.order_id = p_order_id) then
    update orders o set payment_state = p_payment_state, payment_flags = p_flags, hold = p_hold, status = p_status,
      generation = coalesce(p_generation, o.generation), step = coalesce(p_step, o.step)
    where o.order_id = p_order_id;
  else
    update orders o set payment_state = p_payment_state, payment_flags = p_flags, hold = p_hold,
      generation = coalesce(p_generation, o.generation), step = coalesce(p_step, o.step)
    where o.order_id = p_order_id;
  end if;
  if p_status = 'processing' then
    update reservation set state = 'committed' where order_id = p_order_id and state = 'held';
  elsif p_status = 'pending' then
    -- What had extended the hold is gone: the window's rule applies again. Not while there is more to assess: the report
    -- that extended it may be among that. What is found enough only now extends it.
    update reservation r set expires_at = case when p_payment_state = 'confirming'
      then greatest(r.expires_at, clock_timestamp() + i.confirm_within) else i.expires_at + i.grace end
    from invoice i
    where i.order_id = p_order_id and r.order_id = p_order_id and r.state = 'held' and case
      when p_payment_state = 'confirming' then r.expires_at - i.grace <= i.expires_at
      else r.expires_at - i.grace > i.expires_at
        and not exists (select from payment_report n where n.order_id = p_order_id and not n.is_assessed) end;
  end if;
  if p_refund > 0 or exists (select from refund_due d where d.order_id = p_order_id) then
    insert into refund_due (order_id, asset, amount) select order_id, asset, p_refund from invoice where order_id = p_order_id
    on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp()
    where refund_due.amount <> excluded.amount;
  end if;
  delete from order_wake where order_id = p_order_id
    and not exists (select from payment_report r where r.order_id = p_order_id and not r.is_assessed);
  return query select s.* from order_state(p_order_id) s;
end
$$;
comment on function end_assessment is 'Writes what an assessment decided and answers with the order''s state.';

-- Money at an address of the shop that no order has been credited with: to an unknown address, in another asset, or
-- older than its order. One row per output and source.
create view unattributed_output as
select r.source, r.network, r.tx_id, r.output_index, r.address, r.asset, r.amount, r.order_id, r.first_seen_at
from payment_report r
where r.state = 'final'
  and (r.order_id is null or r.is_assessed)
  and not exists (
    select from payment p where (p.network, p.tx_id, p.output_index) = (r.network, r.tx_id, r.output_index))
  and not exists (
    select from payment_report l
    where (l.source, l.network, l.tx_id, l.output_index) = (r.source, r.network, r.tx_id, r.output_index) and l.seq > r.seq);
comment on view unattributed_output is 'Final money that no order was credited with, for an operator to attribute or to give back.';

-- Orders that a person must look at, few at any time: for the alarm.
create index orders_with_trouble on orders (payment_state) where payment_state in ('at_risk', 'reversed');

grant update (expires_at) on reservation to app_worker;
grant select on unattributed_output to app_worker, auditor;
revoke execute on function present_output, fresh_outputs, is_enough_seen, credit_payments, begin_assessment, end_assessment from public;
grant execute on function present_output, fresh_outputs, is_enough_seen to app_api;
grant execute on function present_output, fresh_outputs, credit_payments, begin_assessment, end_assessment to app_worker;
grant execute on function present_output to auditor;
