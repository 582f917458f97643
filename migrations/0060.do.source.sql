-- Several sources of one network, each with its own watcher: cursor, blocks, outputs, outbox and balances belong to a
-- source. Until now a network had one of each, and a second watcher was refused: nobody could meet require_sources.
-- Row-level security keeps the rows of one source from the session of another: every statement of the watcher sees and
-- writes its own source's rows alone, without naming it.
--
-- What is there belongs to the source that claimed the network. One that none has claimed yet belongs to the source
-- of the network's last report, or to watcher-1, the default name.
-- Locks: the tables of the watchers, ACCESS EXCLUSIVE until commit: chain_output and chain_balance are rewritten.
-- Orders are accepted meanwhile. Older processes: an older watcher may write no row, and fails until it is replaced.
-- No order expires while it does.

create table source_login (
  login text constraint source_login_pk primary key
    constraint source_login_length check (char_length(login) between 1 and 63),
  source text not null constraint source_login_source_shape check (source ~ '^[a-z0-9-]{1,63}$')
);
comment on table source_login is
  'Database logins that may write one source''s rows only. Written by bind_source. A login without a row may write '
  'those of the source that its session names.';
select audit_watch('source_login', 'source', null);
grant select on source_login to watcher, auditor;

-- Row-level security of the watchers' tables: the source whose rows this session may write, by the setting
-- holdfast.source. Null: none, and the watcher's role then reads the rows of all sources.
-- A login that is bound to a source (bind_source) is given that one alone: null when its setting names another.
-- Locks: none. Changes nothing.
create or replace function own_source() returns text language sql stable as $$
  select case when coalesce(l.source, s.name) = s.name then s.name end
  from (select nullif(current_setting('holdfast.source', true), '') as name) s
  left join holdfast.source_login l on l.login = session_user
$$;
revoke execute on function own_source from public;
grant execute on function own_source to watcher;
comment on function own_source is
  'Row-level security of the watchers'' tables: the source whose rows this session may write, by the setting'
  ' holdfast.source.';

alter table chain_balance drop constraint chain_balance_status_fk;
alter table chain_block drop constraint chain_block_status_fk;
alter table chain_output drop constraint chain_output_status_fk;
alter table chain_report drop constraint chain_report_output_fk;

update chain_status c
set source = coalesce((
  select r.source from payment_report r where r.network = c.network order by r.report_no desc limit 1), 'watcher-1')
where c.source is null;
alter table chain_balance add column source text;
alter table chain_block add column source text;
alter table chain_output add column source text;
alter table chain_report add column source text;
update chain_balance b set source = c.source from chain_status c where c.network = b.network;
update chain_block b set source = c.source from chain_status c where c.network = b.network;
update chain_output o set source = c.source from chain_status c where c.network = o.network;
update chain_report r set source = c.source from chain_status c where c.network = r.network;

-- The default name is for rows of the owner: the watcher's role may write none without its source.
alter table chain_status
  alter column source set not null,
  alter column source set default coalesce(own_source(), 'watcher-1'),
  drop constraint chain_status_pk,
  add constraint chain_status_pk primary key (network, source);
alter table chain_balance
  alter column source set not null,
  alter column source set default coalesce(own_source(), 'watcher-1'),
  drop constraint chain_balance_pk,
  add constraint chain_balance_pk primary key (network, address, source),
  add constraint chain_balance_status_fk foreign key (network, source) references chain_status on delete restrict;
alter table chain_block
  alter column source set not null,
  alter column source set default coalesce(own_source(), 'watcher-1'),
  drop constraint chain_block_pk,
  drop constraint chain_block_hash_once,
  add constraint chain_block_pk primary key (network, height, source),
  add constraint chain_block_hash_once unique (network, hash, source),
  add constraint chain_block_status_fk foreign key (network, source) references chain_status on delete restrict;
alter table chain_output
  alter column source set not null,
  alter column source set default coalesce(own_source(), 'watcher-1'),
  drop constraint chain_output_pk,
  add constraint chain_output_pk primary key (network, tx_id, output_index, source),
  add constraint chain_output_status_fk foreign key (network, source) references chain_status on delete restrict;
alter table chain_report
  alter column source set not null,
  alter column source set default coalesce(own_source(), 'watcher-1'),
  drop constraint chain_report_once,
  add constraint chain_report_once unique (network, tx_id, output_index, source, seq),
  add constraint chain_report_output_fk foreign key (network, tx_id, output_index, source) references chain_output
    on delete restrict;
comment on table chain_status is
  'One row per network and source. caught_up_at: chain time, never later than the scanned tip''s own; what the chain '
  'held up to it is scanned and delivered.';
alter table chain_status
  add column confirmations integer -- null: its watcher has not said yet
    constraint chain_status_confirmations_range check (confirmations between 1 and 1000000);
comment on column chain_status.confirmations is
  'Depth at which the source''s watcher calls a transfer final; null: it has not said yet.';
grant update (confirmations) on chain_status to watcher;
-- A source is the name of its rows for ever.
revoke update (source) on chain_status from watcher;

alter table chain_suspension add column source text default coalesce(own_source(), 'watcher-1')
  constraint chain_suspension_source_shape check (source ~ '^[a-z0-9-]{1,63}$');
update chain_suspension s
set source = coalesce((select c.source from chain_status c where c.network = s.network), 'watcher-1');
alter table chain_suspension alter column source set not null;
drop index chain_suspension_open;
create unique index chain_suspension_open on chain_suspension (network, source) where closed_at is null;
select audit_watch('chain_suspension', 'chain_suspension', null);

alter table chain_operation
  add column source text -- null: noted before a network had several sources
    constraint chain_operation_source_shape check (source ~ '^[a-z0-9-]{1,63}$');
alter table chain_operation alter column source set default own_source();
comment on column chain_operation.source is
  'Whose rows were changed; null: noted before a network had several sources.';
select audit_watch('chain_operation', 'chain_operation', null);

-- Subqueries, so that own_source() is asked once per statement and not once per row.
alter table chain_balance enable row level security;
alter table chain_block enable row level security;
alter table chain_output enable row level security;
alter table chain_report enable row level security;
alter table chain_status enable row level security;
alter table chain_suspension enable row level security;
create policy chain_balance_own on chain_balance to watcher using (source = (select own_source()));
create policy chain_block_own on chain_block to watcher using (source = (select own_source()));
create policy chain_output_own on chain_output to watcher using (source = (select own_source()));
create policy chain_report_own on chain_report to watcher using (source = (select own_source()));
create policy chain_status_own on chain_status to watcher using (source = (select own_source()));
create policy chain_suspension_own on chain_suspension to watcher using (source = (select own_source()));
create policy chain_balance_list on chain_balance for select to watcher using ((select own_source()) is null);
create policy chain_block_list on chain_block for select to watcher using ((select own_source()) is null);
create policy chain_output_list on chain_output for select to watcher using ((select own_source()) is null);
create policy chain_report_list on chain_report for select to watcher using ((select own_source()) is null);
create policy chain_status_list on chain_status for select to watcher using ((select own_source()) is null);
create policy chain_suspension_list on chain_suspension for select to watcher using ((select own_source()) is null);
create policy chain_balance_read on chain_balance for select to auditor using (true);
create policy chain_block_read on chain_block for select to auditor using (true);
create policy chain_output_read on chain_output for select to auditor using (true);
create policy chain_report_read on chain_report for select to auditor using (true);
create policy chain_status_read on chain_status for select to app_api, app_worker, auditor using (true);
create policy chain_suspension_read on chain_suspension for select to app_api, app_worker, auditor using (true);
