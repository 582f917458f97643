-- Audit code generator: the text of the trigger function audit_<table>, which notes what a statement changed in
-- audit_pending: one row per aggregate, with its changes as JSON. Arguments: see audit_watch.
-- It names every column: one generic function would cost the order path twice as much.
create or replace function audit_capture(
  p_table text, p_kind text, p_aggregate text, p_ignored text[], p_digested text[])
returns text language plpgsql stable set search_path = holdfast, pg_catalog as $watch$
declare
  v_columns record;
  -- @ stands for the row's name, as in audit_columns.
  v_id text := case when p_aggregate is null then 'null::text' else format('@.%I::text', p_aggregate) end;
  -- An aggregate is born with the row whose id refers to nothing else.
  v_is_root boolean := p_aggregate is not null and not exists (
    select from pg_constraint k join pg_attribute a on a.attrelid = k.conrelid and a.attnum = any (k.conkey)
    where k.conrelid = p_table::regclass and k.contype = 'f' and a.attname = p_aggregate);
  v_note text := format($note$
        insert into audit_pending (kind, aggregate_id, is_birth, is_first, context, changes)
        select case when c.id is null then %L else %L end, c.id, %s, v_is_first and row_number() over () = 1,
          coalesce(
            case when v_actors is null or c.id is null then v_actor else v_actors -> c.id end, no_actor()), c.changes
        from $note$, p_table, p_kind, case when v_is_root then 'tg_op = ''INSERT''' else 'false' end);
begin
  select * into v_columns from audit_columns(p_table, p_ignored, p_digested);
  return format($trigger$
    create or replace function %I() returns trigger
    language plpgsql security definer set search_path = holdfast, pg_catalog set timezone = 'UTC' as $capture$
    declare
      v_actors jsonb := nullif(current_setting('holdfast.actors', true), '');
      v_actor jsonb := nullif(current_setting('holdfast.actor', true), '');
      v_is_first boolean := not exists (select from audit_pending where txid = pg_current_xact_id());
    begin
      if tg_op = 'INSERT' then %s (
          select %s as id, string_agg(
            '{"table":"%s","op":"INSERT","key":' || row_to_json(k) || ',"new":' || row_to_json(r) || '}', ','
          ) as changes
          from new_rows n cross join lateral (select %s) k cross join lateral (select %s) r group by 1
        ) c where c.changes is not null;
      elsif tg_op = 'UPDATE' then %2$s (
          select d.id, string_agg('{"table":"%4$s","op":"UPDATE","key":' || d.key
            || ',"old":{' || d.before || '},"new":{' || d.after || '}}', ',') as changes
          from (
            select coalesce(%3$s, %7$s) as id, row_to_json(k)::text as key,
              concat_ws(',', %12$s) as before, concat_ws(',', %13$s) as after
            from old_rows o full join new_rows n on %11$s cross join lateral (select %10$s) k
            where %14$s
          ) d group by d.id
        ) c where c.changes is not null;
      else %2$s (
          select %7$s as id, string_agg(
            '{"table":"%4$s","op":"DELETE","key":' || row_to_json(k) || ',"old":' || row_to_json(r) || '}', ','
          ) as changes
          from old_rows o cross join lateral (select %8$s) k cross join lateral (select %9$s) r group by 1
        ) c where c.changes is not null;
      end if;
      return null;
    end
    $capture$
  $trigger$, 'audit_' || p_table, v_note, replace(v_id, '@', 'n'), p_table, replace(v_columns.key, '@', 'n'),
    replace(v_columns.fields, '@', 'n'), replace(v_id, '@', 'o'), replace(v_columns.key, '@', 'o'),
    replace(v_columns.fields, '@', 'o'), v_columns.either_key, v_columns.same_key,
    replace(v_columns.changed, '@', 'o'), replace(v_columns.changed, '@', 'n'), v_columns.differs);
end
$watch$;
revoke execute on function audit_capture from public;
