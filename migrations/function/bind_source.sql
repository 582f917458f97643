-- Binds a database login to one source: from its next statement on it writes that source's rows and no others, whatever
-- its session sets. For operators, where each watcher has a login of its own.
-- Locks: the row of source_login. Repeating it is harmless.
create or replace function bind_source(p_login text, p_source text) returns void language sql as $$
  insert into source_login (login, source) values (p_login, p_source)
  on conflict (login) do update set source = excluded.source where source_login.source <> excluded.source
$$;
revoke execute on function bind_source from public;
