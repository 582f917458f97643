-- Final money at an address of the shop that no order was credited with, one row per output and source: to an unknown
-- address, in another asset, or older than its order. For an operator to attribute or to give back.
create or replace view unattributed_output as
select r.source, r.network, r.tx_id, r.output_index, r.address, r.asset, r.amount, r.order_id, r.first_seen_at
from payment_report r
where r.state = 'final'
  and (r.order_id is null or r.is_assessed)
  and not exists (
    select from payment p where (p.network, p.tx_id, p.output_index) = (r.network, r.tx_id, r.output_index))
  and not exists (
    select from payment_report l
    where (l.source, l.network, l.tx_id, l.output_index) = (r.source, r.network, r.tx_id, r.output_index)
      and l.seq > r.seq);
grant select on unattributed_output to app_worker, auditor;
