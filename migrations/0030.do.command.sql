-- Commands and a reset of their run. A command that was asked more than five minutes ago was refused, to keep a reset from
-- carrying out what was refused before. But a caller who repeats one command through a longer outage is asking all the
-- time, and a reset within five minutes did carry out what was refused. Now the workflow says which commands the engine
-- gave it once more. One function is replaced: nothing is locked or rewritten. An older worker does not say so: until it
-- is replaced, a run that it resumes after a reset carries such commands out, as it did within five minutes. An older
-- api still sends `askedAt`, which is read no more.

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
        -- A run that was reset is given its updates once more. Such a command only gets the answer it got when it was done.
        or coalesce((p_input ->> 'isReapplied')::boolean, false)
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
