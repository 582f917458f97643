-- Chain time. caught_up_at held the wall clock at which a node was asked, although the tip that was scanned may be
-- minutes older: an order that was paid in time could expire. It is now the time of the chain itself. With it come the
-- balances of addresses that are watched, what operators do to a chain, and one rule for the names of networks.
--
-- Locks: chain_block, chain_status and the tables with a network take ACCESS EXCLUSIVE for as long as a change of the
-- catalogue. The new CHECKs are NOT VALID: no table is read under the lock, and a name that breaks the rule was refused
-- in every report anyway. The watcher before this migration goes on; the stamps it then gives are the old ones, so it is
-- to be replaced at once. One index is built over all of chain_output: only the watcher waits for it.

alter table chain_block
  add column chain_time timestamptz; -- null: scanned before this column was
comment on column chain_block.chain_time is 'No later block of this branch has an earlier time of its own.';

-- The stamps of before are wall time. The watcher gives new ones with its next look.
update chain_status set caught_up_at = null;
comment on table chain_status is 'One row per network. caught_up_at: chain time, never later than the scanned tip''s own; what the chain held up to it is scanned and delivered.';

-- Where balances are compared, an order does not expire before its own was looked at past its end. A leave to rewind ends
-- unused when the chain goes on as it was.
alter table chain_status
  add column compares_balances boolean not null default false,
  add column rewind_given_at bigint -- null: no leave was given
    constraint chain_status_rewind_given_range check (rewind_given_at >= -1);
comment on column chain_status.compares_balances is 'Whether the watcher of the network compares balances, as it said with its last stamp.';
comment on column chain_status.rewind_given_at is 'scanned_height when rewind_to was given.';
alter table chain_output add column is_attributed boolean not null default false;
comment on column chain_output.is_attributed is 'Made by an operator of a balance that no transfer explained.';

-- What may be expected on a chain. The watcher begins at the oldest one, and compares the balances of all of them.
-- LIMIT keeps the planner from joining whole tables: the holds that end first are wanted, a few hundred at a time.
create view open_invoice as
select i.network, i.address, i.created_at, i.ends_at, r.expires_at as held_until
from reservation r
cross join lateral (
  select v.network, v.address, v.created_at, v.expires_at + v.grace as ends_at
  from orders o join invoice v on v.order_id = o.order_id
  where o.order_id = r.order_id and o.status = 'pending' limit 1) i
where r.state = 'held';
comment on view open_invoice is 'Addresses whose orders wait for money and hold stock: a row per hold, found by when it ends.';

create view pending_invoice as
select i.network, i.address, o.created_at, greatest(i.ends_at, h.held_until) as ends_at, h.held_until is not null as is_held
from orders o
cross join lateral (
  select v.network, v.address, v.expires_at + v.grace as ends_at from invoice v where v.order_id = o.order_id limit 1) i
cross join lateral (
  select max(r.expires_at) as held_until from reservation r where r.order_id = o.order_id and r.state = 'held') h
where o.status = 'pending';
comment on view pending_invoice is 'Addresses of all pending orders, those without a hold too, with the end of the quote and its grace or of the hold.';

-- Money that no transfer explains, such as coins that a contract sent where the node offers no traces. An order whose
-- address has some does not expire.
create table chain_balance (
  network text not null constraint chain_balance_status_fk references chain_status on delete restrict,
  address text not null constraint chain_balance_address_length check (char_length(address) between 1 and 128),
  height bigint not null constraint chain_balance_height_not_negative check (height >= 0),
  block_hash text not null constraint chain_balance_hash_length check (char_length(block_hash) between 1 and 128),
  balance numeric(78, 0) not null constraint chain_balance_balance_not_negative check (balance >= 0),
  told numeric(78, 0) not null constraint chain_balance_told_not_negative check (told >= 0),
  set_aside numeric(78, 0) not null default 0 constraint chain_balance_set_aside_not_negative check (set_aside >= 0),
  unexplained numeric(78, 0) not null,
  checked_at timestamptz, -- null: the block was lost, to be looked at again
  found_at timestamptz, -- null: all is explained
  attributed_at timestamptz, -- null: all was explained from the start, or something is not yet
  constraint chain_balance_pk primary key (network, address),
  constraint chain_balance_difference check (unexplained = greatest(0, balance - told - set_aside)),
  constraint chain_balance_found_whole check ((unexplained > 0) = (found_at is not null)),
  constraint chain_balance_open check (unexplained = 0 or attributed_at is null)
) with (fillfactor = 70);
comment on table chain_balance is 'The balance of a watched address at the block height, and how much of it no reported transfer explains. checked_at and found_at are chain time, checked_at that of the very block.';
create index chain_output_by_address on chain_output (network, address);
create index chain_balance_unexplained on chain_balance (network) where unexplained > 0;

-- What an operator does to a chain by hand. Append-only and audited: the watcher's own tables are not.
create table chain_operation (
  operation_no bigint generated always as identity constraint chain_operation_pk primary key,
  network text not null constraint chain_operation_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
  operation text not null constraint chain_operation_operation check (operation in ('start', 'rewind', 'attribute', 'set_aside')),
  height bigint -- null: about an address
    constraint chain_operation_height_not_negative check (height >= 0),
  address text -- null: about a height
    constraint chain_operation_address_length check (char_length(address) between 1 and 128),
  amount numeric(78, 0) -- null: about a height
    constraint chain_operation_amount_positive check (amount > 0),
  reason text not null constraint chain_operation_reason_length check (char_length(reason) between 1 and 200),
  at timestamptz not null default clock_timestamp(),
  constraint chain_operation_object check ((height is null) = (address is not null) and (address is null) = (amount is null))
);
comment on table chain_operation is 'What operators did to a chain by hand, and why. Who did it is in the audit.';
create trigger chain_operation_append_only before update or delete on chain_operation
  for each row execute function refuse_rewriting();

insert into audit_scope (table_name, reason)
values ('chain_balance', 'is the watcher''s memory of a public chain; what operators decide about it is in chain_operation');
select audit_watch('chain_operation', 'chain_operation', null);

grant select, insert on chain_balance to watcher;
grant select, insert (network, operation, height, address, amount, reason) on chain_operation to watcher;
grant update (height, block_hash, balance, told, set_aside, unexplained, checked_at, found_at, attributed_at) on chain_balance to watcher;
grant update (start_height, compares_balances, rewind_given_at) on chain_status to watcher;
grant select on open_invoice, pending_invoice to watcher;
grant select (asset) on invoice to watcher;
grant select on chain_balance, chain_operation to auditor;

-- One rule for names of networks, which configuration, reports and tables share: src/domain/identifier.ts.
alter table chain_status drop constraint chain_status_network_length,
  add constraint chain_status_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$') not valid;
alter table invoice drop constraint invoice_network_length,
  add constraint invoice_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$') not valid;
alter table payment_report drop constraint payment_report_network_length,
  add constraint payment_report_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$') not valid;
alter table payment drop constraint payment_network_length,
  add constraint payment_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$') not valid;
alter table payment_key drop constraint payment_key_network_length,
  add constraint payment_key_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$') not valid;
