-- Late acceptance: makes the order that replaces an expired one, with its lines, prices and rate, a payment address of
-- its own and the start of its workflow, and records the decision. The payments stay with the expired order.
-- Returns the id of the new order. It is pending: the caller takes its stock and pays it in the same transaction.
-- Locks: the caller holds the row of the expired order; here a free address, which is skipped where it is locked.
-- Errors: HF046 when the order did not expire, has not enough final money, or no address is free. 23505 (unique
-- violation) when it was decided before.
-- Runs as the owner: no other role may make an order without a call of its customer.
create or replace function open_replacement(p_order_id uuid, p_rate numeric, p_due_now numeric) returns uuid
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_id uuid := gen_random_uuid();
  v_address text;
begin
  if not exists (select from assessed_order(p_order_id) a where a.is_undecided) then
    raise exception 'late_decision: this order has no late money to decide on' using errcode = 'HF046';
  end if;
  update address_pool p set leased_by = 'system:replacement', leased_at = clock_timestamp()
  from (
    select f.network, f.address from address_pool f join invoice i on i.network = f.network and i.asset = f.asset
    where i.order_id = p_order_id and f.leased_at is null
    order by f.pool_no limit 1 for update of f skip locked) free
  where (p.network, p.address) = (free.network, free.address)
  returning p.address into v_address;
  if v_address is null then
    raise exception 'late_decision: no payment address is free' using errcode = 'HF046';
  end if;

  insert into orders (order_id, user_id, currency, total, address_sealed)
  select v_id, o.user_id, o.currency, o.total, o.address_sealed from orders o where o.order_id = p_order_id;
  insert into order_line (order_id, line_no, product_id, product_version, name, quantity, unit_price)
  select v_id, l.line_no, l.product_id, l.product_version, l.name, l.quantity, l.unit_price
  from order_line l where l.order_id = p_order_id;
  -- Nothing is to be paid at the new address: its quote ends at once.
  insert into invoice (
    order_id, network, asset, address, amount_due, rate, expires_at, grace, confirm_within, created_at)
  select v_id, i.network, i.asset, v_address, i.amount_due, i.rate, n.now + interval '1 millisecond', interval '0',
    i.confirm_within, n.now
  from invoice i cross join (select clock_timestamp() as now) n where i.order_id = p_order_id;
  insert into workflow_start (order_id, quote_ends_at, urgency)
  select i.order_id, i.expires_at, 0 from invoice i where i.order_id = v_id;
  insert into late_decision (order_id, replacement_id, rate, due_now) values (p_order_id, v_id, p_rate, p_due_now);
  return v_id;
end
$$;
revoke execute on function open_replacement from public;
grant execute on function open_replacement to app_worker;
