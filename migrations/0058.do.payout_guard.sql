-- A payout pays what was approved. Until now only prepare_payout compared a payout with its refund: with the worker's
-- credential, an INSERT could make one of any amount to any address, which the payer signs and sends.
--
-- Locks: payout and payout_attempt SHARE ROW EXCLUSIVE for their triggers until commit. Older processes: what
-- prepare_payout and replace_payout write passes. A refund waits while its network is suspended, or while there is
-- news of its order; an older payer waits as well, for it calls the same function.
--
-- Functions as migrations/function has them: guard_payout, guard_payout_attempt, begin_payout.
comment on column payout_attempt.broadcast_at is 'When a node first took it; null: none yet.';

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
      and (new.block_height, new.block_hash, new.failure)
       is distinct from (old.block_height, old.block_hash, old.failure)
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
comment on function guard_payout is
  'Guard of payouts, a state machine guard: a trigger function for every insert and update of payout.';

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
comment on function guard_payout_attempt is
  'Guard of a payout''s transactions, a write-once guard: a trigger function for every insert and update of'
  ' payout_attempt.';

-- Payout, first half: takes an approved refund for payment, before anything is signed. p_actor: text of the audit
-- context (actor_of).
-- Result: 'begun'; 'repeated' when it was taken before and is not paid yet; 'paid'; 'refused' in any other status;
-- 'NOT_FOUND'. Ask again later: 'suspended' while the network is (suspended_network); 'unassessed' while there is news
-- of the order or of the one that it replaces, which may say that the money is gone; 'not_covered' when the order no
-- longer has final money for it, such as after a reorganisation.
-- Send only after 'begun' or 'repeated', and sign the same transaction again rather than another.
-- Locks: the order row FOR UPDATE, then the refund. Error: HF004, by the guard of orders.
-- Race closed: of two payers one gets 'begun', and the other 'repeated'.
create or replace function begin_payout(p_refund_id uuid, p_actor text) returns text language plpgsql as $$
declare
  v_refund refund;
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select r.order_id from refund r where r.refund_id = p_refund_id) for update;
  select * into v_refund from refund r where r.refund_id = p_refund_id for no key update;
  if not found then
    return 'NOT_FOUND';
  end if;
  if v_refund.status <> 'approved' then
    return case v_refund.status when 'paying' then 'repeated' when 'paid' then 'paid' else 'refused' end;
  end if;
  if exists (select from suspended_network n where n.network = v_refund.network) then
    return 'suspended';
  elsif exists (
    select from payment_report r
    where not r.is_assessed and r.order_id in (
      select v_refund.order_id
      union all select d.order_id from late_decision d where d.replacement_id = v_refund.order_id)) then
    return 'unassessed';
  end if;
  -- The guard would refuse it as well: a reorganisation may have taken the money after the approval.
  if v_refund.amount + promised_refunds(
      v_refund.order_id, v_refund.network, v_refund.asset, v_refund.token, v_refund.refund_id)
    > received_money(v_refund.order_id, v_refund.network, v_refund.asset, v_refund.token) then
    return 'not_covered';
  end if;
  update refund r set status = 'paying' where r.refund_id = p_refund_id;
  perform settle_refund_state(v_refund.order_id);
  return 'begun';
end
$$;
revoke execute on function begin_payout from public;
grant execute on function begin_payout to app_worker;
comment on function begin_payout is
  'Payout, first half: takes an approved refund for payment, before anything is signed.';
