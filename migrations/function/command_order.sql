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
