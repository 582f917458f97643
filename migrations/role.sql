-- Roles belong to the whole cluster, not to one database, so they stand beside the numbered migrations and are
-- looked at on each run: a database restored into a new cluster needs them too. Safe to repeat. Passwords and
-- LOGIN are the deployment's to give. Time limits: a statement 2 s, a lock 1 s, idle in a transaction 5 s,
-- a transaction 5 s, so that no caller can pin rows others wait for.
do $$
declare
  name text;
begin
  if not exists (select from pg_roles where rolname = 'holdfast_owner') then
    create role holdfast_owner nologin;
  end if;
  foreach name in array array[
    'app_api', 'app_worker', 'app_keys', 'watcher', 'audit_sealer', 'auditor', 'analytics'] loop
    if not exists (select from pg_roles where rolname = name) then
      execute format('create role %I nologin nosuperuser nocreatedb nocreaterole noinherit', name);
      execute format('alter role %I set statement_timeout = %L', name, '2s');
      execute format('alter role %I set lock_timeout = %L', name, '1s');
      execute format('alter role %I set idle_in_transaction_session_timeout = %L', name, '5s');
      execute format('alter role %I set transaction_timeout = %L', name, '5s');
    end if;
    -- Who is a member may look at a role's sessions: open_transactions() is the owner's. Nobody acts as the role by it.
    if not pg_has_role('holdfast_owner', name, 'usage') then
      execute format('grant %I to holdfast_owner with inherit true, set false', name);
    end if;
  end loop;
  -- The migrating role acts as the owner, with the owner's rights, and creates the functions of expiry as app_worker;
  -- superusers may already.
  if not pg_has_role(current_user, 'holdfast_owner', 'usage')
    or not pg_has_role(current_user, 'holdfast_owner', 'set') then
    execute format('grant holdfast_owner to %I with inherit true, set true', current_user);
  end if;
  if not pg_has_role(current_user, 'app_worker', 'set') then
    execute format('grant app_worker to %I with inherit false, set true', current_user);
  end if;
  -- The fixed search path is what makes unqualified names safe for every role.
  foreach name in array array[
    'app_api', 'app_worker', 'app_keys', 'watcher', 'audit_sealer', 'auditor', 'analytics', 'holdfast_owner'] loop
    execute format('alter role %I in database %I set search_path = holdfast, pg_catalog', name, current_database());
  end loop;
  execute format('revoke all on database %I from public', current_database());
  execute format(
    'grant connect on database %I
      to app_api, app_worker, app_keys, watcher, audit_sealer, auditor, analytics, holdfast_owner',
    current_database());
  execute format('grant create on database %I to holdfast_owner', current_database());
  revoke all on schema public from public;
end
$$;
create schema if not exists holdfast authorization holdfast_owner;
