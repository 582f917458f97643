-- Payouts that wait, fail or end elsewhere. Refunds that could not be sent were tried again in each turn and hid newer
-- ones; the fee of a payout that failed on the chain was in no book; a refund that an unknown transaction had paid
-- stayed `paying` for ever; and a node that gave too high a count made the payer leave a gap in its nonces.
--
-- Locks: payout ACCESS EXCLUSIVE for a column and a trigger, refund SHARE for an index, until commit. Reads refunds
-- once. Older processes: a payer ignores payout_wait, calls the same functions, and takes nonce_ahead for one more
-- reason.
--
-- Functions as migrations/function has them: prepare_payout, end_payout, guard_payout, ledger_target, follow_money,
-- settle_payout.
create table payout_wait (
  refund_id uuid constraint payout_wait_pk primary key
    constraint payout_wait_refund_fk references refund on delete restrict,
  reason text not null constraint payout_wait_reason_length check (char_length(reason) between 1 and 40),
  tries integer not null default 1 constraint payout_wait_tries_positive check (tries > 0),
  since timestamptz not null default clock_timestamp() constraint payout_wait_since_finite check (isfinite(since)),
  next_try_at timestamptz not null constraint payout_wait_next_finite check (isfinite(next_try_at))
) with (fillfactor = 70);
comment on table payout_wait is
  'Refunds that got no payout when the payer looked at them, and when it looks again. Deleted when one is prepared.';
comment on column payout_wait.reason is 'Why, as holdfast_payout_waiting names it.';
comment on column payout_wait.tries is 'How often the payer has looked at it: the time to the next look doubles.';
comment on column payout_wait.since is 'Since when it has waited for this reason.';
insert into audit_scope (table_name, reason) values
  ('payout_wait', 'when the payer looks again at a refund; what happens to the refund is audited');
grant select, insert, update, delete on payout_wait to app_worker;
grant select on payout_wait to auditor;
-- The payer looks whether an order's address is one that the keys process made.
grant select (network, address) on address_pool to app_worker;

alter table payout
  add column network_fee numeric(78, 0) -- null: not failed on the chain
    constraint payout_network_fee_range check (network_fee is null or network_fee >= 0 and status = 'failed');
comment on column payout.network_fee is
  'What the network took of a payout that failed by a transaction of its own, which the shop bears; null: not failed '
  'on the chain. That of a confirmed one is in refund.';
grant update (network_fee) on payout to app_worker;
create index payout_failed_fee on payout (order_id) where network_fee > 0;
create index refund_by_tx on refund (tx_id) where tx_id is not null;
select audit_watch('payout', 'order', 'order_id', '{updated_at}');

-- Payout, last step: one of its transactions is final on the chain. A payment pays the refund (finish_payout); an
-- empty filler, a reverted or an unknown transaction proves that this payout sent nothing and can send nothing.
-- p_tx_id: the payout's transaction that is final; null: an unknown one has its nonce. p_is_reverted: it had no
-- effect.
-- p_network_fee: what the network took, in base units. The shop bears that of a payout that failed. p_actor: text of
-- the audit context (actor_of).
-- Result: 'confirmed'; 'failed'; 'repeated' when it is over; 'unknown' for a transaction of no or another payout; any
-- result of finish_payout that is not its success, with nothing changed.
-- Locks: the order row (finish_payout), then the payout row.
create or replace function end_payout(
  p_payout_id uuid, p_tx_id text, p_is_reverted boolean, p_network_fee numeric, p_actor text)
returns text language plpgsql as $$
declare
  v_payout payout;
  v_kind text;
  v_paid text;
  v_failure text;
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select p.order_id from payout p where p.payout_id = p_payout_id) for update;
  select * into v_payout from payout p where p.payout_id = p_payout_id for no key update;
  if not found then
    return 'unknown';
  elsif v_payout.status in ('confirmed', 'failed') then
    return 'repeated';
  end if;
  select a.kind into v_kind from payout_attempt a where (a.payout_id, a.tx_id) = (p_payout_id, p_tx_id);
  if p_tx_id is not null and v_kind is null then
    return 'unknown';
  end if;
  v_failure := case
    when p_tx_id is null then 'nonce_taken'
    when v_kind = 'fill' then 'cancelled'
    when p_is_reverted then 'reverted' end;
  if v_failure is not null then
    update payout p set status = 'failed', failure = v_failure,
      network_fee = case when p_tx_id is not null then p_network_fee end
    where p.payout_id = p_payout_id;
    return 'failed';
  end if;
  v_paid := finish_payout(v_payout.refund_id, p_tx_id, p_network_fee, p_actor);
  if v_paid not in ('paid', 'repeated') then
    return v_paid;
  end if;
  update payout p set status = 'confirmed' where p.payout_id = p_payout_id;
  return 'confirmed';
end
$$;
revoke execute on function end_payout from public;
grant execute on function end_payout to app_worker;
comment on function end_payout is
  'Payout, last step: one of its transactions is final on the chain.';

-- Ledger writer: a trigger function that posts what a change of payments, of what is owed back, of a refund or its
-- failed payout, or of an order's status did to the money of an order (post_ledger).
-- The payments of an expired order are money of its replacement too.
-- Its argument is ledger_posting.cause.
-- Runs as the owner: no role has the right to write the ledger.
-- Locks: the order rows FOR NO KEY UPDATE, in order of id. Repeating it is harmless.
create or replace function follow_money() returns trigger
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
begin
  if tg_level = 'ROW' then
    perform post_ledger(new.order_id, tg_argv[0]);
  elsif tg_op = 'INSERT' then
    perform post_ledger(m.order_id, tg_argv[0]) from (
      select n.order_id from new_rows n where n.state = 'final'
      union select d.replacement_id from new_rows n join late_decision d on d.order_id = n.order_id
      where n.state = 'final' and d.replacement_id is not null order by 1) m;
  else
    -- Money that is final, or no longer is.
    perform post_ledger(m.order_id, tg_argv[0]) from (
      with moved as (
        select n.order_id from new_rows n where n.state = 'final'
        union select o.order_id from old_rows o where o.state = 'final'
      )
      select v.order_id from moved v
      union select d.replacement_id from moved v join late_decision d on d.order_id = v.order_id
      where d.replacement_id is not null order by 1) m;
  end if;
  return null;
end
$$;
revoke execute on function follow_money from public;

create or replace trigger payment_post_insert after insert on payment
  referencing new table as new_rows for each statement execute function follow_money('payment');
create or replace trigger payment_post_update after update on payment
  referencing old table as old_rows new table as new_rows for each statement execute function follow_money('payment');
create or replace trigger refund_due_post_insert after insert on refund_due
  for each row when (new.amount > 0) execute function follow_money('refund_due');
create or replace trigger refund_due_post_update after update on refund_due
  for each row when (new.amount <> old.amount) execute function follow_money('refund_due');
create or replace trigger refund_post after update on refund
  for each row when (new.status <> old.status and new.status = 'paid') execute function follow_money('refund');
create or replace trigger payout_post after update on payout
  for each row when (new.network_fee is distinct from old.network_fee) execute function follow_money('refund');
-- A delivery moves no money that the shipping has not moved.
create or replace trigger orders_post after update on orders
  for each row when (new.status <> old.status and new.status <> 'delivered') execute function follow_money('status');
comment on function follow_money is
  'Ledger writer: a trigger function that posts what a change of payments, of what is owed back, of a refund or'
  ' its failed payout, or of an order''s status did to the money of an order (post_ledger).';

-- Guard of payouts, a state machine guard: a trigger function for every insert and update of payout. A payout pays a
-- refund that is being paid, as it was approved, and is the only one of it that was not released. Whom it pays, how
-- much and with which nonce never changes. Moves as PAYOUT_MOVES in src/domain/payout.ts; a test holds both
-- equal. A payout may end from any open status: an earlier transaction of it may be executed while a later one is
-- awaited.
-- Errors: HF001 for a change of what never changes; HF054 for an illegal move, and for a payout that no approval
-- covers. The tables' owner is not exempt.
create or replace function guard_payout() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.status <> 'prepared' then
      raise exception 'payout: it begins prepared' using errcode = 'HF054';
    end if;
    if not exists (
        select from holdfast.refund r
        where (r.refund_id, r.order_id, r.network, r.destination, r.amount, r.fee_bearer)
          = (new.refund_id, new.order_id, new.network, new.destination, new.amount, new.fee_bearer)
          and r.status = 'paying' and r.token is null)
      or exists (select from holdfast.payout p where p.refund_id = new.refund_id and not p.is_released) then
      raise exception 'payout: no approved refund is to be paid like this' using errcode = 'HF054';
    end if;
    return new;
  end if;
  if (new.payout_id, new.refund_id, new.order_id, new.network, new.sender, new.chain_id, new.nonce, new.destination,
      new.amount, new.fee_bearer, new.created_at)
     is distinct from (old.payout_id, old.refund_id, old.order_id, old.network, old.sender, old.chain_id, old.nonce,
      old.destination, old.amount, old.fee_bearer, old.created_at)
    or old.status in ('confirmed', 'failed')
      and (new.block_height, new.block_hash, new.failure, new.network_fee)
       is distinct from (old.block_height, old.block_hash, old.failure, old.network_fee)
    or old.is_released and not new.is_released then
    raise exception 'payout: this never changes' using errcode = 'HF001';
  end if;
  if new.status <> old.status and not (case old.status
      when 'prepared' then new.status in ('signed', 'stuck', 'confirmed', 'failed')
      when 'signed' then new.status in ('broadcast', 'stuck', 'confirmed', 'failed')
      when 'broadcast' then new.status in ('stuck', 'confirmed', 'failed')
      when 'stuck' then new.status in ('signed', 'confirmed', 'failed')
      else false end) then
    raise exception 'payout: % to % is not a legal move', old.status, new.status using errcode = 'HF054';
  end if;
  new.updated_at := greatest(clock_timestamp(), old.updated_at);
  return new;
end
$$;
revoke execute on function guard_payout from public;

create or replace trigger payout_guard before insert or update on payout
  for each row execute function guard_payout();
comment on function guard_payout is
  'Guard of payouts, a state machine guard: a trigger function for every insert and update of payout.';

-- What the ledger must have in sum of each order and asset, as payments, refunds and status are now.
-- One row per asset of the invoice, of a paid refund, or of a failed payout's fee; debit is positive. Money in another
-- asset than the invoice's is received when it is given back: before that it belongs to no order.
-- refund_due: what is owed less what was paid of it, at most what is there, and no dust.
-- written_off: the shortfall of an order whose money is enough or whose goods have left, and refunds that were paid but
-- are owed no more; less the dust of a cancelled order.
-- The money of a replacement (order_money) is received by the order that it replaces. What the replacement owes of it,
-- gives back, or lacks after its goods have left is its own: the two orders together have the sums of one.
-- customer_due is not here: it is what makes the sum zero.
-- Locks: none; exact for a caller that holds the order row.
create or replace view ledger_target as
select a.order_id, a.network, a.asset, a.token, m.received, -s.owed as refund_due, -(a.paid + a.fees) as refunded,
  a.fees,
  case when not a.is_invoiced then 0
    else case
      when o.status in ('shipped', 'delivered')
        or o.status = 'processing' and is_enough(m.in_time + t.taken, a.amount_due)
      then greatest(0, a.amount_due - m.in_time - t.taken) else 0 end
    + greatest(0, a.paid_of_owed - m.due)
    - case when o.status = 'cancelled' and m.received + t.taken - a.paid between 1 and c.dust_floor
      then m.received + t.taken - a.paid else 0 end
  end as written_off
from (
  -- One row per asset: what its paid refunds took, and the network fees that the shop bore in it.
  select x.order_id, x.network, x.asset, x.token, bool_or(x.is_invoiced) as is_invoiced,
    max(x.amount_due) as amount_due, sum(x.paid) as paid, sum(x.paid_of_owed) as paid_of_owed, sum(x.fee) as fees
  from (
    select i.order_id, i.network, i.asset, null::text as token, true as is_invoiced, i.amount_due, 0 as paid,
      0 as paid_of_owed, 0 as fee
    from invoice i
    union all
    select r.order_id, r.network, r.asset, r.token, false as is_invoiced, null::numeric as amount_due, r.amount as paid,
      case r.kind when 'owed' then r.amount else 0 end as paid_of_owed, 0 as fee
    from refund r where r.status = 'paid'
    union all
    -- The network takes its fee in its coin, whatever was sent.
    select r.order_id, r.network, r.asset, null::text as token, false as is_invoiced, null::numeric as amount_due,
      0 as paid, 0 as paid_of_owed, r.network_fee as fee
    from refund r where r.status = 'paid' and r.fee_bearer = 'shop'
    union all
    -- A payout that failed on the chain: the shop bears its fee, not the customer.
    select r.order_id, r.network, r.asset, null::text as token, false as is_invoiced, null::numeric as amount_due,
      0 as paid, 0 as paid_of_owed, p.network_fee as fee
    from payout p join refund r on r.refund_id = p.refund_id where p.network_fee > 0
  ) x
  group by 1, 2, 3, 4
) a
join orders o on o.order_id = a.order_id
join currency c on c.currency = a.asset
cross join lateral (
  select case when a.is_invoiced then coalesce(sum(p.amount), 0) else a.paid end as received,
    coalesce(sum(p.amount) filter (where p.is_in_time), 0) as in_time,
    coalesce((select d.amount from refund_due d where a.is_invoiced and d.order_id = a.order_id), 0) as due
  from payment p where a.is_invoiced and p.order_id = a.order_id and p.state = 'final'
) m
cross join lateral (
  -- What a replacement counts of the money of the order that it replaces.
  select case when a.is_invoiced and exists (select from late_decision d where d.replacement_id = a.order_id)
    then (select y.final - m.in_time from order_money(array[a.order_id]) y) else 0 end as taken
) t
cross join lateral (
  select case when w.amount > c.dust_floor then w.amount else 0 end as owed
  from (select least(m.due - a.paid_of_owed, m.received + t.taken - a.paid) as amount) w
) s;
comment on view ledger_target is
  'What the ledger must have in sum of each order and asset, as payments, refunds and status are now.';

-- Payout step 1: takes an approved refund for payment (begin_payout), gives its payout the next nonce of the sender,
-- and stores its first transaction, all in one transaction of the database.
-- p_chain_nonce: the sender's transaction count on the chain; a new sender's first nonce. p_gas_limit, p_max_fee,
-- p_priority_fee: of the transaction. p_actor: text of the audit context (actor_of).
-- Result: 'prepared'; 'repeated' when a payout has it; 'failed_before' when one failed and no operator released it;
-- 'fee_above_amount' when the customer bears a fee that leaves nothing; 'own_address' for an address of the shop;
-- 'nonce_ahead' when the chain's count is above the own next nonce: somebody else sends from the account, this database
-- was restored, or the node is wrong, and payouts behind a gap would never be executed; any other result of
-- begin_payout.
-- Locks: the order row, then the refund, then the sender's row. Errors: HF004, HF053 for a sender of another chain.
-- Race closed: of two processes one gets 'prepared', and the other 'repeated'.
create or replace function prepare_payout(
  p_refund_id uuid, p_sender text, p_chain_id bigint, p_chain_nonce bigint, p_gas_limit bigint, p_max_fee numeric,
  p_priority_fee numeric, p_actor text)
returns text language plpgsql as $$
declare
  v_refund refund;
  v_fee numeric;
  v_begun text;
  v_nonce bigint;
  v_payout_id uuid;
begin
  select * into v_refund from refund r where r.refund_id = p_refund_id;
  v_fee := case v_refund.fee_bearer when 'customer' then p_gas_limit * p_max_fee else 0 end;
  if v_refund.amount <= v_fee then
    return 'fee_above_amount';
  elsif v_refund.destination = p_sender or exists (
    select from invoice i where (i.network, i.address) = (v_refund.network, v_refund.destination)) then
    return 'own_address';
  elsif exists (
    select from payout_sender s
    where (s.network, s.sender) = (v_refund.network, p_sender) and s.next_nonce < p_chain_nonce) then
    return 'nonce_ahead';
  end if;
  v_begun := begin_payout(p_refund_id, p_actor);
  if v_begun not in ('begun', 'repeated') then
    return v_begun;
  elsif exists (select from payout p where p.refund_id = p_refund_id and p.status <> 'failed') then
    return 'repeated';
  elsif exists (select from payout p where p.refund_id = p_refund_id and not p.is_released) then
    return 'failed_before';
  end if;
  insert into payout_sender (network, sender, chain_id, next_nonce)
  values (v_refund.network, p_sender, p_chain_id, p_chain_nonce)
  on conflict do nothing;
  update payout_sender s set next_nonce = s.next_nonce + 1
  where (s.network, s.sender, s.chain_id) = (v_refund.network, p_sender, p_chain_id)
  returning s.next_nonce - 1 into v_nonce;
  if not found then
    raise exception 'payout_sender: it sends on another chain' using errcode = 'HF053';
  end if;
  insert into payout (refund_id, order_id, network, sender, chain_id, nonce, destination, amount, fee_bearer)
  values (p_refund_id, v_refund.order_id, v_refund.network, p_sender, p_chain_id, v_nonce, v_refund.destination,
    v_refund.amount, v_refund.fee_bearer)
  returning payout_id into v_payout_id;
  insert into payout_attempt (payout_id, attempt, order_id, kind, value, gas_limit, max_fee, priority_fee)
  values (v_payout_id, 1, v_refund.order_id, 'pay', v_refund.amount - v_fee, p_gas_limit, p_max_fee, p_priority_fee);
  return 'prepared';
end
$$;
revoke execute on function prepare_payout from public;
grant execute on function prepare_payout to app_worker;
comment on function prepare_payout is
  'Payout step 1: takes an approved refund for payment (begin_payout), gives its payout the next nonce of the'
  ' sender, and stores its first transaction, all in one transaction of the database.';

-- Settlement of a payout by an operator: a transaction paid the refund, but none that its payouts know, or one that was
-- released too early. The caller has compared it with the chain: sender, destination, value and depth.
-- p_network_fee: what the network took, in base units of its coin. p_actor: text of the audit context (actor_of).
-- Result: 'live' while a payout of the refund may still be executed; 'taken' when the transaction is another payout's
-- or paid another refund; any result of finish_payout.
-- Locks: the order row FOR UPDATE, then the refund. Error: HF004, by the guard of orders.
create or replace function settle_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text)
returns text language plpgsql as $$
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select r.order_id from refund r where r.refund_id = p_refund_id) for update;
  if exists (select from payout p where p.refund_id = p_refund_id and p.status not in ('confirmed', 'failed')) then
    return 'live';
  elsif exists (select from refund r where r.tx_id = p_tx_id and r.refund_id <> p_refund_id)
    or exists (
      select from payout_attempt a join payout p on p.payout_id = a.payout_id
      where a.tx_id = p_tx_id and p.refund_id <> p_refund_id) then
    return 'taken';
  end if;
  return finish_payout(p_refund_id, p_tx_id, p_network_fee, p_actor);
end
$$;
revoke execute on function settle_payout from public;
grant execute on function settle_payout to app_worker;
comment on function settle_payout is
  'Settlement of a payout by an operator: a transaction paid the refund, but none that its payouts know, or one'
  ' that was released too early.';
