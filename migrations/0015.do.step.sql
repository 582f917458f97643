-- A step of an order's life in one call. Each took four to eight round trips between worker and database, and the same
-- row of orders was written twice; on two cores that was a sixth of what an order cost. The rules are the same: the
-- order's row lock first, then the run's fence, then the effect with its answer, then the order's whole state. New
-- functions only: nothing is locked or rewritten, and workers of the version before go on with their statements.

create function order_state(p_order_id uuid)
returns table (
  status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text, expires_in_ms int,
  has_unassessed boolean
)
language sql stable as $$
  select o.status, o.payment_state, o.hold, o.cancel_reason, o.version,
    coalesce((select r.state from reservation r where r.order_id = o.order_id order by r.hold_no desc limit 1), 'none'),
    greatest(0, ceil(extract(epoch from i.expires_at + i.grace - clock_timestamp()) * 1000))::int,
    exists (select from payment_report p where p.order_id = o.order_id and not p.is_assessed)
  from orders o join invoice i on i.order_id = o.order_id where o.order_id = p_order_id
$$;
comment on function order_state is 'The whole truth about an order, as every step answers with it.';

-- Race: two runs, or a run and a slow attempt of its own step. The row lock makes the fence exact.
create function enter_step(p_order_id uuid, p_generation int, p_step int) returns text language plpgsql as $$
declare
  v_generation int;
  v_step int;
begin
  select generation, step into v_generation, v_step from orders where order_id = p_order_id for update;
  return case
    when not found then 'NOT_FOUND'
    when v_generation > p_generation then 'STALE_RUN'
    when v_generation = p_generation and v_step >= p_step then 'repeated'
    else 'entered' end;
end
$$;
comment on function enter_step is 'Locks an order for a step of a run: entered, repeated, STALE_RUN or NOT_FOUND.';

-- Every product, or nothing. The guard sees the newest rows, since they are locked in product order before it.
create function take_stock(p_order_id uuid) returns void language plpgsql as $$
begin
  perform 1 from stock where product_id in (select product_id from order_line where order_id = p_order_id)
  order by product_id for no key update;

  with wanted as (
    select l.product_id, sum(l.quantity)::bigint as quantity from order_line l where l.order_id = p_order_id group by 1
  ), fits as (
    select bool_and(s.on_hand - s.reserved >= w.quantity) as yes from wanted w join stock s using (product_id)
  ), held as (
    insert into reservation (order_id, product_id, quantity, expires_at)
    select p_order_id, w.product_id, w.quantity, i.expires_at + i.grace
    from wanted w, invoice i, fits where i.order_id = p_order_id and fits.yes returning product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, p_order_id, hold_no, 'reserve', 0, quantity, 'system' from held
  )
  update stock s set reserved = s.reserved + h.quantity, version = s.version + 1
  from held h where s.product_id = h.product_id;
end
$$;
comment on function take_stock is 'Holds stock for an order that never held any; takes nothing when it does not all fit.';

-- Shipping takes the units off the shelf: stock rows locked by product, then holds, counters and ledger together.
create function consume_stock(p_order_id uuid, p_actor text) returns void language plpgsql as $$
begin
  perform 1 from stock
  where product_id in (select product_id from reservation where order_id = p_order_id and state = 'committed')
  order by product_id for no key update;

  with consumed as (
    update reservation set state = 'consumed' where order_id = p_order_id and state = 'committed'
    returning product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, p_order_id, hold_no, 'consume', -quantity, -quantity, p_actor from consumed
  )
  update stock s set on_hand = s.on_hand - c.quantity, reserved = s.reserved - c.quantity, version = s.version + 1
  from (select product_id, sum(quantity) as quantity from consumed group by 1) c where s.product_id = c.product_id;
end
$$;
comment on function consume_stock is 'Takes the committed units of a shipped order off the shelf.';

-- The system's own steps: reserve, release, expire.
create function step_order(p_order_id uuid, p_generation int, p_step int, p_what text)
returns table (
  outcome text, status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text,
  expires_in_ms int, has_unassessed boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text := enter_step(p_order_id, p_generation, p_step);
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
comment on function step_order is 'One step of an order that nobody asked for by name: reserve, release or expire.';

-- What a person asked of an order, once per key. The answer is written before the effect it tells of: a key that was
-- taken meanwhile by another request must leave no effect. Refused: the state says why (domain/command.ts).
create function command_order(p_order_id uuid, p_generation int, p_step int, p_command text, p_input jsonb, p_actor text)
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
        or not exists (
          select from order_transition t
          where t.from_status = v_order.status and t.to_status = v_target and t.role = p_input ->> 'role')
        or p_command = 'ship' and (v_order.hold <> 'none' or v_order.payment_state <> 'paid')
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
comment on function command_order is 'A command on an order: done, repeated, refused, STALE_RUN or IDEMPOTENCY_KEY_REUSED, with its stored answer.';

-- The present view of each output of these orders: final if any source has it final, else the newest of what was said.
create function present_outputs(p_order_ids uuid[])
returns table (
  order_id uuid, network text, tx_id text, output_index int, asset text, amount numeric, state text, first_seen_at timestamptz,
  amount_due numeric, asset_due text, confirm_within interval, is_right_asset boolean, is_in_time boolean
)
language sql stable as $$
  select distinct on (l.order_id, l.network, l.tx_id, l.output_index) l.order_id, l.network, l.tx_id, l.output_index, l.asset,
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

-- Race closed with expiry and assessment: all take the same order lock, here in the order of ids. Enough seen in time:
-- the hold lasts until the transfers had time to become final. And the workflows look again.
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
  select count(*), coalesce(array_agg(distinct order_id) filter (where order_id is not null), '{}') into v_fresh, v_order_ids
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
comment on function record_report is 'Takes a verified report into the inbox; returns how many of its facts were new.';

-- Race: an output claimed for two orders, by a wrong report, while both are assessed. The primary key lets one order
-- have it; only what is this order's own, from before or by this very statement, counts.
create function credit_payments(p_order_id uuid) returns jsonb language sql as $$
  with present as (
    select * from present_outputs(array[p_order_id])
  ), credited as (
    insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
    select network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at from present where is_right_asset
    on conflict (network, tx_id, output_index) do update set state = excluded.state, is_in_time = excluded.is_in_time
    where payment.order_id = excluded.order_id and (payment.state, payment.is_in_time) is distinct from (excluded.state, excluded.is_in_time)
    returning network, tx_id, output_index
  )
  select coalesce(jsonb_agg(jsonb_build_object(
    'amount', coalesce(y.amount, p.amount)::text, 'state', p.state, 'isInTime', p.is_in_time, 'isRightAsset', p.is_right_asset,
    'isOurs', p.is_right_asset and coalesce(y.order_id = p.order_id, c.tx_id is not null))), '[]')
  from present p
  left join payment y using (network, tx_id, output_index) left join credited c using (network, tx_id, output_index)
$$;
comment on function credit_payments is 'Credits what the inbox has for an order, and says what of it counts.';

-- The first half of an assessment; the caller decides what it means and ends it in the same transaction. An open
-- order is its own run's, one that has ended is its aftercare's, which has no step to count (null).
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
    if (select o.status in ('delivered', 'cancelled') from orders o where o.order_id = p_order_id) = (p_step is null) then
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
comment on function begin_assessment is 'Locks an order, credits its inbox and says what there is to decide on.';

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
  end if;
  if p_refund > 0 or exists (select from refund_due d where d.order_id = p_order_id) then
    insert into refund_due (order_id, asset, amount) select order_id, asset, p_refund from invoice where order_id = p_order_id
    on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp()
    where refund_due.amount <> excluded.amount;
  end if;
  update payment_report set is_assessed = true where order_id = p_order_id and not is_assessed;
  delete from order_wake where order_id = p_order_id;
  return query select s.* from order_state(p_order_id) s;
end
$$;
comment on function end_assessment is 'Writes what an assessment decided and answers with the order''s state.';

revoke execute on function order_state, enter_step, take_stock, consume_stock, step_order, command_order, present_outputs,
  record_report, credit_payments, begin_assessment, end_assessment from public;
grant execute on function order_state, enter_step, take_stock, consume_stock, step_order, command_order, present_outputs,
  credit_payments, begin_assessment, end_assessment to app_worker;
grant execute on function order_state, present_outputs, record_report to app_api;
