-- Addresses of all pending orders, with or without a hold, and when the quote with its grace, or the hold, ends.
create or replace view pending_invoice as
select i.network, i.address, o.created_at, greatest(i.ends_at, h.held_until) as ends_at,
  h.held_until is not null as is_held
from orders o
cross join lateral (
  select v.network, v.address, v.expires_at + v.grace as ends_at from invoice v where v.order_id = o.order_id limit 1) i
cross join lateral (
  select max(r.expires_at) as held_until from reservation r where r.order_id = o.order_id and r.state = 'held') h
where o.status = 'pending';
grant select on pending_invoice to watcher;
