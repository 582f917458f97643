// Statements of the sealer and of verification: checkpoints, tiles of the Merkle tree, and entries in tree order. They
// make no decisions; src/audit does.

import { sql, type CommonQueryMethods } from 'slonik'
import { z } from 'zod'
import type { Checkpoint, SealedRange } from '../../domain/checkpoint.ts'
import { tileKey, type Tile, type TileId } from '../../domain/tile.ts'

/** A pool or one transaction of it. */
export type AuditDb = { sql: CommonQueryMethods }

const HASH_BYTES = 32
const txid = z.string().transform(BigInt)
const whole = z.bigint().transform(Number)
const hex = z.instanceof(Buffer).transform((bytes) => bytes.toString('hex'))

const CHECKPOINT = z.object({
  no: whole,
  continues: whole,
  size: whole,
  root: hex,
  afterEntryId: z.bigint(),
  lastEntryId: z.bigint(),
  belowTxid: txid,
  at: z.date().transform((at) => at.toISOString()),
  previous: hex,
  keyId: z.string(),
  signature: z.instanceof(Buffer).transform((bytes) => bytes.toString('base64')),
})

const COLUMNS = sql.fragment`checkpoint_no as no, continues_no as continues, size, root, after_entry_id as "afterEntryId",
  last_entry_id as "lastEntryId", below_txid::text as "belowTxid", sealed_at as at, previous, key_id as "keyId", signature`

/** Page size of checkpoints. */
export const CHECKPOINTS_PAGE = 500

/** Checkpoints after `afterNo`, in ascending order. */
export const listCheckpoints = (database: AuditDb, afterNo: number, limit: number): Promise<readonly Checkpoint[]> =>
  database.sql.any(sql.type(CHECKPOINT)`
    select ${COLUMNS} from audit_checkpoint where checkpoint_no > ${afterNo} order by checkpoint_no limit ${limit}`)

export const findCheckpoint = (database: AuditDb, no: number): Promise<Checkpoint | null> =>
  database.sql.maybeOne(sql.type(CHECKPOINT)`select ${COLUMNS} from audit_checkpoint where checkpoint_no = ${no}`)

export const findLastCheckpoint = (database: AuditDb): Promise<Checkpoint | null> =>
  database.sql.maybeOne(sql.type(CHECKPOINT)`
    select ${COLUMNS} from audit_checkpoint order by checkpoint_no desc limit 1`)

/**
 * The last entry id of each completed transaction-id era, in ascending order. A new era starts when transaction ids
 * restart after a restore.
 */
export const listEraEnds = async (database: AuditDb): Promise<readonly bigint[]> =>
  database.sql.anyFirst(sql.type(z.object({ after: z.bigint() }))`
    select distinct after_entry_id as after from audit_checkpoint where after_entry_id > 0 order by after`)

/** The first checkpoint whose root covers an entry; null: none yet. */
export const findSealOf = (database: AuditDb, entry: { entryId: bigint; txid: bigint }): Promise<Checkpoint | null> =>
  database.sql.maybeOne(sql.type(CHECKPOINT)`
    with era as (
      select coalesce(max(after_entry_id), 0) as after from audit_checkpoint where after_entry_id < ${entry.entryId}
    ), next as (
      select min(after_entry_id) as after from audit_checkpoint where after_entry_id >= ${entry.entryId}
    )
    select ${COLUMNS} from audit_checkpoint, era, next
    where after_entry_id = era.after and below_txid > ${String(entry.txid)}::xid8 or after_entry_id = next.after
    order by checkpoint_no limit 1`)

const TILE = z.object({ level: z.number(), no: whole, hashes: z.instanceof(Buffer) })

/** The stored tiles, by tileKey. */
export async function readTiles(database: AuditDb, ids: readonly TileId[]): Promise<Map<string, Tile>> {
  const rows = await database.sql.any(sql.type(TILE)`
    select level, tile_no as no, hashes from audit_tile
    join ${sql.unnest(
      ids.map(({ level, no }) => [level, no]),
      ['int2', 'int8'],
    )} as wanted (level, tile_no) using (level, tile_no)`)
  return new Map(rows.map(({ level, no, hashes }) => [tileKey({ level, no }), { level, no, hashes: split(hashes) }]))
}

const split = (hashes: Buffer): Buffer[] =>
  Array.from({ length: hashes.length / HASH_BYTES }, (_, at) => hashes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES))

/** The transaction horizon: the lowest id that may still write, and the next id to be assigned. */
export const readHorizon = (database: AuditDb): Promise<{ xmin: bigint; xmax: bigint }> =>
  database.sql.one(sql.type(z.object({ xmin: txid, xmax: txid }))`
    select pg_snapshot_xmin(now)::text as xmin, pg_snapshot_xmax(now)::text as xmax from pg_current_snapshot() as now`)

/** The transaction of the entry after `count` entries of a range; null if there are fewer. */
export const findTxidAt = (database: AuditDb, range: SealedRange, count: number): Promise<bigint | null> =>
  database.sql.maybeOneFirst(sql.type(z.object({ txid }))`
    select txid::text as txid from audit_entry where ${within(range)} order by audit_entry.txid, entry_id
    offset ${count} limit 1`)

const LEAF = z.object({ entryId: z.bigint(), txid, hash: z.instanceof(Buffer) })
export type LeafEntry = z.output<typeof LEAF>

/** The entries of a range that become leaves, in tree order. */
export const listLeaves = (database: AuditDb, range: SealedRange): Promise<readonly LeafEntry[]> =>
  database.sql.any(sql.type(LEAF)`
    select entry_id as "entryId", txid::text as txid, hash from audit_entry where ${within(range)}
    order by audit_entry.txid, entry_id`)

/** The highest entry id from before a restore: of sealed entries, and of unsealed ones with ids of the old era. */
export const findLastOldEntry = (
  database: AuditDb,
  base: { lastEntryId: bigint; belowTxid: bigint },
): Promise<bigint> =>
  database.sql.oneFirst(sql.type(z.object({ last: z.bigint() }))`
    select greatest(${base.lastEntryId}, max(entry_id)) as last from audit_entry
    where audit_entry.txid >= ${String(base.belowTxid)}::xid8`)

function within({ afterEntryId, upToEntryId, fromTxid, belowTxid }: SealedRange) {
  const conditions = [
    sql.fragment`entry_id > ${afterEntryId} and audit_entry.txid >= ${String(fromTxid)}::xid8`,
    ...(upToEntryId === undefined ? [] : [sql.fragment`entry_id <= ${upToEntryId}`]),
    ...(belowTxid === undefined ? [] : [sql.fragment`audit_entry.txid < ${String(belowTxid)}::xid8`]),
  ]
  return sql.join(conditions, sql.fragment` and `)
}

/**
 * Stores a checkpoint and the new tiles in one transaction. Race: another sealer with the same checkpoint. The number
 * and `continues` are unique, so one of the two fails.
 */
export async function storeCheckpoint(
  database: AuditDb,
  checkpoint: Checkpoint,
  tiles: readonly Tile[],
): Promise<void> {
  const { no, continues, size, root, afterEntryId, lastEntryId, belowTxid, at, previous, keyId, signature } = checkpoint
  await database.sql.query(sql.type(z.object({}))`
    with sealed as (
      insert into audit_checkpoint (checkpoint_no, continues_no, size, root, after_entry_id, last_entry_id, below_txid,
        sealed_at, previous, key_id, signature)
      values (${no}, ${continues}, ${size}, ${sql.binary(Buffer.from(root, 'hex'))}, ${afterEntryId}, ${lastEntryId},
        ${String(belowTxid)}::xid8, ${sql.timestamp(new Date(at))}, ${sql.binary(Buffer.from(previous, 'hex'))}, ${keyId},
        ${sql.binary(Buffer.from(signature, 'base64'))})
    )
    insert into audit_tile (level, tile_no, hashes)
    select * from ${sql.unnest(
      tiles.map(({ level, no: tileNo, hashes }) => [level, tileNo, Buffer.concat(hashes)]),
      ['int2', 'int8', 'bytea'],
    )} as grown (level, tile_no, hashes)
    on conflict (level, tile_no) do update set hashes = excluded.hashes`)
}

/**
 * Creates the missing partitions of this month and the next `months`.
 * @returns how many it created
 */
export const makePartitions = (database: AuditDb, months: number): Promise<number> =>
  database.sql.oneFirst(sql.type(z.object({ made: z.number() }))`
    select audit_make_partitions((now() at time zone 'utc')::date, ${months + 1}) as made`)

const COUNTED_AT_MOST = 100_000

/** The number of unsealed entries, counted up to a bound, and the age of the oldest. */
export const readUnsealed = (
  database: AuditDb,
  base: { afterEntryId: bigint; belowTxid: bigint },
): Promise<{ entries: number; oldestS: number }> =>
  database.sql.one(sql.type(z.object({ entries: z.number(), oldestS: z.number() }))`
    select count(*)::int as entries,
      coalesce(extract(epoch from clock_timestamp() - min(at)), 0)::float8 as "oldestS"
    from (select at from audit_entry
      where entry_id > ${base.afterEntryId} and audit_entry.txid >= ${String(base.belowTxid)}::xid8
      order by audit_entry.txid, entry_id limit ${COUNTED_AT_MOST}) waiting`)
