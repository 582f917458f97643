-- State machine guard: a trigger function that refuses a change of a hold that its trigger found to be illegal.
-- A hold is taken, committed and consumed, or given back before that; it never returns from an end. The api extends a
-- hold when a payment is reported, and never shortens one.
-- Error: HF021.
create or replace function refuse_hold_change() returns trigger language plpgsql as $$
begin
  raise exception 'reservation: from % until % to % until %', old.state, old.expires_at, new.state, new.expires_at
    using errcode = 'HF021';
end
$$;
revoke execute on function refuse_hold_change from public;

create or replace trigger reservation_guard_state before update of state on reservation
  for each row when (new.state <> old.state and (old.state, new.state) not in (
    ('held', 'committed'), ('held', 'released'), ('held', 'expired'),
    ('committed', 'consumed'), ('committed', 'released')))
  execute function refuse_hold_change();
create or replace trigger reservation_guard_end before update of expires_at on reservation
  for each row when (current_user = 'app_api' and new.expires_at < old.expires_at)
  execute function refuse_hold_change();
