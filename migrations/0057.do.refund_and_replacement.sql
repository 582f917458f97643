-- The money of an expired order and of its replacement is the same money. It could be given back twice: what had left
-- for refunds of the expired order still counted for the replacement, once a reorganisation had taken the rest. And the
-- ledger of the replacement had neither what it owes nor what it lost. A payout began although its money was in doubt,
-- and an order was shipped that had lost money after its excess went back.
--
-- Locks: only the catalogue. Reads the late decisions once and posts what their replacements lack. Older processes:
-- they call the same functions; to a payer, in_doubt is one more reason to wait.
--
-- Functions as migrations/function has them: begin_payout, order_money, ledger_target, post_ledger, follow_money,
-- refund_state.

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
comment on function begin_payout is
  'Payout, first half: takes an approved refund for payment, before anything is signed.';

-- Money of orders: the sums of their outputs in base units, one row per order. final: in time and final. seen: these,
-- and what is seen or reorged. late_final, late_seen: the same of what came late.
-- accepted: final money that a replacement took; it is part of the sums. A replacement (late_decision) counts as much
-- of the money of the order that it replaces as it costs, and as money in time. What has left for refunds of that
-- order is not there for its replacement: after a loss, the same money would go back a second time.
-- Locks: none. Changes nothing.
create or replace function order_money(p_order_ids uuid[])
returns table (
  order_id uuid, asset text, amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric,
  late_final numeric, accepted numeric, is_late boolean, is_reorged boolean, is_replaced boolean
)
language sql stable as $$
  select i.order_id, i.asset, i.amount_due, c.dust_floor, m.seen + t.seen, m.final + t.final, m.late_seen, m.late_final,
    case when d.order_id is null then 0 else least(greatest(0, m.final + m.late_final - (
      select coalesce(sum(r.amount), 0) from refund r
      where r.order_id = i.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
        and r.status in ('paying', 'paid'))), i.amount_due) end,
    m.is_late or t.is_late, m.is_reorged or t.is_reorged, m.is_replaced
  from invoice i
  join currency c on c.currency = i.asset
  cross join lateral (
    select coalesce(sum(p.amount) filter (where p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0) as seen,
      coalesce(sum(p.amount) filter (where p.is_in_time and p.state = 'final'), 0) as final,
      coalesce(sum(p.amount) filter (where not p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0)
        as late_seen,
      coalesce(sum(p.amount) filter (where not p.is_in_time and p.state = 'final'), 0) as late_final,
      coalesce(bool_or(not p.is_in_time), false) as is_late,
      coalesce(bool_or(p.state = 'reorged'), false) as is_reorged,
      coalesce(bool_or(p.state = 'replaced'), false) as is_replaced
    from payment p where p.order_id = i.order_id
  ) m
  cross join lateral (
    select coalesce(max(least(i.amount_due, greatest(0, p.seen - b.amount))), 0) as seen,
      coalesce(max(least(i.amount_due, greatest(0, p.final - b.amount))), 0) as final,
      coalesce(bool_or(p.outputs > 0), false) as is_late, coalesce(bool_or(p.is_reorged), false) as is_reorged
    from late_decision s
    cross join lateral (
      select coalesce(sum(x.amount) filter (where x.state in ('seen', 'reorged', 'final')), 0) as seen,
        coalesce(sum(x.amount) filter (where x.state = 'final'), 0) as final,
        count(*) as outputs, bool_or(x.state = 'reorged') as is_reorged
      from payment x where x.order_id = s.order_id
    ) p
    cross join lateral (
      select coalesce(sum(r.amount), 0) as amount from refund r
      where r.order_id = s.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
        and r.status in ('paying', 'paid')
    ) b
    where s.replacement_id = i.order_id
  ) t
  left join late_decision d on d.order_id = i.order_id and d.replacement_id is not null
  where i.order_id = any (p_order_ids)
$$;
revoke execute on function order_money from public;
grant execute on function order_money to app_api, app_worker, auditor;
comment on function order_money is
  'Money of orders: the sums of their outputs in base units, one row per order.';

-- What the ledger must have in sum of each order and asset, as payments, refunds and status are now.
-- One row per asset of the invoice or of a paid refund; debit is positive. Money in another asset than the invoice's is
-- received when it is given back: before that it belongs to no order.
-- refund_due: what is owed less what was paid of it, at most what is there, and no dust.
-- written_off: the shortfall of an order whose money is enough or whose goods have left, and refunds that were paid but
-- are owed no more; less the dust of a cancelled order.
-- The money of a replacement (order_money) is received by the order that it replaces. What the replacement owes of it,
-- gives back, or lacks after its goods have left is its own: the two orders together have the sums of one.
-- customer_due is not here: it is what makes the sum zero.
-- Locks: none; exact for a caller that holds the order row.
create or replace view ledger_target as
select a.order_id, a.network, a.asset, a.token, m.received, -s.owed as refund_due, -(a.paid + a.fees) as refunded,
  a.fees,
  case when not a.is_invoiced then 0
    else case
      when o.status in ('shipped', 'delivered')
        or o.status = 'processing' and is_enough(m.in_time + t.taken, a.amount_due)
      then greatest(0, a.amount_due - m.in_time - t.taken) else 0 end
    + greatest(0, a.paid_of_owed - m.due)
    - case when o.status = 'cancelled' and m.received + t.taken - a.paid between 1 and c.dust_floor
      then m.received + t.taken - a.paid else 0 end
  end as written_off
from (
  -- One row per asset: what its paid refunds took, and the network fees that the shop bore in it.
  select x.order_id, x.network, x.asset, x.token, bool_or(x.is_invoiced) as is_invoiced,
    max(x.amount_due) as amount_due, sum(x.paid) as paid, sum(x.paid_of_owed) as paid_of_owed, sum(x.fee) as fees
  from (
    select i.order_id, i.network, i.asset, null::text as token, true as is_invoiced, i.amount_due, 0 as paid,
      0 as paid_of_owed, 0 as fee
    from invoice i
    union all
    select r.order_id, r.network, r.asset, r.token, false as is_invoiced, null::numeric as amount_due, r.amount as paid,
      case r.kind when 'owed' then r.amount else 0 end as paid_of_owed, 0 as fee
    from refund r where r.status = 'paid'
    union all
    -- The network takes its fee in its coin, whatever was sent.
    select r.order_id, r.network, r.asset, null::text as token, false as is_invoiced, null::numeric as amount_due,
      0 as paid, 0 as paid_of_owed, r.network_fee as fee
    from refund r where r.status = 'paid' and r.fee_bearer = 'shop'
  ) x
  group by 1, 2, 3, 4
) a
join orders o on o.order_id = a.order_id
join currency c on c.currency = a.asset
cross join lateral (
  select case when a.is_invoiced then coalesce(sum(p.amount), 0) else a.paid end as received,
    coalesce(sum(p.amount) filter (where p.is_in_time), 0) as in_time,
    coalesce((select d.amount from refund_due d where a.is_invoiced and d.order_id = a.order_id), 0) as due
  from payment p where a.is_invoiced and p.order_id = a.order_id and p.state = 'final'
) m
cross join lateral (
  -- What a replacement counts of the money of the order that it replaces.
  select case when a.is_invoiced and exists (select from late_decision d where d.replacement_id = a.order_id)
    then (select y.final - m.in_time from order_money(array[a.order_id]) y) else 0 end as taken
) t
cross join lateral (
  select case when w.amount > c.dust_floor then w.amount else 0 end as owed
  from (select least(m.due - a.paid_of_owed, m.received + t.taken - a.paid) as amount) w
) s;
comment on view ledger_target is
  'What the ledger must have in sum of each order and asset, as payments, refunds and status are now.';

-- Ledger posting: writes what is missing between what the ledger has of an order and what it must have (ledger_target),
-- one posting per asset. p_cause: ledger_posting.cause.
-- Runs as the owner: no role has the right to write the ledger.
-- Locks: the order row FOR NO KEY UPDATE, which makes the sums exact; not for an order that never had money, its own or
-- that of the order that it replaces.
-- Repeating it is harmless: nothing is missing then.
create or replace function post_ledger(p_order_id uuid, p_cause text) returns void
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
begin
  if not exists (select from payment p where p.order_id = p_order_id)
    and not exists (select from refund r where r.order_id = p_order_id)
    and not exists (select from late_decision d where d.replacement_id = p_order_id) then
    return;
  end if;
  perform 1 from orders o where o.order_id = p_order_id for no key update;
  insert into ledger_posting (
    order_id, network, asset, token, cause, received, customer_due, refund_due, refunded, fees, written_off)
  select p_order_id, m.network, m.asset, m.token, p_cause, m.received,
    -(m.received + m.refund_due + m.refunded + m.fees + m.written_off), m.refund_due, m.refunded, m.fees, m.written_off
  from (
    select t.network, t.asset, t.token, t.received - b.received as received, t.refund_due - b.refund_due as refund_due,
      t.refunded - b.refunded as refunded, t.fees - b.fees as fees, t.written_off - b.written_off as written_off
    from ledger_target t
    cross join lateral (
      select coalesce(sum(l.received), 0) as received, coalesce(sum(l.refund_due), 0) as refund_due,
        coalesce(sum(l.refunded), 0) as refunded, coalesce(sum(l.fees), 0) as fees,
        coalesce(sum(l.written_off), 0) as written_off
      from ledger_posting l
      where l.order_id = p_order_id and (l.network, l.asset) = (t.network, t.asset)
        and l.token is not distinct from t.token
    ) b
    where t.order_id = p_order_id
  ) m
  where (m.received, m.refund_due, m.refunded, m.fees, m.written_off) <> (0, 0, 0, 0, 0);
end
$$;
revoke execute on function post_ledger from public;
comment on function post_ledger is
  'Ledger posting: writes what is missing between what the ledger has of an order and what it must have'
  ' (ledger_target), one posting per asset.';

-- Ledger writer: a trigger function that posts what a change of payments, of what is owed back, of a refund or of an
-- order's status did to the money of an order (post_ledger).
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
-- A delivery moves no money that the shipping has not moved.
create or replace trigger orders_post after update on orders
  for each row when (new.status <> old.status and new.status <> 'delivered') execute function follow_money('status');
comment on function follow_money is
  'Ledger writer: a trigger function that posts what a change of payments, of what is owed back, of a refund or'
  ' of an order''s status did to the money of an order (post_ledger).';

-- Payment state of an order once its refunds are counted: the copy of refundStateOf in src/domain/refund.ts. An order
-- that keeps enough is paid. One that lost money after its excess had gone back is reversed: that part was no goodwill.
-- Only the invoice's asset counts.
-- p_status, p_payment_state: what the order is without refunds.
-- Locks: none; exact for a caller that holds the order row. Changes nothing.
create or replace function refund_state(p_order_id uuid, p_status text, p_payment_state text) returns text
language sql stable as $$
  select case
    when p_status = 'pending' or m.paying + m.paid = 0 then p_payment_state
    when p_status <> 'cancelled' and p_payment_state in ('at_risk', 'reversed') then p_payment_state
    when p_status <> 'cancelled' and is_enough(m.received - m.paying - m.paid, m.amount_due) then 'paid'
    when p_status <> 'cancelled' and not is_enough(m.received - m.owed, m.amount_due) then 'reversed'
    when m.paying > 0 then 'refunding'
    when m.received - m.paid <= m.dust_floor then 'refunded'
    else 'partially_refunded' end
  from (
    select i.amount_due, c.dust_floor, received_money(i.order_id, i.network, i.asset, null) as received,
      coalesce(sum(r.amount) filter (where r.status = 'paying'), 0) as paying,
      coalesce(sum(r.amount) filter (where r.status = 'paid'), 0) as paid,
      coalesce(sum(r.amount) filter (where r.kind = 'owed' and r.status in ('paying', 'paid')), 0) as owed
    from invoice i join currency c on c.currency = i.asset
    left join refund r on r.order_id = i.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
    where i.order_id = p_order_id group by i.order_id, c.currency
  ) m
$$;
revoke execute on function refund_state from public;
grant execute on function refund_state to app_worker, auditor;
comment on function refund_state is
  'Payment state of an order once its refunds are counted: the copy of refundStateOf in src/domain/refund.ts.';

select post_ledger(d.replacement_id, 'opening') from late_decision d where d.replacement_id is not null
order by d.replacement_id;
