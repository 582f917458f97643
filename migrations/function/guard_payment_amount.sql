-- Guard of payments: a trigger function that lets an amount change only to what a report of the output says.
-- Error: HF001.
create or replace function guard_payment_amount() returns trigger language plpgsql as $$
begin
  if not exists (
    select from payment_report r
    where r.order_id = new.order_id
      and (r.network, r.tx_id, r.output_index, r.amount) = (new.network, new.tx_id, new.output_index, new.amount)) then
    raise exception 'payment: an amount is what a report of the output says' using errcode = 'HF001';
  end if;
  return new;
end
$$;
revoke execute on function guard_payment_amount from public;

create or replace trigger payment_guard_amount before update on payment
  for each row when (new.amount <> old.amount) execute function guard_payment_amount();
