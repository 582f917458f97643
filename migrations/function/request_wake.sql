-- Wake-up outbox: asks the relay to signal the workflows of these orders. Call it in the transaction that gives them a
-- reason to look.
-- Locks: the rows of order_wake, in order of order_id. Repeating it only counts wanted_seq up: one row per order.
-- A dead wake is tried again at once; a pending one keeps its time.
create or replace function request_wake(p_order_ids uuid[]) returns void language sql as $$
  insert into order_wake (order_id) select id from unnest(p_order_ids) as id order by id
  on conflict (order_id) do update
    -- A signal already on its way will find this reason too: an assessment takes all there is and removes the row.
    set wanted_seq = order_wake.wanted_seq + 1, dead_reason = null,
        next_at = case when order_wake.dead_reason is null then order_wake.next_at else clock_timestamp() end
$$;
revoke execute on function request_wake from public;
grant execute on function request_wake to app_api, app_worker;
