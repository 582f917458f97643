-- Orders that may expire now: the one condition for workflow, sweeper and reclaim (design rule 2).
-- Paid in time is never given away. The end is that of the quote and its grace, or that of the hold where a payment
-- seen in time extended it: the confirm deadline. The chain must have been read past the end, and no report may be
-- unassessed.
-- Nothing expires while its network is suspended, and no order that a suspension kept from being paid.
-- Where balances are compared, that of the order's address was read after the end; and what no transfer explains, such
-- as coins sent by a contract, is not enough together with what came in time.
-- Takes no lock: it only says which orders to ask for; expire_due asks again under the lock.
create or replace view expirable as
select o.order_id
from orders o
join invoice i on i.order_id = o.order_id
join chain_status c on c.network = i.network
cross join lateral (
  select greatest(i.expires_at + i.grace, (
    select max(r.expires_at) from reservation r where r.order_id = o.order_id and r.state = 'held')) as at
) ends
where o.status = 'pending'
  and o.payment_state in ('awaiting', 'partial', 'confirming')
  and ends.at <= clock_timestamp()
  and c.caught_up_at > ends.at
  and not exists (select from suspended_network n where n.network = i.network)
  and not exists (select from suspended_order s where s.order_id = o.order_id)
  and not exists (select from payment_report r where r.order_id = o.order_id and not r.is_assessed)
  and (not c.compares_balances or exists (
    select from chain_balance b
    where b.network = i.network and b.address = i.address and b.checked_at > ends.at and (
      b.unexplained = 0 or not is_enough(b.unexplained + coalesce((
        select sum(p.amount) from payment p
        where p.order_id = o.order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')), 0),
        i.amount_due))));
grant select on expirable to app_api, app_worker, auditor;
