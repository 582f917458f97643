-- Hash chain: the last entry of an aggregate whose head is not in audit_head; no row when it has none.
-- p_from: when the aggregate was created. Its month and later ones are searched first, then all partitions, since a
-- clock may have been wrong.
create or replace function audit_last(p_kind text, p_aggregate_id text, p_from timestamptz)
returns table (seq bigint, hash bytea)
language plpgsql stable as $$
#variable_conflict use_column
begin
  return query select e.seq, e.hash from audit_entry e
  where e.kind = p_kind and e.aggregate_id = p_aggregate_id and e.at >= p_from - interval '1 day'
  order by e.seq desc limit 1;
  if not found then
    return query select e.seq, e.hash from audit_entry e
    where e.kind = p_kind and e.aggregate_id = p_aggregate_id order by e.seq desc limit 1;
  end if;
end
$$;
revoke execute on function audit_last from public;
