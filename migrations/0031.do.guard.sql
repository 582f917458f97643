-- Guards against what one role alone could leave behind, found by a review that acted as each of them. A time that is
-- infinite or still to come outlives the process that wrote it; a name of a network that configuration no longer takes
-- kept rows under it from any change; and holds could go back or be cut short.
--
-- Locks: every table named here takes ACCESS EXCLUSIVE for as long as a change of the catalogue. The new CHECKs are NOT
-- VALID, so that no table is read under the lock. Processes of the version before go on.

-- TIMES -------------------------------------------------------------------------------------------------------------

-- One rule for each table whose times a role of the shop's may write. What is infinite today would otherwise refuse every
-- later change of its row.
update chain_status set tip_asked_at = null where not isfinite(tip_asked_at) or tip_asked_at > clock_timestamp();
update chain_status set caught_up_at = null where not isfinite(caught_up_at) or caught_up_at > clock_timestamp();
update chain_balance set checked_at = null where not isfinite(checked_at);
update reservation r set expires_at = i.expires_at + i.grace
from invoice i where i.order_id = r.order_id and r.expires_at in ('infinity', '-infinity');

alter table address_pool add constraint address_pool_times_finite check (isfinite(leased_at)) not valid;
alter table audit_checkpoint add constraint audit_checkpoint_times_finite check (isfinite(sealed_at)) not valid;
alter table chain_balance add constraint chain_balance_times_finite check (isfinite(attributed_at) and isfinite(checked_at) and isfinite(found_at)) not valid;
alter table chain_block add constraint chain_block_times_finite check (isfinite(chain_time)) not valid;
alter table chain_output add constraint chain_output_times_finite check (isfinite(first_seen_at)) not valid;
alter table chain_report add constraint chain_report_times_finite check (isfinite(first_seen_at) and isfinite(next_at)) not valid;
alter table chain_status add constraint chain_status_times_finite check (isfinite(caught_up_at) and isfinite(tip_asked_at)) not valid;
alter table consistency_run add constraint consistency_run_times_finite check (isfinite(finished_at) and isfinite(started_at)) not valid;
alter table customer_key add constraint customer_key_times_finite check (isfinite(created_at)) not valid;
alter table duty add constraint duty_times_finite check (isfinite(held_until) and isfinite(started_at) and isfinite(succeeded_at)) not valid;
alter table idempotency add constraint idempotency_times_finite check (isfinite(created_at)) not valid;
alter table inconsistency add constraint inconsistency_times_finite check (isfinite(first_seen_at) and isfinite(last_seen_at)) not valid;
alter table invoice add constraint invoice_times_finite check (isfinite(created_at) and isfinite(expires_at)) not valid;
alter table key_epoch add constraint key_epoch_times_finite check (isfinite(created_at) and isfinite(last_used_at)) not valid;
alter table key_retire add constraint key_retire_times_finite check (isfinite(created_at) and isfinite(done_at) and isfinite(next_at)) not valid;
alter table master_key add constraint master_key_times_finite check (isfinite(created_at)) not valid;
alter table notification add constraint notification_times_finite check (isfinite(claimed_until) and isfinite(dead_at) and isfinite(delivered_at) and isfinite(next_at)) not valid;
alter table order_wake add constraint order_wake_times_finite check (isfinite(claimed_until) and isfinite(created_at) and isfinite(next_at)) not valid;
alter table payment add constraint payment_times_finite check (isfinite(first_seen_at) and isfinite(updated_at)) not valid;
alter table payment_key add constraint payment_key_times_finite check (isfinite(sealed_at)) not valid;
alter table payment_report add constraint payment_report_times_finite check (isfinite(first_seen_at) and isfinite(received_at)) not valid;
alter table refund_due add constraint refund_due_times_finite check (isfinite(updated_at)) not valid;
alter table reservation add constraint reservation_times_finite check (isfinite(expires_at)) not valid;
alter table stock_movement add constraint stock_movement_times_finite check (isfinite(created_at)) not valid;
alter table workflow_start add constraint workflow_start_times_finite check (isfinite(claimed_until) and isfinite(created_at) and isfinite(next_at) and isfinite(quote_ends_at)) not valid;

-- The watcher vouches for a chain up to a time, on which expiries rely. The clock is the database's; a block's own time may
-- be ahead of it by what currency.clock_tolerance allows at most.
create function refuse_time_to_come() returns trigger language plpgsql as $$
begin
  raise exception '%: a time that is still to come', tg_table_name using errcode = 'check_violation';
end
$$;
comment on function refuse_time_to_come is 'Refuses a row for a time that its trigger found to lie ahead.';
revoke execute on function refuse_time_to_come from public;
create trigger chain_status_times_past before insert on chain_status
  for each row when (current_user = 'watcher' and greatest(new.tip_asked_at, new.caught_up_at) > clock_timestamp())
  execute function refuse_time_to_come();
-- Only what is raised: after a failover to a server whose clock is behind, a stored time may lie ahead, and the watcher
-- must be able to go back all the same.
create trigger chain_status_times_raised before update of tip_asked_at, caught_up_at on chain_status
  for each row when (current_user = 'watcher'
    and (new.tip_asked_at > clock_timestamp() and new.tip_asked_at > coalesce(old.tip_asked_at, '-infinity')
      or new.caught_up_at > clock_timestamp() and new.caught_up_at > coalesce(old.caught_up_at, '-infinity')))
  execute function refuse_time_to_come();
create trigger chain_balance_times_past before insert or update of checked_at on chain_balance
  for each row when (current_user = 'watcher' and new.checked_at > clock_timestamp() + interval '1 day')
  execute function refuse_time_to_come();

-- NAMES OF NETWORKS -------------------------------------------------------------------------------------------------

-- A CHECK is asked at each change of a row, NOT VALID or not: a row from before the rule, of a network such as `Sepolia`,
-- could not be changed any more, and one such key stopped the retirement of all. The name is judged where it is written.
create function refuse_network_name() returns trigger language plpgsql as $$
begin
  raise exception '%: not a name of a network', tg_table_name using errcode = 'check_violation';
end
$$;
comment on function refuse_network_name is 'Refuses a row for a name that its trigger found to be none.';
revoke execute on function refuse_network_name from public;
alter table chain_status drop constraint chain_status_network_shape;
alter table invoice drop constraint invoice_network_shape;
alter table payment_report drop constraint payment_report_network_shape;
alter table payment drop constraint payment_network_shape;
alter table payment_key drop constraint payment_key_network_shape;
create trigger chain_status_network_shape before insert or update of network on chain_status
  for each row when (new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$') execute function refuse_network_name();
create trigger invoice_network_shape before insert or update of network on invoice
  for each row when (new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$') execute function refuse_network_name();
create trigger payment_report_network_shape before insert or update of network on payment_report
  for each row when (new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$') execute function refuse_network_name();
create trigger payment_network_shape before insert or update of network on payment
  for each row when (new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$') execute function refuse_network_name();
create trigger payment_key_network_shape before insert or update of network on payment_key
  for each row when (new.network !~ '^[a-z0-9][a-z0-9_-]{0,31}$') execute function refuse_network_name();

-- HOLDS -------------------------------------------------------------------------------------------------------------

-- A hold is taken, committed and consumed, or given back before that; from an end it never returns. And the api, which
-- extends a hold when a payment is reported, does not cut one short: an order whose payment is confirming would expire.
create function refuse_hold_change() returns trigger language plpgsql as $$
begin
  raise exception 'reservation: from % until % to % until %', old.state, old.expires_at, new.state, new.expires_at using errcode = 'HF021';
end
$$;
comment on function refuse_hold_change is 'Refuses a change of a hold that its trigger found to be no legal move.';
revoke execute on function refuse_hold_change from public;
create trigger reservation_guard_state before update of state on reservation
  for each row when (new.state <> old.state and (old.state, new.state) not in (
    ('held', 'committed'), ('held', 'released'), ('held', 'expired'), ('committed', 'consumed'), ('committed', 'released')))
  execute function refuse_hold_change();
create trigger reservation_guard_end before update of expires_at on reservation
  for each row when (current_user = 'app_api' and new.expires_at < old.expires_at) execute function refuse_hold_change();
