-- Fencing token: locks an order for a step of one run of its workflow.
-- Returns 'entered'; 'repeated' when the step was done by this run; 'STALE_RUN' when a newer run (generation) has taken
-- over; 'NOT_FOUND'. With a null generation or step the answer is 'entered'.
-- Locks: the order row FOR UPDATE, which makes the fence exact between two runs, or a run and a slow attempt of its
-- own.
create or replace function fence_step(p_order_id uuid, p_generation int, p_step int) returns text language plpgsql as $$
declare
  v_generation int;
  v_step int;
begin
  select generation, step into v_generation, v_step from orders where order_id = p_order_id for update;
  return case
    when not found then 'NOT_FOUND'
    when v_generation > p_generation then 'STALE_RUN'
    when v_generation = p_generation and v_step >= p_step then 'repeated'
    else 'entered' end;
end
$$;
revoke execute on function fence_step from public;
grant execute on function fence_step to app_worker;
