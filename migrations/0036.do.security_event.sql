-- Security events: what the front refused, by whom, for rules that look for attacks. Until now they were log lines,
-- which no rule can count across processes.
-- A report that the api refuses stays in the watcher's outbox as a dead letter, and now says why.
--
-- Locks: chain_report ACCESS EXCLUSIVE for a change of the catalogue. No row is read. Older watchers leave the new
-- column empty, and an older api records no events.
alter table chain_report
  add column refusal_reason text, -- null: not refused, or by an older watcher
  add constraint chain_report_refusal_length check (char_length(refusal_reason) between 1 and 60) not valid;
comment on column chain_report.refusal_reason is
  'Reason of the last refusal; null: not refused, or by an older watcher.';
grant update (refusal_reason) on chain_report to watcher;

create table security_event (
  event_no bigint generated always as identity constraint security_event_pk primary key,
  at timestamptz not null constraint security_event_at_finite check (isfinite(at)),
  kind text not null constraint security_event_kind check (
    kind in ('unauthenticated', 'denied_order', 'denied_admin', 'denied', 'unknown_order', 'invalid', 'calls')),
  subject text -- null: no token was accepted, or the event counts calls
    constraint security_event_subject_shape check (subject ~ '^[a-z]+:[a-z0-9-]{1,63}$'),
  peer text -- null: behind a proxy that did not say for whom it calls
    constraint security_event_peer_shape check (peer ~ '^[0-9a-f]{64}$'),
  method text -- null: events of several methods
    constraint security_event_method_shape check (method ~ '^/[a-zA-Z0-9.]{1,60}/[a-zA-Z]{1,60}$'),
  object text -- null: about no order, or about several
    constraint security_event_object_shape check (object ~ '^[0-9a-f]{32}$'),
  request_id uuid, -- null: events of several calls, or a caller's own id that is no UUID
  events integer not null constraint security_event_events_positive check (events > 0)
);
comment on table security_event is
  'Refused calls by kind, caller and place, so many within about a second each; kind calls: all calls of a peer. '
  'Append-only. No personal data: peers and orders are keyed hashes, and nothing is a text of the caller.';
comment on column security_event.at is 'When the last of them ended, on the clock of the database.';
comment on column security_event.subject is
  'The principal, such as user:7; null: no token was accepted, or kind calls.';
comment on column security_event.peer is
  'Keyed hash of the caller''s address; null: behind a proxy that did not say for whom it calls.';
comment on column security_event.method is 'The path of the method; null: several.';
comment on column security_event.object is 'Keyed hash of the order id that was asked for; null: none, or several.';
comment on column security_event.request_id is 'The call, where the events are one; null: several, or no UUID.';
create index security_event_by_time on security_event (at);
-- Counts of calls are kept for an hour only.
create index security_event_calls on security_event (at) where kind = 'calls';
grant insert (at, kind, subject, peer, method, object, request_id, events) on security_event to app_api;
grant select on security_event to app_worker, auditor;
insert into audit_scope (table_name, reason) values
  ('security_event', 'is itself a record of what callers tried, and changes nothing');
