-- Append-only guard: a trigger function that lets a tile of the Merkle tree grow at its end only.
-- Error: HF011 when a stored hash, the level or the number would change.
create or replace function guard_tile_growth() returns trigger language plpgsql as $$
begin
  if substr(new.hashes, 1, octet_length(old.hashes)) <> old.hashes
    or (new.level, new.tile_no) <> (old.level, old.tile_no) then
    raise exception 'audit_tile: a tile only grows' using errcode = 'HF011';
  end if;
  return new;
end
$$;
revoke execute on function guard_tile_growth from public;

create or replace trigger audit_tile_grows before update on audit_tile
  for each row execute function guard_tile_growth();
