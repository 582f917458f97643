-- Retires a source of reports: from now on its word does not stand against others, and orders it stood against, or
-- about which it did not agree with another source, are assessed again. For operators. Returns how many orders.
-- Locks: the new row of retired_source, where a concurrent call for the same source waits; the order rows FOR NO KEY
-- UPDATE, in order of id; then reports and wakes.
-- Error: 23505 (unique violation) when the source is retired already.
create or replace function retire_source(p_source text, p_reason text) returns int language plpgsql as $$
declare
  v_order_ids uuid[];
begin
  insert into retired_source (source, reason) values (p_source, p_reason);
  v_order_ids := array(
    select distinct r.order_id from payment_report r
    where r.source = p_source and r.order_id is not null and (r.state in ('reorged', 'dropped', 'replaced')
      or exists (
        select from source_doubt d
        where (d.network, d.tx_id, d.output_index) = (r.network, r.tx_id, r.output_index)))
    order by 1);
  perform 1 from orders o where o.order_id = any (v_order_ids) order by o.order_id for no key update;
  update payment_report r set is_assessed = false
  where r.order_id = any (v_order_ids) and r.source = p_source and r.is_assessed
    and (r.state in ('reorged', 'dropped', 'replaced')
      or exists (
        select from source_doubt d
        where (d.network, d.tx_id, d.output_index) = (r.network, r.tx_id, r.output_index)));
  perform request_wake(v_order_ids);
  return cardinality(v_order_ids);
end
$$;
revoke execute on function retire_source from public;
