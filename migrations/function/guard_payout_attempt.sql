-- Guard of a payout's transactions, a write-once guard: a trigger function for every insert and update of
-- payout_attempt. A transaction sends what its payout is for, less the fee that the customer bears, or nothing: a
-- filler, after which come only fillers. What is to be signed never changes, and what was signed is never signed
-- another way: sending again sends the same bytes.
-- Errors: HF001 for a change of what never changes; HF054 for a transaction that is not its payout's. The tables'
-- owner is not exempt.
create or replace function guard_payout_attempt() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' and new.raw is not null
    or tg_op = 'UPDATE' and (
      (new.payout_id, new.attempt, new.order_id, new.kind, new.value, new.gas_limit, new.max_fee, new.priority_fee,
        new.created_at)
      is distinct from (old.payout_id, old.attempt, old.order_id, old.kind, old.value, old.gas_limit, old.max_fee,
        old.priority_fee, old.created_at)
      or old.raw is not null and (new.raw, new.tx_id) is distinct from (old.raw, old.tx_id)) then
    raise exception 'payout_attempt: this never changes' using errcode = 'HF001';
  end if;
  if tg_op = 'INSERT' and (
    not exists (
      select from holdfast.payout p
      where (p.payout_id, p.order_id) = (new.payout_id, new.order_id) and p.status not in ('confirmed', 'failed')
        and new.value = case
          when new.kind = 'fill' then 0
          when p.fee_bearer = 'customer' then p.amount - new.gas_limit * new.max_fee
          else p.amount end)
    or new.kind = 'pay' and exists (
      select from holdfast.payout_attempt a where a.payout_id = new.payout_id and a.kind = 'fill')) then
    raise exception 'payout_attempt: it does not send what its payout is for' using errcode = 'HF054';
  end if;
  return new;
end
$$;
revoke execute on function guard_payout_attempt from public;

create or replace trigger payout_attempt_guard before insert or update on payout_attempt
  for each row execute function guard_payout_attempt();
