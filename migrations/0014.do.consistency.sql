-- Where the consistency check leaves what it found, so that every worker shows the same and a restart forgets nothing,
-- and what it needs in order to read. New tables and two partial indexes, neither of them on the path of accepting an
-- order; each is built under a lock that keeps its table from being written, about a second per million of its rows.

create table consistency_run (
  run_no bigint generated always as identity constraint consistency_run_pk primary key,
  started_at timestamptz not null,
  finished_at timestamptz not null default clock_timestamp(),
  orders bigint not null constraint consistency_run_orders_not_negative check (orders >= 0),
  products bigint not null constraint consistency_run_products_not_negative check (products >= 0),
  answers bigint not null constraint consistency_run_answers_not_negative check (answers >= 0),
  workflows bigint not null constraint consistency_run_workflows_not_negative check (workflows >= 0),
  differences bigint not null constraint consistency_run_differences_not_negative check (differences >= 0)
);
comment on table consistency_run is 'Each scheduled look at everything: when, at how much, and how many differences it found.';

create table inconsistency (
  check_name text not null constraint inconsistency_check_shape check (check_name ~ '^[a-z_]{1,40}$'),
  subject text not null constraint inconsistency_subject_length check (char_length(subject) between 1 and 200),
  detail text not null constraint inconsistency_detail_length check (char_length(detail) <= 500),
  first_seen_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null,
  constraint inconsistency_pk primary key (check_name, subject)
);
comment on table inconsistency is 'What the last run found to be wrong, by check and by the order or product it is wrong about. A row goes when a run no longer finds it; nothing else is mended by it.';

-- Units counted in and out: the ledger's rows that move on_hand, of which an order has none before it is shipped.
create index stock_movement_counted on stock_movement (product_id) include (on_hand_delta) where on_hand_delta <> 0;
-- Beside reservation_expiring, which has the held ones.
create index reservation_committed on reservation (product_id) include (quantity) where state = 'committed';

insert into audit_scope (table_name, reason) values
  ('consistency_run', 'tells of a look, not of a change'),
  ('inconsistency', 'repeats what the tables themselves show');

grant select, insert on consistency_run to app_worker;
grant select, insert, update, delete on inconsistency to app_worker;
grant select on consistency_run, inconsistency, idempotency, expirable to auditor;
grant execute on function quote_due to app_worker, auditor;
