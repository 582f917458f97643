-- What the refunds of an order promise or have paid of one asset, in base units: all that were not rejected or
-- cancelled.
-- p_except: a refund that is not counted; null: none.
-- Locks: none; exact for a caller that holds the order row. Changes nothing.
create or replace function promised_refunds(
  p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid) returns numeric
language sql stable as $$
  select coalesce(sum(r.amount), 0) from refund r
  where r.order_id = p_order_id and (r.network, r.asset) = (p_network, p_asset) and r.token is not distinct from p_token
    and r.status not in ('rejected', 'cancelled') and r.refund_id is distinct from p_except
$$;
revoke execute on function promised_refunds from public;
grant execute on function promised_refunds to app_api, app_worker, auditor;
