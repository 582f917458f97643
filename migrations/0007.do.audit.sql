-- The audit's tables: its entries, append-only and one partition per month; the ends of its chains; and the hash tree
-- over it, with what the sealer signed. How a change becomes an entry is in 0008.

-- APPEND-ONLY ---------------------------------------------------------------------------------------------------------

create function refuse_rewriting() returns trigger language plpgsql as $$
begin
  raise exception '%: history is not rewritten', tg_table_name using errcode = 'HF007';
end
$$;

create function refuse_truncate() returns trigger language plpgsql as $$
begin
  raise exception '%: rows would go without a trace', tg_table_name using errcode = 'HF009';
end
$$;

create trigger stock_movement_append_only before update or delete on stock_movement
  for each row execute function refuse_rewriting();
create trigger stock_movement_no_truncate before truncate on stock_movement
  for each statement execute function refuse_rewriting();

-- ENTRIES -------------------------------------------------------------------------------------------------------------

create table audit_entry (
  entry_id bigint generated always as identity,
  at timestamptz not null,
  txid xid8 not null,
  kind text not null constraint audit_entry_kind_length check (char_length(kind) between 1 and 40),
  aggregate_id text -- null: about a whole statement, no link of a chain
    constraint audit_entry_aggregate_length check (char_length(aggregate_id) between 1 and 80),
  seq bigint constraint audit_entry_seq_positive check (seq > 0), -- null: no link of a chain
  prev_hash bytea -- null: the first of its chain, or no link of one
    constraint audit_entry_prev_length check (octet_length(prev_hash) = 32),
  actor text not null constraint audit_entry_actor_length check (char_length(actor) between 1 and 80),
  body text not null,
  hash bytea not null constraint audit_entry_hash_length check (octet_length(hash) = 32),
  constraint audit_entry_pk primary key (entry_id, at),
  constraint audit_entry_link_whole check (
    (aggregate_id is null) = (seq is null) and (prev_hash is null) = (seq is null or seq = 1))
) partition by range (at);
comment on table audit_entry is
  'One row per aggregate and transaction, or per statement for stock and rules: body says who changed what, '
  'hash = SHA-256(prev_hash || body). Append-only, a partition per month.';
create index audit_entry_to_seal on audit_entry (txid, entry_id);
create trigger audit_entry_append_only before update or delete on audit_entry
  for each row execute function refuse_rewriting();
create trigger audit_entry_no_truncate before truncate on audit_entry
  for each statement execute function refuse_rewriting();

-- An entry of an order with its lines fits into a page; beyond this size Postgres would store it out of line, which
-- costs more.
create table audit_entry_default partition of audit_entry default with (toast_tuple_target = 8160);
comment on table audit_entry_default is
  'Entries of a month that has no partition yet: nothing is lost for want of one.';
create trigger audit_entry_no_truncate before truncate on audit_entry_default
  for each statement execute function refuse_rewriting();
-- Once per partition: a unique index over all of them would have to include the month.
create unique index audit_entry_default_link_once on audit_entry_default (kind, aggregate_id, seq);

-- A partition is attached: creating it in place would lock out every writer meanwhile.
create function audit_make_partitions(p_from date, p_months int) returns int
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_month timestamptz;
  v_end timestamptz;
  v_name text;
  v_made int := 0;
begin
  for i in 0 .. p_months - 1 loop
    v_month := (date_trunc('month', p_from) + make_interval(months => i)) at time zone 'utc';
    v_end := (date_trunc('month', p_from) + make_interval(months => i + 1)) at time zone 'utc';
    v_name := 'audit_entry_' || to_char(v_month at time zone 'utc', 'YYYY_MM');
    continue when to_regclass(v_name) is not null
      -- Its rows are kept where they are; the month has no partition of its own then.
      or exists (select from audit_entry_default where at >= v_month and at < v_end);
    execute format('create table %I (like audit_entry including defaults including constraints) with '
      '(toast_tuple_target = 8160)', v_name);
    execute format('comment on table %I is %L', v_name, 'Audit entries of one month.');
    execute format('create trigger audit_entry_no_truncate before truncate on %I for each statement execute '
      'function refuse_rewriting()', v_name);
    execute format('create unique index %I on %I (kind, aggregate_id, seq)', v_name || '_link_once', v_name);
    execute format('alter table audit_entry attach partition %I for values from (%L) to (%L)', v_name, v_month, v_end);
    v_made := v_made + 1;
  end loop;
  return v_made;
end
$$;
comment on function audit_make_partitions is
  'Makes the partitions of so many months that have none yet. Returns how many it made.';

-- A narrow table of its own: on the aggregate's row, the end of its chain would have each step of an order write that
-- row twice. A chain of one entry has no head, so that accepting an order writes none.
create table audit_head (
  kind text not null constraint audit_head_kind_length check (char_length(kind) between 1 and 40),
  aggregate_id text not null constraint audit_head_aggregate_length check (char_length(aggregate_id) between 1 and 80),
  seq bigint not null constraint audit_head_seq_positive check (seq > 0),
  hash bytea not null constraint audit_head_hash_length check (octet_length(hash) = 32),
  constraint audit_head_pk primary key (kind, aggregate_id)
) with (fillfactor = 70);
comment on table audit_head is
  'The newest entry of each chain that has more than one, written with the entry; no role but the owner writes it.';

create table audit_scope (
  table_name text constraint audit_scope_pk primary key,
  kind text constraint audit_scope_kind_length check (char_length(kind) between 1 and 40), -- null: not audited
  columns text[], -- null: not audited
  ignored text[], -- null: not audited
  reason text constraint audit_scope_reason_length check (char_length(reason) between 1 and 300), -- null: audited
  constraint audit_scope_decided check (
    (kind is null) = (columns is null) and (kind is null) = (ignored is null)
    and (kind is null) = (reason is not null))
);
comment on table audit_scope is
  'Every table, and what of it is audited, or why it is not. audit_watch writes it.';

-- Changes of the present transactions. A role that writes cannot touch it. Outside a transaction it is empty, so it
-- need not survive a crash.
create unlogged table audit_pending (
  txid xid8 not null default pg_current_xact_id(),
  change_no bigint generated always as identity constraint audit_pending_change_positive check (change_no > 0),
  kind text not null,
  aggregate_id text, -- null: about a whole statement
  is_birth boolean not null,
  is_first boolean not null,
  context jsonb not null,
  changes text not null,
  constraint audit_pending_pk primary key (txid, change_no)
);
comment on table audit_pending is
  'What this transaction changed so far, one row per statement and aggregate; becomes entries when it commits.';

create type audit_draft as (
  kind text, aggregate_id text, run bigint, is_birth boolean, context jsonb, changes text);
revoke usage on type audit_draft from public;

-- THE SEAL ------------------------------------------------------------------------------------------------------------
-- A hash tree that only grows, and what the sealer signed of it. A superuser may rewrite any table here; a comparison
-- with the sealer's file shows it.

create table audit_checkpoint (
  checkpoint_no bigint constraint audit_checkpoint_pk primary key
    constraint audit_checkpoint_no_positive check (checkpoint_no > 0),
  continues_no bigint not null constraint audit_checkpoint_one_next unique,
  size bigint not null constraint audit_checkpoint_size_positive check (size > 0),
  root bytea not null constraint audit_checkpoint_root_length check (octet_length(root) = 32),
  after_entry_id bigint not null constraint audit_checkpoint_after_not_negative check (after_entry_id >= 0),
  last_entry_id bigint not null,
  below_txid xid8 not null,
  sealed_at timestamptz(3) not null,
  previous bytea not null constraint audit_checkpoint_previous_length check (octet_length(previous) = 32),
  key_id text not null constraint audit_checkpoint_key_shape check (key_id ~ '^[0-9a-f]{16}$'),
  signature bytea not null constraint audit_checkpoint_signature_length check (octet_length(signature) = 64),
  constraint audit_checkpoint_order check (continues_no >= 0 and continues_no < checkpoint_no),
  constraint audit_checkpoint_entries check (last_entry_id >= after_entry_id)
);
comment on table audit_checkpoint is
  'What the sealer signed: the root over all entries of transactions below below_txid. '
  'Roots stay when the entries are purged.';
create index audit_checkpoint_by_txid on audit_checkpoint (after_entry_id, below_txid);

create table audit_tile (
  level smallint not null constraint audit_tile_level_range check (level between 0 and 7),
  tile_no bigint not null constraint audit_tile_no_not_negative check (tile_no >= 0),
  hashes bytea storage external not null -- hashes do not compress
    constraint audit_tile_width check (octet_length(hashes) between 32 and 8192 and octet_length(hashes) % 32 = 0),
  constraint audit_tile_pk primary key (level, tile_no)
);
comment on table audit_tile is
  'The tree: 256 neighbouring hashes a row, of leaves at level 0, of subtrees of 256 leaves at level 1, and so on.';

create function refuse_unsealing() returns trigger language plpgsql as $$
begin
  raise exception '%: what was sealed stays', tg_table_name using errcode = 'HF011';
end
$$;
comment on function refuse_unsealing is
  'No statement changes or removes a checkpoint, or removes a tile, whoever runs it.';
create trigger audit_checkpoint_stays before update or delete or truncate on audit_checkpoint
  for each statement execute function refuse_unsealing();
create trigger audit_tile_stays before delete or truncate on audit_tile
  for each statement execute function refuse_unsealing();

create function guard_tile_growth() returns trigger language plpgsql as $$
begin
  if substr(new.hashes, 1, octet_length(old.hashes)) <> old.hashes
    or (new.level, new.tile_no) <> (old.level, old.tile_no) then
    raise exception 'audit_tile: a tile only grows' using errcode = 'HF011';
  end if;
  return new;
end
$$;
comment on function guard_tile_growth is 'A hash that stands in the tree stands there for ever.';
create trigger audit_tile_grows before update on audit_tile for each row execute function guard_tile_growth();

revoke execute on function refuse_rewriting, refuse_truncate, audit_make_partitions, refuse_unsealing,
  guard_tile_growth from public;
grant execute on function audit_make_partitions to audit_sealer;
-- The worker compares orders with their history; the api shows an order's history with its proofs.
grant select on audit_entry to auditor, audit_sealer, app_api, app_worker;
grant select on audit_scope to auditor, audit_sealer;
grant select on audit_head to app_worker, auditor;
grant select, insert on audit_checkpoint, audit_tile to audit_sealer;
grant update (hashes) on audit_tile to audit_sealer;
grant select on audit_checkpoint, audit_tile to auditor, app_api;
