-- The steps of an order's life, one call each: the order's row lock first, then the run's fence, then the effect with
-- its answer, then the order's whole state.

-- HOW ORDERS END WITHOUT BEING SHIPPED --------------------------------------------------------------------------------
-- In one place, for the workflow, for the sweeper and for the reclaim of a shortage.

-- Ends open orders: status, holds, stock, ledger, refund, key retirement.
-- Lock order: the caller holds the order rows; then the stock rows, by product; then the reservations.
create function end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) returns void
language plpgsql as $$
begin
  update orders set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when exists (select from payment p where p.order_id = orders.order_id and p.state = 'final') then 'unresolved'
      when exists (select from payment p where p.order_id = orders.order_id and p.state = 'seen') then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = case
      when p_reason = 'expired' and payment_state = 'partial' and not payment_flags @> '{under}'
      then payment_flags || '{under}'::text[] else payment_flags end
  where order_id = any (p_order_ids);

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
    select product_id, order_id, hold_no, case p_end_state when 'expired' then 'expire'
      else 'release' end, 0, -quantity, p_actor
    from ended
  )
  update stock s set reserved = s.reserved - e.quantity, version = s.version + 1
  from (select product_id, sum(quantity) as quantity from ended group by product_id) e
  where s.product_id = e.product_id;

  insert into refund_due (order_id, asset, amount)
  select p.order_id, p.asset, sum(p.amount) from payment p
  where p.order_id = any (p_order_ids) and p.state = 'final' group by p.order_id, p.asset
  on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp();

  insert into key_retire (order_id, network, address)
  select order_id, network, address from invoice where order_id = any (p_order_ids) on conflict do nothing;
end
$$;
comment on function end_orders is
  'Ends pending or processing orders, whose rows the caller has locked, '
  'with all that follows in the same transaction.';

-- Rule: what was paid in time is never given away. An order expires only when, on the database's clock, the quote and
-- its grace are over, all that was reported to it is assessed, too little was seen, and its chain has been read past
-- that instant.
create view expirable as
select o.order_id
from orders o
join invoice i on i.order_id = o.order_id
join chain_status c on c.network = i.network
where o.status = 'pending'
  and o.payment_state in ('awaiting', 'partial')
  and i.expires_at + i.grace <= clock_timestamp()
  and c.caught_up_at > i.expires_at + i.grace
  and not exists (select from payment_report r where r.order_id = o.order_id and not r.is_assessed);
comment on view expirable is
  'Orders that may expire now. Without a lock it only says whom to ask for: '
  'a hold that may not end yet keeps nobody from those that may.';
grant select on expirable to app_api, app_worker, auditor;
revoke execute on function end_orders from public;
grant execute on function end_orders to app_worker;

-- Both functions of expiry run as app_worker for the api too, whose role may not move a status: a shortage must be able
-- to reclaim with every worker stopped. They belong to app_worker, so that the fence on status sees the one role that
-- may move it; an owner must be able to create in the schema at that instant.
grant create on schema holdfast to app_worker;
set local role app_worker;

-- Race with a report: it commits its inbox row under the same order lock. So it is either seen here, or it comes to a
-- cancelled order as late money. Locks the order rows, by id; p_skip_locked leaves out those that others hold.
create function expire_due(p_order_ids uuid[], p_skip_locked boolean)
returns table (order_id uuid, outcome text, wait_ms bigint)
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_locked uuid[];
  v_due uuid[];
begin
  if p_skip_locked then
    select coalesce(array_agg(l.order_id), '{}') into v_locked
    from (
      select o.order_id from orders o where o.order_id = any (p_order_ids)
      order by o.order_id for update skip locked) l;
  else
    select coalesce(array_agg(l.order_id), '{}') into v_locked
    from (select o.order_id from orders o where o.order_id = any (p_order_ids) order by o.order_id for update) l;
  end if;

  select coalesce(array_agg(e.order_id), '{}') into v_due from expirable e where e.order_id = any (v_locked);

  if cardinality(v_due) > 0 then
    perform end_orders(v_due, 'expired', 'expired', 'system');
  end if;

  return query
  select o.order_id,
    case when o.status = 'cancelled' then 'ended'
         when o.status <> 'pending' or o.payment_state in ('confirming', 'paid') then 'paid'
         else 'wait' end,
    greatest(0, ceil(extract(epoch from i.expires_at + i.grace - clock_timestamp()) * 1000))::bigint
  from orders o join invoice i on i.order_id = o.order_id
  where o.order_id = any (v_locked);
end
$$;
comment on function expire_due is 'What expire_orders does, in the name of whoever the transaction names.';

-- Expiry is the system's act, also when an api asks for it in a transaction without an actor. Only a superuser could
-- give the function this context as a setting of its own.
create function expire_orders(p_order_ids uuid[], p_skip_locked boolean)
returns table (order_id uuid, outcome text, wait_ms bigint)
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_actor text := coalesce(current_setting('holdfast.actor', true), '');
  v_actors text := coalesce(current_setting('holdfast.actors', true), '');
begin
  perform set_config('holdfast.actor', '{"actor":"system:expiry","role":"system"}', true),
    set_config('holdfast.actors', '', true);
  return query select e.order_id, e.outcome, e.wait_ms from expire_due(p_order_ids, p_skip_locked) e;
  perform set_config('holdfast.actor', v_actor, true), set_config('holdfast.actors', v_actors, true);
end
$$;
comment on function expire_orders is
  'The one expiry, by the system. outcome: ended, paid, or wait '
  '(wait_ms until it is worth asking again; 0 when something else must happen first).';
revoke execute on function expire_due, expire_orders from public;
grant execute on function expire_orders to app_api;

set local role holdfast_owner;
revoke create on schema holdfast from app_worker;

-- STEPS ---------------------------------------------------------------------------------------------------------------

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
comment on function take_stock is
  'Holds stock for an order that never held any; takes nothing when it does not all fit.';

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
comment on function step_order is
  'One step of an order that nobody asked for by name: reserve, release or expire.';

-- What a person asked of an order, once per key. The answer is written before its effect: a key that another request
-- took meanwhile must leave no effect. Refused: the state says why (domain/command.ts).
create function command_order(
  p_order_id uuid, p_generation int, p_step int, p_command text, p_input jsonb, p_actor text
)
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
  v_target text := case p_command when 'cancel' then 'cancelled' when 'ship' then 'shipped' when 'deliver'
    then 'delivered' end;
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
        perform end_orders(array[p_order_id], case p_input ->> 'role' when 'admin' then 'admin'
          else 'customer' end, 'released', v_actor);
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
     where v_outcome in ('done', 'repeated') and k.actor = v_actor and k.method = v_method and k.key = v_key
       and k.request_hash = v_hash),
    s.* from order_state(p_order_id) s;
end
$$;
comment on function command_order is
  'A command on an order: done, repeated, refused, STALE_RUN or IDEMPOTENCY_KEY_REUSED, with its stored answer.';

revoke execute on function order_state, enter_step, take_stock, consume_stock, step_order, command_order from public;
grant execute on function order_state, enter_step, take_stock, consume_stock, step_order, command_order to app_worker;
grant execute on function order_state to app_api;
