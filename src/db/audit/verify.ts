// Reads for verification: every entry once in tree order, every link once in chain order, and the heads of the chains.
// Results are paged, so that no table is held in memory and no statement runs long.

import { sql } from 'slonik'
import { z } from 'zod'
import { UUID_PATTERN } from '../../domain/identifier.ts'
import type { AuditDb } from './seal.ts'

const bytes = z.instanceof(Buffer)
const ENTRY = z.object({
  entryId: z.bigint(),
  txid: z.string().transform(BigInt),
  /** The text in the body. */
  at: z.string(),
  kind: z.string(),
  aggregateId: z.string().nullable(),
  seq: z.bigint().nullable(),
  prevHash: bytes.nullable(),
  actor: z.string(),
  body: z.string(),
  hash: bytes,
})
export type AuditEntry = z.output<typeof ENTRY>

const ENTRY_COLUMNS = sql.fragment`entry_id as "entryId", e.txid::text as txid,
  (to_json(e.at at time zone 'UTC') #>> '{}') || '+00:00' as at, kind, aggregate_id as "aggregateId", seq,
  prev_hash as "prevHash", actor, body, hash`

const FIRST = { txid: 0n, entryId: -1n }

/** Entries with `afterId` < id ≤ `upToId` in tree order, page by page. */
export async function* readEntries(
  database: AuditDb,
  { afterId, upToId, pageSize }: { afterId: bigint; upToId: bigint | undefined; pageSize: number },
): AsyncGenerator<AuditEntry> {
  const bound = upToId === undefined ? sql.fragment`` : sql.fragment`and entry_id <= ${upToId}`
  let last: { txid: bigint; entryId: bigint } | undefined = FIRST
  while (last !== undefined) {
    const page: readonly AuditEntry[] = await database.sql.any(sql.type(ENTRY)`
      select ${ENTRY_COLUMNS} from audit_entry e
      where (e.txid, entry_id) > (${String(last.txid)}::xid8, ${last.entryId}) and entry_id > ${afterId} ${bound}
      order by e.txid, entry_id limit ${pageSize}`)
    yield* page
    last = page.length < pageSize ? undefined : page.at(-1)
  }
}

/** A chain's entries after a place in it, oldest first. */
export const listChain = (
  database: AuditDb,
  chain: { kind: string; aggregateId: string },
  page: { afterSeq: bigint; limit: number },
): Promise<readonly AuditEntry[]> =>
  database.sql.any(sql.type(ENTRY)`
    select ${ENTRY_COLUMNS} from audit_entry e
    where kind = ${chain.kind} and aggregate_id = ${chain.aggregateId} and seq > ${page.afterSeq}
    order by seq limit ${page.limit}`)

const LINK = z.object({
  entryId: z.bigint(),
  kind: z.string(),
  aggregateId: z.string(),
  seq: z.bigint(),
  prevHash: bytes.nullable(),
  hash: bytes,
})
export type Link = z.output<typeof LINK>

/** All links, chain by chain, page by page. */
export async function* readLinks(database: AuditDb, pageSize: number): AsyncGenerator<readonly Link[]> {
  let last: { kind: string; aggregateId: string; seq: bigint } | undefined = { kind: '', aggregateId: '', seq: 0n }
  while (last !== undefined) {
    const page: readonly Link[] = await database.sql.any(sql.type(LINK)`
      select entry_id as "entryId", kind, aggregate_id as "aggregateId", seq, prev_hash as "prevHash", hash
      from audit_entry
      where aggregate_id is not null and (kind, aggregate_id, seq) > (${last.kind}, ${last.aggregateId}, ${last.seq})
      order by kind, aggregate_id, seq limit ${pageSize}`)
    yield page
    last = page.length < pageSize ? undefined : page.at(-1)
  }
}

const HEAD = z.object({
  kind: z.string(),
  aggregateId: z.string(),
  /** Null: the first entry is also the last. */
  seq: z.bigint().nullable(),
  hash: bytes.nullable(),
  /** The newest entry, in the same snapshot. */
  lastSeq: z.bigint().nullable(),
  lastHash: bytes.nullable(),
})
export type Head = z.output<typeof HEAD>

const NUMBER = /^[1-9][0-9]{0,17}$/

/** The heads of aggregates with their newest entries; an aggregate without a row has none. */
export function readHeads(
  database: AuditDb,
  aggregates: readonly { kind: string; aggregateId: string }[],
): Promise<readonly Head[]> {
  const idsOf = (kind: string, shape: RegExp): string[] =>
    aggregates.filter((one) => one.kind === kind && shape.test(one.aggregateId)).map(({ aggregateId }) => aggregateId)
  return database.sql.any(sql.type(HEAD)`
    select r.kind, r.id as "aggregateId", h.seq, h.hash, l.seq as "lastSeq", l.hash as "lastHash"
    from (
      select 'order' as kind, order_id::text as id from orders
      where order_id = any (${sql.array(idsOf('order', UUID_PATTERN), 'uuid')})
      union all select 'product', product_id from product
      where product_id = any (${sql.array(idsOf('product', /./), 'text')})
      union all select 'customer', user_id::text from customer
      where user_id = any (${sql.array(idsOf('customer', NUMBER), 'int8')})
      union all select 'key', key_id::text from payment_key
      where key_id = any (${sql.array(idsOf('key', UUID_PATTERN), 'uuid')})
    ) r left join lateral (
      select e.seq, e.hash from audit_head e where e.kind = r.kind and e.aggregate_id = r.id limit 1
    ) h on true left join lateral (
      select e.seq, e.hash from audit_entry e where e.kind = r.kind and e.aggregate_id = r.id order by e.seq desc limit 1
    ) l on true`)
}

const sum = z.string().transform(BigInt)
const MOMENT = z.object({ snapshot: z.string(), horizon: z.string().transform(BigInt), lastMovementId: z.bigint() })

/**
 * One snapshot of the stock ledger: its newest movement, the running transactions, and the horizon below which none
 * ran.
 */
export const readLedgerMoment = (database: AuditDb): Promise<z.output<typeof MOMENT>> =>
  database.sql.one(sql.type(MOMENT)`
    select pg_current_snapshot()::text as snapshot, pg_snapshot_xmin(pg_current_snapshot())::text as horizon,
      coalesce(max(movement_id), 0) as "lastMovementId"
    from stock_movement`)

/** True if all transactions of a snapshot have ended. */
export const isSnapshotOver = (database: AuditDb, snapshot: string): Promise<boolean> =>
  database.sql.oneFirst(sql.type(z.object({ isOver: z.boolean() }))`
    select not exists (
      select pg_snapshot_xip(${snapshot}::pg_snapshot) intersect select pg_snapshot_xip(pg_current_snapshot())
    ) as "isOver"`)

const MOVED = z.object({ productId: z.string(), onHand: sum, reserved: sum, lastId: z.bigint() })
const LOWEST_ID = -(2n ** 63n)

/** The sums of movements up to one, by product within each page. */
export async function* readMovements(
  database: AuditDb,
  upToId: bigint,
  pageSize: number,
): AsyncGenerator<z.output<typeof MOVED>> {
  let after: bigint | undefined = LOWEST_ID
  while (after !== undefined) {
    const page: readonly z.output<typeof MOVED>[] = await database.sql.any(sql.type(MOVED)`
      with page as (
        select movement_id, product_id, on_hand_delta, reserved_delta from stock_movement
        where movement_id > ${after} and movement_id <= ${upToId} order by movement_id limit ${pageSize}
      )
      select product_id as "productId", sum(on_hand_delta)::text as "onHand", sum(reserved_delta)::text as reserved,
        (select max(movement_id) from page) as "lastId"
      from page group by product_id`)
    yield* page
    after = page.at(-1)?.lastId
  }
}

const COUNTED = z.object({ productId: z.string(), version: z.bigint(), onHand: sum, reserved: sum })

/** The version of each product's stock row and, in the same snapshot, the sum of later movements. */
export async function* readCounted(
  database: AuditDb,
  afterId: bigint,
  pageSize: number,
): AsyncGenerator<z.output<typeof COUNTED>> {
  let after: string | undefined = ''
  while (after !== undefined) {
    // One statement, hence one snapshot.
    const page: readonly z.output<typeof COUNTED>[] = await database.sql.any(sql.type(COUNTED)`
      select s.product_id as "productId", s.version, coalesce(m.on_hand, 0)::text as "onHand", coalesce(m.reserved, 0)::text as reserved
      from (select product_id, version from stock where product_id > ${after} order by product_id limit ${pageSize}) s
      left join (
        select product_id, sum(on_hand_delta) as on_hand, sum(reserved_delta) as reserved from stock_movement
        where movement_id > ${afterId} group by product_id
      ) m using (product_id)
      order by product_id`)
    yield* page
    after = page.length < pageSize ? undefined : page.at(-1)?.productId
  }
}
