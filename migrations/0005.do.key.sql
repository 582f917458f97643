-- Payment keys, the addresses that belong to them, and their retirement. Only the keys process may read an envelope;
-- every other role sees addresses.

create table master_key (
  version integer constraint master_key_pk primary key constraint master_key_version_positive check (version > 0),
  fingerprint bytea not null constraint master_key_fingerprint_length check (octet_length(fingerprint) = 32),
  created_at timestamptz not null default clock_timestamp()
);
comment on table master_key is
  'Versions of the key ring that ever sealed something here, and a fingerprint by which a wrong ring is noticed. '
  'The secrets are never in the database.';

-- What one PBKDF2 run covers (requirements D-10). The checks are the limits: the keys process cannot exceed them.
create table key_epoch (
  epoch_id uuid constraint key_epoch_pk primary key,
  master_version integer not null constraint key_epoch_master_fk references master_key on delete restrict,
  salt bytea not null
    constraint key_epoch_salt_length check (octet_length(salt) = 32)
    constraint key_epoch_salt_once unique,
  iterations integer not null constraint key_epoch_iterations_floor check (iterations >= 100000),
  key_limit integer not null constraint key_epoch_limit_range check (key_limit between 1 and 1000),
  key_count integer not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  last_used_at timestamptz not null default clock_timestamp(),
  constraint key_epoch_master_once unique (epoch_id, master_version),
  constraint key_epoch_count_range check (key_count between 0 and key_limit),
  constraint key_epoch_time_range check (last_used_at <= created_at + interval '1 hour')
);
comment on table key_epoch is
  'Salt and iterations of one epoch KEK, and how many keys were sealed under it.';

create table payment_key (
  key_id uuid constraint payment_key_pk primary key,
  network text not null constraint payment_key_network_length check (char_length(network) between 1 and 32),
  asset text not null constraint payment_key_asset_fk references currency on delete restrict,
  address text not null constraint payment_key_address_canonical check (
    char_length(address) between 1 and 128 and (asset <> 'ETH' or address ~ '^0x[0-9a-f]{40}$')),
  tier text not null default 'active' constraint payment_key_tier check (tier in ('active', 'retired')),
  format_version smallint not null constraint payment_key_format check (format_version = 1),
  envelope_version integer not null constraint payment_key_envelope_positive check (envelope_version > 0),
  epoch_id uuid not null,
  master_version integer not null,
  salt bytea not null
    constraint payment_key_salt_length check (octet_length(salt) = 32)
    constraint payment_key_salt_once unique,
  wrap_nonce bytea not null constraint payment_key_wrap_nonce_length check (octet_length(wrap_nonce) = 12),
  wrap_tag bytea not null constraint payment_key_wrap_tag_length check (octet_length(wrap_tag) = 16),
  wrapped_key bytea not null constraint payment_key_wrapped_key_length check (octet_length(wrapped_key) = 32),
  nonce bytea not null constraint payment_key_nonce_length check (octet_length(nonce) = 12),
  tag bytea not null constraint payment_key_tag_length check (octet_length(tag) = 16),
  ciphertext bytea not null constraint payment_key_ciphertext_length check (octet_length(ciphertext) between 32 and 64),
  created_at timestamptz not null default clock_timestamp(),
  sealed_at timestamptz not null default clock_timestamp(),
  constraint payment_key_one_per_address unique (network, address),
  constraint payment_key_identity unique (key_id, network, asset, address),
  constraint payment_key_epoch_fk foreign key (epoch_id, master_version)
    references key_epoch (epoch_id, master_version) on delete restrict
);
comment on table payment_key is
  'The private key behind an address, as ciphertext: sealed by a data key, which is wrapped under the epoch.';

create table address_pool (
  network text not null,
  address text not null,
  asset text not null,
  key_id uuid not null constraint address_pool_key_once unique,
  pool_no bigint generated always as identity constraint address_pool_no_once unique,
  leased_by text constraint address_pool_leased_by_length check (char_length(leased_by) between 1 and 80), -- null: free
  leased_at timestamptz, -- null: free
  constraint address_pool_pk primary key (network, address),
  constraint address_pool_key_fk foreign key (key_id, network, asset, address)
    references payment_key (key_id, network, asset, address) on delete restrict,
  constraint address_pool_lease_whole check ((leased_by is null) = (leased_at is null))
);
comment on table address_pool is
  'Addresses made ahead. A lease is for ever: an address that a process took and lost '
  'may have been shown to somebody.';
create index address_pool_free on address_pool (network, asset, pool_no) where leased_at is null;

create function guard_address_lease() returns trigger language plpgsql as $$
begin
  if old.leased_at is not null then
    raise exception 'address_pool: an address is leased once' using errcode = 'HF005';
  end if;
  return new;
end
$$;
revoke execute on function guard_address_lease from public;
create trigger address_pool_guard_lease before update on address_pool
  for each row execute function guard_address_lease();

create table key_retire (
  order_id uuid constraint key_retire_pk primary key
    constraint key_retire_order_fk references orders on delete restrict,
  network text not null,
  address text not null,
  attempts integer not null default 0 constraint key_retire_attempts_not_negative check (attempts >= 0),
  next_at timestamptz not null default clock_timestamp(),
  created_at timestamptz not null default clock_timestamp(),
  done_at timestamptz, -- null: still to be done
  constraint key_retire_invoice_fk foreign key (network, address)
    references invoice (network, address) on delete restrict
);
comment on table key_retire is
  'Closed orders whose key is to be sealed anew and moved to the retired tier; written with the terminal status.';
create index key_retire_due on key_retire (next_at) where done_at is null;

grant select, insert on master_key, key_epoch, address_pool to app_keys;
grant update (key_count, last_used_at) on key_epoch to app_keys;
grant select on payment_key to app_keys;
grant insert (key_id, network, asset, address, format_version, envelope_version, epoch_id, master_version, salt,
  wrap_nonce, wrap_tag, wrapped_key, nonce, tag, ciphertext) on payment_key to app_keys;
grant update (tier, envelope_version, epoch_id, master_version, salt, wrap_nonce, wrap_tag, wrapped_key, nonce, tag,
  ciphertext, sealed_at) on payment_key to app_keys;
-- Verification compares the heads of chains, and sees nothing else of keys.
grant select (key_id) on payment_key to auditor;
grant select on key_retire to app_keys;
grant update (attempts, next_at, done_at) on key_retire to app_keys;
grant select on address_pool to app_api, auditor;
grant select (network, address) on address_pool to watcher;
grant update (leased_by, leased_at) on address_pool to app_api;
grant select, insert on key_retire to app_worker;
grant select on key_retire to auditor;
