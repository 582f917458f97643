// What protects the data in the database itself, as a preflight check sees it: triggers that are missing or disabled, and
// rights that the api's role must not have. Reads the catalogue only, which every role may.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Database } from './connection/pool.ts'

/** Tables whose every change must be an audit entry. */
const AUDITED = ['customer', 'order_line', 'orders', 'payment', 'payment_report', 'product', 'reservation', 'stock']
const AUDIT_EVENTS = ['insert', 'update', 'delete']
/** pg_trigger.tgenabled of a trigger that fires in an ordinary session. */
const FIRING = ['O', 'A']

const NAMED = z.object({ name: z.string() })

/** Those of the triggers that do not exist on `orders`, or do not fire. */
export async function findMissingOrderTriggers(
  database: Pick<Database, 'sql'>,
  names: readonly string[],
): Promise<readonly string[]> {
  const rows = await database.sql.any(sql.type(NAMED)`
    select wanted.name from unnest(${sql.array([...names], 'text')}) as wanted (name)
    where not exists (
      select from pg_trigger t
      where t.tgrelid = 'holdfast.orders'::regclass and t.tgname = wanted.name
        and t.tgenabled::text = any (${sql.array(FIRING, 'text')}))
    order by 1`)
  return rows.map(({ name }) => name)
}

/** Audited tables, each with an event whose audit trigger does not exist or does not fire: `orders update`. */
export async function findUnauditedChanges(database: Pick<Database, 'sql'>): Promise<readonly string[]> {
  const rows = await database.sql.any(sql.type(NAMED)`
    select w.name || ' ' || e.name as name
    from unnest(${sql.array(AUDITED, 'text')}) as w (name), unnest(${sql.array(AUDIT_EVENTS, 'text')}) as e (name)
    where not exists (
      select from pg_trigger t
      where t.tgrelid = to_regclass('holdfast.' || w.name) and t.tgname = w.name || '_audit_' || e.name
        and t.tgenabled::text = any (${sql.array(FIRING, 'text')}))
    order by 1`)
  return rows.map(({ name }) => name)
}

const RIGHTS = z.object({
  isSuperuser: z.boolean(),
  mayCreate: z.boolean(),
  mayWriteStatus: z.boolean(),
  mayWriteTotal: z.boolean(),
})
export type SessionRights = z.output<typeof RIGHTS>

/** What the session's role may do beyond its work. */
export const readSessionRights = (database: Pick<Database, 'sql'>): Promise<SessionRights> =>
  database.sql.one(sql.type(RIGHTS)`
    select (select rolsuper from pg_roles where rolname = current_user) as "isSuperuser",
      has_schema_privilege('holdfast', 'create') as "mayCreate",
      has_column_privilege('holdfast.orders', 'status', 'update') as "mayWriteStatus",
      has_column_privilege('holdfast.orders', 'total', 'update') as "mayWriteTotal"`)
