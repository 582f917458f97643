-- The rules of refunds: how much, who approves, when it is paid, and what an order is then. Each order that owes money
-- gets its open refund.
--
-- Locks: orders, refund_due and the tables of 0041 SHARE ROW EXCLUSIVE for their triggers until commit. Reads the rows
-- of refund_due once. Older processes: an api has no call for refunds; what a worker writes to refund_due opens them.
--
-- Functions as migrations/function has them: promised_refunds, received_money, refund_state, settle_refund_state,
-- begin_payout, derive_refund_state, finish_payout, owed_refund, follow_refund_due, guard_refund,
-- guard_refund_approval, is_command_legal.

-- What the refunds of an order promise or have paid of one asset, in base units: all that were not rejected or
-- cancelled.
-- p_except: a refund that is not counted; null: none.
-- Locks: none; exact for a caller that holds the order row. Changes nothing.
create or replace function promised_refunds(
  p_order_id uuid, p_network text, p_asset text, p_token text, p_except uuid) returns numeric
language sql stable as $$
  select coalesce(sum(r.amount), 0) from refund r
  where r.order_id = p_order_id and (r.network, r.asset) = (p_network, p_asset) and r.token is not distinct from p_token
    and r.status not in ('rejected', 'cancelled') and r.refund_id is distinct from p_except
$$;
revoke execute on function promised_refunds from public;
grant execute on function promised_refunds to app_api, app_worker, auditor;
comment on function promised_refunds is
  'What the refunds of an order promise or have paid of one asset, in base units: all that were not rejected or'
  ' cancelled.';

-- What an order received for its refunds to come out of, in base units: final outputs that were credited to it; of an
-- asset other than the invoice's, final outputs at its address that were credited to no order.
-- p_token: contract of a token, of which no report speaks yet: 0.
-- Locks: none. Changes nothing.
create or replace function received_money(p_order_id uuid, p_network text, p_asset text, p_token text) returns numeric
language sql stable as $$
  select case
    when p_token is not null then 0
    when exists (
      select from invoice i where (i.order_id, i.network, i.asset) = (p_order_id, p_network, p_asset)) then (
      select coalesce(sum(p.amount), 0) from payment p
      where (p.order_id, p.network, p.asset) = (p_order_id, p_network, p_asset) and p.state = 'final')
    else (
      -- Several sources may have reported an output: the least amount counts.
      select coalesce(sum(u.amount), 0) from (
        select min(x.amount) as amount from unattributed_output x
        where (x.order_id, x.network, x.asset) = (p_order_id, p_network, p_asset)
        group by x.tx_id, x.output_index) u) end
$$;
revoke execute on function received_money from public;
grant execute on function received_money to app_api, app_worker, auditor;
comment on function received_money is
  'What an order received for its refunds to come out of, in base units: final outputs that were credited to it;'
  ' of an asset other than the invoice''s, final outputs at its address that were credited to no order.';

-- Payment state of an order once its refunds are counted: the copy of refundStateOf in src/domain/refund.ts. An order
-- that keeps enough is paid. Only the invoice's asset counts.
-- p_status, p_payment_state: what the order is without refunds.
-- Locks: none; exact for a caller that holds the order row. Changes nothing.
create or replace function refund_state(p_order_id uuid, p_status text, p_payment_state text) returns text
language sql stable as $$
  select case
    when p_status = 'pending' or m.paying + m.paid = 0 then p_payment_state
    when p_status <> 'cancelled' and p_payment_state in ('at_risk', 'reversed') then p_payment_state
    when p_status <> 'cancelled' and is_enough(m.received - m.paying - m.paid, m.amount_due) then 'paid'
    when m.paying > 0 then 'refunding'
    when m.received - m.paid <= m.dust_floor then 'refunded'
    else 'partially_refunded' end
  from (
    select i.amount_due, c.dust_floor, received_money(i.order_id, i.network, i.asset, null) as received,
      coalesce(sum(r.amount) filter (where r.status = 'paying'), 0) as paying,
      coalesce(sum(r.amount) filter (where r.status = 'paid'), 0) as paid
    from invoice i join currency c on c.currency = i.asset
    left join refund r on r.order_id = i.order_id and (r.network, r.asset) = (i.network, i.asset) and r.token is null
    where i.order_id = p_order_id group by i.order_id, c.currency
  ) m
$$;
revoke execute on function refund_state from public;
grant execute on function refund_state to app_worker, auditor;
comment on function refund_state is
  'Payment state of an order once its refunds are counted: the copy of refundStateOf in src/domain/refund.ts.';

-- Brings the payment state of an order up to date with its refunds (refund_state).
-- Locks: the caller holds the order row. Repeating it is harmless. Error: HF004, by the guard of orders.
create or replace function settle_refund_state(p_order_id uuid) returns void language plpgsql as $$
begin
  update orders o set payment_state = s.state
  from (
    select refund_state(p_order_id, x.status, x.payment_state) as state from orders x where x.order_id = p_order_id) s
  where o.order_id = p_order_id and o.payment_state <> s.state;
end
$$;
revoke execute on function settle_refund_state from public;
grant execute on function settle_refund_state to app_worker;
comment on function settle_refund_state is
  'Brings the payment state of an order up to date with its refunds (refund_state).';

-- Payout, first half: takes an approved refund for payment, before anything is signed. p_actor: text of the audit
-- context (actor_of).
-- Result: 'begun'; 'repeated' when it was taken before and is not paid yet; 'paid'; 'not_covered' when the order no
-- longer has final money for it, such as after a reorganisation: ask again later; 'refused' in any other status;
-- 'NOT_FOUND'. Send only after 'begun' or 'repeated', and sign the same transaction again rather than another.
-- Locks: the order row FOR UPDATE, then the refund. Error: HF004, by the guard of orders.
-- Race closed: of two payers one gets 'begun', and the other 'repeated'.
create or replace function begin_payout(p_refund_id uuid, p_actor text) returns text language plpgsql as $$
declare
  v_refund refund;
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select r.order_id from refund r where r.refund_id = p_refund_id) for update;
  select * into v_refund from refund r where r.refund_id = p_refund_id for no key update;
  if not found then
    return 'NOT_FOUND';
  end if;
  if v_refund.status <> 'approved' then
    return case v_refund.status when 'paying' then 'repeated' when 'paid' then 'paid' else 'refused' end;
  end if;
  -- The guard would refuse it as well: a reorganisation may have taken the money after the approval.
  if v_refund.amount + promised_refunds(
      v_refund.order_id, v_refund.network, v_refund.asset, v_refund.token, v_refund.refund_id)
    > received_money(v_refund.order_id, v_refund.network, v_refund.asset, v_refund.token) then
    return 'not_covered';
  end if;
  update refund r set status = 'paying' where r.refund_id = p_refund_id;
  perform settle_refund_state(v_refund.order_id);
  return 'begun';
end
$$;
revoke execute on function begin_payout from public;
grant execute on function begin_payout to app_worker;
comment on function begin_payout is
  'Payout, first half: takes an approved refund for payment, before anything is signed.';

-- Derived state: a trigger function that counts refunds where an order's payment state is judged again. An assessment
-- and the end of an order know payments only: what they call paid or unresolved may be refunded in part.
create or replace function derive_refund_state() returns trigger language plpgsql as $$
begin
  if exists (select from holdfast.refund r where r.order_id = new.order_id and r.status in ('paying', 'paid')) then
    new.payment_state := holdfast.refund_state(new.order_id, new.status, new.payment_state);
  end if;
  return new;
end
$$;
revoke execute on function derive_refund_state from public;

-- By its name it runs before the guards of the row.
create or replace trigger orders_derive_refund before update on orders
  for each row when (
    new.payment_state <> old.payment_state and (
      new.payment_state in ('unresolved', 'cancelled', 'expired', 'late_confirming')
      or new.payment_state = 'paid'
        and old.payment_state in ('at_risk', 'reversed', 'refunding', 'partially_refunded', 'refunded')))
  execute function derive_refund_state();
comment on function derive_refund_state is
  'Derived state: a trigger function that counts refunds where an order''s payment state is judged again.';

-- Payout, second half: the transaction is final, and the refund is paid. p_network_fee: what the network took, in base
-- units of its coin. p_actor: text of the audit context (actor_of).
-- Result: 'paid'; 'repeated' for the same transaction again; 'conflict' when another one is noted; 'refused' when the
-- payout has not begun; 'NOT_FOUND'.
-- Locks: the order row FOR UPDATE, then the refund. Error: HF004, by the guard of orders.
create or replace function finish_payout(p_refund_id uuid, p_tx_id text, p_network_fee numeric, p_actor text)
returns text language plpgsql as $$
declare
  v_refund refund;
begin
  perform set_config('holdfast.actor', p_actor, true);
  perform 1 from orders o
  where o.order_id = (select r.order_id from refund r where r.refund_id = p_refund_id) for update;
  select * into v_refund from refund r where r.refund_id = p_refund_id for no key update;
  if not found then
    return 'NOT_FOUND';
  end if;
  if v_refund.status <> 'paying' then
    return case when v_refund.status <> 'paid' then 'refused' when v_refund.tx_id = p_tx_id then 'repeated'
      else 'conflict' end;
  end if;
  update refund r set status = 'paid', tx_id = p_tx_id, network_fee = p_network_fee where r.refund_id = p_refund_id;
  perform settle_refund_state(v_refund.order_id);
  return 'paid';
end
$$;
revoke execute on function finish_payout from public;
grant execute on function finish_payout to app_worker;
comment on function finish_payout is
  'Payout, second half: the transaction is final, and the refund is paid.';

-- What the open refund of an order must be, in base units; 0: there is none to be. What is due, less what was approved
-- or paid of it, and no more than the order received and has not promised. Dust is not given back (dust_floor).
-- Locks: none; exact for a caller that holds the order row. Changes nothing.
create or replace function owed_refund(p_order_id uuid) returns numeric language sql stable as $$
  select coalesce((
    select case when m.amount > c.dust_floor then m.amount else 0 end
    from refund_due d join invoice i on i.order_id = d.order_id join currency c on c.currency = d.asset
    cross join lateral (
      select coalesce(sum(r.amount) filter (where r.kind = 'owed' and r.status in ('approved', 'paying', 'paid')), 0)
          as settled,
        coalesce(sum(r.amount) filter (where r.status not in ('rejected', 'cancelled')
          and not (r.kind = 'owed' and r.status in ('awaiting_destination', 'awaiting_approval'))), 0) as promised
      from refund r
      where r.order_id = d.order_id and (r.network, r.asset) = (i.network, d.asset) and r.token is null
    ) s
    cross join lateral (
      select least(d.amount - s.settled, received_money(d.order_id, i.network, d.asset, null) - s.promised) as amount
    ) m
    where d.order_id = p_order_id), 0)
$$;
revoke execute on function owed_refund from public;
grant execute on function owed_refund to app_api, app_worker, auditor;
comment on function owed_refund is
  'What the open refund of an order must be, in base units; 0: there is none to be.';

-- Refund intent: a trigger function that keeps exactly one open refund for what an order owes beyond what was approved.
-- Its amount follows until two people have approved it; what comes later makes the next refund. A rejected one is
-- opened again, for the money is still owed.
-- Locks: the order row FOR NO KEY UPDATE. Repeating it is harmless.
create or replace function follow_refund_due() returns trigger language plpgsql as $$
declare
  v_owed numeric;
  v_open_id uuid;
begin
  perform 1 from holdfast.orders o where o.order_id = new.order_id for no key update;
  v_owed := holdfast.owed_refund(new.order_id);
  select r.refund_id into v_open_id from holdfast.refund r join holdfast.refund_due d on d.order_id = r.order_id
  where r.order_id = new.order_id and r.kind = 'owed' and r.asset = d.asset and r.token is null
    and r.status in ('awaiting_destination', 'awaiting_approval');
  if v_open_id is not null and v_owed > 0 then
    update holdfast.refund r set amount = v_owed where r.refund_id = v_open_id and r.amount <> v_owed;
  elsif v_open_id is not null then
    update holdfast.refund r set status = 'cancelled' where r.refund_id = v_open_id;
  elsif v_owed > 0 then
    insert into holdfast.refund (order_id, network, asset, amount, kind, named_in, requested_by)
    select i.order_id, i.network, d.asset, v_owed, 'owed', 'coin', 'system:owed'
    from holdfast.invoice i join holdfast.refund_due d on d.order_id = i.order_id where i.order_id = new.order_id;
  end if;
  -- Money that came after a refund makes the order partially refunded again.
  if current_user = 'app_worker' and exists (
    select from holdfast.refund r where r.order_id = new.order_id and r.status in ('paying', 'paid')) then
    perform holdfast.settle_refund_state(new.order_id);
  end if;
  return null;
end
$$;
revoke execute on function follow_refund_due from public;

create or replace trigger refund_due_open_refund after insert on refund_due
  for each row when (new.amount > 0) execute function follow_refund_due();
create or replace trigger refund_due_change_refund after update on refund_due
  for each row when (new.amount <> old.amount) execute function follow_refund_due();
create or replace trigger refund_open_next after update on refund
  for each row when (new.status <> old.status and new.status in ('rejected', 'cancelled'))
  execute function follow_refund_due();
comment on function follow_refund_due is
  'Refund intent: a trigger function that keeps exactly one open refund for what an order owes beyond what was'
  ' approved.';

-- Guard of refunds, a state machine guard and a ceiling: a trigger function for every insert and update of refund.
-- What an order gives back never exceeds what it received (received_money): judged when a refund is made, grows, is
-- approved or begins to be paid. Amount, destination and bearer of the fee never change once it is approved.
-- Locks: the order row FOR NO KEY UPDATE, which makes the sums exact. The tables' owner is not exempt.
-- Errors: HF001 for a change of what never changes; HF041 for an illegal move; HF042 above the ceiling, and for an owed
-- refund of another amount than owed_refund.
create or replace function guard_refund() returns trigger language plpgsql as $$
declare
  v_is_moved boolean := tg_op = 'INSERT' or new.status <> old.status;
  v_is_grown boolean := tg_op = 'INSERT' or new.amount > old.amount;
begin
  perform 1 from holdfast.orders o where o.order_id = new.order_id for no key update;
  if tg_op = 'INSERT' then
    if new.status <> 'awaiting_destination' or new.destination is not null or new.version <> 1 then
      raise exception 'refund: it begins without a destination' using errcode = 'HF041';
    end if;
  else
    if (new.refund_id, new.order_id, new.network, new.asset, new.token, new.kind, new.named_in, new.fiat_amount,
        new.rate_basis, new.rate, new.requested_by, new.reason, new.created_at)
       is distinct from (old.refund_id, old.order_id, old.network, old.asset, old.token, old.kind, old.named_in,
        old.fiat_amount, old.rate_basis, old.rate, old.requested_by, old.reason, old.created_at)
       or new.kind <> 'owed' and new.amount <> old.amount
       or (old.status not in ('awaiting_destination', 'awaiting_approval') or new.status in ('approved', 'paying'))
        and (new.amount, new.destination, new.destination_confirmed_at, new.fee_bearer)
         is distinct from (old.amount, old.destination, old.destination_confirmed_at, old.fee_bearer)
       or not v_is_moved and new.status = 'paid' then
      raise exception 'refund: this never changes' using errcode = 'HF001';
    end if;
    if v_is_moved and (not exists (
        select from holdfast.refund_transition t where t.from_status = old.status and t.to_status = new.status)
      or new.status in ('paying', 'paid') and current_user <> 'app_worker'
      or new.status = 'approved' and (
        select count(*) from holdfast.refund_approval a
        where a.refund_id = old.refund_id and a.version = old.version) < 2)
    then
      raise exception 'refund: % to % is not a legal move', old.status, new.status using errcode = 'HF041';
    end if;
    new.version := old.version + 1;
    new.updated_at := greatest(clock_timestamp(), old.updated_at);
  end if;
  if new.kind = 'owed' and new.token is null and (tg_op = 'INSERT' or new.amount <> old.amount)
    and new.amount <> holdfast.owed_refund(new.order_id) then
    raise exception 'refund: the order owes another amount' using errcode = 'HF042';
  end if;
  if (v_is_grown or v_is_moved and new.status in ('approved', 'paying'))
    and new.amount + holdfast.promised_refunds(new.order_id, new.network, new.asset, new.token, new.refund_id)
      > holdfast.received_money(new.order_id, new.network, new.asset, new.token) then
    raise exception 'refund: more than the order received' using errcode = 'HF042';
  end if;
  return new;
end
$$;
revoke execute on function guard_refund from public;

create or replace trigger refund_guard before insert or update on refund
  for each row execute function guard_refund();
comment on function guard_refund is
  'Guard of refunds, a state machine guard and a ceiling: a trigger function for every insert and update of'
  ' refund.';

-- Guard of approvals, the four-eyes principle: a trigger function that lets an admin approve, in their own name, the
-- present version of a refund that waits for it; not who asked for it, and not the customer. Approvals never change.
-- Locks: the order row FOR NO KEY UPDATE: the refund cannot change before the commit. The tables' owner is not exempt.
-- Error: HF041.
create or replace function guard_refund_approval() returns trigger language plpgsql as $$
begin
  perform 1 from holdfast.orders o where o.order_id = new.order_id for no key update;
  if tg_op <> 'INSERT'
    or new.approver is distinct from holdfast.actor_of(new.order_id::text) ->> 'actor'
    or holdfast.actor_of(new.order_id::text) ->> 'role' is distinct from 'admin'
    or not exists (
      select from holdfast.refund r join holdfast.orders o on o.order_id = r.order_id
      where (r.refund_id, r.version, r.order_id) = (new.refund_id, new.version, new.order_id)
        and r.status = 'awaiting_approval' and r.requested_by <> new.approver
        and new.approver <> 'user:' || o.user_id) then
    raise exception 'refund: this approval does not count' using errcode = 'HF041';
  end if;
  return new;
end
$$;
revoke execute on function guard_refund_approval from public;

create or replace trigger refund_approval_guard before insert or update on refund_approval
  for each row execute function guard_refund_approval();
comment on function guard_refund_approval is
  'Guard of approvals, the four-eyes principle: a trigger function that lets an admin approve, in their own name,'
  ' the present version of a refund that waits for it; not who asked for it, and not the customer.';

-- Whether an order may be cancelled, shipped or delivered as it is now. p_command, p_input: see command_order.
-- Nothing is shipped that is on hold, not paid or refunded whole, or while the inbox has news: it may say that the
-- money is gone.
-- isReapplied: a run that was reset is given its commands again. Such a command only gets the answer it got when it was
-- done. Locks: the caller holds the order row. Changes nothing.
create or replace function is_command_legal(p_order_id uuid, p_command text, p_input jsonb) returns boolean
language sql stable as $$
  select coalesce((p_input ->> 'expectedVersion')::bigint = o.version, true)
    and not coalesce((p_input ->> 'isReapplied')::boolean, false)
    and exists (
      select from order_transition t
      where t.from_status = o.status and t.to_status = command_target(p_command) and t.role = p_input ->> 'role')
    and (p_command <> 'ship' or o.hold = 'none' and o.payment_state in ('paid', 'partially_refunded')
      and not exists (select from payment_report r where r.order_id = p_order_id and not r.is_assessed))
  from orders o where o.order_id = p_order_id
$$;
revoke execute on function is_command_legal from public;
grant execute on function is_command_legal to app_worker;
comment on function is_command_legal is
  'Whether an order may be cancelled, shipped or delivered as it is now.';

-- What was owed before there were refunds.
insert into refund (order_id, network, asset, amount, kind, named_in, requested_by)
select d.order_id, i.network, d.asset, owed_refund(d.order_id), 'owed', 'coin', 'system:owed'
from refund_due d join invoice i on i.order_id = d.order_id
where d.amount > 0 and owed_refund(d.order_id) > 0;
