-- One transaction pays one refund. settle_payout asked whether another refund has the transaction, but two settlements
-- at once did not see each other, and a payout did not ask at all: two refunds could be paid by one transaction.
--
-- Locks: none beyond that of creating a function. Older processes call it as before; 'conflict' is a result they know.
--
-- Functions as migrations/function has them: finish_payout.

-- Payout, second half: the transaction is final, and the refund is paid. p_network_fee: what the network took, in base
-- units of its coin. p_actor: text of the audit context (actor_of).
-- Result: 'paid'; 'repeated' for the same transaction again; 'conflict' when another one is noted, or when the
-- transaction paid another refund; 'refused' when the payout has not begun; 'NOT_FOUND'.
-- Locks: the order row FOR UPDATE, then the refund, then an advisory lock on the transaction id, which closes the race
-- of two refunds for one transaction. Error: HF004, by the guard of orders.
create or replace function finish_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text)
returns text language plpgsql as $$
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
  if v_refund.status <> 'paying' then
    return case when v_refund.status <> 'paid' then 'refused' when v_refund.tx_id = p_tx_id then 'repeated'
      else 'conflict' end;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('refund paid by ' || p_tx_id, 0));
  if exists (select from refund r where r.tx_id = p_tx_id and r.refund_id <> p_refund_id) then
    return 'conflict';
  end if;
  update refund r set status = 'paid', tx_id = p_tx_id, network_fee = p_network_fee where r.refund_id = p_refund_id;
  perform settle_refund_state(v_refund.order_id);
  return 'paid';
end
$$;
revoke execute on function finish_payout from public;
grant execute on function finish_payout to app_worker;
comment on function finish_payout is
  'Payout, second half: the transaction is final, and the refund is paid.';
