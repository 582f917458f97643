-- Refunds follow the money of their order, and not only what it owes. Until now the open refund was computed again
-- when the amount owed changed. A reorganisation may take money that another refund was promised: the open one stayed
-- too large, or was cancelled and did not open again once the money was back. The payment state was judged with refunds
-- only where the payments alone changed it: an order could stay paid that had lost money after its refund.
--
-- Locks: none beyond the functions' rows in the catalog. Older processes call the same functions. An order that is
-- wrong already is put right by its next assessment; `holdfast verify` names it until then.
--
-- Functions as migrations/function has them: keep_owed_refund, end_assessment, follow_refund_due.

-- Refund intent: keeps exactly one open refund for what an order owes beyond what was approved, and no more than it has
-- (owed_refund). Its amount follows until two people have approved it; what comes later makes the next refund. The
-- payment state of an order that paid refunds follows as well (settle_refund_state).
-- Called where an amount owed changes, a refund ends, or the money of an order with refunds was assessed: it may change
-- what is covered while what is owed stays.
-- Locks: the order row FOR NO KEY UPDATE. Repeating it is harmless.
create or replace function keep_owed_refund(p_order_id uuid) returns void language plpgsql as $$
declare
  v_owed numeric;
  v_open_id uuid;
begin
  perform 1 from holdfast.orders o where o.order_id = p_order_id for no key update;
  v_owed := holdfast.owed_refund(p_order_id);
  select r.refund_id into v_open_id from holdfast.refund r join holdfast.refund_due d on d.order_id = r.order_id
  where r.order_id = p_order_id and r.kind = 'owed' and r.asset = d.asset and r.token is null
    and r.status in ('awaiting_destination', 'awaiting_approval');
  if v_open_id is not null and v_owed > 0 then
    update holdfast.refund r set amount = v_owed where r.refund_id = v_open_id and r.amount <> v_owed;
  elsif v_open_id is not null then
    update holdfast.refund r set status = 'cancelled' where r.refund_id = v_open_id;
  elsif v_owed > 0 then
    insert into holdfast.refund (order_id, network, asset, amount, kind, named_in, requested_by)
    select i.order_id, i.network, d.asset, v_owed, 'owed', 'coin', 'system:owed'
    from holdfast.invoice i join holdfast.refund_due d on d.order_id = i.order_id where i.order_id = p_order_id;
  end if;
  -- Money that came after a refund makes the order partially refunded again.
  if current_user = 'app_worker' and exists (
    select from holdfast.refund r where r.order_id = p_order_id and r.status in ('paying', 'paid')) then
    perform holdfast.settle_refund_state(p_order_id);
  end if;
end
$$;
revoke execute on function keep_owed_refund from public;
grant execute on function keep_owed_refund to app_api, app_worker;
comment on function keep_owed_refund is
  'Refund intent: keeps exactly one open refund for what an order owes beyond what was approved, and no more than'
  ' it has (owed_refund).';

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
comment on function end_assessment is
  'Second half of an assessment: writes what the caller decided, and returns the state of the order'
  ' (order_state).';

-- Refund intent: a trigger function that keeps what an order owes and its open refund equal (keep_owed_refund). A
-- rejected refund is opened again, for the money is still owed.
-- Locks: the order row FOR NO KEY UPDATE. Repeating it is harmless.
create or replace function follow_refund_due() returns trigger language plpgsql as $$
begin
  perform holdfast.keep_owed_refund(new.order_id);
  return null;
end
$$;
revoke execute on function follow_refund_due from public;

create or replace trigger refund_due_open_refund after insert on refund_due
  for each row when (new.amount > 0) execute function follow_refund_due();
create or replace trigger refund_due_change_refund after update on refund_due
  for each row when (new.amount <> old.amount) execute function follow_refund_due();
create or replace trigger refund_open_next after update on refund
  for each row when (new.status <> old.status and new.status in ('rejected', 'cancelled'))
  execute function follow_refund_due();
comment on function follow_refund_due is
  'Refund intent: a trigger function that keeps what an order owes and its open refund equal (keep_owed_refund).';
