// The watcher's memory. A block, what it changes and the cursor move in one transaction, whose first statement takes
// the network's row: of two watchers on one network each step belongs to one, and the other looks again.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import type { Asset } from '../../domain/payment.ts'
import type { Database } from '../connection/pool.ts'

/** A reorganisation beyond this cannot be followed; Ethereum makes as many in 3 h 20 min. */
const KEPT_BLOCKS = 1_000
/** A refused report waits 1, 2, 4 … s, at most ten minutes; it is never given up. */
const MAX_REFUSAL_WAIT_S = 600
/** Refused this often, a report no longer holds back the later ones of its output. */
const ISOLATING_REFUSALS = 5

/** States of an output that a watcher of blocks can see. */
const OUTPUT_STATES = ['seen', 'final', 'reorged', 'dropped'] as const

export type Cursor = {
  startHeight: number
  /** The last height whose effects are stored; startHeight - 1 before the first. */
  scannedHeight: number
  /** Null before the first. */
  scannedHash: string | null
  /** The highest height that was ever deep enough to be final. */
  settledHeight: number
  /** The name its reports carry; null until a watcher has claimed the network. */
  source: string | null
  /** How deep an operator allows one reorganisation to reach. */
  rewindTo: number | null
}

export type BlockToScan = {
  height: number
  hash: string
  parentHash: string
  minedAt: Date
  /** No later block of the branch has an earlier time of its own. */
  chainTime: Date
  transfers: readonly { asset: Asset; txId: string; outputIndex: number; address: string; amount: bigint }[]
  /** As of the block: its transactions, where what they did inside contracts is not in `transfers`. */
  untracedTxIds?: readonly string[]
}

type Stamp = {
  tip: { height: number; hash: string; chainTime: Date }
  askedAt: Date
  isVouched: boolean
  /** From then on no order of the network expires before its balance was looked at past its end. */
  comparesBalances: boolean
}

/** One state of one output, still to be reported. */
export type Observation = z.output<typeof OBSERVATION>

/** Another watcher of the same network moved the cursor first: nothing was written. */
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
  source: z.string().nullable(),
})
const OBSERVATION = z.object({
  reportNo: z.bigint(),
  asset: z.string().transform((asset) => asset as Asset),
  txId: z.string(),
  outputIndex: z.number(),
  seq: z.number(),
  state: z.enum(OUTPUT_STATES),
  address: z.string(),
  amount: z.string().transform(BigInt),
  blockHeight: HEIGHT,
  blockHash: z.string(),
  firstSeenAt: z.date(),
})
const NOTHING = z.unknown()

const cursorColumns = sql.fragment`c.start_height as "startHeight", c.scanned_height as "scannedHeight",
  (select hash from chain_block b where b.network = c.network and b.height = c.scanned_height) as "scannedHash",
  c.settled_height as "settledHeight", c.rewind_to as "rewindTo", c.source`

/** The database's clock, and where this network was left; no cursor before the first start. */
export async function readCursor(database: Database, network: string): Promise<{ now: Date; cursor?: Cursor }> {
  const { now } = await database.sql.one(sql.type(z.object({ now: z.date() }))`select clock_timestamp() as now`)
  const cursor = await database.sql.maybeOne(sql.type(CURSOR)`
    select ${cursorColumns} from chain_status c where network = ${network}`)
  return cursor === null ? { now } : { now, cursor }
}

/** Remembers where a network's history begins for us, once and for good. */
export async function createCursor(database: Database, network: string, startHeight: number): Promise<Cursor> {
  await database.sql.query(sql.type(NOTHING)`
    insert into chain_status (network, start_height, scanned_height, settled_height, tip_height)
    values (${network}, ${startHeight}, ${startHeight - 1}, ${startHeight - 1}, ${startHeight})
    on conflict do nothing`)
  return database.sql.one(sql.type(CURSOR)`select ${cursorColumns} from chain_status c where network = ${network}`)
}

/** Makes a source the one whose name the reports of this network carry; false when another is. */
export async function claimNetwork(database: Database, network: string, source: string): Promise<boolean> {
  const claimed = await database.sql.any(sql.type(NOTHING)`
    update chain_status
    set source = ${source}, caught_up_at = case when source is not null then caught_up_at end
    where network = ${network} and (source is null or source = ${source}) returning network`)
  return claimed.length > 0
}

/** When the oldest order was made that still waits for money on this network. */
export async function findOldestOpening(database: Database, network: string): Promise<Date | undefined> {
  const { since } = await database.sql.one(sql.type(z.object({ since: z.date().nullable() }))`
    select min(created_at) as since from open_invoice where network = ${network}`)
  return since ?? undefined
}

/** Which of these addresses a customer was ever shown. */
export async function findOurs(
  database: Database,
  network: string,
  addresses: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await database.sql.any(sql.type(z.object({ address: z.string() }))`
    select address from invoice where network = ${network} and address = any (${sql.array([...addresses], 'text')})`)
  return new Set(rows.map(({ address }) => address))
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
 * Stores the block after the cursor with all it means: our outputs in it are seen, and what it buries under
 * `confirmations` blocks is final, or dropped if its own block was lost and it never came back. An operator's leave for a
 * deep reorganisation ends unused once so many blocks more have come to our branch.
 * @throws {CursorMovedError}
 */
export async function appendBlock(
  database: Database,
  network: string,
  block: BlockToScan,
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
    // Looked at again under the lock: another watcher may have gone back and come to the same height on another branch.
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
    if (block.transfers.length > 0) await sightOutputs(tx, network, block)
    await meetAgain(tx, network, block)
    await tx.query(sql.type(NOTHING)`
      with changed as (
        update chain_output set state = case state when 'seen' then 'final' else 'dropped' end, seq = seq + 1
        where network = ${network} and block_height > ${settledFrom} and block_height <= ${cursor.settledHeight}
          and state in ('seen', 'reorged')
        returning *
      ), unread as (
        -- Dropped is what was not read again. Whether the money is there, the balance tells.
        insert into chain_balance as b (network, address, height, block_hash, balance, told, unexplained)
        select distinct network, address, ${height}::bigint, ${hash}, 0, 0, 0 from changed
        where state = 'dropped' and exists (select from chain_status where network = ${network} and compares_balances)
        on conflict on constraint chain_balance_pk do update set checked_at = null
      ) ${reportChanges}`)
    return cursor
  })
}

/** Tells of the outputs that `changed`, a statement's common table, returns. */
export const reportChanges = sql.fragment`
  insert into chain_report (network, tx_id, output_index, seq, state, block_height, block_hash, first_seen_at)
  select network, tx_id, output_index, seq, state, block_height, block_hash, first_seen_at from changed`

/**
 * One indexed look for all of a block's recipients: ours is every address a customer was ever shown. An output that was
 * lost and is mined again keeps its earliest sighting, not its amount: what a contract sends may depend on the block. The
 * block's own time counts where it is earlier than ours, in the customer's favour.
 */
async function sightOutputs(tx: DatabaseTransactionConnection, network: string, block: BlockToScan): Promise<void> {
  const transfers = block.transfers.map(({ amount, ...rest }) => ({ ...rest, amount: amount.toString() }))
  // Money that was attributed by its balance may be this transfer, read only now: it is told of once, as what it is. The
  // balance counted what came up to its own block, which may be later than the one an operator named. A transfer that was
  // told then, also one that waits to be met again, is none of what was attributed.
  await tx.query(sql.type(NOTHING)`
    with changed as (
      update chain_output a set state = 'dropped', seq = a.seq + 1
      where a.network = ${network} and coalesce(a.counted_height, a.block_height) >= ${block.height} and a.is_attributed and a.state <> 'dropped'
        and exists (
          select from jsonb_to_recordset(${sql.jsonb(transfers)}) as t ("txId" text, "outputIndex" integer, address text)
          left join chain_output o
            on (o.network, o.tx_id, o.output_index) = (a.network, t."txId", t."outputIndex") and o.state <> 'dropped'
          where t.address = a.address and o.tx_id is null)
      returning a.*
    ) ${reportChanges}`)
  await tx.query(sql.type(NOTHING)`
    with changed as (
      insert into chain_output as o
        (network, tx_id, output_index, asset, address, amount, state, seq, block_height, block_hash, first_seen_at)
      select distinct on (t."txId", t."outputIndex") ${network}, t."txId", t."outputIndex", t.asset, t.address, t.amount, 'seen', 1, ${block.height}, ${block.hash},
        least(clock_timestamp(), ${sql.timestamp(block.minedAt)})
      from jsonb_to_recordset(${sql.jsonb(transfers)})
        as t ("txId" text, "outputIndex" integer, asset text, address text, amount numeric)
      where exists (select from invoice i where i.network = ${network} and i.address = t.address)
      on conflict on constraint chain_output_pk do update
        set state = 'seen', seq = o.seq + 1, amount = excluded.amount, block_height = excluded.block_height, block_hash = excluded.block_hash,
          first_seen_at = least(o.first_seen_at, excluded.first_seen_at)
        where o.state in ('reorged', 'dropped')
      returning *
    ) ${reportChanges}`)
}

/**
 * The same block, known by its hash, holds what it held: what contracts sent in it, where its node does not show that any
 * more, and what an operator attributed to it. Not what was dropped: its address was compared since, and the money may be
 * told already as an attributed output.
 */
async function meetAgain(tx: DatabaseTransactionConnection, network: string, block: BlockToScan): Promise<void> {
  await tx.query(sql.type(NOTHING)`
    with changed as (
      update chain_output set state = 'seen', seq = seq + 1
      where network = ${network} and block_height = ${block.height} and block_hash = ${block.hash}
        and state = 'reorged' and (is_attributed or tx_id = any (${sql.array([...(block.untracedTxIds ?? [])], 'text')}))
      returning *
    ) ${reportChanges}`)
}

/**
 * Goes back to `height`: the blocks above it are forgotten and our outputs in them have lost their block. Expiries may
 * rely on nothing later than the common block's chain time from this transaction on. An operator's leave for a deep
 * reorganisation ends with it.
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
    return moved
  })
}

/** Our outputs above a height have lost their block, until they are met again. The caller holds the network's row. */
export async function loseOutputs(tx: DatabaseTransactionConnection, network: string, height: number): Promise<void> {
  await tx.query(sql.type(NOTHING)`
    with changed as (
      update chain_output set state = 'reorged', seq = seq + 1
      where network = ${network} and block_height > ${height} and state in ('seen', 'final')
      returning *
    ) ${reportChanges}`)
}

/**
 * Waits for the network's row. What decides is read by a later statement: one that waits for a lock has read the rest
 * before.
 * @returns whether there is such a network
 */
export async function lockNetwork(tx: DatabaseTransactionConnection, network: string): Promise<boolean> {
  const locked = await tx.any(sql.type(NOTHING)`
    select network from chain_status where network = ${network} for no key update`)
  return locked.length > 0
}

/**
 * Notes that the node was asked at `askedAt` and what it called its tip. Where that very block is the last one scanned
 * and no report waits, all that the chain holds up to the tip's chain time is stored and delivered: this time, or
 * `askedAt` where the chain's clock is ahead of ours, is what expiries may rely on. It is never the time of the
 * question, because a node may lag and a block arrives after its own time. An unpaid order therefore waits for the first
 * block after its end: 12 s on Ethereum, and on Bitcoin an hour and more, since chain time there is a median.
 * `isVouched` false withholds it. What was stamped wrongly, or before the database's clock went back, ends at its present.
 * @returns what may be relied on now; null: nothing
 */
export async function stampStatus(
  database: Database,
  network: string,
  { tip, askedAt, isVouched, comparesBalances }: Stamp,
): Promise<Date | null> {
  return database.sql.transaction(async (tx) => {
    await lockNetwork(tx, network)
    const { caughtUpAt } = await tx.one(sql.type(z.object({ caughtUpAt: z.date().nullable() }))`
      update chain_status c
      set tip_height = ${tip.height}, tip_asked_at = least(now(), greatest(c.tip_asked_at, ${sql.timestamp(askedAt)})),
        compares_balances = ${comparesBalances},
        caught_up_at = case
          when ${isVouched} and c.scanned_height = ${tip.height}
            and exists (select from chain_block b where b.network = c.network and b.height = ${tip.height} and b.hash = ${tip.hash})
            and not exists (select from chain_report r where r.network = c.network)
          then least(now(), greatest(c.caught_up_at, least(${sql.timestamp(tip.chainTime)}, ${sql.timestamp(askedAt)})))
          when c.caught_up_at > now() then now() else c.caught_up_at end
      where c.network = ${network}
      returning c.caught_up_at as "caughtUpAt"`)
    return caughtUpAt
  })
}

/** The oldest reports that may be sent now; within an output in the order of seq. */
export async function findDueReports(
  database: Database,
  network: string,
  limit: number,
): Promise<readonly Observation[]> {
  return database.sql.any(sql.type(OBSERVATION)`
    select r.report_no as "reportNo", o.asset, r.tx_id as "txId", r.output_index as "outputIndex", r.seq, r.state,
      o.address, o.amount, r.block_height as "blockHeight", r.block_hash as "blockHash", r.first_seen_at as "firstSeenAt"
    from chain_report r join chain_output o using (network, tx_id, output_index)
    where r.network = ${network} and r.next_at <= clock_timestamp()
      and not exists (
        select from chain_report e
        where (e.network, e.tx_id, e.output_index) = (r.network, r.tx_id, r.output_index) and e.seq < r.seq
          and e.next_at > clock_timestamp() and e.refusals < ${ISOLATING_REFUSALS})
    order by r.report_no limit ${limit}`)
}

/** Forgets reports that were answered. */
export async function deleteReports(database: Database, reportNos: readonly bigint[]): Promise<void> {
  await database.sql.query(sql.type(NOTHING)`
    delete from chain_report where report_no = any (${sql.array([...reportNos], 'int8')})`)
}

/** Puts a refused report aside for a while that doubles each time. */
export async function postponeReport(database: Database, reportNo: bigint): Promise<void> {
  await database.sql.query(sql.type(NOTHING)`
    update chain_report
    set refusals = refusals + 1,
      next_at = clock_timestamp() + least(power(2, least(refusals, 30)), ${MAX_REFUSAL_WAIT_S}) * interval '1 second'
    where report_no = ${reportNo}`)
}

/** How many reports wait, and how many of them were refused so often that a person must look. */
export async function countReports(database: Database, network: string): Promise<{ waiting: number; refused: number }> {
  return database.sql.one(sql.type(z.object({ waiting: z.number(), refused: z.number() }))`
    select count(*)::int as waiting, (count(*) filter (where refusals >= ${ISOLATING_REFUSALS}))::int as refused
    from chain_report where network = ${network}`)
}
