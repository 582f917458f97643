-- The watchers' memory: how far each chain was read, what was found there, and what must still be reported. A block's
-- effects and the cursor move in one transaction. Only the watcher writes these tables.

-- Heights at or below settled_height were reported as final: a reorganisation that reaches below it stops the watcher
-- until an operator sets rewind_to, the lowest height it may go back to, used once.
create table chain_status (
  network text constraint chain_status_pk primary key
    constraint chain_status_network_length check (char_length(network) between 1 and 32),
  start_height bigint not null constraint chain_status_start_not_negative check (start_height >= 0),
  scanned_height bigint not null,
  settled_height bigint not null,
  rewind_to bigint, -- null: no deep reorganisation is accepted
  tip_height bigint not null constraint chain_status_tip_not_negative check (tip_height >= 0),
  tip_asked_at timestamptz not null default clock_timestamp(),
  caught_up_at timestamptz, -- null: never
  constraint chain_status_height_order check (
    start_height - 1 <= settled_height and settled_height <= scanned_height),
  constraint chain_status_rewind_range check (rewind_to >= start_height - 1),
  constraint chain_status_time_order check (caught_up_at <= tip_asked_at)
) with (fillfactor = 50);
comment on table chain_status is
  'One row per network. caught_up_at: what the chain held at that instant is scanned and delivered.';

create table chain_block (
  network text not null constraint chain_block_status_fk references chain_status on delete restrict,
  height bigint not null constraint chain_block_height_not_negative check (height >= 0),
  hash text not null constraint chain_block_hash_length check (char_length(hash) between 1 and 128),
  constraint chain_block_pk primary key (network, height),
  constraint chain_block_hash_once unique (network, hash)
);
comment on table chain_block is
  'The newest blocks of the branch that was scanned: where a reorganisation finds the last common one.';

create table chain_output (
  network text not null constraint chain_output_status_fk references chain_status on delete restrict,
  tx_id text not null constraint chain_output_tx_length check (char_length(tx_id) between 64 and 88),
  output_index integer not null constraint chain_output_index_not_negative check (output_index >= 0),
  asset text not null constraint chain_output_asset_fk references currency on delete restrict,
  address text not null constraint chain_output_address_length check (char_length(address) between 1 and 128),
  amount numeric(78, 0) not null constraint chain_output_amount_positive check (amount > 0),
  state text not null constraint chain_output_state check (state in ('seen', 'final', 'reorged', 'dropped')),
  seq integer not null constraint chain_output_seq_positive check (seq > 0),
  block_height bigint not null constraint chain_output_height_not_negative check (block_height >= 0),
  block_hash text not null constraint chain_output_hash_length check (char_length(block_hash) between 1 and 128),
  first_seen_at timestamptz not null,
  constraint chain_output_pk primary key (network, tx_id, output_index)
) with (fillfactor = 70);
comment on table chain_output is
  'Transfers to our addresses. seq counts the states of one output; the block is the last it was in, '
  'also after it was lost.';
create index chain_output_by_block on chain_output (network, block_height);

create table chain_report (
  report_no bigint generated always as identity constraint chain_report_pk primary key,
  network text not null,
  tx_id text not null,
  output_index integer not null,
  seq integer not null constraint chain_report_seq_positive check (seq > 0),
  state text not null constraint chain_report_state check (state in ('seen', 'final', 'reorged', 'dropped')),
  block_height bigint not null constraint chain_report_height_not_negative check (block_height >= 0),
  block_hash text not null constraint chain_report_hash_length check (char_length(block_hash) between 1 and 128),
  first_seen_at timestamptz not null,
  refusals integer not null default 0 constraint chain_report_refusals_not_negative check (refusals >= 0),
  next_at timestamptz not null default clock_timestamp(),
  constraint chain_report_once unique (network, tx_id, output_index, seq),
  constraint chain_report_output_fk foreign key (network, tx_id, output_index)
    references chain_output on delete restrict
);
comment on table chain_report is
  'The watcher''s outbox, written with the effect it tells of; a row goes once its report was answered.';

grant select, insert on chain_status, chain_block, chain_output, chain_report to watcher;
grant update (scanned_height, settled_height, rewind_to, tip_height, tip_asked_at, caught_up_at)
  on chain_status to watcher;
grant update (state, seq, block_height, block_hash, first_seen_at) on chain_output to watcher;
grant update (refusals, next_at) on chain_report to watcher;
grant delete on chain_block, chain_report to watcher;
grant select on chain_status to app_api, app_worker, auditor;
grant select on chain_output, chain_report to auditor;
