-- What an assessment reads of an order: its states, the sums of its money (order_money) and its late decision.
-- replacement_id: the order that its late money paid. is_undecided: it expired, enough final money is there, and what
-- becomes of it is not decided yet (decide_late_money).
-- Locks: none; the caller holds the order row. Changes nothing.
create or replace function assessed_order(p_order_id uuid)
returns table (
  status text, payment_state text, cancel_reason text, hold text, flags text[], amount_due numeric, dust_floor numeric,
  seen numeric, final numeric, late_seen numeric, late_final numeric, accepted numeric, is_late boolean,
  is_reorged boolean, is_replaced boolean, replacement_id uuid, is_undecided boolean
)
language sql stable as $$
  select o.status, o.payment_state, o.cancel_reason, o.hold, o.payment_flags, m.amount_due, m.dust_floor, m.seen,
    m.final, m.late_seen, m.late_final, m.accepted, m.is_late, m.is_reorged, m.is_replaced, d.replacement_id,
    d.order_id is null and o.cancel_reason is not distinct from 'expired'
      and is_enough(m.final + m.late_final, m.amount_due)
  from orders o
  cross join lateral order_money(array[o.order_id]) m
  left join late_decision d on d.order_id = o.order_id
  where o.order_id = p_order_id
$$;
revoke execute on function assessed_order from public;
grant execute on function assessed_order to app_worker;
