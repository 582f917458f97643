// The cursor: how far a source has read each network. A block, its effects and the cursor change in one transaction,
// whose first statement locks the network's row. Of two watchers of one source only one wins each block (optimistic
// concurrency); the other gets a CursorMovedError and reads the cursor again.
//
// Each source has its own cursor, blocks, outputs, outbox and balances. Row-level security keeps them apart: a statement
// of a session sees and writes the rows of that session's source alone (DatabaseOptions.source), so that none names it.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import type { Block } from '../../domain/chain.ts'
import type { Database } from '../connection/pool.ts'
import { forgetIgnored, recordOwnTransfers, recordTokenTransfers } from './ignored.ts'
import { loseOutputs, recordOutputs, restoreOutputs, settleOutputs } from './output.ts'

/** A reorganisation beyond this cannot be followed; Ethereum makes as many in 3 h 20 min. */
const KEPT_BLOCKS = 1_000

export type Cursor = {
  startHeight: number
  /** The last height whose effects are stored; startHeight - 1 before the first. */
  scannedHeight: number
  /** Null before the first. */
  scannedHash: string | null
  /** The highest height that was ever deep enough to be final. */
  settledHeight: number
  /** How deep an operator allows one reorganisation to reach. */
  rewindTo: number | null
}

/** Another watcher of the same source moved the cursor first: nothing was written. */
export class CursorMovedError extends Error {
  override readonly name = 'CursorMovedError'
}

const HEIGHT = z.bigint().transform(Number)
const CURSOR = z.object({
  startHeight: HEIGHT,
  scannedHeight: HEIGHT,
  scannedHash: z.string().nullable(),
  settledHeight: HEIGHT,
  rewindTo: HEIGHT.nullable(),
})
const NOTHING = z.unknown()

const cursorColumns = sql.fragment`c.start_height as "startHeight", c.scanned_height as "scannedHeight",
  (select hash from chain_block b where b.network = c.network and b.height = c.scanned_height) as "scannedHash",
  c.settled_height as "settledHeight", c.rewind_to as "rewindTo"`

/** The database's clock and the network's cursor; no cursor before the first start. */
export async function readCursor(database: Database, network: string): Promise<{ now: Date; cursor?: Cursor }> {
  const { now } = await database.sql.one(sql.type(z.object({ now: z.date() }))`select clock_timestamp() as now`)
  const cursor = await database.sql.maybeOne(sql.type(CURSOR)`
    select ${cursorColumns} from chain_status c where network = ${network}`)
  return cursor === null ? { now } : { now, cursor }
}

/** Stores the first block to read of a network. A network that has a cursor keeps it. */
export async function createCursor(database: Database, network: string, startHeight: number): Promise<Cursor> {
  await database.sql.query(sql.type(NOTHING)`
    insert into chain_status (network, start_height, scanned_height, settled_height, tip_height)
    values (${network}, ${startHeight}, ${startHeight - 1}, ${startHeight - 1}, ${startHeight})
    on conflict do nothing`)
  return database.sql.one(sql.type(CURSOR)`select ${cursorColumns} from chain_status c where network = ${network}`)
}

/** When the oldest order was made that still waits for money on this network. */
export async function findOldestOpening(database: Database, network: string): Promise<Date | undefined> {
  const { since } = await database.sql.one(sql.type(z.object({ since: z.date().nullable() }))`
    select min(created_at) as since from open_invoice where network = ${network}`)
  return since ?? undefined
}

/** Hashes of the scanned branch by height, from `fromHeight` up, as far as they are kept. */
export async function findBranch(
  database: Database,
  network: string,
  fromHeight: number,
): Promise<ReadonlyMap<number, string>> {
  const blocks = await database.sql.any(sql.type(z.object({ height: HEIGHT, hash: z.string() }))`
    select height, hash from chain_block where network = ${network} and height >= ${fromHeight}`)
  return new Map(blocks.map(({ height, hash }) => [height, hash]))
}

/**
 * Stores the block after the cursor with its effects: the shop's outputs in it are seen, and outputs that it buries under
 * `confirmations` blocks are final, or dropped where their own block was lost and they were not seen again. An unused
 * permission for a deep reorganisation ends once the scanned branch has grown by more than `confirmations` blocks.
 * @throws {CursorMovedError}
 */
export async function appendBlock(
  database: Database,
  network: string,
  block: Block,
  confirmations: number,
): Promise<Cursor> {
  return database.sql.transaction(async (tx) => {
    const { height, hash } = block
    const moved = await tx.maybeOne(sql.type(CURSOR.extend({ settledFrom: HEIGHT }))`
      update chain_status c
      set scanned_height = ${height}, settled_height = greatest(settled_height, ${height - confirmations + 1}),
        rewind_to = case when ${height} - rewind_given_at <= ${confirmations} then rewind_to end
      where network = ${network} and scanned_height = ${height - 1}
      returning ${cursorColumns}, old.settled_height as "settledFrom"`)
    if (moved === null) throw new CursorMovedError(`block ${height} is no longer the next one`)
    const { settledFrom, ...cursor } = { ...moved, scannedHash: hash }
    // Compared under the lock: another watcher may have rewound and reached the same height on another branch.
    const added = await tx.maybeOne(sql.type(z.object({ height: HEIGHT }))`
      insert into chain_block (network, height, hash, chain_time)
      select ${network}, ${height}, ${hash}, ${sql.timestamp(block.chainTime)}
      where not exists (
        select from chain_block
        where network = ${network} and height = ${height - 1} and hash <> ${block.parentHash})
      returning height`)
    if (added === null) throw new CursorMovedError(`block ${height} does not follow the last one`)
    await tx.query(sql.type(NOTHING)`
      delete from chain_block where network = ${network} and height <= ${height - KEPT_BLOCKS}`)
    const paying = await recordOwnTransfers(tx, network, block)
    if (paying.outputs.length > 0) await recordOutputs(tx, network, paying)
    if (block.tokenTransfers !== undefined && block.tokenTransfers.length > 0)
      await recordTokenTransfers(tx, network, block)
    await restoreOutputs(tx, network, block)
    await settleOutputs(tx, network, block, { above: settledFrom, upTo: cursor.settledHeight })
    return cursor
  })
}

/**
 * Goes back to `height`: the blocks above it are deleted, and the shop's outputs in them have lost their block. From this
 * transaction on, expiries may rely on nothing later than the common block's chain time. A permission for a deep
 * reorganisation ends with its use.
 * @throws {CursorMovedError}
 */
export async function rewind(database: Database, network: string, cursor: Cursor, height: number): Promise<Cursor> {
  return database.sql.transaction(async (tx) => {
    await lockNetwork(tx, network)
    const moved = await tx.maybeOne(sql.type(CURSOR)`
      update chain_status c
      set scanned_height = ${height}, settled_height = least(settled_height, ${height}),
        rewind_to = case when ${height} < settled_height then null else rewind_to end,
        caught_up_at = (
          select case when c.caught_up_at > b.chain_time then b.chain_time when c.caught_up_at <= b.chain_time then c.caught_up_at end
          from chain_block b where b.network = c.network and b.height = ${height})
      where network = ${network} and scanned_height = ${cursor.scannedHeight}
        and ${height} >= least(settled_height, rewind_to)
      returning ${cursorColumns}`)
    if (moved === null) throw new CursorMovedError(`block ${cursor.scannedHeight} is no longer the last one`)
    await tx.query(sql.type(NOTHING)`delete from chain_block where network = ${network} and height > ${height}`)
    await tx.query(sql.type(NOTHING)`
      update chain_balance set checked_at = null where network = ${network} and height > ${height}`)
    await loseOutputs(tx, network, height)
    await forgetIgnored(tx, network, height)
    return moved
  })
}

/**
 * Locks the network's row. Read what you decide on in a later statement: a statement that waits for a lock has taken its
 * snapshot before.
 * @returns whether there is such a network
 */
export async function lockNetwork(tx: DatabaseTransactionConnection, network: string): Promise<boolean> {
  const locked = await tx.any(sql.type(NOTHING)`
    select network from chain_status where network = ${network} for no key update`)
  return locked.length > 0
}
