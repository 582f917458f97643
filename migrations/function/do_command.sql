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
  if exists (select from payment_report where order_id = p_order_id and not is_assessed) then
    perform request_wake(array[p_order_id]);
    -- A relay may be asking the run, which looks no more: aftercare need not wait for that lease.
    update order_wake set claimed_by = null, claimed_until = null
    where order_id = p_order_id and claimed_by is not null;
  end if;
  return 'done';
end
$$;
revoke execute on function do_command from public;
grant execute on function do_command to app_worker;
