-- Audit code generator: the columns of a table as audit_capture needs them, in SQL text.
-- p_ignored, p_digested: see audit_watch. In the texts, @ stands for the row's name, n (new) or o (old).
-- names: all that are audited. key, fields: `value as name` of the primary key, and of the other columns.
-- either_key: the key of the row that is there. same_key: that both rows have the same key.
-- changed: JSON of each field that differs, else null; 'null' when there are no fields. differs: that any column does.
create or replace function audit_columns(p_table text, p_ignored text[], p_digested text[])
returns table (
  names text[], key text, either_key text, fields text, same_key text, changed text, differs text
)
language sql stable set search_path = holdfast, pg_catalog as $$
  with watched as (
    select a.attnum, quote_ident(a.attname) as name, '"' || a.attname || '":' as label,
      a.attnum = any (k.conkey) as is_key,
      -- Exact whatever reads it: 64-bit numbers and amounts as text, bytes as hex, spans in seconds.
      format(case when a.attname = any (p_digested) then 'encode(sha256(@.%I), ''hex'')'
                  when a.atttypid in ('bigint'::regtype, 'numeric'::regtype) then '@.%I::text'
                  when a.atttypid = 'bytea'::regtype then 'encode(@.%I, ''hex'')'
                  when a.atttypid = 'interval'::regtype then 'extract(epoch from @.%I)::text'
                  else '@.%I' end, a.attname) as value
    from pg_attribute a join pg_constraint k on k.conrelid = a.attrelid and k.contype = 'p'
    where a.attrelid = p_table::regclass and a.attnum > 0 and not a.attisdropped and a.attname <> all (p_ignored)
  )
  select array_agg(name::text order by attnum),
    string_agg(format('%s as %s', value, name), ', ' order by attnum) filter (where is_key),
    string_agg(format('%s as %s', replace(value, '@.' || name, format('coalesce(n.%s, o.%1$s)', name)), name), ', '
      order by attnum) filter (where is_key),
    string_agg(format('%s as %s', value, name), ', ' order by attnum) filter (where not is_key),
    string_agg(format('n.%s = o.%1$s', name), ' and ' order by attnum) filter (where is_key),
    coalesce(string_agg(
      format('case when n.%s is distinct from o.%1$s then %L || coalesce(to_json(%s)::text, ''null'') end',
        name, label, value), ', ' order by attnum) filter (where not is_key), 'null'),
    string_agg(format('n.%s is distinct from o.%1$s', name), ' or ' order by attnum)
  from watched
$$;
revoke execute on function audit_columns from public;
