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
