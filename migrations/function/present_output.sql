-- Quorum view of one output: what its sources together say of it now; all columns null when it has no report.
-- Of the sources' last words the least favourable wins (replaced, dropped, reorged), unless it is more than a day older
-- than the newest word. If none is unfavourable, the output is final once one source has it final, or as many agree on
-- asset and amount as the order needs (source_rule). Retired sources do not count while there are others.
-- first_seen_at: the earliest sighting, which decides what is late. last_first_seen_at: the latest, for what is too
-- early. doubt: 'differing' where sources contradict each other, 'lone' where too few call it final, else null.
-- Locks: none. Changes nothing.
create or replace function present_output(p_order_id uuid, p_network text, p_tx_id text, p_output_index int)
returns table (
  asset text, amount numeric, state text, first_seen_at timestamptz, last_first_seen_at timestamptz, doubt text
)
language sql stable as $$
  with said as (
    select distinct on (r.source) r.source, r.asset, r.amount, r.state, r.first_seen_at, r.received_at, r.report_no,
      case r.state when 'replaced' then 0 when 'dropped' then 1 when 'reorged' then 2 else 3 end as favour
    from payment_report r
    where r.order_id = p_order_id and r.network = p_network and r.tx_id = p_tx_id and r.output_index = p_output_index
    order by r.source, r.seq desc
  ), active as (
    select s.* from said s where not exists (select from retired_source x where x.source = s.source)
  ), word as (
    select * from active
    union all select * from said where not exists (select from active)
  ), fresh as (
    select * from word where favour = 3 or received_at > (select max(w.received_at) from word w) - interval '1 day'
  ), chosen as (
    select f.* from fresh f order by f.favour, f.state = 'final' desc, f.amount, f.report_no desc limit 1
  ), agreed as (
    select count(*) filter (where f.state = 'final' and (f.asset, f.amount) = (c.asset, c.amount)) as sources,
      coalesce(bool_or((f.asset, f.amount) <> (c.asset, c.amount)), false)
        or min(f.favour) < 3 and coalesce(bool_or(f.state = 'final'), false) as is_differing
    from fresh f cross join chosen c
  ), needed as (
    select required_sources(p_order_id, (select c.amount from chosen c)) as sources
  )
  select (select c.asset from chosen c), (select c.amount from chosen c),
    (select case when c.state = 'final' and a.sources < n.sources then 'seen' else c.state end from chosen c),
    (select min(w.first_seen_at) from word w), (select max(w.first_seen_at) from word w),
    case when a.is_differing then 'differing' when a.sources between 1 and n.sources - 1 then 'lone' end
  from agreed a cross join needed n
$$;
revoke execute on function present_output from public;
grant execute on function present_output to app_api, app_worker, auditor;
