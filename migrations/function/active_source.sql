-- Sources of each network that our watchers have and that are not retired, with how far they have read it.
-- caught_up_at: chain time up to which everything is read and delivered. confirmations: the depth at which its watcher
-- calls a transfer final; null: it has not said yet.
create or replace view active_source as
select c.network, c.source, c.settled_height, c.scanned_height, c.tip_asked_at, c.caught_up_at, c.compares_balances,
  c.confirmations
from chain_status c
where not exists (select from retired_source x where x.source = c.source);
grant select on active_source to app_api, app_worker, auditor;
