-- Lists of everybody's orders, newest first, for the people who run the shop: until now only a customer's own had an
-- index, and an admin's page sorted the whole table. Each index is built under a lock that keeps orders from being
-- written, about two seconds per million of them; reads go on. Old code uses them without knowing.

create index orders_by_time on orders (created_at desc, order_id desc);
create index orders_by_status on orders (status, created_at desc, order_id desc);

-- Read backwards, the new index lists what is to ship, oldest first.
drop index orders_to_ship;
-- Nothing asks which keys an epoch has: it counts them itself.
drop index payment_key_by_epoch;
