-- The ledger in the shape that accountants know: one row per posting and account that it moves. The rows of a posting
-- sum to zero, by a check of ledger_posting.
create or replace view ledger_entry as
select p.posting_no, p.posted_at, p.order_id, p.network, p.asset, p.token, p.cause, e.account, e.amount
from ledger_posting p
cross join lateral (values
  ('received', p.received), ('customer_due', p.customer_due), ('refund_due', p.refund_due), ('refunded', p.refunded),
  ('fees', p.fees), ('written_off', p.written_off)) e (account, amount)
where e.amount <> 0;
grant select on ledger_entry to app_api, auditor;
