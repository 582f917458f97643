-- First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to. The caller
-- decides what that means and calls end_assessment in the same transaction.
-- p_step: null for the aftercare of a terminal order, which has no step to count; an open order is its own run's.
-- outcome: that of fence_step. outputs: how many had news, 500 at most, and 1 where late money is undecided or a
-- suspension is over; 0: nothing to decide. is_suspended: the order may not become paid now (suspend_order). The other
-- columns: see assessed_order.
-- Locks: the order row FOR UPDATE, and for aftercare its replacement's, in order of id; then those of credit_payments.
-- Repeating it: the fence answers 'repeated'.
create or replace function begin_assessment(p_order_id uuid, p_generation int, p_step int)
returns table (
  outcome text, outputs int, status text, payment_state text, cancel_reason text, hold text, flags text[],
  amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric, late_final numeric,
  accepted numeric, is_late boolean, is_reorged boolean, is_replaced boolean, replacement_id uuid, is_undecided boolean,
  has_wrong_asset boolean, has_early boolean, is_suspended boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text;
  v_credit record;
  v_suspension text;
  v_is_own boolean := false;
begin
  if p_step is null then
    perform 1 from orders o
    where o.order_id in (
      select p_order_id union all select d.replacement_id from late_decision d where d.order_id = p_order_id)
    order by o.order_id for update;
  end if;
  v_outcome := fence_step(p_order_id, p_generation, p_step);
  select 0 as outputs, false as has_wrong_asset, false as has_early into v_credit;
  if v_outcome = 'entered' then
    -- An order that never held stock is reserved first, and nothing is decided about its money before.
    v_is_own := (select is_terminal(o.status) from orders o where o.order_id = p_order_id) = (p_step is null);
    if v_is_own and (p_step is null or exists (select from reservation r where r.order_id = p_order_id)) then
      select * into v_credit from credit_payments(p_order_id, 500);
      -- A foreign token is no report: it is news until the order has the flag.
      if exists (
        select from invoice i join ignored_transfer t on (t.network, t.address) = (i.network, i.address)
        join orders o on o.order_id = i.order_id
        where i.order_id = p_order_id and t.kind = 'wrong_asset' and not 'wrong_asset' = any (o.payment_flags))
      then
        v_credit.outputs := greatest(v_credit.outputs, 1);
        v_credit.has_wrong_asset := true;
      end if;
      -- Asked to look, and there is nothing new.
      if v_credit.outputs = 0 then
        delete from order_wake where order_id = p_order_id;
      end if;
    end if;
    -- Nothing to decide: the step is done.
    if v_credit.outputs = 0 and p_step is not null then
      update orders set generation = p_generation, step = p_step where order_id = p_order_id;
    end if;
  end if;
  v_suspension := suspend_order(p_order_id, v_is_own);
  return query
  select v_outcome,
    greatest(v_credit.outputs, (v_suspension = 'resumed' or p_step is null and v_is_own and a.is_undecided)::int),
    a.*, v_credit.has_wrong_asset, v_credit.has_early, v_suspension = 'suspended'
  from assessed_order(p_order_id) a;
end
$$;
revoke execute on function begin_assessment from public;
grant execute on function begin_assessment to app_worker;
