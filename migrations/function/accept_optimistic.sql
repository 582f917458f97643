-- Optimistic concurrency control: accepts several orders that all seem to fit, with the stock locked as late as
-- possible (docs/decisions/0014). Returns false, with everything undone, when they do not fit after all.
-- p_orders: see accept_orders. p_fresh: ordinals to accept. p_wanted: [{ordinal, product, quantity}].
-- Locks: new rows of the orders first, then stock rows by product_id, held until commit.
-- An order alone is left to accept_locked: it would pay for a savepoint and a second look at the catalogue, to shorten
-- a lock that few others wait for.
create or replace function accept_optimistic(p_orders jsonb, p_fresh int[], p_wanted jsonb) returns boolean
language plpgsql as $$
declare
  v_catalogue jsonb;
begin
  if cardinality(p_fresh) < 2 then
    return false;
  end if;
  -- Nothing is locked yet: what is seen here only chooses the way.
  v_catalogue := catalogue_of(p_wanted);
  if refused_orders(p_orders, p_fresh) <> '{}' or not fits_in_sum(p_wanted, '{}') then
    return false;
  end if;
  begin
    if not write_orders(p_orders, p_fresh, clock_timestamp()) then
      raise exception 'accept_orders: a price has changed' using errcode = 'HF013';
    end if;
    -- The audit entries too, before a product that others want is locked.
    set constraints all immediate;
    set constraints all deferred;
    perform lock_wanted(p_wanted);
    -- Race: a price or a product that changed since the lines were written. A change takes the stock row first, so
    -- there is none under these locks. The same versions before and after mean the same all the time between.
    if catalogue_of(p_wanted) <> v_catalogue then
      raise exception 'accept_orders: the catalogue has changed' using errcode = 'HF013';
    end if;
    if not take_wanted(p_wanted, p_fresh) then
      raise exception 'accept_orders: stock has changed' using errcode = 'HF013';
    end if;
    return true;
  exception when sqlstate 'HF013' then
    return false;
  end;
end
$$;
revoke execute on function accept_optimistic from public;
grant execute on function accept_optimistic to app_api;
