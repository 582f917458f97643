-- Late decision: exactly one of a paid replacement order or money that is owed back, for an expired order with enough
-- final money. p_policy: see late_refusal.
-- Result: the refusal, null where the money was accepted; and the new order, null where it was not.
-- Locks: the caller holds the row of the expired order (begin_assessment); here stock rows FOR NO KEY UPDATE, by
-- product_id, then new rows and those of open_replacement.
-- Race closed: two assessments, or a decision and its repeat. late_decision has one row per order.
-- Errors: those of open_replacement; HF046 when stock that was free under its lock is not. Repeating it: 23505.
create or replace function decide_late_money(p_order_id uuid, p_policy jsonb)
returns table (refusal text, replacement_id uuid)
language plpgsql as $$
#variable_conflict use_column
declare
  v_rate numeric;
  v_due_now numeric;
begin
  perform 1 from stock where product_id in (select product_id from order_line where order_id = p_order_id)
  order by product_id for no key update;
  select r.refusal, r.rate, r.due_now into refusal, v_rate, v_due_now from late_refusal(p_order_id, p_policy) r;
  if refusal is not null then
    insert into late_decision (order_id, refusal, rate, due_now) values (p_order_id, refusal, v_rate, v_due_now);
    return next;
    return;
  end if;
  replacement_id := open_replacement(p_order_id, v_rate, v_due_now);
  perform take_stock(replacement_id);
  update reservation r set state = 'committed' where r.order_id = replacement_id;
  if not found then
    raise exception 'late_decision: the stock was free under its lock' using errcode = 'HF046';
  end if;
  update orders o set status = 'processing', payment_state = 'paid', payment_flags = array['late']
  where o.order_id = replacement_id;
  return next;
end
$$;
revoke execute on function decide_late_money from public;
grant execute on function decide_late_money to app_worker;
