// Security events: what the front refused, for rules that look for attacks. Append-only; old events are deleted.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Database } from './connection/pool.ts'

/**
 * denied_order: an order of someone else, or none. denied_admin: a method of the admin services. unknown_order: an order
 * that does not exist, asked for by a caller who may know that. calls: all calls of a peer, refused or not.
 */
export const SECURITY_EVENT_KINDS = [
  'unauthenticated',
  'denied_order',
  'denied_admin',
  'denied',
  'unknown_order',
  'invalid',
  'calls',
] as const
export type SecurityEventKind = (typeof SECURITY_EVENT_KINDS)[number]

/** So many events of one kind, caller and place within about a second. */
export type SecurityEvent = {
  kind: SecurityEventKind
  /** How long ago the last of them was: the database's clock gives the time. */
  ageMs: number
  subject: string | null
  /** Keyed hash of the caller's address, hex; null: not known. */
  peer: string | null
  /** From the method table. */
  method: string | null
  /** Keyed hash of an order id, hex. */
  object: string | null
  requestId: string | null
  events: number
}

/** Appends events in one statement. */
export async function insertSecurityEvents(
  database: Pick<Database, 'sql'>,
  events: readonly SecurityEvent[],
): Promise<void> {
  await database.sql.query(sql.type(z.unknown())`
    insert into security_event (at, kind, subject, peer, method, object, request_id, events)
    select clock_timestamp() - make_interval(secs => e."ageMs" / 1000), e.kind, e.subject, e.peer, e.method, e.object,
      e."requestId", e.events
    from jsonb_to_recordset(${sql.jsonb([...events])}) e (kind text, "ageMs" float8, subject text, peer text, method text,
      object text, "requestId" uuid, events integer)`)
}

/** A batch takes some hundredths of a second, and no other statement waits for these rows. */
const FORGET_BATCH = 2_000

/** Deletes counts of calls after an hour, and all other events after 90 days. */
export async function deleteExpiredSecurityEvents(
  database: Pick<Database, 'sql'>,
): Promise<{ count: number; isDone: boolean }> {
  const count = await database.sql.oneFirst(sql.type(z.object({ count: z.number() }))`
    select forget_security_events(${FORGET_BATCH}) as count`)
  return { count, isDone: count < FORGET_BATCH }
}
