-- Money that is lost with its block, or comes back in another one.
--
-- An order that ends is `under` by the rule of an assessment after its end: money came, seen or final, and it is not
-- enough. So far the end asked for the state `partial` and the assessment for final money: the flag went and came back
-- while nothing changed but the number of confirmations.
--
-- Of an attributed output it is stored up to which block it counts what came: the block its balance was read at, which
-- is later than its own where an operator knew better. A balance whose block is lost is looked at again, whatever became
-- of its order: money that was attributed would be silently absent otherwise.
--
-- Locks: chain_output and payment take ACCESS EXCLUSIVE for a change of the catalogue. Two indexes are built over
-- chain_output and chain_balance: only the watcher waits for them.

create or replace function end_orders(p_order_ids uuid[], p_reason text, p_end_state text, p_actor text) RETURNS void
language plpgsql as $$
declare
  v_slow uuid[] := '{}';
begin
  if p_reason = 'expired' then
    v_slow := array(select o.order_id from orders o where o.order_id = any (p_order_ids) and o.payment_state = 'confirming');
  end if;

  update orders o set
    status = 'cancelled',
    cancel_reason = p_reason,
    payment_state = case
      when m.final > m.dust_floor then 'unresolved'
      when m.waiting > 0 then 'late_confirming'
      when p_reason = 'expired' then 'expired'
      else 'cancelled' end,
    payment_flags = array(
      select flag from (
        select unnest(o.payment_flags) except select 'under'
        union select 'under' where m.final + m.waiting > 0 and (m.final + m.waiting) * 1000 < m.amount_due * 999
        union select 'slow_confirm' where o.order_id = any (v_slow)) f (flag)
      order by flag collate "C")
  from (
    select i.order_id, i.amount_due, c.dust_floor,
      coalesce(sum(p.amount) filter (where p.state = 'final'), 0) as final,
      coalesce(sum(p.amount) filter (where p.state in ('seen', 'reorged')), 0) as waiting
    from invoice i join currency c on c.currency = i.asset left join payment p on p.order_id = i.order_id
    where i.order_id = any (p_order_ids) group by 1, 2, 3
  ) m
  where o.order_id = m.order_id and o.order_id = any (p_order_ids);

  perform 1 from stock
  where product_id in (
    select product_id from reservation where order_id = any (p_order_ids) and state in ('held', 'committed'))
  order by product_id
  for no key update;

  -- Compare-and-set on the hold: stock moves only for rows that this very statement ended.
  with ended as (
    update reservation set state = p_end_state
    where order_id = any (p_order_ids) and state in ('held', 'committed')
    returning order_id, product_id, hold_no, quantity
  ), moved as (
    insert into stock_movement (product_id, order_id, hold_no, kind, on_hand_delta, reserved_delta, actor)
    select product_id, order_id, hold_no, case p_end_state when 'expired' then 'expire' else 'release' end, 0, -quantity, p_actor
    from ended
  )
  update stock s set reserved = s.reserved - e.quantity, version = s.version + 1
  from (select product_id, sum(quantity) as quantity from ended group by product_id) e
  where s.product_id = e.product_id;

  insert into refund_due (order_id, asset, amount)
  select p.order_id, p.asset, sum(p.amount) from payment p join currency c on c.currency = p.asset
  where p.order_id = any (p_order_ids) and p.state = 'final'
  group by p.order_id, p.asset, c.dust_floor having sum(p.amount) > c.dust_floor
  on conflict (order_id) do update set amount = excluded.amount, updated_at = clock_timestamp();

  insert into key_retire (order_id, network, address)
  select order_id, network, address from invoice where order_id = any (p_order_ids) on conflict do nothing;

  if cardinality(v_slow) > 0 then
    perform want_wake(v_slow);
  end if;
end
$$;

alter table chain_output
  add column counted_height bigint -- null: a transfer, or attributed before this column was: its own block
    constraint chain_output_counted_from check (counted_height >= block_height);
comment on column chain_output.counted_height is 'Of an attributed output: the height at which the balance was read that it explains.';

create index chain_output_attributed on chain_output (network, address) where is_attributed;

drop index chain_balance_unexplained;
create index chain_balance_to_look_at on chain_balance (network, (unexplained = 0), checked_at nulls first)
where unexplained > 0 or checked_at is null;

-- What a contract sends depends on the block its transaction is in: mined again, it may be another amount.
grant update (amount) on chain_output to watcher;
grant update (amount) on payment to app_worker;

create function guard_payment_amount() returns trigger language plpgsql as $$
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
comment on function guard_payment_amount is 'An amount changes to what a report says, and to nothing else.';
create trigger payment_guard_amount before update on payment
  for each row when (new.amount <> old.amount) execute function guard_payment_amount();

create or replace function credit_payments(p_order_id uuid, p_limit int)
returns table (outputs int, has_wrong_asset boolean, has_early boolean)
language sql as $$
  with present as materialized (
    select * from fresh_outputs(p_order_id, p_limit)
  ), credited as (
    insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
    select p.network, p.tx_id, p.output_index, p_order_id, p.asset, p.amount, p.state, p.is_in_time, p.first_seen_at from present p
    where p.is_right_asset and (not p.is_early or exists (
      select from payment y where (y.network, y.tx_id, y.output_index) = (p.network, p.tx_id, p.output_index)))
    on conflict (network, tx_id, output_index) do update set amount = excluded.amount, state = excluded.state, is_in_time = excluded.is_in_time
    where payment.order_id = excluded.order_id and (payment.amount, payment.state, payment.is_in_time) is distinct from (excluded.amount, excluded.state, excluded.is_in_time)
  ), assessed as (
    -- By their numbers: joined to the outputs, all that the order has unassessed would be gone through for each.
    update payment_report r set is_assessed = true
    where r.report_no = any (array(select unnest(p.report_nos) from present p))
  )
  select count(*)::int, coalesce(bool_or(not is_right_asset), false), coalesce(bool_or(is_right_asset and is_early), false)
  from present
$$;
