-- Every address that was ever shown to a customer, with its order and when that was made. The watcher sweeps all of
-- them in turn, the oldest first: money may come to an order that was closed long ago.
-- LIMIT keeps the planner from joining whole tables: a hundred orders at a time, by the index on their time.
create or replace view issued_address as
select i.network, i.address, o.created_at, o.order_id
from orders o join invoice i on i.order_id = o.order_id;
grant select on issued_address to watcher;
