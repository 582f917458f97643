-- Second half of an assessment: writes what the caller decided, and returns the state of the order (order_state).
-- p_refund: base units owed back. p_generation and p_step: null for aftercare.
-- Locks: begin_assessment of the same transaction holds the order row; here holds, refund_due, refund and order_wake.
-- While there is more news, the wake stays. Repeating it writes the same values.
-- Errors: HF002 and HF004, by the guards of orders.
create or replace function end_assessment(
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
  elsif p_status = 'pending' then
    -- What had extended the hold is gone: the end of the quote applies again. Not while there is more to assess: the
    -- report that extended it may be among that. What is found to be enough only now extends it.
    update reservation r set expires_at = case when p_payment_state = 'confirming'
      then greatest(r.expires_at, clock_timestamp() + i.confirm_within) else i.expires_at + i.grace end
    from invoice i
    where i.order_id = p_order_id and r.order_id = p_order_id and r.state = 'held' and case
      when p_payment_state = 'confirming' then r.expires_at - i.grace <= i.expires_at
      else r.expires_at - i.grace > i.expires_at
        and not exists (select from payment_report n where n.order_id = p_order_id and not n.is_assessed) end;
  end if;
  if p_refund > 0 or exists (select from refund_due d where d.order_id = p_order_id) then
    insert into refund_due (order_id, asset, amount)
    select order_id, asset, p_refund from invoice where order_id = p_order_id
    on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp()
    where refund_due.amount <> excluded.amount;
  end if;
  if exists (select from refund r where r.order_id = p_order_id) then
    perform keep_owed_refund(p_order_id);
  end if;
  delete from order_wake where order_id = p_order_id
    and not exists (select from payment_report r where r.order_id = p_order_id and not r.is_assessed);
  return query select s.* from order_state(p_order_id) s;
end
$$;
revoke execute on function end_assessment from public;
grant execute on function end_assessment to app_worker;
