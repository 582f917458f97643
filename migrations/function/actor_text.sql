-- Audit context: an actor's context in its canonical text, keys in a fixed order, values cut to their limits.
-- p_context: {actor, role, requestId?, tokenId?, ipHash?, requestHash?, reason?}, as in actor_of.
-- One spelling per actor, so that an entry names someone who can be found (PCI-8).
-- Error: HF006 when actor and role do not name one.
create or replace function actor_text(p_context jsonb) returns text language plpgsql stable as $$
declare
  v_actor text := p_context ->> 'actor';
  v_role text := p_context ->> 'role';
begin
  if not coalesce(case
    -- An operator who acts with Temporal's own tools has no token of the shop.
    when v_role = 'admin' and v_actor ~ '^operator:[a-z0-9-]{1,63}$' then true
    when v_role in ('customer', 'fulfilment', 'admin') then v_actor ~ '^user:[1-9][0-9]{0,18}$'
    when v_role in ('system', 'watcher', 'service', 'migration')
      then v_actor ~ '^[a-z]+:[a-z0-9-]{1,63}$' and split_part(v_actor, ':', 1) = v_role
    end, false) then
    perform no_actor();
  end if;
  return (select json_strip_nulls(row_to_json(c))::text from (select
    v_actor as actor, v_role as role,
    left(p_context ->> 'requestId', 200) as "requestId", left(p_context ->> 'tokenId', 200) as "tokenId",
    left(p_context ->> 'ipHash', 64) as "ipHash", left(p_context ->> 'requestHash', 64) as "requestHash",
    left(p_context ->> 'reason', 200) as reason) c);
end
$$;
revoke execute on function actor_text from public;
