-- Two nodes of one watcher may have different final blocks. The watcher then suspends the chain as after a deep
-- reorganisation, and an operator must see which of the two it was.
--
-- Locks: chain_suspension ACCESS EXCLUSIVE for a change of the catalogue; it has few rows. Older processes: a watcher
-- names no cause and gets the default. An older api fails quotes of a network that is suspended for the new cause,
-- instead of refusing them with their reason.
alter table chain_suspension
  add column cause text not null default 'deep_reorg',
  add constraint chain_suspension_cause check (cause in ('deep_reorg', 'nodes_differ'));
comment on column chain_suspension.cause is 'What opened it: deep_reorg or nodes_differ.';
comment on table chain_suspension is
  'Final blocks in doubt. While a row is open, the network is suspended; an operator closes it.';
select audit_watch('chain_suspension', 'chain_suspension', null);
grant insert (cause) on chain_suspension to watcher;

-- Functions as migrations/function has them: suspended_network.

-- Circuit breaker per chain: the networks that are suspended now, and why. deep_reorg: a reorganisation below final
-- blocks. nodes_differ: two nodes of a watcher have different final blocks. Both are open until an operator closes
-- them. sources_differ: two sources contradict each other about an output, until they agree or one is retired.
create or replace view suspended_network as
select s.network, s.cause, s.opened_at as since from chain_suspension s where s.closed_at is null
union all
select d.network, 'sources_differ', min(d.since) from source_doubt d where d.kind = 'differing' group by d.network;
grant select on suspended_network to app_api, app_worker, auditor;
comment on view suspended_network is
  'Circuit breaker per chain: the networks that are suspended now, and why.';
