-- An approval and a confirmed address are more than rows. With the api's database credential alone, an INSERT could
-- make two approvals in invented names, and the payer sent the money. Now the api signs both when it has checked the
-- caller's token, and the payer pays nothing without the signatures.
--
-- Locks: refund and refund_approval ACCESS EXCLUSIVE for a column each, until commit. Older processes: an older api
-- writes no seals; what it lets through waits as not_sealed, is rejected, and is approved again.
--
-- Functions as migrations/function has them: guard_refund.
alter table refund
  add column destination_seal text -- null: not confirmed, or before seals were made
    constraint refund_destination_seal_shape check (destination_seal ~ '^[0-9a-f]{16}\.[A-Za-z0-9_-]{86}$');
comment on column refund.destination_seal is
  'Signature of the api over the address that the customer confirmed; null: not confirmed, or before seals were made.';
alter table refund_approval
  add column seal text -- null: before seals were made
    constraint refund_approval_seal_shape check (seal ~ '^[0-9a-f]{16}\.[A-Za-z0-9_-]{86}$');
comment on column refund_approval.seal is
  'Signature of the api over what was approved, and by whom; null: before seals were made.';
grant update (destination_seal) on refund to app_api;
grant insert (seal) on refund_approval to app_api;
select audit_watch('refund', 'order', 'order_id');
select audit_watch('refund_approval', 'order', 'order_id');

-- Guard of refunds, a state machine guard and a ceiling: a trigger function for every insert and update of refund.
-- What an order gives back never exceeds what it received (received_money): judged when a refund is made, grows, is
-- approved or begins to be paid. Amount, destination and bearer of the fee never change once it is approved.
-- Locks: the order row FOR NO KEY UPDATE, which makes the sums exact. The tables' owner is not exempt.
-- Errors: HF001 for a change of what never changes; HF041 for an illegal move; HF042 above the ceiling, and for an owed
-- refund of another amount than owed_refund.
create or replace function guard_refund() returns trigger language plpgsql as $$
declare
  v_is_moved boolean := tg_op = 'INSERT' or new.status <> old.status;
  v_is_grown boolean := tg_op = 'INSERT' or new.amount > old.amount;
begin
  perform 1 from holdfast.orders o where o.order_id = new.order_id for no key update;
  if tg_op = 'INSERT' then
    if new.status <> 'awaiting_destination' or new.destination is not null or new.version <> 1 then
      raise exception 'refund: it begins without a destination' using errcode = 'HF041';
    end if;
  else
    if (new.refund_id, new.order_id, new.network, new.asset, new.token, new.kind, new.named_in, new.fiat_amount,
        new.rate_basis, new.rate, new.requested_by, new.reason, new.created_at)
       is distinct from (old.refund_id, old.order_id, old.network, old.asset, old.token, old.kind, old.named_in,
        old.fiat_amount, old.rate_basis, old.rate, old.requested_by, old.reason, old.created_at)
       or new.kind <> 'owed' and new.amount <> old.amount
       or (old.status not in ('awaiting_destination', 'awaiting_approval') or new.status in ('approved', 'paying'))
        and (new.amount, new.destination, new.destination_confirmed_at, new.destination_seal, new.fee_bearer)
         is distinct from (
          old.amount, old.destination, old.destination_confirmed_at, old.destination_seal, old.fee_bearer)
       or not v_is_moved and new.status = 'paid' then
      raise exception 'refund: this never changes' using errcode = 'HF001';
    end if;
    if v_is_moved and (not exists (
        select from holdfast.refund_transition t where t.from_status = old.status and t.to_status = new.status)
      or new.status in ('paying', 'paid') and current_user <> 'app_worker'
      or new.status = 'approved' and (
        select count(*) from holdfast.refund_approval a
        where a.refund_id = old.refund_id and a.version = old.version) < 2)
    then
      raise exception 'refund: % to % is not a legal move', old.status, new.status using errcode = 'HF041';
    end if;
    new.version := old.version + 1;
    new.updated_at := greatest(clock_timestamp(), old.updated_at);
  end if;
  if new.kind = 'owed' and new.token is null and (tg_op = 'INSERT' or new.amount <> old.amount)
    and new.amount <> holdfast.owed_refund(new.order_id) then
    raise exception 'refund: the order owes another amount' using errcode = 'HF042';
  end if;
  if (v_is_grown or v_is_moved and new.status in ('approved', 'paying'))
    and new.amount + holdfast.promised_refunds(new.order_id, new.network, new.asset, new.token, new.refund_id)
      > holdfast.received_money(new.order_id, new.network, new.asset, new.token) then
    raise exception 'refund: more than the order received' using errcode = 'HF042';
  end if;
  return new;
end
$$;
revoke execute on function guard_refund from public;

create or replace trigger refund_guard before insert or update on refund
  for each row execute function guard_refund();
comment on function guard_refund is
  'Guard of refunds, a state machine guard and a ceiling: a trigger function for every insert and update of'
  ' refund.';
