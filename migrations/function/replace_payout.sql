-- Replacement by fee: adds a transaction with the same nonce and a higher fee to a payout, to be signed and sent.
-- What was signed before stays valid, and the chain executes one of them.
-- p_after: number of the newest transaction that the caller knows. p_kind: 'pay', or 'fill' for an empty one that
-- ends the payout without sending it. p_max_fee, p_priority_fee: higher than before, or nodes refuse it.
-- Result: 'replaced'; 'repeated' when there is a newer one; 'fee_above_amount'; 'refused' when the payout is over.
-- Locks: the payout row FOR NO KEY UPDATE.
create or replace function replace_payout(
  p_payout_id uuid, p_after integer, p_kind text, p_max_fee numeric, p_priority_fee numeric)
returns text language plpgsql as $$
declare
  v_payout payout;
  v_last payout_attempt;
  v_kind text;
  v_value numeric;
begin
  select * into v_payout from payout p where p.payout_id = p_payout_id for no key update;
  select * into v_last from payout_attempt a where a.payout_id = p_payout_id order by a.attempt desc limit 1;
  if v_payout.payout_id is null or v_payout.status in ('confirmed', 'failed') then
    return 'refused';
  elsif v_last.attempt <> p_after then
    return 'repeated';
  end if;
  -- Once a payout is to end, it is no more sent: a bump of its filler is a filler.
  v_kind := case v_last.kind when 'fill' then 'fill' else p_kind end;
  v_value := case
    when v_kind = 'fill' then 0
    when v_payout.fee_bearer = 'customer' then v_payout.amount - v_last.gas_limit * p_max_fee
    else v_payout.amount end;
  if v_kind = 'pay' and v_value <= 0 then
    return 'fee_above_amount';
  end if;
  insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee)
  values (p_payout_id, v_last.attempt + 1, v_payout.order_id, v_kind, v_value, v_last.gas_limit, p_max_fee,
    p_priority_fee);
  update payout p set status = 'stuck' where p.payout_id = p_payout_id;
  return 'replaced';
end
$$;
revoke execute on function replace_payout from public;
grant execute on function replace_payout to app_worker;
