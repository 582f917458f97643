-- Credits up to p_limit outputs that have news to an order, and marks that news as assessed.
-- Result: how many outputs; whether one was in the wrong asset; whether one was older than the order. An output that is
-- older than its order is no payment of it: it stays in the inbox (unattributed_output).
-- What its sources do not agree on is in source_doubt until they do.
-- Locks: the caller holds the order row; here payments, doubts and reports.
-- Race closed: a wrong report claims an output for two orders. The primary key gives it to one of them.
-- Repeating it is harmless: what is assessed is no news.
create or replace function credit_payments(p_order_id uuid, p_limit int)
returns table (outputs int, has_wrong_asset boolean, has_early boolean)
language sql as $$
  with present as materialized (
    select * from fresh_outputs(p_order_id, p_limit)
  ), credited as (
    insert into payment (network, tx_id, output_index, order_id, asset, amount, state, is_in_time, first_seen_at)
    select p.network, p.tx_id, p.output_index, p_order_id, p.asset, p.amount, p.state, p.is_in_time, p.first_seen_at
    from present p
    where p.is_right_asset and (not p.is_early or exists (
      select from payment y where (y.network, y.tx_id, y.output_index) = (p.network, p.tx_id, p.output_index)))
    on conflict (network, tx_id, output_index) do update
      set amount = excluded.amount, state = excluded.state, is_in_time = excluded.is_in_time
    where payment.order_id = excluded.order_id
      and (payment.amount, payment.state, payment.is_in_time)
        is distinct from (excluded.amount, excluded.state, excluded.is_in_time)
  ), doubted as (
    insert into source_doubt (network, tx_id, output_index, order_id, kind)
    select p.network, p.tx_id, p.output_index, p_order_id, p.doubt from present p where p.doubt is not null
    on conflict (network, tx_id, output_index) do update
      set kind = excluded.kind, since = clock_timestamp() where source_doubt.kind <> excluded.kind
  ), agreed as (
    delete from source_doubt d using present p
    where (d.network, d.tx_id, d.output_index) = (p.network, p.tx_id, p.output_index) and p.doubt is null
  ), assessed as (
    -- By their numbers: joined to the outputs, all that the order has unassessed would be gone through for each.
    update payment_report r set is_assessed = true
    where r.report_no = any (array(select unnest(p.report_nos) from present p))
  )
  select count(*)::int, coalesce(bool_or(not is_right_asset), false),
    coalesce(bool_or(is_right_asset and is_early), false)
  from present
$$;
revoke execute on function credit_payments from public;
grant execute on function credit_payments to app_worker;
