// Who changes something, and what an audit entry says about it. The body of an entry is the text its hash is taken of:
// Postgres writes it (audit_body in migrations), and bodyText writes the same bytes, so that a reader of an
// entry can check that it is the hashed text. This file does no hashing.

import type { ActorRole } from './order.ts'

/** `migration`: the tables' owner, changing the rules themselves. */
export type AuditRole = ActorRole | 'migration'

/** Ids and hashes only: an entry is kept for years and cannot be taken back. */
export type Actor = {
  /** `user:7`, `watcher:eth-1`, `system:worker`. */
  actor: string
  role: AuditRole
  /** The call that asked. */
  requestId?: string
  /** The token it showed (jti). */
  tokenId?: string
  /** Keyed hash of where it came from, hex. */
  ipHash?: string
  /** Keyed hash of what it asked for, hex. */
  requestHash?: string
  reason?: string
}

/** Who made a manual change, and why. */
export type OperatorDecision = { operator: string; reason: string }

export const systemActor = (name: string): Actor => ({ actor: `system:${name}`, role: 'system' })

/** Column values as Postgres writes them to JSON; 64-bit numbers and amounts are text, bytes are hex. */
export type AuditRow = Readonly<Record<string, unknown>>

/**
 * One row that a statement touched. `old` and `new` are without the key; of an update they hold what changed. READ: fields
 * of an order with personal data were shown to someone who does not own it; `new` names the owner and the fields.
 */
export type AuditChange =
  | { table: string; op: 'INSERT'; key: AuditRow; new: AuditRow }
  | { table: string; op: 'UPDATE'; key: AuditRow; old: AuditRow; new: AuditRow }
  | { table: string; op: 'DELETE'; key: AuditRow; old: AuditRow }
  | { table: 'pii_access'; op: 'READ'; key: AuditRow; new: AuditRow }

export type AuditBody = {
  kind: string
  /** Null: about a whole statement. */
  id: string | null
  /** Place in the aggregate's chain, from 1; null where there is no chain. */
  seq: string | null
  at: string
  txid: string
  /** The database role that wrote. */
  dbRole: string
  by: Actor
  changes: readonly AuditChange[]
}

/** The canonical form: the members in this order, no spaces. */
export const bodyText = ({ kind, id, seq, at, txid, dbRole, by, changes }: AuditBody): string =>
  JSON.stringify({ kind, id, seq, at, txid, dbRole, by, changes })

/** What a body says, or undefined when it is not in canonical form. */
export function parseBody(text: string): AuditBody | undefined {
  try {
    const body = JSON.parse(text) as AuditBody
    return bodyText(body) === text ? body : undefined
  } catch {
    return undefined
  }
}

/** Rows by table and key. */
export type AuditView = Map<string, Record<string, unknown>>

export const rowKey = (table: string, key: AuditRow): string => `${table} ${JSON.stringify(key)}`

/** Brings a view of an aggregate's rows up to date with an entry's changes. */
export function applyChanges(view: AuditView, changes: readonly AuditChange[]): void {
  for (const change of changes) {
    if (change.op === 'READ') continue
    const key = rowKey(change.table, change.key)
    if (change.op === 'DELETE') view.delete(key)
    else view.set(key, { ...view.get(key), ...change.key, ...change.new })
  }
}
