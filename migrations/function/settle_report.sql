-- Dead letters of a watcher: settles an output of the session's source (own_source), whose report was refused, or whose
-- last word in the shop is wrong.
-- p_decision: 'report_again' replaces the waiting reports of the output by its present state, under the next sequence
-- number that is free in the inbox; 'discard' deletes the waiting reports and drops the output until the watcher reads
-- its block again, so that nothing more is reported from what was refused.
-- Returns 'done', or 'unknown': no such output, or for discard no refused report of it.
-- Locks: the chain_status row, as each step of the watcher; then the output and its reports. Runs as the owner: the
-- watcher reads no inbox, and renumbers nothing by itself.
-- Errors: HF022 when the transaction has not noted the decision in chain_operation; P0001 for another decision.
-- Repeating report_again reports the same state once more, which changes nothing; repeating discard is 'unknown'.
create or replace function settle_report(p_network text, p_tx_id text, p_output_index int, p_decision text)
returns text language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_stored int;
  v_source text := own_source();
begin
  if p_decision not in ('report_again', 'discard') then
    raise exception 'chain_report: % is not a decision: report_again or discard', p_decision;
  end if;
  if not exists (
    select from chain_operation o
    where (o.network, o.source, o.operation, o.tx_id, o.output_index)
        = (p_network, v_source, p_decision, p_tx_id, p_output_index)
      and o.xmin = pg_current_xact_id()::xid) then
    raise exception 'chain_report: the operation % is not noted', p_decision using errcode = 'HF022';
  end if;
  perform 1 from chain_status c where (c.network, c.source) = (p_network, v_source) for no key update;
  if p_decision = 'discard' and not exists (
    select from chain_report r
    where (r.network, r.source, r.tx_id, r.output_index) = (p_network, v_source, p_tx_id, p_output_index)
      and r.refusals > 0)
  then
    return 'unknown';
  end if;
  select coalesce(max(r.seq), 0) into v_stored
  from payment_report r
  where (r.network, r.source, r.tx_id, r.output_index) = (p_network, v_source, p_tx_id, p_output_index);

  delete from chain_report r
  where (r.network, r.source, r.tx_id, r.output_index) = (p_network, v_source, p_tx_id, p_output_index);
  update chain_output o
  set state = case p_decision when 'discard' then 'dropped' else o.state end,
    seq = greatest(o.seq, v_stored) + case p_decision when 'discard' then 0 else 1 end
  where (o.network, o.source, o.tx_id, o.output_index) = (p_network, v_source, p_tx_id, p_output_index);
  if not found then
    return 'unknown';
  end if;
  if p_decision = 'report_again' then
    insert into chain_report (network, source, tx_id, output_index, seq, state, block_height, block_hash, first_seen_at)
    select o.network, o.source, o.tx_id, o.output_index, o.seq, o.state, o.block_height, o.block_hash, o.first_seen_at
    from chain_output o
    where (o.network, o.source, o.tx_id, o.output_index) = (p_network, v_source, p_tx_id, p_output_index);
  else
    -- Whether the money is there after all, the balance tells.
    update chain_balance b set checked_at = null
    from chain_output o
    where (o.network, o.source, o.tx_id, o.output_index) = (p_network, v_source, p_tx_id, p_output_index)
      and (b.network, b.source, b.address) = (o.network, o.source, o.address);
  end if;
  return 'done';
end
$$;
revoke execute on function settle_report from public;
grant execute on function settle_report to watcher;
