-- Circuit breaker per chain: the networks that are suspended now, and why. deep_reorg: a reorganisation below final
-- blocks. nodes_differ: two nodes of a watcher have different final blocks. Both are open until an operator closes
-- them or retires the source whose watcher met them. sources_differ: two sources contradict each other about an output
-- or about a final block, until they agree or one is retired.
create or replace view suspended_network as
select s.network, s.cause, min(s.opened_at) as since
from chain_suspension s
where s.closed_at is null and not exists (select from retired_source x where x.source = s.source)
group by s.network, s.cause
union all
select d.network, 'sources_differ', min(d.since)
from (
  select o.network, o.since from source_doubt o where o.kind = 'differing'
  union all
  select f.network, f.since from source_fork f) d
group by d.network;
grant select on suspended_network to app_api, app_worker, auditor;
