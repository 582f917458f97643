-- Whether an order may be cancelled, shipped or delivered as it is now. p_command, p_input: see command_order.
-- Nothing is shipped that is on hold, not paid or refunded whole, or while the inbox has news: it may say that the
-- money is gone.
-- isReapplied: a run that was reset is given its commands again. Such a command only gets the answer it got when it was
-- done. Locks: the caller holds the order row. Changes nothing.
create or replace function is_command_legal(p_order_id uuid, p_command text, p_input jsonb) returns boolean
language sql stable as $$
  select coalesce((p_input ->> 'expectedVersion')::bigint = o.version, true)
    and not coalesce((p_input ->> 'isReapplied')::boolean, false)
    and exists (
      select from order_transition t
      where t.from_status = o.status and t.to_status = command_target(p_command) and t.role = p_input ->> 'role')
    and (p_command <> 'ship' or o.hold = 'none' and o.payment_state in ('paid', 'partially_refunded')
      and not exists (select from payment_report r where r.order_id = p_order_id and not r.is_assessed))
  from orders o where o.order_id = p_order_id
$$;
revoke execute on function is_command_legal from public;
grant execute on function is_command_legal to app_worker;
