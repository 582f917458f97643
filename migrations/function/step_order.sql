-- One step of an order's workflow that is no command. p_what: 'reserve', 'release' or 'expire'.
-- Result: outcome of fence_step and the state of the order (order_state); no row when there is no such order.
-- Locks: the order row FOR UPDATE, then those of take_stock, end_orders or expire_orders.
-- Repeating it is harmless: the fence answers 'repeated', with the present state.
-- Error: 20000 (case not found) for another p_what.
create or replace function step_order(p_order_id uuid, p_generation int, p_step int, p_what text)
returns table (
  outcome text, status text, payment_state text, hold text, cancel_reason text, version bigint, reservation text,
  expires_in_ms int, has_unassessed boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text := fence_step(p_order_id, p_generation, p_step);
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
revoke execute on function step_order from public;
grant execute on function step_order to app_worker;
