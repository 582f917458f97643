-- Guard of payouts, a state machine guard: a trigger function for every insert and update of payout. A payout pays a
-- refund that is being paid, as it was approved, and is the only one of it that was not released. Whom it pays, how
-- much and with which nonce never changes. Moves as PAYOUT_MOVES in src/domain/payout.ts; a test holds both
-- equal. A payout may end from any open status: an earlier transaction of it may be executed while a later one is
-- awaited.
-- Errors: HF001 for a change of what never changes; HF054 for an illegal move, and for a payout that no approval
-- covers. The tables' owner is not exempt.
create or replace function guard_payout() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.status <> 'prepared' then
      raise exception 'payout: it begins prepared' using errcode = 'HF054';
    end if;
    if not exists (
        select from holdfast.refund r
        where (r.refund_id, r.order_id, r.network, r.destination, r.amount, r.fee_bearer)
          = (new.refund_id, new.order_id, new.network, new.destination, new.amount, new.fee_bearer)
          and r.status = 'paying' and r.token is null)
      or exists (select from holdfast.payout p where p.refund_id = new.refund_id and not p.is_released) then
      raise exception 'payout: no approved refund is to be paid like this' using errcode = 'HF054';
    end if;
    return new;
  end if;
  if (new.payout_id, new.refund_id, new.order_id, new.network, new.sender, new.chain_id, new.nonce, new.destination,
      new.amount, new.fee_bearer, new.created_at)
     is distinct from (old.payout_id, old.refund_id, old.order_id, old.network, old.sender, old.chain_id, old.nonce,
      old.destination, old.amount, old.fee_bearer, old.created_at)
    or old.status in ('confirmed', 'failed')
      and (new.block_height, new.block_hash, new.failure, new.network_fee)
       is distinct from (old.block_height, old.block_hash, old.failure, old.network_fee)
    or old.is_released and not new.is_released then
    raise exception 'payout: this never changes' using errcode = 'HF001';
  end if;
  if new.status <> old.status and not (case old.status
      when 'prepared' then new.status in ('signed', 'stuck', 'confirmed', 'failed')
      when 'signed' then new.status in ('broadcast', 'stuck', 'confirmed', 'failed')
      when 'broadcast' then new.status in ('stuck', 'confirmed', 'failed')
      when 'stuck' then new.status in ('signed', 'confirmed', 'failed')
      else false end) then
    raise exception 'payout: % to % is not a legal move', old.status, new.status using errcode = 'HF054';
  end if;
  new.updated_at := greatest(clock_timestamp(), old.updated_at);
  return new;
end
$$;
revoke execute on function guard_payout from public;

create or replace trigger payout_guard before insert or update on payout
  for each row execute function guard_payout();
