// What must hold between an expired order and the one that its late money paid, at every commit: for invariant.ts.

import { sql, type FragmentSqlToken } from 'slonik'

/**
 * Orders that were replaced although they did not expire, or by an order of another customer or of other lines.
 * @param within a condition on the order `o`
 */
export const lateFaults = (within: FragmentSqlToken): FragmentSqlToken => sql.fragment`
  select o.order_id::text as subject, o.status || ', replaced by ' || d.replacement_id as detail
  from orders o join late_decision d on d.order_id = o.order_id join orders n on n.order_id = d.replacement_id
  where ${within} and ((o.status, o.cancel_reason) is distinct from ('cancelled', 'expired')
    or (o.user_id, o.currency, o.total) <> (n.user_id, n.currency, n.total)
    or exists (
      (select x.product_id, x.quantity, x.unit_price from order_line x where x.order_id = o.order_id)
      except all (select x.product_id, x.quantity, x.unit_price from order_line x where x.order_id = n.order_id)))`
