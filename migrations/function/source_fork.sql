-- Pairs of active sources of a network that have another block at the highest height that is final for both: their
-- nodes are on different branches, or one of them lies. Blocks are linked, so that one height tells for all below it.
-- A source that is a thousand blocks behind is compared once it has caught up: older blocks are not kept.
create or replace view source_fork as
select a.network, a.source, b.source as other_source, h.height,
  coalesce(least(x.chain_time, y.chain_time), statement_timestamp()) as since
from active_source a
join active_source b on b.network = a.network and b.source > a.source
cross join lateral (select least(a.settled_height, b.settled_height) as height) h
join chain_block x on (x.network, x.source, x.height) = (a.network, a.source, h.height)
join chain_block y on (y.network, y.source, y.height) = (b.network, b.source, h.height)
where x.hash <> y.hash;
grant select on source_fork to app_api, app_worker, auditor;
