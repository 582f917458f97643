-- Payout step 1: takes an approved refund for payment (begin_payout), gives its payout the next nonce of the sender,
-- and stores its first transaction, all in one transaction of the database.
-- p_chain_nonce: the sender's transaction count on the chain; a new sender's first nonce. p_gas_limit, p_max_fee,
-- p_priority_fee: of the transaction. p_actor: text of the audit context (actor_of).
-- Result: 'prepared'; 'repeated' when a payout has it; 'failed_before' when one failed and no operator released it;
-- 'fee_above_amount' when the customer bears a fee that leaves nothing; 'own_address' for an address of the shop;
-- 'nonce_ahead' when the chain's count is above the own next nonce: somebody else sends from the account, this database
-- was restored, or the node is wrong, and payouts behind a gap would never be executed; 'begun_manually' when it was
-- taken without a payout: an operator pays it; any other result of begin_payout.
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
  if v_refund.amount <= v_fee then
    return 'fee_above_amount';
  elsif v_refund.destination = p_sender or exists (
    select from invoice i where (i.network, i.address) = (v_refund.network, v_refund.destination)) then
    return 'own_address';
  elsif exists (
    select from payout_sender s
    where (s.network, s.sender) = (v_refund.network, p_sender) and s.next_nonce < p_chain_nonce) then
    return 'nonce_ahead';
  end if;
  v_begun := begin_payout(p_refund_id, p_actor);
  if v_begun not in ('begun', 'repeated') then
    return v_begun;
  elsif exists (select from payout p where p.refund_id = p_refund_id and p.status <> 'failed') then
    return 'repeated';
  elsif exists (select from payout p where p.refund_id = p_refund_id and not p.is_released) then
    return 'failed_before';
  elsif v_begun = 'repeated' and not exists (select from payout p where p.refund_id = p_refund_id) then
    return 'begun_manually';
  end if;
  insert into payout_sender (network, sender, chain_id, next_nonce)
  values (v_refund.network, p_sender, p_chain_id, p_chain_nonce)
  on conflict do nothing;
  update payout_sender s set next_nonce = s.next_nonce + 1
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
