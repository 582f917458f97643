-- Payments as support reads them: a list by the time of the first sighting, and a dossier of one order, which also says
-- how its refunds are sent. Until now the api could read neither in order of time nor any payout.
--
-- Locks: payment SHARE while its index is built: reports are stored meanwhile, assessments wait. Older processes: they
-- read and write as before.
create index payment_by_time on payment (first_seen_at, network, tx_id, output_index);

-- Not the signed transactions themselves: a reader could send them.
grant select on payout to app_api;
grant select (payout_id, attempt, order_id, kind, tx_id, created_at, broadcast_at) on payout_attempt to app_api;
