-- Payout, first half: takes an approved refund for payment, before anything is signed. p_actor: text of the audit
-- context (actor_of).
-- Result: 'begun'; 'repeated' when it was taken before and is not paid yet; 'paid'; 'not_covered' when the order no
-- longer has final money for it, such as after a reorganisation: ask again later; 'in_doubt' while that money may be
-- gone: its network is suspended, or there is news of it that is not assessed; ask again later; 'refused' in any other
-- status; 'NOT_FOUND'. Send only after 'begun' or 'repeated', and sign the same transaction again rather than another.
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
  -- The guard would refuse it as well: a reorganisation may have taken the money after the approval.
  if v_refund.amount + promised_refunds(
      v_refund.order_id, v_refund.network, v_refund.asset, v_refund.token, v_refund.refund_id)
    > received_money(v_refund.order_id, v_refund.network, v_refund.asset, v_refund.token) then
    return 'not_covered';
  end if;
  -- As before shipping (is_command_legal): the news of the order, or of the order that it replaces.
  if exists (select from suspended_network n where n.network = v_refund.network)
    or exists (
      select from payment_report r
      where not r.is_assessed and r.order_id in (
        select v_refund.order_id union all
        select d.order_id from late_decision d where d.replacement_id = v_refund.order_id)) then
    return 'in_doubt';
  end if;
  update refund r set status = 'paying' where r.refund_id = p_refund_id;
  perform settle_refund_state(v_refund.order_id);
  return 'begun';
end
$$;
revoke execute on function begin_payout from public;
grant execute on function begin_payout to app_worker;
