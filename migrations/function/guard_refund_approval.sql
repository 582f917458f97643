-- Guard of approvals, the four-eyes principle: a trigger function that lets an admin approve, in their own name, the
-- present version of a refund that waits for it; not who asked for it, and not the customer. Approvals never change.
-- Locks: the order row FOR NO KEY UPDATE: the refund cannot change before the commit. The tables' owner is not exempt.
-- Error: HF041.
create or replace function guard_refund_approval() returns trigger language plpgsql as $$
begin
  perform 1 from holdfast.orders o where o.order_id = new.order_id for no key update;
  if tg_op <> 'INSERT'
    or new.approver is distinct from holdfast.actor_of(new.order_id::text) ->> 'actor'
    or holdfast.actor_of(new.order_id::text) ->> 'role' is distinct from 'admin'
    or not exists (
      select from holdfast.refund r join holdfast.orders o on o.order_id = r.order_id
      where (r.refund_id, r.version, r.order_id) = (new.refund_id, new.version, new.order_id)
        and r.status = 'awaiting_approval' and r.requested_by <> new.approver
        and new.approver <> 'user:' || o.user_id) then
    raise exception 'refund: this approval does not count' using errcode = 'HF041';
  end if;
  return new;
end
$$;
revoke execute on function guard_refund_approval from public;

create or replace trigger refund_approval_guard before insert or update on refund_approval
  for each row execute function guard_refund_approval();
