-- Hash chain: the canonical text of an entry, of which its hash is taken. src/domain/audit.ts reads and writes the same
-- form.
-- p_at: the time as JSON text in UTC. 64-bit numbers are text. Error: HF006, by actor_text.
create or replace function audit_body(p_draft audit_draft, p_seq bigint, p_at text, p_txid xid8, p_db_role text)
returns text language sql stable as $$
  select '{"kind":' || to_json((p_draft).kind)::text
    || ',"id":' || coalesce(to_json((p_draft).aggregate_id)::text, 'null')
    || ',"seq":' || coalesce('"' || p_seq || '"', 'null') || ',"at":"' || p_at || '","txid":"' || p_txid
    || '","dbRole":' || to_json(p_db_role)::text
    || ',"by":' || actor_text((p_draft).context) || ',"changes":[' || (p_draft).changes || ']}'
$$;
revoke execute on function audit_body from public;
