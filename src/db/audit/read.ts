// Audit of reads: before personal data of an order is shown to someone who does not own it, its audit says so.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Actor } from '../../domain/audit.ts'
import { retrying, type Database } from '../connection/pool.ts'
import { actorText } from './actor.ts'

/** A field of an order that holds personal data. */
export type PersonalField = 'shipping_address' | 'refund_destination'

/**
 * Notes who reads which fields of whose orders, and why: one entry in the audit of each order, all in one statement.
 * Nothing may be shown unless it resolves. Repeating it notes another read.
 */
export async function noteReads(
  database: Pick<Database, 'sql'>,
  { orderIds, fields, by }: { orderIds: readonly string[]; fields: readonly PersonalField[]; by: Actor },
  deadline?: number,
): Promise<void> {
  const ids = [...new Set(orderIds)]
  const note = (): Promise<number> =>
    database.sql.oneFirst(sql.type(z.object({ noted: z.number() }))`
      select audit_note_reads(${sql.array(ids, 'uuid')}, ${sql.array([...fields], 'text')}, ${actorText(by)}) as noted`)
  const noted = await retrying(note, deadline)
  if (noted !== ids.length) throw new Error(`${noted} of ${ids.length} reads were noted`)
}
