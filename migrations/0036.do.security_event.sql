-- A report that the api refuses stays in the watcher's outbox as a dead letter, and now says why.
--
-- Locks: chain_report ACCESS EXCLUSIVE for a change of the catalogue. No row is read. Older watchers leave
-- the new column empty.
alter table chain_report
  add column refusal_reason text,
  add constraint chain_report_refusal_length check (char_length(refusal_reason) between 1 and 60) not valid;
comment on column chain_report.refusal_reason is
  'Reason of the last refusal; null: not refused, or by an older watcher.';
grant update (refusal_reason) on chain_report to watcher;
