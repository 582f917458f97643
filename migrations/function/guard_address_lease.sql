-- Guard of the address pool: a trigger function that refuses any change to an address that was leased.
-- Error: HF005.
create or replace function guard_address_lease() returns trigger language plpgsql as $$
begin
  if old.leased_at is not null then
    raise exception 'address_pool: an address is leased once' using errcode = 'HF005';
  end if;
  return new;
end
$$;
revoke execute on function guard_address_lease from public;

create or replace trigger address_pool_guard_lease before update on address_pool
  for each row execute function guard_address_lease();
