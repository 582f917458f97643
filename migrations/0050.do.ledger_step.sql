-- The writers of the ledger (0049): triggers on what moves money, and the opening posting of each order that has some.
-- What was settled before counts on the day of this migration.
--
-- Locks: payment, refund_due, refund and orders SHARE ROW EXCLUSIVE for their triggers until commit. Reads the final
-- payments and paid refunds once. Older processes: what they write is posted by the triggers.
--
-- Functions as migrations/function has them: ledger_target, post_ledger, follow_money, ledger_entry.

-- What the ledger must have in sum of each order and asset, as payments, refunds and status are now.
-- One row per asset of the invoice or of a paid refund; debit is positive. Money in another asset than the invoice's is
-- received when it is given back: before that it belongs to no order.
-- refund_due: what is owed less what was paid of it, at most what is there, and no dust.
-- written_off: the shortfall of an order whose money is enough or whose goods have left, and refunds that were paid but
-- are owed no more; less the dust of a cancelled order. The money of a replacement is in the ledger of the order that
-- it replaces.
-- customer_due is not here: it is what makes the sum zero.
-- Locks: none; exact for a caller that holds the order row.
create or replace view ledger_target as
select a.order_id, a.network, a.asset, a.token, m.received, -s.owed as refund_due, -(a.paid + a.fees) as refunded,
  a.fees,
  case when not a.is_invoiced then 0
    else case when exists (select from late_decision d where d.replacement_id = a.order_id) then 0
      when o.status in ('shipped', 'delivered')
        or o.status = 'processing' and is_enough(m.in_time, a.amount_due)
      then greatest(0, a.amount_due - m.in_time) else 0 end
    + greatest(0, a.paid_of_owed - m.due)
    - case when o.status = 'cancelled' and m.received - a.paid between 1 and c.dust_floor
      then m.received - a.paid else 0 end
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
  select case when w.amount > c.dust_floor then w.amount else 0 end as owed
  from (select least(m.due - a.paid_of_owed, m.received - a.paid) as amount) w
) s;
comment on view ledger_target is
  'What the ledger must have in sum of each order and asset, as payments, refunds and status are now.';

-- Ledger posting: writes what is missing between what the ledger has of an order and what it must have (ledger_target),
-- one posting per asset. p_cause: ledger_posting.cause.
-- Runs as the owner: no role has the right to write the ledger.
-- Locks: the order row FOR NO KEY UPDATE, which makes the sums exact; not for an order that never had money.
-- Repeating it is harmless: nothing is missing then.
create or replace function post_ledger(p_order_id uuid, p_cause text) returns void
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
begin
  if not exists (select from payment p where p.order_id = p_order_id)
    and not exists (select from refund r where r.order_id = p_order_id) then
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
      select distinct n.order_id from new_rows n where n.state = 'final' order by 1) m;
  else
    -- Money that is final, or no longer is.
    perform post_ledger(m.order_id, tg_argv[0]) from (
      select n.order_id from new_rows n where n.state = 'final'
      union select o.order_id from old_rows o where o.state = 'final' order by 1) m;
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

-- The ledger in the shape that accountants know: one row per posting and account that it moves. The rows of a posting
-- sum to zero, by a check of ledger_posting.
create or replace view ledger_entry as
select p.posting_no, p.posted_at, p.order_id, p.network, p.asset, p.token, p.cause, e.account, e.amount
from ledger_posting p
cross join lateral (values
  ('received', p.received), ('customer_due', p.customer_due), ('refund_due', p.refund_due), ('refunded', p.refunded),
  ('fees', p.fees), ('written_off', p.written_off)) e (account, amount)
where e.amount <> 0;
grant select on ledger_entry to app_api, auditor;
comment on view ledger_entry is
  'The ledger in the shape that accountants know: one row per posting and account that it moves.';

-- An order that got a part back by an operator's wish, and is cancelled then, is refunded from whatever it was.
insert into payment_transition (from_state, to_state)
select f, t from unnest('{awaiting,partial,confirming,paid}'::text[]) f,
  unnest('{refunding,partially_refunded,refunded}'::text[]) t
on conflict do nothing;

create trigger ledger_posting_append_only before update or delete on ledger_posting
  for each row execute function refuse_rewriting();
create trigger ledger_posting_no_truncate before truncate on ledger_posting
  for each statement execute function refuse_rewriting();

select post_ledger(m.order_id, 'opening') from (
  select p.order_id from payment p where p.state = 'final'
  union select r.order_id from refund r where r.status = 'paid' order by 1) m;
