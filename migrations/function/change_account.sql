-- Changes what an account may do: every api refuses its tokens, or accepts new ones again, within a second.
-- p_change: 'disable' ends all tokens and accepts no new ones; 'enable' accepts tokens issued from now on;
-- 'revoke_tokens' ends the tokens issued until now.
-- Returns the version of the change. The actor of the audit is the caller's.
-- Race: versions must become visible in ascending order, since the api reads from the last one it has seen. The lock on
-- the table makes changes one after the other until they commit; reads do not wait.
-- Locks: account SHARE ROW EXCLUSIVE until commit, then the account's row.
-- Error: P0001 for another change. Repeating it is harmless: tokens end at the later time.
create or replace function change_account(p_user_id bigint, p_change text) returns bigint language plpgsql as $$
declare
  v_at timestamptz;
  v_version bigint;
begin
  if p_change not in ('disable', 'enable', 'revoke_tokens') then
    raise exception 'account: % is not a change: disable, enable or revoke_tokens', p_change;
  end if;
  lock table account in share row exclusive mode;
  select coalesce(max(a.version), 0) + 1 into v_version from account a;
  v_at := clock_timestamp();
  insert into account as a (user_id, disabled_at, tokens_valid_after, version)
  values (p_user_id, case p_change when 'disable' then v_at end, v_at, v_version)
  on conflict (user_id) do update set
    disabled_at = case p_change
      when 'disable' then coalesce(a.disabled_at, v_at)
      when 'revoke_tokens' then a.disabled_at end,
    tokens_valid_after = greatest(a.tokens_valid_after, v_at),
    version = v_version;
  return v_version;
end
$$;
revoke execute on function change_account from public;
