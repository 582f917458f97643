-- Ledger writer: a trigger function that posts what a change of payments, of what is owed back, of a refund or its
-- failed payout, or of an order's status did to the money of an order (post_ledger).
-- The payments of an expired order are money of its replacement too.
-- Its argument is ledger_posting.cause.
-- Runs as the owner: no role has the right to write the ledger.
-- Locks: the order rows FOR NO KEY UPDATE, in order of id. Repeating it is harmless.
create or replace function follow_money() returns trigger
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
begin
  if tg_level = 'ROW' then
    perform post_ledger(new.order_id, tg_argv[0]);
  elsif tg_op = 'INSERT' then
    perform post_ledger(m.order_id, tg_argv[0]) from (
      select n.order_id from new_rows n where n.state = 'final'
      union select d.replacement_id from new_rows n join late_decision d on d.order_id = n.order_id
      where n.state = 'final' and d.replacement_id is not null order by 1) m;
  else
    -- Money that is final, or no longer is.
    perform post_ledger(m.order_id, tg_argv[0]) from (
      with moved as (
        select n.order_id from new_rows n where n.state = 'final'
        union select o.order_id from old_rows o where o.state = 'final'
      )
      select v.order_id from moved v
      union select d.replacement_id from moved v join late_decision d on d.order_id = v.order_id
      where d.replacement_id is not null order by 1) m;
  end if;
  return null;
end
$$;
revoke execute on function follow_money from public;

create or replace trigger payment_post_insert after insert on payment
  referencing new table as new_rows for each statement execute function follow_money('payment');
create or replace trigger payment_post_update after update on payment
  referencing old table as old_rows new table as new_rows for each statement execute function follow_money('payment');
create or replace trigger refund_due_post_insert after insert on refund_due
  for each row when (new.amount > 0) execute function follow_money('refund_due');
create or replace trigger refund_due_post_update after update on refund_due
  for each row when (new.amount <> old.amount) execute function follow_money('refund_due');
create or replace trigger refund_post after update on refund
  for each row when (new.status <> old.status and new.status = 'paid') execute function follow_money('refund');
create or replace trigger payout_post after update on payout
  for each row when (new.network_fee is distinct from old.network_fee) execute function follow_money('refund');
-- A delivery moves no money that the shipping has not moved.
create or replace trigger orders_post after update on orders
  for each row when (new.status <> old.status and new.status <> 'delivered') execute function follow_money('status');
