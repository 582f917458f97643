// What must hold between the ledger and the money of an order, at every commit: for invariant.ts. Computed a second time, from
// payments and refunds, without the view from which the ledger is written.

import { sql, type FragmentSqlToken } from 'slonik'

const PAID = sql.fragment`x.order_id = o.order_id and x.status = 'paid'`
// Of the order that a replacement replaces: its replacement counts what its refunds left of its final money.
const FINAL_OF_REPLACED = sql.fragment`(
  select coalesce(sum(x.amount), 0) from payment x where x.order_id = f.order_id and x.state = 'final')`
const BEGUN_OF_REPLACED = sql.fragment`(
  select coalesce(sum(x.amount), 0) from refund x
  where x.order_id = f.order_id and (x.network, x.asset) = (i.network, i.asset) and x.token is null
    and x.status in ('paying', 'paid'))`

/**
 * Orders whose ledger does not sum to zero, or has other sums than payments and refunds. Money in another asset than
 * the invoice's is in the ledger once it was given back, and leaves nothing behind.
 * @param within a condition on the order `o`
 */
export const ledgerFaults = (within: FragmentSqlToken): FragmentSqlToken => sql.fragment`
  select o.order_id::text as subject,
    'ledger ' || l.received || ', ' || l.refund_due || ', ' || l.refunded || ', ' || l.fees || ', ' || l.written_off
      || ' with sum ' || l.total || '; money ' || m.final || ', ' || d.unpaid || ', ' || r.paid || ', ' || r.fees
      || ', ' || w.lost as detail
  from orders o join invoice i on i.order_id = o.order_id join currency c on c.currency = i.asset
  cross join lateral (
    select coalesce(sum(x.received), 0) as received, coalesce(sum(x.refund_due), 0) as refund_due,
      coalesce(sum(x.refunded), 0) as refunded, coalesce(sum(x.fees), 0) as fees,
      coalesce(sum(x.written_off), 0) as written_off,
      coalesce(sum(x.received + x.customer_due + x.refund_due + x.refunded + x.fees + x.written_off), 0) as total
    from ledger_posting x
    where x.order_id = o.order_id and (x.network, x.asset) = (i.network, i.asset) and x.token is null) l
  cross join lateral (
    select coalesce(sum(x.amount), 0) as final, coalesce(sum(x.amount) filter (where x.is_in_time), 0) as in_time
    from payment x where x.order_id = o.order_id and x.state = 'final') m
  cross join lateral (
    select coalesce((
      select least(i.amount_due, greatest(0, ${FINAL_OF_REPLACED} - ${BEGUN_OF_REPLACED}))
      from late_decision f where f.replacement_id = o.order_id), 0) as taken) t
  cross join lateral (
    select coalesce(sum(x.amount) filter (where x.token is null), 0) as paid,
      coalesce(sum(x.amount) filter (where x.token is null and x.kind = 'owed'), 0) as owed,
      coalesce(sum(x.network_fee) filter (where x.fee_bearer = 'shop'), 0) + (
        select coalesce(sum(y.network_fee), 0) from payout y join refund z on z.refund_id = y.refund_id
        where y.order_id = o.order_id and (z.network, z.asset) = (i.network, i.asset)) as fees
    from refund x where ${PAID} and (x.network, x.asset) = (i.network, i.asset)) r
  cross join lateral (
    select coalesce((select x.amount from refund_due x where x.order_id = o.order_id), 0) as amount) due
  cross join lateral (
    select case when due.amount - r.owed > c.dust_floor and m.final + t.taken - r.paid > c.dust_floor
      then least(due.amount - r.owed, m.final + t.taken - r.paid) else 0 end as unpaid) d
  cross join lateral (
    select greatest(r.owed - due.amount, 0) + case
      when o.status = 'cancelled' and m.final + t.taken > r.paid and m.final + t.taken - r.paid <= c.dust_floor
      then r.paid - m.final - t.taken
      when o.status in ('pending', 'cancelled') or m.in_time + t.taken >= i.amount_due then 0
      when o.status = 'processing' and not is_enough(m.in_time + t.taken, i.amount_due) then 0
      else i.amount_due - m.in_time - t.taken end as lost) w
  where ${within} and (l.total, l.received, -l.refund_due, -l.refunded, l.fees, l.written_off)
    is distinct from (0::numeric, m.final, d.unpaid, r.paid + r.fees, r.fees, w.lost)
  union all
  select o.order_id::text, 'ledger of ' || coalesce(l.asset, r.asset) || ': ' || coalesce(l.moved, 0) || ' of '
    || coalesce(r.paid, 0)
  from orders o join invoice i on i.order_id = o.order_id
  cross join lateral (
    select f.asset, f.token, f.moved, f.kept from (
      select x.network, x.asset, x.token, sum(x.received) as moved, sum(x.customer_due + x.refund_due + x.written_off) as kept
      from ledger_posting x where x.order_id = o.order_id group by 1, 2, 3) f
    where f.token is not null or (f.network, f.asset) <> (i.network, i.asset)) l
  left join lateral (
    select x.asset, sum(x.amount) as paid from refund x
    where ${PAID} and x.asset = l.asset and x.token is not distinct from l.token group by 1) r on true
  where ${within} and (l.kept <> 0 or l.moved is distinct from coalesce(r.paid, 0))`
