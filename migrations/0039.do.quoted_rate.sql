-- A quote shows where its rate came from: the prices, their sources and when they were read. Many orders share one
-- rate, so it has a row of its own, written by the first order that uses it. An invoice without one has a fixed rate.
--
-- Locks: invoice gets a column without a default, and a foreign key, which reads the table once under SHARE ROW
-- EXCLUSIVE.
-- Older processes: their orders have no row of quoted_rate, as with a fixed rate.
create table quoted_rate (
  rate_id uuid constraint quoted_rate_pk primary key,
  asset text not null constraint quoted_rate_asset_fk references currency on delete restrict,
  currency text not null constraint quoted_rate_currency_fk references currency on delete restrict,
  rate numeric(20, 2) not null constraint quoted_rate_positive check (rate > 0),
  made_at timestamptz not null constraint quoted_rate_made_at_finite check (isfinite(made_at)),
  prices jsonb not null constraint quoted_rate_prices_shape
    check (jsonb_typeof(prices) = 'array' and jsonb_array_length(prices) between 1 and 16
      and octet_length(prices::text) <= 4096),
  constraint quoted_rate_invoice_key unique (rate_id, rate)
);
comment on table quoted_rate is
  'Rates that orders were quoted with. made_at: when the oldest of the prices was read, by the clock of the api. '
  'prices: [{source, price, read_at}], price as the source wrote it.';
grant select, insert on quoted_rate to app_api;
grant select on quoted_rate to app_worker, auditor;

alter table invoice
  add column rate_id uuid, -- null: the rate was fixed by the configuration
  add constraint invoice_rate_fk foreign key (rate_id, rate)
    references quoted_rate (rate_id, rate) on delete restrict;
comment on column invoice.rate_id is 'Where the rate came from; null: it was fixed by the configuration.';
select audit_watch('invoice', 'order', 'order_id');
select audit_watch('quoted_rate', 'quoted_rate', null);
