-- Reservation: takes the committed units of a shipped order off the shelf: holds, counters and ledger together.
-- p_actor: who the stock ledger names.
-- Locks: the caller holds the order row; here stock rows by product_id, then the holds. Repeating it is harmless:
-- committed holds are consumed once.
create or replace function consume_stock(p_order_id uuid, p_actor text) returns void language plpgsql as $$
begin
  perform 1 from stock
  where product_id in (select product_id from reservation where order_id = p_order_id and state = 'committed')
  order by product_id for no key update;

  with consumed as (
    update reservation set state = 'consumed' where order_id = p_order_id and state = 'committed'
    returning product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, p_order_id, hold_no, 'consume', -quantity, -quantity, p_actor from consumed
  )
  update stock s set on_hand = s.on_hand - c.quantity, reserved = s.reserved - c.quantity, version = s.version + 1
  from (select product_id, sum(quantity) as quantity from consumed group by 1) c where s.product_id = c.product_id;
end
$$;
revoke execute on function consume_stock from public;
grant execute on function consume_stock to app_worker;
