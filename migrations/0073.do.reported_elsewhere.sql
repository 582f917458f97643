-- Balances and several sources. A source compares its balances with its own outputs alone. So a source that is new or
-- renamed showed all money of earlier orders as unexplained, and a source whose node has no traces showed what a
-- contract had sent, though another source had reported it. An operator who attributed that credited it twice.
--
-- An order that was paid by more at once than one source may confirm waits for a second one. It expired by one alone.
--
-- Locks: none but those of functions. Older processes call required_sources with the new result.
--
-- Functions as migrations/function has them: reported_elsewhere, required_sources.

-- Outputs to addresses of the shop that other sources have reported as seen or final, and the session's source
-- (own_source) has not: it began after them, or its node does not show what contracts send.
-- is_explained: the money in the balance needs no other explanation. The output is final, in a block that is final for
-- the own source too, and the own source need not confirm it: it began later, or one source is enough for the order.
-- Locks: none. Changes nothing. Runs as the owner: the watcher reads no inbox.
create or replace function reported_elsewhere(p_network text, p_addresses text[])
returns table (address text, tx_id text, output_index int, amount numeric, is_explained boolean)
language sql stable security definer set search_path = holdfast, pg_catalog as $$
  with word as (
    select distinct on (i.address, r.tx_id, r.output_index, r.source)
      i.address, i.order_id, r.tx_id, r.output_index, r.source, r.amount, r.state, r.block_height
    from invoice i
    join payment_report r on r.order_id = i.order_id and (r.network, r.asset) = (i.network, i.asset)
    where i.network = p_network and i.address = any (p_addresses)
    order by i.address, r.tx_id, r.output_index, r.source, r.seq desc
  )
  select w.address, w.tx_id, w.output_index, min(w.amount),
    coalesce(bool_or(w.state = 'final' and w.block_height <= c.settled_height
      and (w.block_height < c.start_height or required_sources(w.order_id, w.amount) = 1)), false)
  from word w
  join chain_status c on (c.network, c.source) = (p_network, own_source())
  where w.source <> c.source and w.state in ('seen', 'final')
    and not exists (
      select from chain_output o
      where (o.network, o.tx_id, o.output_index, o.source) = (p_network, w.tx_id, w.output_index, c.source)
        and o.state <> 'dropped')
  group by w.address, w.tx_id, w.output_index
$$;
revoke execute on function reported_elsewhere from public;
grant execute on function reported_elsewhere to watcher;
comment on function reported_elsewhere is
  'Outputs to addresses of the shop that other sources have reported as seen or final, and the session''s source'
  ' (own_source) has not: it began after them, or its node does not show what contracts send.';

-- Quorum: how many sources must agree before an output of p_amount base units is final money of an order, and must have
-- read its network before it expires (p_amount 0: its largest payment in time), by the rule that the order was made
-- under (source_rule).
-- Locks: none. Changes nothing.
create or replace function required_sources(p_order_id uuid, p_amount numeric) returns int language sql stable as $$
  select coalesce((
    select case when greatest(i.amount_due, p_amount, case when p_amount = 0 then (
        select max(p.amount) from payment p
        where p.order_id = i.order_id and p.is_in_time and p.state in ('seen', 'reorged', 'final')) end) > r.above
      then r.sources end
    from invoice i join source_rule r on r.asset = i.asset and r.since <= i.created_at
    where i.order_id = p_order_id order by r.since desc limit 1), 1)::int
$$;
revoke execute on function required_sources from public;
grant execute on function required_sources to app_api, app_worker, auditor;
comment on function required_sources is
  'Quorum: how many sources must agree before an output of p_amount base units is final money of an order, and'
  ' must have read its network before it expires (p_amount 0: its largest payment in time), by the rule that the'
  ' order was made under (source_rule).';
