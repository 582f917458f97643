-- Payout, last step: one of its transactions is final on the chain. A payment pays the refund (finish_payout); an
-- empty filler, a reverted or an unknown transaction proves that this payout sent nothing and can send nothing.
-- p_tx_id: the payout's transaction that is final; null: an unknown one has its nonce. p_is_reverted: it had no
-- effect.
-- p_network_fee: what the network took, in base units. The shop bears that of a payout that failed. p_actor: text of
-- the audit context (actor_of).
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
    update payout p set status = 'failed', failure = v_failure,
      network_fee = case when p_tx_id is not null then p_network_fee end
    where p.payout_id = p_payout_id;
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
