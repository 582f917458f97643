-- Settlement of a payout by an operator: a transaction paid the refund, but none that its payouts know, or one that was
-- released too early. The caller has compared it with the chain: sender, destination, value and depth.
-- p_network_fee: what the network took, in base units of its coin. p_actor: text of the audit context (actor_of).
-- Result: 'live' while a payout of the refund may still be executed; 'taken' when the transaction is another payout's
-- or paid another refund; any result of finish_payout.
-- Locks: the order row FOR UPDATE, then the refund. Error: HF004, by the guard of orders.
create or replace function settle_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text)
returns text language plpgsql as $$
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select r.order_id from refund r where r.refund_id = p_refund_id) for update;
  if exists (select from payout p where p.refund_id = p_refund_id and p.status not in ('confirmed', 'failed')) then
    return 'live';
  elsif exists (select from refund r where r.tx_id = p_tx_id and r.refund_id <> p_refund_id)
    or exists (
      select from payout_attempt a join payout p on p.payout_id = a.payout_id
      where a.tx_id = p_tx_id and p.refund_id <> p_refund_id) then
    return 'taken';
  end if;
  return finish_payout(p_refund_id, p_tx_id, p_network_fee, p_actor);
end
$$;
revoke execute on function settle_payout from public;
grant execute on function settle_payout to app_worker;
