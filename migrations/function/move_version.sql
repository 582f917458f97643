-- Row version: a trigger function that advances version by one and sets updated_at with every update.
-- updated_at never goes back, also when the clock does. What a writer gives for either column is ignored.
create or replace function move_version() returns trigger language plpgsql as $$
begin
  new.version := old.version + 1;
  new.updated_at := greatest(clock_timestamp(), old.updated_at);
  return new;
end
$$;
revoke execute on function move_version from public;

create or replace trigger product_version before update on product for each row execute function move_version();
create or replace trigger payment_version before update on payment for each row execute function move_version();
