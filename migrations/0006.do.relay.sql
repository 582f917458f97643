-- From committed rows to the world: what must still be told to Temporal and to others. Rows are claimed by lease,
-- committed before any call goes out, and deleted only by the holder of the lease.

create table workflow_start (
  order_id uuid constraint workflow_start_pk primary key
    constraint workflow_start_order_fk references orders on delete restrict,
  generation integer not null default 1 constraint workflow_start_generation_positive check (generation > 0),
  urgency smallint not null default 1 constraint workflow_start_urgency check (urgency in (0, 1)),
  quote_ends_at timestamptz not null,
  claimed_by text -- null: free
    constraint workflow_start_claimed_by_length check (char_length(claimed_by) between 1 and 80),
  claimed_until timestamptz, -- null: free
  attempts integer not null default 0 constraint workflow_start_attempts_not_negative check (attempts >= 0),
  next_at timestamptz not null default clock_timestamp(),
  dead_reason text -- null: alive
    constraint workflow_start_dead_length check (char_length(dead_reason) between 1 and 200),
  created_at timestamptz not null default clock_timestamp()
) with (fillfactor = 70);
comment on table workflow_start is
  'Orders whose workflow is still to be started. Urgency 0: a payment or a command waits for it.';
create index workflow_start_due on workflow_start (urgency, quote_ends_at) where dead_reason is null;

create table order_wake (
  order_id uuid constraint order_wake_pk primary key
    constraint order_wake_order_fk references orders on delete restrict,
  wanted_seq bigint not null default 1 constraint order_wake_wanted_positive check (wanted_seq > 0),
  claimed_by text -- null: free
    constraint order_wake_claimed_by_length check (char_length(claimed_by) between 1 and 80),
  claimed_until timestamptz, -- null: free
  attempts integer not null default 0 constraint order_wake_attempts_not_negative check (attempts >= 0),
  next_at timestamptz not null default clock_timestamp(),
  dead_reason text -- null: alive
    constraint order_wake_dead_length check (char_length(dead_reason) between 1 and 200),
  created_at timestamptz not null default clock_timestamp()
) with (fillfactor = 70);
comment on table order_wake is
  'Workflows that must look again. The row goes when an assessment has seen its wanted_seq; '
  'until then the signal is sent again.';
create index order_wake_due on order_wake (next_at) where dead_reason is null;

create function want_wake(p_order_ids uuid[]) returns void language sql as $$
  insert into order_wake (order_id) select id from unnest(p_order_ids) as id order by id
  on conflict (order_id) do update
    -- A signal already on its way will find this reason too: an assessment takes all there is and removes the row.
    set wanted_seq = order_wake.wanted_seq + 1, dead_reason = null,
        next_at = case when order_wake.dead_reason is null then order_wake.next_at else clock_timestamp() end
$$;
comment on function want_wake is
  'Asks that these orders'' workflows look again; called inside the transaction that gives them a reason to.';
revoke execute on function want_wake from public;
grant execute on function want_wake to app_api, app_worker;

create table notification_channel (
  channel text constraint notification_channel_pk primary key
    constraint notification_channel_known check (channel in ('log', 'webhook')),
  is_enabled boolean not null
);
comment on table notification_channel is
  'Where changes of status are told. A row is written for each channel that is enabled at the instant of the change.';
insert into notification_channel (channel, is_enabled) values ('log', true), ('webhook', false);

-- The channel has no reference to notification_channel: every order would lock the same row there. Only the trigger
-- below, which reads that table, inserts here.
create table notification (
  notification_id bigint generated always as identity constraint notification_pk primary key,
  order_id uuid not null constraint notification_order_fk references orders on delete restrict,
  order_version bigint not null constraint notification_version_positive check (order_version > 0),
  channel text not null constraint notification_channel check (channel in ('log', 'webhook')),
  status text not null
    constraint notification_status check (status in ('pending', 'processing', 'shipped', 'delivered', 'cancelled')),
  claimed_by text -- null: free
    constraint notification_claimed_by_length check (char_length(claimed_by) between 1 and 80),
  claimed_until timestamptz, -- null: free
  attempts integer not null default 0 constraint notification_attempts_not_negative check (attempts >= 0),
  next_at timestamptz not null default clock_timestamp(),
  delivered_at timestamptz, -- null: still to be delivered
  created_at timestamptz not null default clock_timestamp(),
  payment_state text not null
    constraint notification_payment_state check (payment_state in (
      'awaiting', 'partial', 'confirming', 'paid', 'at_risk', 'reversed', 'expired', 'late_confirming',
      'unresolved', 'cancelled', 'refunding', 'partially_refunded', 'refunded')),
  cancel_reason text -- null: not cancelled
    constraint notification_cancel_reason check (cancel_reason in (
      'customer', 'admin', 'expired', 'underpaid', 'out_of_stock', 'fraud')),
  changed_at timestamptz not null,
  dead_reason text -- null: alive
    constraint notification_dead_length check (char_length(dead_reason) between 1 and 200),
  dead_at timestamptz, -- null: alive
  constraint notification_once unique (order_id, order_version, channel),
  constraint notification_dead_since check ((dead_reason is null) = (dead_at is null)),
  constraint notification_dead_or_delivered check (dead_at is null or delivered_at is null),
  constraint notification_cancelled_has_reason check ((status = 'cancelled') = (cancel_reason is not null))
) with (fillfactor = 70);
comment on table notification is
  'Changes of status to tell the world about, written with the change: facts, ids and words only. '
  'Dead: tried for long enough; a person may have it tried again.';
create index notification_due on notification (channel, next_at) where delivered_at is null and dead_at is null;
create index notification_open_by_order on notification (order_id, channel, notification_id)
  where delivered_at is null and dead_at is null;
create index notification_dead on notification (notification_id) where dead_at is not null;
-- For forget_notifications: what was delivered is kept for 30 days.
create index notification_delivered on notification (delivered_at) where delivered_at is not null;

-- The outbox of status changes: one row per changed order and enabled channel, in the transaction of the change and for
-- every writer, so that no statement can forget it. Runs as the owner: no role has the right to insert a notification.
create function note_status_change() returns trigger
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
begin
  if tg_op = 'INSERT' then
    insert into notification (order_id, order_version, channel, status, payment_state, cancel_reason, changed_at)
    select n.order_id, n.version, c.channel, n.status, n.payment_state, n.cancel_reason, n.created_at
    from new_order n cross join notification_channel c where c.is_enabled;
  else
    insert into notification (order_id, order_version, channel, status, payment_state, cancel_reason, changed_at)
    select new.order_id, new.version, c.channel, new.status, new.payment_state, new.cancel_reason, new.updated_at
    from notification_channel c where c.is_enabled;
  end if;
  return null;
end
$$;
comment on function note_status_change is 'Writes what the world is to be told of orders that were made or moved.';
revoke execute on function note_status_change from public;
create trigger orders_note_insert after insert on orders
  referencing new table as new_order for each statement execute function note_status_change();
-- For each row: most updates of an order leave its status, and then this costs nothing.
create trigger orders_note_update after update on orders
  for each row when (new.status is distinct from old.status) execute function note_status_change();

create table duty (
  duty text constraint duty_pk primary key constraint duty_name_length check (char_length(duty) between 1 and 40),
  holder text constraint duty_holder_length check (char_length(holder) between 1 and 80), -- null: free
  held_until timestamptz, -- null: free
  started_at timestamptz, -- null: never ran
  succeeded_at timestamptz, -- null: never succeeded
  items bigint not null default 0 constraint duty_items_not_negative check (items >= 0),
  failures integer not null default 0 constraint duty_failures_not_negative check (failures >= 0)
);
comment on table duty is 'A lease per background duty, and when it last succeeded.';
insert into duty (duty) values ('hold_sweep'), ('audit_seal');

grant select, insert on workflow_start, order_wake to app_api;
grant update (wanted_seq, next_at, dead_reason) on order_wake to app_api;
grant update (urgency) on workflow_start to app_api;
grant select, insert, update, delete on workflow_start, order_wake to app_worker;
grant select on notification to app_worker;
grant update (claimed_by, claimed_until, attempts, next_at, delivered_at, dead_reason, dead_at)
  on notification to app_worker;
grant select on notification_channel to app_worker, auditor;
grant update (is_enabled) on notification_channel to app_worker;
grant select on workflow_start, order_wake, notification, duty to auditor;
-- An operator's list of dead letters, and their revival.
grant select on notification to app_api;
grant update (attempts, next_at, dead_reason, dead_at) on notification to app_api;
grant select on duty to app_api;
grant select, update on duty to app_worker, audit_sealer;
