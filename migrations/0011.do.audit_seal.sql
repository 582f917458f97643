-- Checkpoints over the audit: a hash tree that only grows, and what the sealer signed of it. A superuser may rewrite
-- any table here; who compares with the sealer's file will see it. All tables are new: nothing is
-- locked or rewritten.

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
comment on table audit_checkpoint is 'What the sealer signed: the root over all entries of transactions below below_txid. Roots stay when the entries are purged.';
create index audit_checkpoint_by_txid on audit_checkpoint (after_entry_id, below_txid);

create table audit_tile (
  level smallint not null constraint audit_tile_level_range check (level between 0 and 7),
  tile_no bigint not null constraint audit_tile_no_not_negative check (tile_no >= 0),
  hashes bytea not null constraint audit_tile_width check (octet_length(hashes) between 32 and 8192 and octet_length(hashes) % 32 = 0),
  constraint audit_tile_pk primary key (level, tile_no)
);
comment on table audit_tile is 'The tree: 256 neighbouring hashes a row, of leaves at level 0, of subtrees of 256 leaves at level 1, and so on.';
-- Hashes do not compress.
alter table audit_tile alter column hashes set storage external;

create function refuse_unsealing() returns trigger language plpgsql as $$
begin
  raise exception '%: what was sealed stays', tg_table_name using errcode = 'HF011';
end
$$;
comment on function refuse_unsealing is 'No statement changes or removes a checkpoint, or removes a tile, whoever runs it.';
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

revoke execute on function refuse_unsealing, guard_tile_growth from public;

insert into duty (duty) values ('audit_seal');
insert into audit_scope (table_name, reason) values
  ('audit_checkpoint', 'is the audit, sealed'),
  ('audit_tile', 'is the audit, sealed');

grant select, insert on audit_checkpoint, audit_tile to audit_sealer;
grant update (hashes) on audit_tile to audit_sealer;
grant select, update on duty to audit_sealer;
grant select on schema_version to audit_sealer;
-- The api shows an order's history with its proofs.
grant select on audit_checkpoint, audit_tile to auditor, app_api;
grant select on audit_entry to app_api;
-- Whoever verifies compares the heads of chains, and sees nothing else of keys.
grant select (key_id, audit_seq, audit_hash) on payment_key to auditor;
