-- Circuit breaker per chain: the networks that are suspended now, and why. deep_reorg: a reorganisation below final
-- blocks. nodes_differ: two nodes of a watcher have different final blocks. Both are open until an operator closes
-- them. sources_differ: two sources contradict each other about an output, until they agree or one is retired.
create or replace view suspended_network as
select s.network, s.cause, s.opened_at as since from chain_suspension s where s.closed_at is null
union all
select d.network, 'sources_differ', min(d.since) from source_doubt d where d.kind = 'differing' group by d.network;
grant select on suspended_network to app_api, app_worker, auditor;
