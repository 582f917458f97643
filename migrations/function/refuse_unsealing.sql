-- Append-only guard: a trigger function that refuses to change or remove a checkpoint, or to remove a tile.
-- Error: HF011.
create or replace function refuse_unsealing() returns trigger language plpgsql as $$
begin
  raise exception '%: what was sealed stays', tg_table_name using errcode = 'HF011';
end
$$;
revoke execute on function refuse_unsealing from public;

create or replace trigger audit_checkpoint_stays before update or delete or truncate on audit_checkpoint
  for each statement execute function refuse_unsealing();
create or replace trigger audit_tile_stays before delete or truncate on audit_tile
  for each statement execute function refuse_unsealing();
