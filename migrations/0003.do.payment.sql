-- Payments: what watchers reported (inbox, append-only), what it means (payment), and what is owed back.

create table payment_transition (
  from_state text not null,
  to_state text not null,
  constraint payment_transition_pk primary key (from_state, to_state)
);
comment on table payment_transition is
  'Legal moves of payment_state; a test keeps it equal to PAYMENT_MOVES in src/domain/payment.ts.';
insert into payment_transition (from_state, to_state)
select m.f, t from (values
  ('awaiting', '{partial,confirming,paid,expired,late_confirming,unresolved,cancelled}'::text[]),
  ('partial', '{awaiting,confirming,paid,expired,late_confirming,unresolved,cancelled}'),
  ('confirming', '{awaiting,partial,paid,expired,late_confirming,unresolved,cancelled}'),
  ('paid', '{at_risk,unresolved,refunding}'),
  ('at_risk', '{paid,reversed,late_confirming,unresolved,cancelled}'),
  ('expired', '{late_confirming,unresolved}'),
  ('late_confirming', '{unresolved}'),
  ('unresolved', '{late_confirming,refunding}'),
  ('cancelled', '{late_confirming,unresolved,refunding}'),
  ('refunding', '{partially_refunded,refunded}'),
  ('partially_refunded', '{refunding}')) m (f, too), unnest(m.too) t;

create table payment_report (
  report_no bigint generated always as identity constraint payment_report_pk primary key,
  source text not null constraint payment_report_source_shape check (source ~ '^[a-z0-9-]{1,63}$'),
  report_id text not null constraint payment_report_id_shape check (report_id ~ '^[0-9a-f]{64}$'),
  network text not null constraint payment_report_network_length check (char_length(network) between 1 and 32),
  asset text not null constraint payment_report_asset_fk references currency on delete restrict,
  tx_id text not null constraint payment_report_tx_canonical check (
    case when asset = 'SOL' then tx_id ~ '^[1-9A-HJ-NP-Za-km-z]{64,88}$'
         when asset = 'ETH' then tx_id ~ '^0x[0-9a-f]{64}$' else tx_id ~ '^[0-9a-f]{64}$' end),
  output_index integer not null constraint payment_report_output_not_negative check (output_index >= 0),
  seq integer not null constraint payment_report_seq_positive check (seq > 0),
  state text not null
    constraint payment_report_state check (state in ('seen', 'final', 'replaced', 'dropped', 'reorged')),
  address text not null constraint payment_report_address_length check (char_length(address) between 1 and 128),
  amount numeric(78, 0) not null constraint payment_report_amount_positive check (amount > 0),
  block_height bigint -- null: not in a block
    constraint payment_report_height_not_negative check (block_height >= 0),
  block_hash text -- null: not in a block
    constraint payment_report_block_hash_length check (char_length(block_hash) between 1 and 128),
  first_seen_at timestamptz not null,
  order_id uuid -- null: the address belongs to no order
    constraint payment_report_order_fk references orders on delete restrict,
  received_at timestamptz not null default clock_timestamp(),
  is_assessed boolean not null default false,
  constraint payment_report_id_once unique (source, report_id),
  constraint payment_report_seq_once unique (source, network, tx_id, output_index, seq)
) with (fillfactor = 70);
comment on table payment_report is
  'The inbox: each row a fact about the chain as one watcher saw it. '
  'The highest seq per source and output is the present view.';
create index payment_report_by_order on payment_report (order_id, network, tx_id, output_index, seq desc);
create index payment_report_unassessed on payment_report (order_id) where not is_assessed;

create table payment (
  network text not null constraint payment_network_length check (char_length(network) between 1 and 32),
  tx_id text not null constraint payment_tx_length check (char_length(tx_id) between 64 and 88),
  output_index integer not null constraint payment_output_not_negative check (output_index >= 0),
  order_id uuid not null constraint payment_order_fk references orders on delete restrict,
  asset text not null constraint payment_asset_fk references currency on delete restrict,
  amount numeric(78, 0) not null constraint payment_amount_positive check (amount > 0),
  state text not null constraint payment_state check (state in ('seen', 'final', 'replaced', 'dropped', 'reorged')),
  is_in_time boolean not null,
  first_seen_at timestamptz not null,
  version bigint not null default 1 constraint payment_version_positive check (version > 0),
  updated_at timestamptz not null default clock_timestamp(),
  constraint payment_pk primary key (network, tx_id, output_index)
) with (fillfactor = 70);
comment on table payment is 'One output, credited to at most one order. Written by assessPayments alone.';
create index payment_by_order on payment (order_id);
create trigger payment_version before update on payment for each row execute function move_version();

create table refund_due (
  order_id uuid constraint refund_due_pk primary key
    constraint refund_due_order_fk references orders on delete restrict,
  asset text not null constraint refund_due_asset_fk references currency on delete restrict,
  amount numeric(78, 0) not null constraint refund_due_amount_not_negative check (amount >= 0),
  updated_at timestamptz not null default clock_timestamp()
);
comment on table refund_due is
  'Final money owed back to a customer: the excess of a paid order, or all that a cancelled one received.';

grant select on payment_transition to app_worker, auditor;
grant select, insert on payment_report to app_api;
grant select on payment_report, payment, refund_due to app_worker, auditor;
grant select on payment, refund_due to app_api;
grant update (is_assessed) on payment_report to app_worker;
grant insert, update (state, is_in_time) on payment to app_worker;
grant insert, update (amount, updated_at) on refund_due to app_worker;
