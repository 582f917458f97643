-- Wrong asset: a trigger function that wakes the orders whose addresses were sent a foreign token, so that their next
-- assessment sets the flag (begin_assessment). An order that has the flag is not woken again: a thousand worthless
-- tokens cost it one assessment.
-- Runs as the owner: the watcher's role writes no wakes.
-- Locks: those of request_wake. Repeating it is harmless.
create or replace function flag_wrong_asset() returns trigger
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
begin
  perform request_wake(array(
    select distinct o.order_id
    from new_rows n
    join invoice i on (i.network, i.address) = (n.network, n.address)
    join orders o on o.order_id = i.order_id
    where n.kind = 'wrong_asset' and not 'wrong_asset' = any (o.payment_flags)));
  return null;
end
$$;
revoke execute on function flag_wrong_asset from public;

create or replace trigger ignored_transfer_flag after insert on ignored_transfer
  referencing new table as new_rows for each statement execute function flag_wrong_asset();
