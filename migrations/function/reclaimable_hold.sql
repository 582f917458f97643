-- Expired holds that can be given back now; each reader adds expires_at <= its instant, which an index finds.
-- Without those set aside until their next try. For sweep and reclaim. Subqueries and not joins, so that a search for
-- few stops at few. A hold that ends after the latest time up to which any chain was read cannot be given back: as a
-- bound on the index this skips all of them at once.
create or replace view reclaimable_hold as
select r.order_id, r.product_id, r.expires_at
from reservation r
where r.state = 'held'
  and r.expires_at < (select max(c.caught_up_at) from chain_status c)
  and (select true from expirable e where e.order_id = r.order_id)
  and ((select a.next_at from hold_aside a where a.order_id = r.order_id) > statement_timestamp()) is not true;
grant select on reclaimable_hold to app_api, app_worker;
