-- Refund intent: a trigger function that keeps what an order owes and its open refund equal (keep_owed_refund). A
-- rejected refund is opened again, for the money is still owed.
-- Locks: the order row FOR NO KEY UPDATE. Repeating it is harmless.
create or replace function follow_refund_due() returns trigger language plpgsql as $$
begin
  perform holdfast.keep_owed_refund(new.order_id);
  return null;
end
$$;
revoke execute on function follow_refund_due from public;

create or replace trigger refund_due_open_refund after insert on refund_due
  for each row when (new.amount > 0) execute function follow_refund_due();
create or replace trigger refund_due_change_refund after update on refund_due
  for each row when (new.amount <> old.amount) execute function follow_refund_due();
create or replace trigger refund_open_next after update on refund
  for each row when (new.status <> old.status and new.status in ('rejected', 'cancelled'))
  execute function follow_refund_due();
