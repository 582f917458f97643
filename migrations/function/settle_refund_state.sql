-- Brings the payment state of an order up to date with its refunds (refund_state).
-- Locks: the caller holds the order row. Repeating it is harmless. Error: HF004, by the guard of orders.
create or replace function settle_refund_state(p_order_id uuid) returns void language plpgsql as $$
begin
  update orders o set payment_state = s.state
  from (
    select refund_state(p_order_id, x.status, x.payment_state) as state from orders x where x.order_id = p_order_id) s
  where o.order_id = p_order_id and o.payment_state <> s.state;
end
$$;
revoke execute on function settle_refund_state from public;
grant execute on function settle_refund_state to app_worker;
