// Reads and checks audit entries in tests: parses them as src/db does and compares them with the table rows.

import { createHash } from 'node:crypto'
import { expect } from '@jest/globals'
import { parseBody, type AuditBody } from '../../src/domain/audit.ts'
import type { TestDatabase } from './database.ts'

type Reader = Pick<TestDatabase, 'query'>

export type AuditEntryRow = {
  aggregateId: string | null
  seq: bigint | null
  prevHash: Buffer | null
  body: string
  hash: Buffer
}

const COLUMNS = 'aggregate_id as "aggregateId", seq, prev_hash as "prevHash", body, hash'

/** The audit chain of one aggregate, from its first entry. */
export const entriesOf = ({ query }: Reader, kind: string, id: string): Promise<AuditEntryRow[]> =>
  query<AuditEntryRow>(`select ${COLUMNS} from audit_entry where kind = $1 and aggregate_id = $2 order by seq`, [
    kind,
    id,
  ])

/** Parses an entry's body. @throws {Error} unless it is in canonical form */
export function bodyOf(entry: Pick<AuditEntryRow, 'body'> | undefined): AuditBody {
  const body = parseBody(entry?.body ?? '')
  if (body === undefined) throw new Error(`not in canonical form: ${entry?.body}`)
  return body
}

export const lastOf = async (reader: Reader, kind: string, id: string): Promise<AuditBody> =>
  bodyOf((await entriesOf(reader, kind, id)).at(-1))

const KINDS = [
  ['order', 'orders', 'order_id'],
  ['product', 'product', 'product_id'],
  ['customer', 'customer', 'user_id'],
  ['key', 'payment_key', 'key_id'],
] as const

/** Checks every audit chain, from its first entry to its head. */
export async function expectWholeChains({ query }: Reader): Promise<void> {
  for (const [kind, table, id] of KINDS) {
    const entries = await query<AuditEntryRow>(
      `select ${COLUMNS} from audit_entry where kind = $1 order by aggregate_id, seq`,
      [kind],
    )
    const heads = new Map<string, { seq: bigint; hash: Buffer }>()
    for (const { aggregateId, seq, prevHash, body, hash } of entries) {
      const before = heads.get(aggregateId ?? '')
      expect([aggregateId, seq, prevHash]).toEqual([aggregateId, (before?.seq ?? 0n) + 1n, before?.hash ?? null])
      const whole = Buffer.concat([prevHash ?? Buffer.alloc(0), Buffer.from(body)])
      expect(createHash('sha256').update(whole).digest()).toEqual(hash)
      const { kind: saidKind, id: saidId, seq: saidSeq } = bodyOf({ body })
      expect([saidKind, saidId, saidSeq]).toEqual([kind, aggregateId, String(seq)])
      heads.set(aggregateId ?? '', { seq: seq ?? 0n, hash })
    }
    const rows = await query<{ id: string; seq: bigint | null; hash: Buffer | null }>(
      `select r.${id}::text as id, h.seq, h.hash from ${table} r
       left join audit_head h on h.kind = $1 and h.aggregate_id = r.${id}::text`,
      [kind],
    )
    // A chain of one entry has no head row: accepting an order writes none.
    for (const { id: aggregateId, seq, hash } of rows) {
      const head = heads.get(aggregateId)
      expect({ aggregateId, head: { seq: seq ?? 1n, hash: hash ?? head?.hash } }).toEqual({ aggregateId, head })
    }
    expect(heads.size).toBe(rows.length)
  }
}
