-- Quorum: sets how many sources must agree before money is final, for orders made from now on whose amount due, or an
-- output of theirs, is above p_above base units. For operators.
-- Locks: a new row. Repeating it adds the same rule again.
create or replace function require_sources(p_asset text, p_sources int, p_above numeric, p_reason text) returns void
language sql as $$
  insert into source_rule (asset, sources, above, reason) values (p_asset, p_sources, p_above, p_reason)
$$;
revoke execute on function require_sources from public;
