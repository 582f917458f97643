-- Reservation: holds stock for all lines of an order, or for none when it does not all fit. Returns nothing:
-- order_state shows the holds.
-- Locks: the caller holds the order row; here stock rows FOR NO KEY UPDATE, by product_id, before the guard reads them.
-- Repeating it would hold twice: step_order calls it only for an order without a hold.
create or replace function take_stock(p_order_id uuid) returns void language plpgsql as $$
begin
  perform 1 from stock where product_id in (select product_id from order_line where order_id = p_order_id)
  order by product_id for no key update;

  with wanted as (
    select l.product_id, sum(l.quantity)::bigint as quantity from order_line l where l.order_id = p_order_id group by 1
  ), fits as (
    select bool_and(s.on_hand - s.reserved >= w.quantity) as yes from wanted w join stock s using (product_id)
  ), held as (
    insert into reservation (order_id, product_id, quantity, expires_at)
    select p_order_id, w.product_id, w.quantity, i.expires_at + i.grace
    from wanted w, invoice i, fits where i.order_id = p_order_id and fits.yes returning product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, p_order_id, hold_no, 'reserve', 0, quantity, 'system' from held
  )
  update stock s set reserved = s.reserved + h.quantity, version = s.version + 1
  from held h where s.product_id = h.product_id;
end
$$;
revoke execute on function take_stock from public;
grant execute on function take_stock to app_worker;
