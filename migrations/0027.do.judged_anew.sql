-- Orders that were last judged by the rules before 0024 are judged again. Found by a review: an order whose payment one
-- source had final and another had lost was told «paid» by the old rule, the new one said «reorged», nothing had it
-- looked at, and it shipped. Dust that the old rule owed back, and payment states that it never left, made every
-- consistency check red. Their reports become unassessed and their workflows are woken; what follows is decided by
-- assessments, as ever. Of an order that was told «paid» for money that the new rules would have called late or early, the
-- sale stands (docs/decisions/0022).
--
-- Reads every credited output with its reports twice: some minutes with a million of them. It is the first of its upgrade,
-- 0027 to 0032, which commit together, so that nothing is locked while that is read. Then the orders that were found are
-- locked, few in a shop that did not meet these cases, and payment takes ACCESS EXCLUSIVE for a column with a constant
-- default, until the migrations commit.

create function keep_honoured() returns trigger language plpgsql as $$
begin
  new.is_in_time := true;
  return new;
end
$$;
comment on function keep_honoured is 'An assessment that reads the times of an output again leaves one that is honoured in time.';
revoke execute on function keep_honoured from public;
do $judge$
declare
  v_honoured uuid[];
  v_order_ids uuid[];
begin
  -- Told «paid», and not by money in time.
  v_honoured := array(
    select o.order_id
    from orders o join invoice i on i.order_id = o.order_id join currency c on c.currency = i.asset
    join payment p on p.order_id = o.order_id
    cross join lateral present_output(p.order_id, p.network, p.tx_id, p.output_index) w
    where o.status in ('processing', 'shipped', 'delivered') and o.payment_state = 'paid'
    group by o.order_id, i.order_id, c.currency
    having coalesce(sum(p.amount) filter (
      where p.state = 'final' and w.first_seen_at <= i.expires_at + i.grace
        and w.last_first_seen_at >= i.created_at - c.clock_tolerance), 0) * 1000 < i.amount_due * 999);

  -- What a consistency check would name, and what would be another once it is looked at: the state and the amount of an
  -- output, whether it is in time, what the payments come to, what is owed back.
  v_order_ids := array(
    select m.order_id
    from (
      select o.order_id, o.status, o.payment_state, i.amount_due, c.dust_floor, coalesce(d.amount, 0) as owed,
        bool_or(w.state is distinct from p.state or w.amount is distinct from p.amount or t.is_in_time <> t.is_counted) as is_other,
        coalesce(sum(p.amount) filter (where t.is_counted and p.state = 'final'), 0) as final,
        coalesce(sum(p.amount) filter (where t.is_counted and p.state in ('seen', 'reorged', 'final')), 0) as seen,
        coalesce(sum(p.amount) filter (where not t.is_counted and p.state = 'final'), 0) as late_final,
        coalesce(sum(p.amount) filter (where p.state in ('seen', 'reorged')), 0) as waiting
      from orders o join invoice i on i.order_id = o.order_id join currency c on c.currency = i.asset
      join payment p on p.order_id = o.order_id
      left join refund_due d on d.order_id = o.order_id
      cross join lateral present_output(p.order_id, p.network, p.tx_id, p.output_index) w
      cross join lateral (
        select o.order_id = any (v_honoured) or p.is_in_time as is_counted,
          o.order_id = any (v_honoured) or w.first_seen_at <= i.expires_at + i.grace
            and w.last_first_seen_at >= i.created_at - c.clock_tolerance as is_in_time
      ) t
      group by o.order_id, i.order_id, c.currency, d.order_id
    ) m
    where m.is_other
      or m.payment_state <> all (case
        when m.status = 'pending' then array[case
          when m.seen * 1000 >= m.amount_due * 999 then 'confirming' when m.seen > 0 then 'partial' else 'awaiting' end]
        when m.status <> 'cancelled' then array[case
          when m.final * 1000 >= m.amount_due * 999 then 'paid' when m.seen * 1000 >= m.amount_due * 999 then 'at_risk' else 'reversed' end]
        when m.final + m.late_final > m.dust_floor then array['unresolved', 'refunding', 'partially_refunded', 'refunded']
        when m.waiting > 0 then array['late_confirming']
        else array['expired', 'cancelled'] end)
      or m.owed <> (
        select case when w.amount > m.dust_floor then w.amount else 0 end
        from (select case m.status when 'cancelled' then m.final else greatest(0, m.final - m.amount_due) end + m.late_final as amount) w));

  -- In the order of a worker: the orders, then their payments.
  perform 1 from orders o where o.order_id = any (v_honoured || v_order_ids) order by o.order_id for no key update;
  alter table payment add column is_honoured boolean not null default false;
  perform audit_watch('payment', 'order', 'order_id');
  update payment set is_in_time = true, is_honoured = true where order_id = any (v_honoured);
  -- One report of each output is enough to have all that was said of it looked at.
  update payment_report set is_assessed = false
  where report_no in (
    select max(r.report_no) from payment p
    join payment_report r on r.order_id = p.order_id and r.network = p.network and r.tx_id = p.tx_id and r.output_index = p.output_index
    where p.order_id = any (v_order_ids) group by p.network, p.tx_id, p.output_index);
  perform want_wake(v_order_ids);
end
$judge$;
comment on column payment.is_honoured is 'Paid its order by the rules before 0024, which knew no late and no early money: it stays in time.';
create trigger payment_honoured before update on payment
  for each row when (old.is_honoured) execute function keep_honoured();
