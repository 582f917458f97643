-- Exception of an old sale: a trigger function that keeps an honoured payment in time when it is assessed again
-- (docs/decisions/0022).
create or replace function keep_honoured() returns trigger language plpgsql as $$
begin
  new.is_in_time := true;
  return new;
end
$$;
revoke execute on function keep_honoured from public;

create or replace trigger payment_honoured before update on payment
  for each row when (old.is_honoured) execute function keep_honoured();
