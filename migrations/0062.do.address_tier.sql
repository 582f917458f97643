-- Address tiers: how often the balance of an address is compared. Until now an address was never compared again once
-- its order had ended. Coins that a contract, or the chain itself, sends to it were then found only if the node traced
-- the block. Now all addresses are swept in turn: those of the last week every hour, the older ones every day.
--
-- withdrawn: a shop moves the money of its old orders to another account. Without this column, the balance is below
-- what transfers brought for ever after, and hides as much of what comes later.
--
-- Locks: chain_balance ACCESS EXCLUSIVE while its constraint is exchanged; the new ones are NOT VALID, so that no row
-- is read under the lock, and every row meets them. Older processes: an older watcher leaves withdrawn at 0, which is
-- its own rule.
--
-- Functions as migrations/function has them: issued_address.

create table chain_sweep (
  network text not null constraint chain_sweep_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
  source text not null constraint chain_sweep_source_shape check (source ~ '^[a-z0-9-]{1,63}$'),
  tier text not null constraint chain_sweep_tier check (tier in ('recent', 'retired')),
  round bigint not null default 1 constraint chain_sweep_round_positive check (round > 0),
  began_at timestamptz not null default clock_timestamp()
    constraint chain_sweep_began_finite check (isfinite(began_at)),
  place uuid, -- null: nothing of the round is compared yet
  is_over boolean not null default false,
  swept_at timestamptz -- null: no round is over yet
    constraint chain_sweep_swept_finite check (isfinite(swept_at)),
  constraint chain_sweep_pk primary key (network, source, tier),
  constraint chain_sweep_swept_whole check (not is_over or swept_at is not null)
) with (fillfactor = 50);
comment on table chain_sweep is
  'How far a watcher has come with each tier of addresses. recent: orders of the last week; retired: older ones.';
comment on column chain_sweep.place is
  'The order whose address was compared last, in order of time; null: nothing of the round is compared yet.';
comment on column chain_sweep.swept_at is
  'When the last complete round began: all addresses of the tier were compared since; null: no round is over yet.';
insert into audit_scope (table_name, reason) values
  ('chain_sweep', 'is the watcher''s memory of a public chain: how far it has compared balances');
grant select, insert, update (round, began_at, place, is_over, swept_at) on chain_sweep to watcher;
grant select on chain_sweep to auditor;
alter table chain_sweep enable row level security;
create policy chain_sweep_own on chain_sweep to watcher using (source = (select own_source()));
create policy chain_sweep_list on chain_sweep for select to watcher using ((select own_source()) is null);
create policy chain_sweep_read on chain_sweep for select to auditor using (true);

alter table chain_balance
  add column withdrawn numeric(78, 0) not null default 0,
  add constraint chain_balance_withdrawn_range check (withdrawn >= 0 and withdrawn <= told) not valid,
  drop constraint chain_balance_difference,
  add constraint chain_balance_difference
    check (unexplained = greatest(0, balance - (told - withdrawn) - set_aside)) not valid;
comment on column chain_balance.withdrawn is
  'How much of what reported transfers brought has left the address again, as far as its balances showed.';
grant update (withdrawn) on chain_balance to watcher;

-- Every address that was ever shown to a customer, with its order and when that was made. The watcher sweeps all of
-- them in turn, the oldest first: money may come to an order that was closed long ago.
-- LIMIT keeps the planner from joining whole tables: a hundred orders at a time, by the index on their time.
create or replace view issued_address as
select i.network, i.address, o.created_at, o.order_id
from orders o join invoice i on i.order_id = o.order_id;
grant select on issued_address to watcher;
comment on view issued_address is
  'Every address that was ever shown to a customer, with its order and when that was made.';
