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
