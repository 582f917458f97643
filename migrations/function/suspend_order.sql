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
