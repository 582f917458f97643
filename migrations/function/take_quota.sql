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
