-- Derived state: a trigger function that counts refunds where an order's payment state is judged again. An assessment
-- and the end of an order know payments only: what they call paid or unresolved may be refunded in part.
create or replace function derive_refund_state() returns trigger language plpgsql as $$
begin
  if exists (select from holdfast.refund r where r.order_id = new.order_id and r.status in ('paying', 'paid')) then
    new.payment_state := holdfast.refund_state(new.order_id, new.status, new.payment_state);
  end if;
  return new;
end
$$;
revoke execute on function derive_refund_state from public;

-- By its name it runs before the guards of the row.
create or replace trigger orders_derive_refund before update on orders
  for each row when (
    new.payment_state <> old.payment_state and (
      new.payment_state in ('unresolved', 'cancelled', 'expired', 'late_confirming')
      or new.payment_state = 'paid'
        and old.payment_state in ('at_risk', 'reversed', 'refunding', 'partially_refunded', 'refunded')))
  execute function derive_refund_state();
