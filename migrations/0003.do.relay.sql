-- From committed rows to the world: what must still be told to Temporal and to others. Rows are claimed by lease,
-- committed before any call goes out, and deleted only by the holder of the lease. All tables are new.

create table workflow_start (
  order_id uuid constraint workflow_start_pk primary key constraint workflow_start_order_fk references orders on delete restrict,
  generation integer not null default 1 constraint workflow_start_generation_positive check (generation > 0),
  urgency smallint not null default 1 constraint workflow_start_urgency check (urgency in (0, 1)),
  quote_ends_at timestamptz not null,
  claimed_by text constraint workflow_start_claimed_by_length check (char_length(claimed_by) between 1 and 80), -- null: free
  claimed_until timestamptz, -- null: free
  attempts integer not null default 0 constraint workflow_start_attempts_not_negative check (attempts >= 0),
  next_at timestamptz not null default clock_timestamp(),
  dead_reason text constraint workflow_start_dead_length check (char_length(dead_reason) between 1 and 200), -- null: alive
  created_at timestamptz not null default clock_timestamp()
) with (fillfactor = 70);
comment on table workflow_start is 'Orders whose workflow is still to be started. Urgency 0: a payment or a command waits for it.';
create index workflow_start_due on workflow_start (urgency, quote_ends_at) where dead_reason is null;

create table order_wake (
  order_id uuid constraint order_wake_pk primary key constraint order_wake_order_fk references orders on delete restrict,
  wanted_seq bigint not null default 1 constraint order_wake_wanted_positive check (wanted_seq > 0),
  claimed_by text constraint order_wake_claimed_by_length check (char_length(claimed_by) between 1 and 80), -- null: free
  claimed_until timestamptz, -- null: free
  attempts integer not null default 0 constraint order_wake_attempts_not_negative check (attempts >= 0),
  next_at timestamptz not null default clock_timestamp(),
  dead_reason text constraint order_wake_dead_length check (char_length(dead_reason) between 1 and 200), -- null: alive
  created_at timestamptz not null default clock_timestamp()
) with (fillfactor = 70);
comment on table order_wake is 'Workflows that must look again. The row goes when an assessment has seen its wanted_seq; until then the signal is sent again.';
create index order_wake_due on order_wake (next_at) where dead_reason is null;

create function want_wake(p_order_ids uuid[]) returns void language sql as $$
  insert into order_wake (order_id) select id from unnest(p_order_ids) as id order by id
  on conflict (order_id) do update
    -- A signal already on its way will find this reason too: an assessment takes all there is and removes the row.
    set wanted_seq = order_wake.wanted_seq + 1, dead_reason = null,
        next_at = case when order_wake.dead_reason is null then order_wake.next_at else clock_timestamp() end
$$;
comment on function want_wake is 'Asks that these orders'' workflows look again; called inside the transaction that gives them a reason to.';

create table notification (
  notification_id bigint generated always as identity constraint notification_pk primary key,
  order_id uuid not null constraint notification_order_fk references orders on delete restrict,
  order_version bigint not null constraint notification_version_positive check (order_version > 0),
  channel text not null constraint notification_channel check (channel in ('log')),
  status text not null constraint notification_status check (status in ('pending', 'processing', 'shipped', 'delivered', 'cancelled')),
  claimed_by text constraint notification_claimed_by_length check (char_length(claimed_by) between 1 and 80), -- null: free
  claimed_until timestamptz, -- null: free
  attempts integer not null default 0 constraint notification_attempts_not_negative check (attempts >= 0),
  next_at timestamptz not null default clock_timestamp(),
  delivered_at timestamptz, -- null: still to be delivered
  created_at timestamptz not null default clock_timestamp(),
  constraint notification_once unique (order_id, order_version, channel)
) with (fillfactor = 70);
comment on table notification is 'Status changes to tell the world about, written with the change. Ids and words only.';
create index notification_due on notification (next_at) where delivered_at is null;
create index notification_open_by_order on notification (order_id, channel, notification_id) where delivered_at is null;

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
insert into duty (duty) values ('hold_sweep');

grant select, insert on workflow_start, order_wake to app_api;
grant update (wanted_seq, next_at, dead_reason) on order_wake to app_api;
grant update (urgency) on workflow_start to app_api;
grant select, update, delete on workflow_start to app_worker;
grant insert on workflow_start to app_worker;
grant select, insert, update, delete on order_wake to app_worker;
grant select, insert on notification to app_worker;
grant update (claimed_by, claimed_until, attempts, next_at, delivered_at) on notification to app_worker;
grant select on workflow_start, order_wake, notification, duty to auditor;
grant select on duty to app_api;
grant select, update on duty to app_worker;
revoke execute on function want_wake from public;
grant execute on function want_wake to app_api, app_worker;
