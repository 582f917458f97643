-- The catalogue: what the shop sells, in which money, and how many units there are. No price has more decimals than
-- its currency, so that nothing is ever rounded later.
--
-- Migrations 0001 to 0012 are the squashed beginning (docs/decisions/0025): one file per area, each object in the form
-- that its last change gave it. All tables are new, so that nothing is locked or rewritten.

grant usage on schema holdfast to app_api, app_worker, app_keys, watcher, audit_sealer, auditor, analytics;
comment on table schema_version is 'The runner''s: which migrations this database has, and their checksums.';
grant select on schema_version to app_api, app_worker, app_keys, watcher, auditor, audit_sealer;

create table currency (
  currency text constraint currency_pk primary key,
  kind text not null constraint currency_kind check (kind in ('fiat', 'coin')),
  decimals smallint not null constraint currency_decimals check (decimals between 0 and 18)
);
comment on table currency is 'Money the shop knows: fiat it prices in, coins it is paid in.';
insert into currency (currency, kind, decimals)
values
  ('EUR', 'fiat', 2), ('USD', 'fiat', 2),
  ('BTC', 'coin', 8), ('LTC', 'coin', 8), ('ETH', 'coin', 18), ('SOL', 'coin', 9);

create table product (
  product_id text constraint product_pk primary key
    constraint product_id_shape check (product_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  name text not null constraint product_name_length check (char_length(name) between 1 and 200),
  unit_price numeric(14, 2) not null constraint product_price_not_negative check (unit_price >= 0),
  currency text not null constraint product_currency_fk references currency on delete restrict,
  is_active boolean not null default true,
  version bigint not null default 1 constraint product_version_positive check (version > 0),
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp()
);
comment on table product is
  'The catalogue. A price change takes the stock row first, so an order and a price change have an order.';

-- A low fillfactor and no index on the counters keep each update within its page (HOT).
create table stock (
  product_id text constraint stock_pk primary key constraint stock_product_fk references product on delete restrict,
  on_hand bigint not null default 0,
  reserved bigint not null default 0,
  version bigint not null default 1 constraint stock_version_positive check (version > 0),
  constraint stock_on_hand_range check (on_hand between 0 and 1000000000000),
  constraint stock_never_oversold check (reserved >= 0 and reserved <= on_hand)
) with (fillfactor = 50);
comment on table stock is 'Counters per product. available = on_hand - reserved and is never stored.';

create function move_version() returns trigger language plpgsql as $$
begin
  new.version := old.version + 1;
  new.updated_at := greatest(clock_timestamp(), old.updated_at);
  return new;
end
$$;
comment on function move_version() is
  'version and updated_at are the database''s own: one step per update, and time never goes back.';
revoke execute on function move_version from public;
create trigger product_version before update on product for each row execute function move_version();

grant select on currency, product, stock to app_api, app_worker, auditor;
grant select on currency to app_keys, watcher;
-- Columns by name: version and the times are the database's own.
grant insert (product_id, name, unit_price, currency, is_active) on product to app_api;
grant update (name, unit_price, currency, is_active) on product to app_api;
grant insert, update (on_hand, reserved, version) on stock to app_api;
grant update (on_hand, reserved, version) on stock to app_worker;
