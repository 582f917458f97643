-- Double-entry ledger of customers' money, written by the database in the transaction of what it describes. Until now
-- the sums of payments and refunds had to be trusted: nothing recorded how they had come about, and no second sum
-- existed to compare them with.
--
-- Locks: payment, refund_due, refund and orders SHARE ROW EXCLUSIVE for their triggers until commit. Reads the final
-- payments once, and posts what their orders hold. Older processes: they neither read nor write the ledger; what they
-- write to the other tables is posted by triggers.
create table ledger_posting (
  posting_no bigint generated always as identity constraint ledger_posting_pk primary key,
  order_id uuid not null constraint ledger_posting_order_fk references orders on delete restrict,
  network text not null constraint ledger_posting_network_length check (char_length(network) between 1 and 32),
  asset text not null constraint ledger_posting_asset_fk references currency on delete restrict,
  token text -- null: the coin of the network
    constraint ledger_posting_token_length check (char_length(token) between 1 and 128),
  cause text not null constraint ledger_posting_cause check (
    cause in ('payment', 'refund_due', 'refund', 'status', 'opening')),
  received numeric(78, 0) not null constraint ledger_posting_received_range check (abs(received) < 1e78),
  customer_due numeric(78, 0) not null constraint ledger_posting_customer_due_range check (abs(customer_due) < 1e78),
  refund_due numeric(78, 0) not null constraint ledger_posting_refund_due_range check (abs(refund_due) < 1e78),
  refunded numeric(78, 0) not null constraint ledger_posting_refunded_range check (abs(refunded) < 1e78),
  fees numeric(78, 0) not null constraint ledger_posting_fees_range check (abs(fees) < 1e78),
  written_off numeric(78, 0) not null constraint ledger_posting_written_off_range check (abs(written_off) < 1e78),
  posted_at timestamptz not null default clock_timestamp()
    constraint ledger_posting_at_finite check (isfinite(posted_at)),
  constraint ledger_posting_sums_to_zero check (
    received + customer_due + refund_due + refunded + fees + written_off = 0),
  constraint ledger_posting_moves_money check (
    (received, customer_due, refund_due, refunded, fees, written_off) <> (0, 0, 0, 0, 0, 0))
);
comment on table ledger_posting is
  'Append-only double-entry ledger: one posting of one order and asset, with an amount per account in base units, '
  'debit positive, credit negative. Written by triggers alone. The view ledger_entry has a row per account.';
comment on column ledger_posting.token is 'Contract of a token on the network; null: the coin of the network.';
comment on column ledger_posting.cause is
  'What was written that moved money: a payment, what is owed back, a paid refund, or the status of the order; '
  'opening: what the order held when the ledger was made.';
comment on column ledger_posting.received is 'Final money that came in: debit.';
comment on column ledger_posting.customer_due is
  'Money of customers that stays with the shop, for their goods: credit.';
comment on column ledger_posting.refund_due is 'Money that is owed back and not paid yet: credit.';
comment on column ledger_posting.refunded is
  'Money that left for refunds, with the network fees that the shop bore: credit.';
comment on column ledger_posting.fees is 'Network fees of refunds that the shop bore: debit.';
comment on column ledger_posting.written_off is
  'Losses, as debit: a shortfall within tolerance, money that went away after the goods or a refund; '
  'dust that a cancelled order keeps, as credit.';
create index ledger_posting_by_order on ledger_posting (order_id);
create index ledger_posting_by_time on ledger_posting (posted_at, posting_no);

insert into audit_scope (table_name, reason) values
  ('ledger_posting',
    'is itself an append-only record; it follows from payments, refunds and statuses that are audited');
grant select on ledger_posting to app_api, app_worker, auditor;
