// Who acts, told to the database with the first statement of a transaction, and what it kept of it. The entries
// themselves are written by triggers (migrations/0010): a change that no entry covers does not commit.

import type { Actor } from '../domain/audit.ts'
import { statement, type Database } from './pool.ts'

/** As `holdfast.actor` holds it for the transaction. */
export const actorText = (by: Actor): string => JSON.stringify(by)

/** `holdfast.actors`: who acts on which aggregate, where one transaction serves many callers. */
export const actorsText = (actors: Iterable<readonly [id: string, by: Actor]>): string =>
  JSON.stringify(Object.fromEntries(actors))

export type AuditEntryRow = {
  entryId: bigint
  at: Date
  kind: string
  aggregateId: string | null
  seq: bigint | null
  prevHash: Buffer | null
  body: string
  hash: Buffer
}

const FIND_ENTRIES = statement(
  'audit_find_entries',
  `select entry_id as "entryId", at, kind, aggregate_id as "aggregateId", seq, prev_hash as "prevHash", body, hash
   from audit_entry where kind = $1 and aggregate_id = $2 and seq > $3 order by seq limit $4`,
)

/** A chain's entries after a place in it, oldest first. */
export const findAuditEntries = (
  database: Pick<Database, 'run'>,
  chain: { kind: string; id: string },
  page: { afterSeq: bigint; limit: number },
): Promise<AuditEntryRow[]> =>
  database.run<AuditEntryRow>(FIND_ENTRIES, [chain.kind, chain.id, page.afterSeq.toString(), page.limit])
