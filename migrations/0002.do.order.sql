-- Orders: the agreement, its invoice, its holds on stock, the answers already given, and the guards of an order's row.

create table customer (
  user_id bigint constraint customer_pk primary key constraint customer_id_positive check (user_id > 0),
  created_at timestamptz not null default clock_timestamp()
);
comment on table customer is 'People who ordered at least once; the id is the token''s.';

-- One data key per customer: destroying it erases the person (requirements D-17).
create table customer_key (
  user_id bigint constraint customer_key_pk primary key
    constraint customer_key_customer_fk references customer on delete restrict,
  ring_version integer not null constraint customer_key_ring_positive check (ring_version > 0),
  wrapped_key bytea not null
    constraint customer_key_wrapped_length check (octet_length(wrapped_key) between 60 and 256),
  created_at timestamptz not null default clock_timestamp()
);
comment on table customer_key is 'The customer''s data key, sealed by the pii keyring.';

create table order_transition (
  from_status text not null,
  to_status text not null,
  role text not null,
  constraint order_transition_pk primary key (from_status, to_status, role)
);
comment on table order_transition is
  'Legal moves by role; a test keeps it equal to TRANSITIONS in src/domain/order.ts.';
insert into order_transition (from_status, to_status, role)
values
  ('pending', 'processing', 'system'),
  ('pending', 'cancelled', 'customer'), ('pending', 'cancelled', 'admin'), ('pending', 'cancelled', 'system'),
  ('processing', 'shipped', 'fulfilment'), ('processing', 'shipped', 'admin'),
  ('processing', 'cancelled', 'customer'), ('processing', 'cancelled', 'admin'), ('processing', 'cancelled', 'system'),
  ('shipped', 'delivered', 'fulfilment'), ('shipped', 'delivered', 'admin');

create table orders (
  order_id uuid constraint orders_pk primary key,
  user_id bigint not null constraint orders_customer_fk references customer on delete restrict,
  status text not null default 'pending'
    constraint orders_status check (status in ('pending', 'processing', 'shipped', 'delivered', 'cancelled')),
  payment_state text not null default 'awaiting'
    constraint orders_payment_state check (payment_state in (
      'awaiting', 'partial', 'confirming', 'paid', 'at_risk', 'reversed', 'expired', 'late_confirming',
      'unresolved', 'cancelled', 'refunding', 'partially_refunded', 'refunded')),
  payment_flags text[] not null default '{}'
    constraint orders_payment_flags check (payment_flags <@ array[
      'late', 'under', 'over', 'within_tolerance', 'wrong_asset', 'replaced', 'reorged', 'slow_confirm', 'manual']),
  hold text not null default 'none' constraint orders_hold check (hold in ('none', 'fraud', 'payment', 'manual')),
  cancel_reason text -- null: not cancelled
    constraint orders_cancel_reason check (cancel_reason in (
      'customer', 'admin', 'expired', 'underpaid', 'out_of_stock', 'fraud')),
  currency text not null constraint orders_currency_fk references currency on delete restrict,
  total numeric(14, 2) not null constraint orders_total_positive check (total > 0),
  address_sealed bytea not null
    constraint orders_address_sealed_length check (octet_length(address_sealed) between 29 and 4096),
  -- The fence (requirements D-28): the run that owns the order, and the last step it finished.
  generation integer not null default 0 constraint orders_generation_not_negative check (generation >= 0),
  step integer not null default 0 constraint orders_step_not_negative check (step >= 0),
  version bigint not null default 1 constraint orders_version_positive check (version > 0),
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  constraint orders_cancelled_has_reason check ((status = 'cancelled') = (cancel_reason is not null)),
  constraint orders_time_order check (updated_at >= created_at)
) with (fillfactor = 70);
comment on table orders is 'One row per order. The delivery address is ciphertext under the customer''s data key.';
create index orders_by_customer on orders (user_id, created_at desc, order_id desc);
-- Lists of all orders, newest first, for the people who run the shop. Read backwards, the second one lists what is to
-- ship, oldest first.
create index orders_by_time on orders (created_at desc, order_id desc);
create index orders_by_status on orders (status, created_at desc, order_id desc);

create table order_line (
  order_id uuid not null constraint order_line_order_fk references orders on delete restrict,
  line_no smallint not null constraint order_line_no_range check (line_no between 1 and 100),
  product_id text not null constraint order_line_product_fk references product on delete restrict,
  product_version bigint not null constraint order_line_product_version_positive check (product_version > 0),
  name text not null constraint order_line_name_length check (char_length(name) between 1 and 200),
  quantity integer not null constraint order_line_quantity_range check (quantity between 1 and 1000),
  unit_price numeric(14, 2) not null constraint order_line_price_not_negative check (unit_price >= 0),
  constraint order_line_pk primary key (order_id, line_no)
);
comment on table order_line is
  'The frozen agreement: item, quantity and the catalogue''s price at the instant of acceptance.';

create table invoice (
  order_id uuid constraint invoice_pk primary key constraint invoice_order_fk references orders on delete restrict,
  network text not null constraint invoice_network_length check (char_length(network) between 1 and 32),
  asset text not null constraint invoice_asset_fk references currency on delete restrict,
  address text not null constraint invoice_address_length check (char_length(address) between 1 and 128),
  amount_due numeric(78, 0) not null constraint invoice_amount_positive check (amount_due > 0),
  rate numeric(20, 2) not null constraint invoice_rate_positive check (rate > 0),
  expires_at timestamptz not null,
  grace interval not null constraint invoice_grace_range check (grace between interval '0' and interval '1 hour'),
  confirm_within interval not null
    constraint invoice_confirm_within_range check (confirm_within between interval '0' and interval '7 days'),
  created_at timestamptz not null default clock_timestamp(),
  constraint invoice_one_order_per_address unique (network, address),
  constraint invoice_time_order check (expires_at > created_at)
);
comment on table invoice is
  'What the buyer is asked to pay, where and until when. Immutable: no role may update it.';

create table reservation (
  order_id uuid not null constraint reservation_order_fk references orders on delete restrict,
  product_id text not null constraint reservation_product_fk references product on delete restrict,
  hold_no smallint not null default 1 constraint reservation_hold_no_positive check (hold_no > 0),
  quantity bigint not null constraint reservation_quantity_range check (quantity between 1 and 100000),
  state text not null default 'held'
    constraint reservation_state check (state in ('held', 'committed', 'consumed', 'released', 'expired')),
  expires_at timestamptz not null,
  constraint reservation_pk primary key (order_id, product_id, hold_no)
) with (fillfactor = 70);
comment on table reservation is
  'A hold on stock: held, committed (paid), consumed (shipped), released or expired. Ended rows stay as tombstones.';
create index reservation_expiring on reservation (product_id, expires_at) where state = 'held';
create index reservation_expiry on reservation (expires_at) where state = 'held';
-- The consistency check sums the holds of a product: the held ones by reservation_expiring, the committed ones here.
create index reservation_committed on reservation (product_id) include (quantity) where state = 'committed';

create table stock_movement (
  movement_id bigint generated always as identity constraint stock_movement_pk primary key,
  product_id text not null constraint stock_movement_product_fk references product on delete restrict,
  order_id uuid -- null: counted by a person
    constraint stock_movement_order_fk references orders on delete restrict,
  hold_no smallint -- null: counted by a person
    constraint stock_movement_hold_no_positive check (hold_no > 0),
  kind text not null
    constraint stock_movement_kind check (kind in ('reserve', 'release', 'expire', 'consume', 'adjust')),
  on_hand_delta bigint not null
    constraint stock_movement_on_hand_range check (on_hand_delta between -1000000000000 and 1000000000000),
  reserved_delta bigint not null
    constraint stock_movement_reserved_range check (reserved_delta between -1000000000000 and 1000000000000),
  actor text not null constraint stock_movement_actor_length check (char_length(actor) between 1 and 80),
  reason text -- null: the order says why
    constraint stock_movement_reason_length check (char_length(reason) between 1 and 200),
  created_at timestamptz not null default clock_timestamp(),
  constraint stock_movement_once unique (order_id, product_id, hold_no, kind),
  constraint stock_movement_of_order check (
    (order_id is null) = (kind = 'adjust') and (order_id is null) = (hold_no is null))
);
comment on table stock_movement is 'Append-only ledger; its sums equal the counters of stock.';
-- Units counted in and out: the ledger's rows that move on_hand. An order has none before it is shipped.
create index stock_movement_counted on stock_movement (product_id) include (on_hand_delta) where on_hand_delta <> 0;

-- One row per answered attempt (requirements D-26). Accepted orders are rendered from their own immutable rows.
create table idempotency (
  actor text not null constraint idempotency_actor_length check (char_length(actor) between 1 and 80),
  method text not null constraint idempotency_method_length check (char_length(method) between 1 and 80),
  key uuid not null,
  request_hash bytea not null constraint idempotency_hash_length check (octet_length(request_hash) = 32),
  order_id uuid -- null: no order came of it
    constraint idempotency_order_fk references orders on delete restrict deferrable initially deferred,
  response jsonb, -- null: rendered from the order's immutable rows
  created_at timestamptz not null default clock_timestamp(),
  constraint idempotency_pk primary key (actor, method, key),
  constraint idempotency_has_answer check (order_id is not null or response is not null)
);
comment on table idempotency is
  'The caller''s name for one attempt, what it asked (hash) and what it was told.';
-- For forget_answers: answers are kept for 30 days.
create index idempotency_by_age on idempotency (created_at);

-- THE GUARDS OF AN ORDER'S ROW ----------------------------------------------------------------------------------------
-- The second fence behind src/db: these stay true for every writer, the owner of the tables included.

create function guard_order_insert() returns trigger language plpgsql as $$
begin
  if new.status <> 'pending' or new.payment_state <> 'awaiting' or new.version <> 1 or new.generation <> 0 then
    raise exception 'orders: an order begins pending, awaiting payment, at version 1' using errcode = 'HF003';
  end if;
  return new;
end
$$;

create function guard_order_update() returns trigger language plpgsql as $$
begin
  if (new.order_id, new.user_id, new.currency, new.total, new.created_at)
     is distinct from (old.order_id, old.user_id, old.currency, old.total, old.created_at) then
    raise exception 'orders: id, customer, currency, total and creation time never change' using errcode = 'HF001';
  end if;
  -- The fence is not news to a reader: it moves neither version nor time.
  if (new.status, new.payment_state, new.payment_flags, new.hold, new.cancel_reason, new.address_sealed)
     is distinct from (old.status, old.payment_state, old.payment_flags, old.hold, old.cancel_reason,
       old.address_sealed) then
    new.version := old.version + 1;
    new.updated_at := greatest(clock_timestamp(), old.updated_at);
  else
    new.version := old.version;
    new.updated_at := old.updated_at;
  end if;
  return new;
end
$$;

-- The role of the transaction's actor decides which move may be asked for (actor_of, in 0008), and app_worker alone may
-- write it.
create function guard_order_status() returns trigger language plpgsql as $$
begin
  if current_user <> 'app_worker' or not exists (
    select from holdfast.order_transition t where t.from_status = old.status and t.to_status = new.status
      and t.role = holdfast.actor_of(new.order_id::text) ->> 'role') then
    raise exception 'orders: % to % is not a legal move for this actor', old.status, new.status using errcode = 'HF002';
  end if;
  return new;
end
$$;

create function guard_order_payment() returns trigger language plpgsql as $$
begin
  if current_user <> 'app_worker' or not exists (
    select from holdfast.payment_transition t where t.from_state = old.payment_state
      and t.to_state = new.payment_state) then
    raise exception 'orders: payment does not go from % to %', old.payment_state, new.payment_state
      using errcode = 'HF004';
  end if;
  return new;
end
$$;

revoke execute on function guard_order_insert, guard_order_update, guard_order_status, guard_order_payment from public;
create trigger orders_guard_insert before insert on orders for each row execute function guard_order_insert();
create trigger orders_guard_update before update on orders for each row execute function guard_order_update();
-- A statement that names the status and leaves it as it is asks for an illegal move that looks like no change at all.
create trigger orders_guard_standstill before update of status on orders
  for each row when (new.status = old.status) execute function guard_order_status();
create trigger orders_guard_status before update on orders
  for each row when (new.status <> old.status) execute function guard_order_status();
create trigger orders_guard_payment before update on orders
  for each row when (new.payment_state <> old.payment_state) execute function guard_order_payment();

grant select on customer, orders, order_line, invoice, reservation, stock_movement, order_transition
  to app_api, app_worker, auditor;
grant insert (user_id) on customer to app_api;
grant select, insert on customer_key to app_api;
grant insert (order_id, user_id, currency, total, address_sealed) on orders to app_api;
grant update (address_sealed) on orders to app_api;
grant update (status, payment_state, payment_flags, hold, cancel_reason, generation, step) on orders to app_worker;
grant insert on order_line, invoice, reservation to app_api;
grant select (network, address) on invoice to watcher;
grant update (expires_at) on reservation to app_api;
grant insert, update (state) on reservation to app_worker;
grant insert on stock_movement to app_api, app_worker;
grant select, insert on idempotency to app_api, app_worker;
grant update (response, order_id) on idempotency to app_api;
grant delete on idempotency to app_api;
grant select on idempotency to auditor;
