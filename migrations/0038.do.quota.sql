-- Rate limits that all api processes share: sliding windows of 60 s for calls that money or secrets depend on. Limits
-- in the memory of one process would let each process admit as many. The rows are worth nothing after two minutes, so
-- the table is not logged: a crash of the server empties it.
--
-- Locks: a new table and new functions, nothing is touched. Older processes: they do not count their calls.
create unlogged table quota_window (
  key bytea constraint quota_window_pk primary key constraint quota_window_key_length check (octet_length(key) = 32),
  second bigint not null constraint quota_window_second_not_negative check (second >= 0),
  hits int[] not null default array_fill(0, array[61]) constraint quota_window_hits_shape
    check (cardinality(hits) = 61 and 0 <= all (hits))
) with (fillfactor = 50);
comment on table quota_window is
  'Sliding windows of the shared rate limits. hits[1] counts the calls of `second` (Unix time), hits[2] those of the '
  'second before, and so on. key: SHA-256 of class, kind and subject.';
insert into audit_scope (table_name, reason) values
  ('quota_window', 'counts calls of the last minute; nothing else depends on it');

-- Functions as migrations/function has them: forget_quotas, take_quota.

-- Retention: removes up to p_limit windows of quota_window that count nothing any more. Returns how many.
-- Locks: the rows it removes; locked ones are skipped. Repeating it is harmless. Runs as the owner: no role may change
-- what was counted.
create or replace function forget_quotas(p_limit int) returns int
language sql security definer set search_path = holdfast, pg_catalog as $$
  with old as (
    select w.key from quota_window w
    where w.second < extract(epoch from clock_timestamp()) - 62 limit p_limit for update skip locked
  ), forgotten as (
    delete from quota_window w using old where w.key = old.key returning 1
  )
  select count(*)::int from forgotten
$$;
revoke execute on function forget_quotas from public;
grant execute on function forget_quotas to app_api;
comment on function forget_quotas is
  'Retention: removes up to p_limit windows of quota_window that count nothing any more.';

-- Rate limit: counts calls in the sliding windows of their user and their address, each call in both or in none.
-- Arrays in parallel, one element per call. Returns the refused calls: their place in the arrays from 1, whose window
-- is full (user or address), and after how many ms there is room again. A call that is not returned is counted.
-- A window has one slot per second. A call counts for 60 s and up to one more, so a limit is never exceeded in any 60 s
-- of the database's clock.
-- Locks: the rows of quota_window, in order of key. Repeating it counts again. Runs as the owner: no role may change
-- what was counted.
create or replace function take_quota(
  p_users bytea[], p_user_limits int[], p_addresses bytea[], p_address_limits int[]
) returns table (place int, subject text, wait_ms int)
language plpgsql security definer set search_path = holdfast, pg_catalog as $$
declare
  v_keys bytea[];
  v_used int[];
  v_taken int[];
  v_user int;
  v_address int;
begin
  -- The clock is read once the row is locked: two processes never count in different orders.
  with counted as (
    insert into quota_window as w (key, second)
    select distinct k, floor(extract(epoch from clock_timestamp()))::bigint
    from unnest(p_users || p_addresses) k order by k
    on conflict (key) do update set (second, hits) = (
      select greatest(w.second, t.second),
        (array_fill(0, array[greatest(0, least(61, t.second - w.second))::int]) || w.hits)[1:61]
      from (select floor(extract(epoch from clock_timestamp()))::bigint as second offset 0) t
    )
    returning w.key, (select sum(h) from unnest(w.hits) h)::int as used
  )
  select array_agg(c.key order by c.key), array_agg(c.used order by c.key) into v_keys, v_used from counted c;
  v_taken := array_fill(0, array[cardinality(v_keys)]);

  for v_place in 1 .. cardinality(p_users) loop
    v_user := array_position(v_keys, p_users[v_place]);
    v_address := array_position(v_keys, p_addresses[v_place]);
    subject := case
      when v_used[v_user] >= p_user_limits[v_place] then 'user'
      when v_used[v_address] >= p_address_limits[v_place] then 'address'
    end;
    if subject is null then
      v_used[v_user] := v_used[v_user] + 1;
      v_taken[v_user] := v_taken[v_user] + 1;
      v_used[v_address] := v_used[v_address] + 1;
      v_taken[v_address] := v_taken[v_address] + 1;
    else
      -- The oldest slots are freed first; what this statement counted itself is freed last.
      wait_ms := 1000 * coalesce((
        select min(62 - s.age) filter (where s.is_room) from (
          select a.age,
            v_used[case subject when 'user' then v_user else v_address end] - sum(a.h) over (order by a.age desc)
              < case subject when 'user' then p_user_limits[v_place] else p_address_limits[v_place] end as is_room
          from quota_window w, unnest(w.hits) with ordinality a(h, age)
          where w.key = case subject when 'user' then p_users[v_place] else p_addresses[v_place] end
        ) s), 61);
      place := v_place;
      return next;
    end if;
  end loop;

  update quota_window w set hits[1] = w.hits[1] + t.taken
  from unnest(v_keys, v_taken) t(key, taken) where w.key = t.key and t.taken > 0;
end
$$;
revoke execute on function take_quota from public;
grant execute on function take_quota to app_api;
comment on function take_quota is
  'Rate limit: counts calls in the sliding windows of their user and their address, each call in both or in none.';
