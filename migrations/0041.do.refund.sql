-- Refunds: money that goes back to a customer, from the wish to the payout. refund_due says what an order owes, and
-- each assessment computes it again. A refund is one decision about some of it: where to, who approved it, and what was
-- sent. Until now what was owed could be read, and nothing could give it back.
--
-- Locks: new tables, and payment_transition for its rows. Older processes: they neither read nor write refunds; what
-- they write to refund_due opens refunds by a trigger (0042). They know the states that an order has after a refund.
create table refund_transition (
  from_status text not null,
  to_status text not null,
  constraint refund_transition_pk primary key (from_status, to_status)
);
comment on table refund_transition is
  'Legal moves of a refund; a test keeps it equal to REFUND_MOVES in src/domain/refund.ts.';
insert into refund_transition (from_status, to_status)
select m.f, t from (values
  ('awaiting_destination', '{awaiting_approval,rejected,cancelled}'::text[]),
  ('awaiting_approval', '{awaiting_destination,approved,rejected,cancelled}'),
  ('approved', '{paying,rejected}'),
  ('paying', '{paid}')) m (f, too), unnest(m.too) t;

create table refund (
  refund_id uuid default gen_random_uuid() constraint refund_pk primary key,
  order_id uuid not null constraint refund_order_fk references orders on delete restrict,
  network text not null constraint refund_network_length check (char_length(network) between 1 and 32),
  asset text not null constraint refund_asset_fk references currency on delete restrict,
  token text -- null: the coin of the network
    constraint refund_token_length check (char_length(token) between 1 and 128),
  amount numeric(78, 0) not null constraint refund_amount_positive check (amount > 0),
  kind text not null constraint refund_kind check (kind in ('owed', 'goodwill')),
  fee_bearer text -- null: stated when the destination is given
    constraint refund_fee_bearer check (fee_bearer in ('shop', 'customer')),
  named_in text not null constraint refund_named_in check (named_in in ('coin', 'fiat')),
  fiat_amount numeric(14, 2) -- null: named in coin
    constraint refund_fiat_amount_positive check (fiat_amount > 0),
  rate_basis text -- null: named in coin
    constraint refund_rate_basis check (rate_basis in ('order', 'today', 'stated')),
  rate numeric(20, 2) -- null: named in coin
    constraint refund_rate_positive check (rate > 0),
  destination text -- null: not given yet
    constraint refund_destination_canonical check (
      char_length(destination) between 1 and 128 and (asset <> 'ETH' or destination ~ '^0x[0-9a-f]{40}$')),
  destination_confirmed_at timestamptz -- null: not confirmed yet
    constraint refund_destination_confirmed_finite check (isfinite(destination_confirmed_at)),
  status text not null default 'awaiting_destination' constraint refund_status check (status in (
    'awaiting_destination', 'awaiting_approval', 'approved', 'paying', 'paid', 'rejected', 'cancelled')),
  requested_by text not null constraint refund_requested_by_shape check (requested_by ~ '^[a-z]+:[a-z0-9-]{1,63}$'),
  reason text -- null: the order owes it
    constraint refund_reason_length check (char_length(reason) between 1 and 200),
  tx_id text -- null: not paid
    constraint refund_tx_length check (char_length(tx_id) between 64 and 88),
  network_fee numeric(78, 0) -- null: not paid
    constraint refund_network_fee_not_negative check (network_fee >= 0),
  version bigint not null default 1 constraint refund_version_positive check (version > 0),
  created_at timestamptz not null default clock_timestamp()
    constraint refund_created_finite check (isfinite(created_at)),
  updated_at timestamptz not null default clock_timestamp()
    constraint refund_updated_finite check (isfinite(updated_at)),
  constraint refund_fiat_is_whole check (
    (named_in = 'fiat') = (fiat_amount is not null)
    and (named_in = 'fiat') = (rate_basis is not null) and (named_in = 'fiat') = (rate is not null)),
  constraint refund_confirms_destination check (destination_confirmed_at is null or destination is not null),
  constraint refund_goes_somewhere check (
    status in ('awaiting_destination', 'rejected', 'cancelled')
    or destination_confirmed_at is not null and fee_bearer is not null),
  constraint refund_reason_of_kind check ((kind = 'owed') = (reason is null)),
  -- The fee of a token's transfer is paid in the network's coin: it cannot come out of the amount.
  constraint refund_token_fee check (token is null or fee_bearer <> 'customer'),
  constraint refund_paid_is_whole check (
    (status = 'paid') = (tx_id is not null) and (status = 'paid') = (network_fee is not null)),
  constraint refund_fee_within_amount check (fee_bearer <> 'customer' or network_fee < amount)
) with (fillfactor = 70);
comment on table refund is
  'Money that goes back to a customer: one decision with its destination, its approvals and its payout. '
  'Amounts in base units, before the network''s fee.';
comment on column refund.token is 'Contract of a token on the network; null: the coin of the network.';
comment on column refund.fee_bearer is
  'Who bears the network''s fee: shop sends the amount whole, customer gets it less the fee; '
  'null: stated when the destination is given.';
comment on column refund.fiat_amount is 'What was named, in the order''s currency; null: named in coin.';
comment on column refund.rate_basis is
  'Which rate turned fiat into coin: that of the order, of the day, or a stated one; null: named in coin.';
comment on column refund.rate is 'Fiat per coin; null: named in coin.';
comment on column refund.destination is
  'Address in canonical form, given by the customer and never taken from a payment; null: not given yet.';
comment on column refund.destination_confirmed_at is
  'When the customer gave the same address again; null: not confirmed yet.';
comment on column refund.reason is 'The operator''s words; null: the order owes it.';
comment on column refund.tx_id is 'The transaction that paid it; null: not paid.';
comment on column refund.network_fee is 'What the network took, in base units of its coin; null: not paid.';
create index refund_by_order on refund (order_id);
create index refund_by_status on refund (status, created_at, refund_id);
create index refund_by_time on refund (created_at, refund_id);
create unique index refund_one_owed on refund (order_id, network, asset, coalesce(token, ''))
  where kind = 'owed' and status in ('awaiting_destination', 'awaiting_approval');

create table refund_approval (
  refund_id uuid not null constraint refund_approval_refund_fk references refund on delete restrict,
  version bigint not null constraint refund_approval_version_positive check (version > 0),
  approver text not null constraint refund_approval_approver_shape check (approver ~ '^[a-z]+:[a-z0-9-]{1,63}$'),
  order_id uuid not null constraint refund_approval_order_fk references orders on delete restrict,
  approved_at timestamptz not null default clock_timestamp()
    constraint refund_approval_at_finite check (isfinite(approved_at)),
  constraint refund_approval_pk primary key (refund_id, version, approver)
);
comment on table refund_approval is
  'Who approved a refund as it was in this version: a later change of amount or destination ends all approvals.';
create index refund_approval_by_order on refund_approval (order_id);

select audit_watch('refund_transition', 'refund_transition', null);
select audit_watch('refund', 'order', 'order_id');
select audit_watch('refund_approval', 'order', 'order_id');

grant select on refund_transition, refund, refund_approval to app_api, app_worker, auditor;
grant select on unattributed_output to app_api;
grant insert (order_id, network, asset, token, amount, kind, fee_bearer, named_in, fiat_amount, rate_basis, rate,
  requested_by, reason) on refund to app_api, app_worker;
grant update (amount, fee_bearer, destination, destination_confirmed_at, status) on refund to app_api;
grant update (amount, status, tx_id, network_fee) on refund to app_worker;
grant insert (refund_id, version, approver, order_id) on refund_approval to app_api;

-- A refund moves the payment state, in both directions: what was refunded may be lost to a reorganisation, or an order
-- may be cancelled after a part went back.
insert into payment_transition (from_state, to_state)
select m.f, t from (values
  ('at_risk', '{refunding,partially_refunded,refunded}'::text[]),
  ('reversed', '{refunding,partially_refunded,refunded}'),
  ('expired', '{refunding}'),
  ('late_confirming', '{refunding}'),
  ('refunding', '{paid,at_risk,reversed,late_confirming,unresolved,cancelled}'),
  ('partially_refunded', '{refunded,paid,at_risk,reversed,late_confirming,unresolved,cancelled}'),
  ('refunded', '{refunding,partially_refunded,paid,at_risk,reversed,late_confirming,unresolved,cancelled}')
) m (f, too), unnest(m.too) t
on conflict do nothing;

-- An approval is its author's own: the guard compares it with the actor of the audit.
grant execute on function actor_of to app_api;
