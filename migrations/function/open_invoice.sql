-- Addresses whose orders wait for money and hold stock: one row per hold, found by when the hold ends.
-- The watcher begins at the oldest one and compares the balances of all of them. LIMIT keeps the planner from joining
-- whole tables: the holds that end first are wanted, a few hundred at a time.
create or replace view open_invoice as
select i.network, i.address, i.created_at, i.ends_at, r.expires_at as held_until
from reservation r
cross join lateral (
  select v.network, v.address, v.created_at, v.expires_at + v.grace as ends_at
  from orders o join invoice v on v.order_id = o.order_id
  where o.order_id = r.order_id and o.status = 'pending' limit 1) i
where r.state = 'held';
grant select on open_invoice to watcher;
