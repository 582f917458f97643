-- Expired holds whose stock comes back soon; as reclaimable_hold, for the verdict on a shortage.
-- One that failed once or twice counts too: it may have met a deadlock or a slow disk, which is no final answer.
create or replace view returning_hold as
select r.order_id, r.product_id, r.expires_at, r.quantity
from reservation r
where r.state = 'held'
  and r.expires_at < (select max(c.caught_up_at) from chain_status c)
  and (select true from expirable e where e.order_id = r.order_id)
  and coalesce((
    select a.tries < 3 or a.next_at <= statement_timestamp() from hold_aside a where a.order_id = r.order_id), true);
grant select on returning_hold to app_api;
