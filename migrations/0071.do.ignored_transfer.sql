-- Transfers to our addresses that are no income: tokens, and coins from accounts of our own. Until now a token left no
-- trace, so that a customer who sent one got no answer; and coins that the shop itself sent to the address of an order,
-- for gas or by a refund, paid that order.
--
-- Locks: orders, for the moment in which a function is created; new tables else. Older processes: an older watcher
-- records none of these transfers and reports our own as before.
--
-- Functions as migrations/function has them: begin_assessment, flag_wrong_asset.

create table own_account (
  network text not null constraint own_account_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
  address text not null constraint own_account_address_length check (char_length(address) between 1 and 128),
  note text not null constraint own_account_note_length check (char_length(note) between 1 and 200),
  added_at timestamptz not null default clock_timestamp()
    constraint own_account_added_finite check (isfinite(added_at)),
  constraint own_account_pk primary key (network, address),
  -- Addresses are compared as text, and watchers write those of Ethereum in lower case.
  constraint own_account_address_lower check (address !~* '^0x' or address = lower(address))
);
comment on table own_account is
  'Accounts whose key is the shop''s alone, beside those of payouts: what they send to an order pays nothing.';
comment on column own_account.note is 'What the account is for.';
select audit_watch('own_account', 'own_account', null);
grant select on own_account to watcher, auditor;
grant select (network, sender) on payout_sender to watcher;

create table ignored_transfer (
  network text not null constraint ignored_transfer_network_shape check (network ~ '^[a-z0-9][a-z0-9_-]{0,31}$'),
  source text not null default coalesce(own_source(), 'watcher-1')
    constraint ignored_transfer_source_shape check (source ~ '^[a-z0-9-]{1,63}$'),
  address text not null constraint ignored_transfer_address_length check (char_length(address) between 1 and 128),
  tx_id text not null constraint ignored_transfer_tx_length check (char_length(tx_id) between 64 and 88),
  output_index int not null constraint ignored_transfer_index_not_negative check (output_index >= 0),
  kind text not null constraint ignored_transfer_kind check (kind in ('wrong_asset', 'own_transfer')),
  token text -- null: the network's coin
    constraint ignored_transfer_token_length check (char_length(token) between 1 and 128),
  sender text not null constraint ignored_transfer_sender_length check (char_length(sender) between 1 and 128),
  amount numeric(78, 0) not null constraint ignored_transfer_amount_positive check (amount > 0),
  block_height bigint not null constraint ignored_transfer_height_not_negative check (block_height >= 0),
  block_hash text not null constraint ignored_transfer_hash_length check (char_length(block_hash) between 1 and 128),
  first_seen_at timestamptz not null constraint ignored_transfer_seen_finite check (isfinite(first_seen_at)),
  constraint ignored_transfer_pk primary key (network, address, tx_id, output_index, kind, source),
  constraint ignored_transfer_token_of_kind check ((kind = 'wrong_asset') = (token is not null))
);
comment on table ignored_transfer is
  'Transfers to addresses of orders that are no income, on the branch that the source has scanned. Never credited.';
comment on column ignored_transfer.kind is 'wrong_asset: a token; own_transfer: coins from an account of our own.';
comment on column ignored_transfer.token is
  'The contract, which may be worthless and may claim any amount and sender; null: the network''s coin.';
comment on column ignored_transfer.output_index is 'Of a token, the number of its log in the block.';
comment on column ignored_transfer.amount is 'In the token''s own units, as its contract claims, or in base units.';
insert into audit_scope (table_name, reason) values
  ('ignored_transfer', 'is the watcher''s memory of a public chain: transfers that count for nothing');
grant select, insert, delete on ignored_transfer to watcher;
grant select on ignored_transfer to app_api, app_worker, auditor;
alter table ignored_transfer enable row level security;
create policy ignored_transfer_own on ignored_transfer to watcher using (source = (select own_source()));
create policy ignored_transfer_list on ignored_transfer for select to watcher using ((select own_source()) is null);
create policy ignored_transfer_read on ignored_transfer for select to app_api, app_worker, auditor using (true);

-- First half of an assessment: locks an order, credits its inbox, and returns what its payments add up to. The caller
-- decides what that means and calls end_assessment in the same transaction.
-- p_step: null for the aftercare of a terminal order, which has no step to count; an open order is its own run's.
-- outcome: that of fence_step. outputs: how many had news, 500 at most, and 1 where late money is undecided or a
-- suspension is over; 0: nothing to decide. is_suspended: the order may not become paid now (suspend_order). The other
-- columns: see assessed_order.
-- Locks: the order row FOR UPDATE, and for aftercare its replacement's, in order of id; then those of credit_payments.
-- Repeating it: the fence answers 'repeated'.
create or replace function begin_assessment(p_order_id uuid, p_generation int, p_step int)
returns table (
  outcome text, outputs int, status text, payment_state text, cancel_reason text, hold text, flags text[],
  amount_due numeric, dust_floor numeric, seen numeric, final numeric, late_seen numeric, late_final numeric,
  accepted numeric, is_late boolean, is_reorged boolean, is_replaced boolean, replacement_id uuid, is_undecided boolean,
  has_wrong_asset boolean, has_early boolean, is_suspended boolean
)
language plpgsql as $$
#variable_conflict use_column
declare
  v_outcome text;
  v_credit record;
  v_suspension text;
  v_is_own boolean := false;
begin
  if p_step is null then
    perform 1 from orders o
    where o.order_id in (
      select p_order_id union all select d.replacement_id from late_decision d where d.order_id = p_order_id)
    order by o.order_id for update;
  end if;
  v_outcome := fence_step(p_order_id, p_generation, p_step);
  select 0 as outputs, false as has_wrong_asset, false as has_early into v_credit;
  if v_outcome = 'entered' then
    -- An order that never held stock is reserved first, and nothing is decided about its money before.
    v_is_own := (select is_terminal(o.status) from orders o where o.order_id = p_order_id) = (p_step is null);
    if v_is_own and (p_step is null or exists (select from reservation r where r.order_id = p_order_id)) then
      select * into v_credit from credit_payments(p_order_id, 500);
      -- A foreign token is no report: it is news until the order has the flag.
      if exists (
        select from invoice i join ignored_transfer t on (t.network, t.address) = (i.network, i.address)
        join orders o on o.order_id = i.order_id
        where i.order_id = p_order_id and t.kind = 'wrong_asset' and not 'wrong_asset' = any (o.payment_flags))
      then
        v_credit.outputs := greatest(v_credit.outputs, 1);
        v_credit.has_wrong_asset := true;
      end if;
      -- Asked to look, and there is nothing new.
      if v_credit.outputs = 0 then
        delete from order_wake where order_id = p_order_id;
      end if;
    end if;
    -- Nothing to decide: the step is done.
    if v_credit.outputs = 0 and p_step is not null then
      update orders set generation = p_generation, step = p_step where order_id = p_order_id;
    end if;
  end if;
  v_suspension := suspend_order(p_order_id, v_is_own);
  return query
  select v_outcome,
    greatest(v_credit.outputs, (v_suspension = 'resumed' or p_step is null and v_is_own and a.is_undecided)::int),
    a.*, v_credit.has_wrong_asset, v_credit.has_early, v_suspension = 'suspended'
  from assessed_order(p_order_id) a;
end
$$;
revoke execute on function begin_assessment from public;
grant execute on function begin_assessment to app_worker;

-- Wrong asset: a trigger function that wakes the orders whose addresses were sent a foreign token, so that their next
-- assessment sets the flag (begin_assessment). An order that has the flag is not woken again: a thousand worthless
-- tokens cost it one assessment.
-- Runs as the owner: the watcher's role writes no wakes.
-- Locks: those of request_wake. Repeating it is harmless.
create or replace function flag_wrong_asset() returns trigger
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
begin
  perform request_wake(array(
    select distinct o.order_id
    from new_rows n
    join invoice i on (i.network, i.address) = (n.network, n.address)
    join orders o on o.order_id = i.order_id
    where n.kind = 'wrong_asset' and not 'wrong_asset' = any (o.payment_flags)));
  return null;
end
$$;
revoke execute on function flag_wrong_asset from public;

create or replace trigger ignored_transfer_flag after insert on ignored_transfer
  referencing new table as new_rows for each statement execute function flag_wrong_asset();
