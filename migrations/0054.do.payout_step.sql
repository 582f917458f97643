-- The steps of payouts: a nonce for an approved refund, a higher fee for a payout that is stuck, and the end. The
-- guards hold what never changes: whom a payout pays, its nonce, and the bytes that were signed.
--
-- Locks: payout and payout_attempt of 0053 for their triggers. Older processes: none call these functions.
--
-- Functions as migrations/function has them: end_payout, guard_payout, guard_payout_attempt, prepare_payout,
-- replace_payout.

-- Payout, last step: one of its transactions is final on the chain. A payment pays the refund (finish_payout); an
-- empty filler, a reverted or an unknown transaction proves that this payout sent nothing and can send nothing.
-- p_tx_id: the payout's transaction that is final; null: an unknown one has its nonce. p_is_reverted: it had no
-- effect.
-- p_network_fee: what the network took, in base units. p_actor: text of the audit context (actor_of).
-- Result: 'confirmed'; 'failed'; 'repeated' when it is over; 'unknown' for a transaction of no or another payout; any
-- result of finish_payout that is not its success, with nothing changed.
-- Locks: the order row (finish_payout), then the payout row.
create or replace function end_payout(
  p_payout_id uuid, p_tx_id text, p_is_reverted boolean, p_network_fee numeric, p_actor text)
returns text language plpgsql as $$
declare
  v_payout payout;
  v_kind text;
  v_paid text;
  v_failure text;
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select p.order_id from payout p where p.payout_id = p_payout_id) for update;
  select * into v_payout from payout p where p.payout_id = p_payout_id for no key update;
  if not found then
    return 'unknown';
  elsif v_payout.status in ('confirmed', 'failed') then
    return 'repeated';
  end if;
  select a.kind into v_kind from payout_attempt a where (a.payout_id, a.tx_id) = (p_payout_id, p_tx_id);
  if p_tx_id is not null and v_kind is null then
    return 'unknown';
  end if;
  v_failure := case
    when p_tx_id is null then 'nonce_taken'
    when v_kind = 'fill' then 'cancelled'
    when p_is_reverted then 'reverted' end;
  if v_failure is not null then
    update payout p set status = 'failed', failure = v_failure where p.payout_id = p_payout_id;
    return 'failed';
  end if;
  v_paid := finish_payout(v_payout.refund_id, p_tx_id, p_network_fee, p_actor);
  if v_paid not in ('paid', 'repeated') then
    return v_paid;
  end if;
  update payout p set status = 'confirmed' where p.payout_id = p_payout_id;
  return 'confirmed';
end
$$;
revoke execute on function end_payout from public;
grant execute on function end_payout to app_worker;
comment on function end_payout is
  'Payout, last step: one of its transactions is final on the chain.';

-- Guard of payouts, a state machine guard: a trigger function for every insert and update of payout. Whom a payout
-- pays, how much and with which nonce never changes. Moves as PAYOUT_MOVES in src/domain/payout.ts; a test holds both
-- equal. A payout may end from any open status: an earlier transaction of it may be executed while a later one is
-- awaited.
-- Errors: HF001 for a change of what never changes; HF054 for an illegal move. The tables' owner is not exempt.
create or replace function guard_payout() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.status <> 'prepared' then
      raise exception 'payout: it begins prepared' using errcode = 'HF054';
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
-- payout_attempt. What is to be signed never changes, and what was signed is never signed another way: sending again
-- sends the same bytes.
-- Error: HF001. The tables' owner is not exempt.
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
  return new;
end
$$;
revoke execute on function guard_payout_attempt from public;

create or replace trigger payout_attempt_guard before insert or update on payout_attempt
  for each row execute function guard_payout_attempt();
comment on function guard_payout_attempt is
  'Guard of a payout''s transactions, a write-once guard: a trigger function for every insert and update of'
  ' payout_attempt.';

-- Payout step 1: takes an approved refund for payment (begin_payout), gives its payout the next nonce of the sender,
-- and stores its first transaction, all in one transaction of the database.
-- p_chain_nonce: the sender's transaction count on the chain: a nonce below it can never be used. p_gas_limit,
-- p_max_fee,
-- p_priority_fee: of the transaction. p_actor: text of the audit context (actor_of).
-- Result: 'prepared'; 'repeated' when a payout has it; 'failed_before' when one failed and no operator released it;
-- 'fee_above_amount' when the customer bears a fee that leaves nothing; 'own_address' for an address of the shop;
-- 'token' for a token, which is not sent here; any other result of begin_payout.
-- Locks: the order row, then the refund, then the sender's row. Errors: HF004, HF053 for a sender of another chain.
-- Race closed: of two processes one gets 'prepared', and the other 'repeated'.
create or replace function prepare_payout(
  p_refund_id uuid, p_sender text, p_chain_id bigint, p_chain_nonce bigint, p_gas_limit bigint, p_max_fee numeric,
  p_priority_fee numeric, p_actor text)
returns text language plpgsql as $$
declare
  v_refund refund;
  v_fee numeric;
  v_begun text;
  v_nonce bigint;
  v_payout_id uuid;
begin
  select * into v_refund from refund r where r.refund_id = p_refund_id;
  v_fee := case v_refund.fee_bearer when 'customer' then p_gas_limit * p_max_fee else 0 end;
  if v_refund.token is not null then
    return 'token';
  elsif v_refund.amount <= v_fee then
    return 'fee_above_amount';
  elsif v_refund.destination = p_sender or exists (
    select from invoice i where (i.network, i.address) = (v_refund.network, v_refund.destination)) then
    return 'own_address';
  end if;
  v_begun := begin_payout(p_refund_id, p_actor);
  if v_begun not in ('begun', 'repeated') then
    return v_begun;
  elsif exists (select from payout p where p.refund_id = p_refund_id and p.status <> 'failed') then
    return 'repeated';
  elsif exists (select from payout p where p.refund_id = p_refund_id and not p.is_released) then
    return 'failed_before';
  end if;
  insert into payout_sender (network, sender, chain_id, next_nonce)
  values (v_refund.network, p_sender, p_chain_id, p_chain_nonce)
  on conflict do nothing;
  update payout_sender s set next_nonce = greatest(s.next_nonce, p_chain_nonce) + 1
  where (s.network, s.sender, s.chain_id) = (v_refund.network, p_sender, p_chain_id)
  returning s.next_nonce - 1 into v_nonce;
  if not found then
    raise exception 'payout_sender: it sends on another chain' using errcode = 'HF053';
  end if;
  insert into payout (refund_id, order_id, network, sender, chain_id, nonce, destination, amount, fee_bearer)
  values (p_refund_id, v_refund.order_id, v_refund.network, p_sender, p_chain_id, v_nonce, v_refund.destination,
    v_refund.amount, v_refund.fee_bearer)
  returning payout_id into v_payout_id;
  insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee)
  values (v_payout_id, 1, v_refund.order_id, 'pay', v_refund.amount - v_fee, p_gas_limit, p_max_fee, p_priority_fee);
  return 'prepared';
end
$$;
revoke execute on function prepare_payout from public;
grant execute on function prepare_payout to app_worker;
comment on function prepare_payout is
  'Payout step 1: takes an approved refund for payment (begin_payout), gives its payout the next nonce of the'
  ' sender, and stores its first transaction, all in one transaction of the database.';

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
comment on function replace_payout is
  'Replacement by fee: adds a transaction with the same nonce and a higher fee to a payout, to be signed and'
  ' sent.';
