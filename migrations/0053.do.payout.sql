-- Payouts: the transactions that send approved refunds. Until now an approved refund had no way to be sent. A payout
-- has one nonce of its sender for ever, and every transaction that was ever signed for it uses that nonce: the chain
-- executes at most one of them, whatever crashes or is sent again.
--
-- Locks: new tables alone. Older processes: they neither read nor write payouts, and send nothing.
create table payout_sender (
  network text not null constraint payout_sender_network_length check (char_length(network) between 1 and 32),
  sender text not null constraint payout_sender_shape check (sender ~ '^0x[0-9a-f]{40}$'),
  chain_id bigint not null constraint payout_sender_chain_positive check (chain_id > 0),
  next_nonce bigint not null constraint payout_sender_nonce_not_negative check (next_nonce >= 0),
  holder text constraint payout_sender_holder_length check (char_length(holder) between 1 and 80), -- null: free
  held_until timestamptz constraint payout_sender_held_finite check (isfinite(held_until)), -- null: free
  constraint payout_sender_pk primary key (network, sender)
);
comment on table payout_sender is
  'Accounts that refunds are sent from: the next free nonce, and the lease of the process that sends.';
comment on column payout_sender.next_nonce is 'Only grows: a nonce belongs to one payout for ever.';
comment on column payout_sender.holder is 'Process with the lease; null: free.';
comment on column payout_sender.held_until is 'When the lease ends; null: free.';

create table payout (
  payout_id uuid default gen_random_uuid() constraint payout_pk primary key,
  refund_id uuid not null constraint payout_refund_fk references refund on delete restrict,
  order_id uuid not null constraint payout_order_fk references orders on delete restrict,
  network text not null,
  sender text not null,
  chain_id bigint not null constraint payout_chain_positive check (chain_id > 0),
  nonce bigint not null constraint payout_nonce_not_negative check (nonce >= 0),
  destination text not null constraint payout_destination_shape check (destination ~ '^0x[0-9a-f]{40}$'),
  amount numeric(78, 0) not null constraint payout_amount_positive check (amount > 0),
  fee_bearer text not null constraint payout_fee_bearer check (fee_bearer in ('shop', 'customer')),
  status text not null default 'prepared' constraint payout_status check (status in (
    'prepared', 'signed', 'broadcast', 'stuck', 'confirmed', 'failed')),
  failure text -- null: not failed
    constraint payout_failure check (failure in ('reverted', 'cancelled', 'nonce_taken')),
  block_height bigint -- null: in no block
    constraint payout_height_not_negative check (block_height >= 0),
  block_hash text -- null: in no block
    constraint payout_block_hash_length check (char_length(block_hash) between 1 and 66),
  is_released boolean not null default false,
  created_at timestamptz not null default clock_timestamp()
    constraint payout_created_finite check (isfinite(created_at)),
  updated_at timestamptz not null default clock_timestamp()
    constraint payout_updated_finite check (isfinite(updated_at)),
  constraint payout_sender_fk foreign key (network, sender) references payout_sender on delete restrict,
  constraint payout_nonce_once unique (network, sender, nonce),
  constraint payout_failure_of_status check ((status = 'failed') = (failure is not null)),
  constraint payout_block_is_whole check ((block_height is null) = (block_hash is null)),
  constraint payout_release_of_failed check (not is_released or status = 'failed')
) with (fillfactor = 70);
comment on table payout is
  'Sending of one refund by one account with one nonce. Amounts in base units, before the network''s fee.';
comment on column payout.status is
  'prepared and stuck wait for a signature, stuck as a replacement; signed: the bytes are stored; '
  'broadcast: a node took them; confirmed: final on the chain; '
  'failed: proven that no transaction that it knows can be executed.';
comment on column payout.failure is
  'reverted: executed without effect; cancelled: an empty transaction took its nonce; '
  'nonce_taken: an unknown one did, which a person must look at; null: not failed.';
comment on column payout.block_height is 'Of the block that has one of its transactions now; null: in no block.';
comment on column payout.block_hash is 'Of the block that has one of its transactions now; null: in no block.';
comment on column payout.is_released is 'After a failure, an operator lets the refund be sent by another payout.';
create unique index payout_one_live on payout (refund_id) where status <> 'failed';
create index payout_by_refund on payout (refund_id);
create index payout_by_order on payout (order_id);
create index payout_open on payout (network, sender, nonce) where status not in ('confirmed', 'failed');

create table payout_attempt (
  payout_id uuid not null constraint payout_attempt_payout_fk references payout on delete restrict,
  attempt smallint not null constraint payout_attempt_positive check (attempt > 0),
  order_id uuid not null constraint payout_attempt_order_fk references orders on delete restrict,
  kind text not null constraint payout_attempt_kind check (kind in ('pay', 'fill')),
  value numeric(78, 0) not null constraint payout_attempt_value_not_negative check (value >= 0),
  gas_limit bigint not null constraint payout_attempt_gas_positive check (gas_limit > 0),
  max_fee numeric(78, 0) not null constraint payout_attempt_fee_positive check (max_fee > 0),
  priority_fee numeric(78, 0) not null
    constraint payout_attempt_priority_range check (priority_fee >= 0 and priority_fee <= max_fee),
  raw text -- null: not signed
    constraint payout_attempt_raw_shape check (raw ~ '^0x([0-9a-f]{2})+$' and char_length(raw) <= 1024),
  tx_id text -- null: not signed
    constraint payout_attempt_tx_shape check (tx_id ~ '^0x[0-9a-f]{64}$'),
  created_at timestamptz not null default clock_timestamp()
    constraint payout_attempt_created_finite check (isfinite(created_at)),
  broadcast_at timestamptz -- null: no node took it yet
    constraint payout_attempt_broadcast_finite check (isfinite(broadcast_at)),
  constraint payout_attempt_pk primary key (payout_id, attempt),
  constraint payout_attempt_tx_once unique (tx_id),
  constraint payout_attempt_signed_is_whole check ((raw is null) = (tx_id is null)),
  constraint payout_attempt_value_of_kind check ((kind = 'pay') = (value > 0))
);
comment on table payout_attempt is
  'Transactions of a payout, all with its nonce: the first, and replacements with a higher fee. One at most is '
  'executed. Signed bytes are stored before they are sent, so that sending again sends the same transaction.';
comment on column payout_attempt.kind is
  'pay: sends the value; fill: an empty one to the sender, which ends the payout.';
comment on column payout_attempt.gas_limit is 'Most gas that it may use.';
comment on column payout_attempt.max_fee is 'Most that it pays per gas, in base units.';
comment on column payout_attempt.priority_fee is 'Of it, at most this to the block''s producer, in base units.';
comment on column payout_attempt.raw is 'The signed bytes, hex; null: not signed.';
comment on column payout_attempt.tx_id is 'Their transaction id; null: not signed.';
comment on column payout_attempt.broadcast_at is 'When a node last took it; null: none yet.';
create index payout_attempt_by_order on payout_attempt (order_id);

insert into audit_scope (table_name, reason) values
  ('payout_sender', 'a counter and a lease; which payout has which nonce is in payout');
select audit_watch('payout', 'order', 'order_id', '{updated_at}');
select audit_watch('payout_attempt', 'order', 'order_id', '{broadcast_at}');

grant select on payout_sender, payout, payout_attempt to app_worker, auditor;
grant insert, update (next_nonce, holder, held_until) on payout_sender to app_worker;
grant insert (refund_id, order_id, network, sender, chain_id, nonce, destination, amount, fee_bearer) on payout
  to app_worker;
grant update (status, failure, block_height, block_hash, is_released) on payout to app_worker;
grant insert (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee) on payout_attempt
  to app_worker;
grant update (raw, tx_id, broadcast_at) on payout_attempt to app_worker;
