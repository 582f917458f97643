-- From the inbox to the order: reports are taken in, credited to orders and assessed. The decision between the two
-- halves of an assessment is domain code's.

-- The present view of each output of these orders: final if any source has it final, else the newest report.
create function present_outputs(p_order_ids uuid[])
returns table (
  order_id uuid, network text, tx_id text, output_index int, asset text, amount numeric, state text,
  first_seen_at timestamptz, amount_due numeric, asset_due text, confirm_within interval, is_right_asset boolean,
  is_in_time boolean
)
language sql stable as $$
  select distinct on (l.order_id, l.network, l.tx_id, l.output_index) l.order_id, l.network, l.tx_id, l.output_index,
    l.asset,
    l.amount, l.state, l.first_seen_at, i.amount_due, i.asset, i.confirm_within, l.asset = i.asset,
    l.first_seen_at <= i.expires_at + i.grace
  from (
    select distinct on (p.order_id, p.source, p.network, p.tx_id, p.output_index) p.*
    from payment_report p where p.order_id = any (p_order_ids)
    order by p.order_id, p.source, p.network, p.tx_id, p.output_index, p.seq desc
  ) l join invoice i on i.order_id = l.order_id
  order by l.order_id, l.network, l.tx_id, l.output_index, (l.state = 'final') desc, l.report_no desc
$$;
comment on function present_outputs is 'What watchers say of each output of these orders by now.';

-- Race with expiry and assessment: all take the same order lock, here in the order of ids. When enough was seen in
-- time, the hold lasts until the transfers had time to become final. Then the workflows are woken.
create function record_report(p_source text, p_facts jsonb, p_actor text) returns int language plpgsql as $$
declare
  v_order_ids uuid[];
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
  select count(*), coalesce(array_agg(distinct order_id) filter (where order_id is not null), '{}') into v_fresh,
    v_order_ids
  from fresh;

  if cardinality(v_order_ids) > 0 then
    update reservation r set expires_at = greatest(r.expires_at, clock_timestamp() + e.confirm_within)
    from (
      select order_id, confirm_within from present_outputs(v_order_ids)
      where state in ('seen', 'final') and is_right_asset and is_in_time
      group by order_id, confirm_within, amount_due having sum(amount) * 1000 >= amount_due * 999
    ) e where r.order_id = e.order_id and r.state = 'held';
    update workflow_start set urgency = 0 where order_id = any (v_order_ids) and urgency <> 0;
    perform want_wake(v_order_ids);
  end if;
  return v_fresh;
end
$$;
comment on function record_report is
  'Takes a verified report into the inbox; returns how many of its facts were new.';

-- Race: an output claimed for two orders, by a wrong report, while both are assessed. The primary key lets one order
-- have it; what counts is only what this order had before or got by this very statement.
create function credit_payments(p_order_id uuid) returns jsonb language sql as $$
  with present as (
    select * from present_outputs(array[p_order_id])
  ), credited as (
    insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
    select network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at from present
      where is_right_asset
    on conflict (network, tx_id, output_index) do update set state = excluded.state, is_in_time = excluded.is_in_time
    where payment.order_id = excluded.order_id and (payment.state, payment.is_in_time) is distinct
      from (excluded.state, excluded.is_in_time)
    returning network, tx_id, output_index
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'amount', coalesce(y.amount, p.amount)::text, 'state', p.state, 'isInTime', p.is_in_time, 'isRightAsset',
      p.is_right_asset,
    'isOurs', p.is_right_asset and coalesce(y.order_id = p.order_id, c.tx_id is not null))), '[]')
  from present p
  left join payment y using (network, tx_id, output_index) left join credited c using (network, tx_id, output_index)
$$;
comment on function credit_payments is 'Credits what the inbox has for an order, and says what of it counts.';

-- The first half of an assessment; the caller decides what it means and ends it in the same transaction. An open order
-- belongs to its own run, one that has ended to its aftercare, which has no step to count (null). A run that begins
-- with news of money assesses it as its first step, which takes the run's generation as well (docs/decisions/0015).
create function begin_assessment(p_order_id uuid, p_generation int, p_step int)
returns table (
  outcome text, status text, payment_state text, hold text, flags text[], amount_due numeric, facts jsonb
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text := enter_step(p_order_id, p_generation, p_step);
  v_facts jsonb := '[]';
begin
  if v_outcome = 'entered' then
    -- An order that never held stock is reserved first, and nothing is decided about its money before.
    if (select o.status in ('delivered', 'cancelled') from orders o where o.order_id = p_order_id) = (p_step is null)
      and (p_step is null or exists (select from reservation r where r.order_id = p_order_id)) then
      v_facts := credit_payments(p_order_id);
    end if;
    -- Nothing to decide: the step is done.
    if v_facts = '[]' and p_step is not null then
      update orders set generation = p_generation, step = p_step where order_id = p_order_id;
    end if;
  end if;
  return query
  select v_outcome, o.status, o.payment_state, o.hold, o.payment_flags, i.amount_due, v_facts
  from orders o join invoice i on i.order_id = o.order_id where o.order_id = p_order_id;
end
$$;
comment on function begin_assessment is
  'Locks an order, credits its inbox and says what there is to decide on.';

-- The second half, under the lock of the first: the order's state, its holds, its refund; the inbox rows are assessed
-- and the wake has been answered.
create function end_assessment(
  p_order_id uuid, p_generation int, p_step int, p_payment_state text, p_flags text[], p_status text, p_hold text,
  p_refund numeric
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
  end if;
  if p_refund > 0 or exists (select from refund_due d where d.order_id = p_order_id) then
    insert into refund_due (order_id, asset, amount) select order_id, asset, p_refund from invoice
      where order_id = p_order_id
    on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp()
    where refund_due.amount <> excluded.amount;
  end if;
  update payment_report set is_assessed = true where order_id = p_order_id and not is_assessed;
  delete from order_wake where order_id = p_order_id;
  return query select s.* from order_state(p_order_id) s;
end
$$;
comment on function end_assessment is 'Writes what an assessment decided and answers with the order''s state.';

revoke execute on function present_outputs, record_report, credit_payments, begin_assessment, end_assessment
  from public;
grant execute on function present_outputs, credit_payments, begin_assessment, end_assessment to app_worker;
grant execute on function present_outputs, record_report to app_api;
