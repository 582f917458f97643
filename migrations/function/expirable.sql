-- Orders that may expire now: the one condition for workflow, sweeper and reclaim (design rule 2).
-- Paid in time is never given away. The end is that of the quote and its grace, or that of the hold where a payment
-- seen in time extended it: the confirm deadline. The chain must have been read past the end by as many active sources
-- as the order's money needs, and no report may be unassessed. A source that is not needed holds back nothing.
-- Nothing expires while its network is suspended, and no order that a suspension kept from being paid.
-- Where a source compares balances, it counts only once it has read that of the order's address after the end; and what
-- no transfer explains, such as coins sent by a contract, is not enough together with what came in time.
-- Takes no lock: it only says which orders to ask for; expire_due asks again under the lock.
create or replace view expirable as
select o.order_id
from orders o
join invoice i on i.order_id = o.order_id
cross join lateral (
  select greatest(i.expires_at + i.grace, (
    select max(r.expires_at) from reservation r where r.order_id = o.order_id and r.state = 'held')) as at
) ends
cross join lateral (
  select count(*) as sources, coalesce(max(b.unexplained) filter (where c.compares_balances), 0) as unexplained
  from active_source c
  left join chain_balance b on (b.network, b.source, b.address) = (c.network, c.source, i.address)
  where c.network = i.network and c.caught_up_at > ends.at and (not c.compares_balances or b.checked_at > ends.at)
) vouched
where o.status = 'pending'
  and o.payment_state in ('awaiting', 'partial', 'confirming')
  and ends.at <= clock_timestamp()
  and vouched.sources >= required_sources(o.order_id, 0)
  and not exists (select from suspended_network n where n.network = i.network)
  and not exists (select from suspended_order s where s.order_id = o.order_id)
  and not exists (select from payment_report r where r.order_id = o.order_id and not r.is_assessed)
  and (vouched.unexplained = 0 or not is_enough(vouched.unexplained + coalesce((
    select sum(p.amount) from payment p
    where p.order_id = o.order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0), i.amount_due));
grant select on expirable to app_api, app_worker, auditor;
