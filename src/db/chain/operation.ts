// Manual operations on one source of a chain, with the watcher's rights. Each is one transaction that records who did it and why; the
// database accepts the change only after that record. The watcher may run meanwhile: it reads its cursor before each step.

import { createHash } from 'node:crypto'
import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import type { Actor, OperatorDecision } from '../../domain/audit.ts'
import { actorText } from '../audit/actor.ts'
import { lockNetwork } from './cursor.ts'
import { reportChanges } from './outbox.ts'
import { loseOutputs } from './output.ts'
import type { Database } from '../connection/pool.ts'

const NOTHING = z.unknown()

type ChainView = z.output<typeof CHAIN>
const CHAIN = z.object({
  network: z.string(),
  source: z.string(),
  start: z.bigint().transform(Number),
  scanned: z.bigint().transform(Number),
  settled: z.bigint().transform(Number),
  tip: z.bigint().transform(Number),
  rewindTo: z.bigint().transform(Number).nullable(),
  caughtUpAt: z.date().nullable(),
  waiting: z.number(),
  isSuspended: z.boolean(),
})
type UnexplainedMoney = z.output<typeof UNEXPLAINED_MONEY>
const UNEXPLAINED_MONEY = z.object({
  network: z.string(),
  source: z.string(),
  address: z.string(),
  balance: z.string().transform(BigInt),
  unexplained: z.string().transform(BigInt),
  height: z.bigint().transform(Number),
  foundAt: z.date(),
})

/** The cursor of each source of each chain, and the unexplained money. A session without a source sees those of all. */
export async function listChains(
  database: Database,
): Promise<{ chains: readonly ChainView[]; evidence: readonly UnexplainedMoney[] }> {
  const chains = await database.sql.any(sql.type(CHAIN)`
    select network, source, start_height as start, scanned_height as scanned, settled_height as settled, tip_height as tip,
      rewind_to as "rewindTo", caught_up_at as "caughtUpAt",
      (select count(*)::int from chain_report r where (r.network, r.source) = (c.network, c.source)) as waiting,
      exists (
        select from chain_suspension s
        where (s.network, s.source) = (c.network, c.source) and s.closed_at is null) as "isSuspended"
    from chain_status c order by network, source`)
  const evidence = await database.sql.any(sql.type(UNEXPLAINED_MONEY)`
    select network, source, address, balance, unexplained, height, found_at as "foundAt"
    from chain_balance where unexplained > 0 order by found_at limit 100`)
  return { chains, evidence }
}

/**
 * Makes the watcher read a chain again from `height`. The shop's outputs from there on count as lost until they are seen
 * again: the scanned branch is deleted, so that no later step could notice that their block is gone. `unsettled`: some
 * outputs below that height are not final yet, and would never be. With `dropUnsettled` they are reported as dropped, for
 * a node that no longer has their blocks: the balances tell whether the money is there. `above_tip`: the height is above
 * the next block of the watcher's node.
 */
export const setStart = (
  database: Database,
  network: string,
  height: number,
  by: OperatorDecision & { dropUnsettled?: boolean | undefined },
): Promise<'done' | 'unsettled' | 'above_tip'> =>
  operate(database, by, async (tx) => {
    // Before its first watcher, a chain's tip is unknown: this operation has stored the start in its place.
    await lockNetwork(tx, network)
    const tip = await tx.maybeOne(sql.type(z.object({ height: z.bigint().transform(Number) }))`
      select tip_height as height from chain_status
      where network = ${network} and (tip_height, scanned_height) <> (start_height, start_height - 1)`)
    if (tip !== null && height > tip.height + 1) throw new RolledBack('above_tip')
    await recordOperation(tx, network, 'start', by, { height })
    await tx.query(sql.type(NOTHING)`
      insert into chain_status (network, start_height, scanned_height, settled_height, tip_height)
      values (${network}, ${height}, ${height - 1}, ${height - 1}, ${height})
      on conflict (network, source) do update set start_height = excluded.start_height, scanned_height = excluded.scanned_height,
        settled_height = excluded.settled_height, rewind_to = null, rewind_given_at = null, caught_up_at = null`)
    if (by.dropUnsettled === true)
      await tx.query(sql.type(NOTHING)`
        with changed as (
          update chain_output set state = 'dropped', seq = seq + 1
          where network = ${network} and block_height < ${height} and state in ('seen', 'reorged')
          returning *
        ) ${reportChanges}`)
    const { isUnsettled } = await tx.one(sql.type(z.object({ isUnsettled: z.boolean() }))`
      select exists (
        select from chain_output
        where network = ${network} and block_height < ${height} and state in ('seen', 'reorged')) as "isUnsettled"`)
    if (isUnsettled) throw new RolledBack('unsettled')
    await tx.query(sql.type(NOTHING)`delete from chain_block where network = ${network}`)
    await loseOutputs(tx, network, height - 1)
    await tx.query(sql.type(NOTHING)`update chain_balance set checked_at = null where network = ${network}`)
    return 'done'
  })

/** Permits one reorganisation down to `height`, below the final blocks. The permission ends when the old branch goes on. */
export const allowRewind = (
  database: Database,
  network: string,
  height: number,
  by: OperatorDecision,
): Promise<'done' | 'unknown'> =>
  operate(database, by, async (tx) => {
    await recordOperation(tx, network, 'rewind', by, { height })
    const changed = await tx.query(sql.type(NOTHING)`
      update chain_status set rewind_to = ${height}, rewind_given_at = scanned_height
      where network = ${network} and start_height - 1 <= ${height}`)
    if (changed.rowCount === 0) throw new RolledBack('unknown')
    return 'done'
  })

/**
 * Closes the suspension that a reorganisation below final blocks opened. Orders that waited for it are assessed again.
 * While the watcher still stops at that reorganisation, it suspends the network again.
 */
export const resumeChain = (database: Database, network: string, by: OperatorDecision): Promise<'done' | 'unknown'> =>
  operate(database, by, async (tx) => {
    const { rowCount } = await tx.query(sql.type(NOTHING)`
      update chain_suspension set closed_at = clock_timestamp(), reason = ${by.reason}
      where network = ${network} and closed_at is null`)
    if (rowCount === 0) throw new RolledBack('unknown')
    return 'done'
  })

/** When and in which block unexplained money came, where an operator knows it better than the balance shows. */
export type Arrival = { seenAt?: Date | undefined; height?: number | undefined }

const ATTRIBUTABLE = z.object({
  amount: z.string(),
  balanceHash: z.string(),
  asset: z.string(),
  isFresh: z.boolean(),
  height: z.bigint().nullable(),
  isSettled: z.boolean(),
})

/**
 * Reports the unexplained money of an address as an output: the watcher reports it like any other, and it is final once
 * it is deep enough. Its transaction id is derived from the block at which the balance was read. Its block is that one,
 * or the one at `height`: then it came at the time of that block, and is lost only with that block.
 * `stale`: the balance is that of an older block; a running watcher reads it again within a few blocks. `unread`: there
 * is no block of that height up to the balance's, or it is no longer stored.
 * Where another source has reported the very amount as one output, it is that output: the money is credited once, and the
 * sources agree. `elsewhere`: other sources have reported other outputs to the address, which may be this money.
 */
export const attributeBalance = (
  database: Database,
  network: string,
  address: string,
  by: OperatorDecision & Arrival,
): Promise<'done' | 'unknown' | 'stale' | 'unread' | 'elsewhere'> =>
  operate(database, by, async (tx) => {
    await lockNetwork(tx, network)
    const row = await findAttributable(tx, network, address, by.height)
    if (row === null) throw new RolledBack('unknown')
    if (!row.isFresh) throw new RolledBack('stale')
    if (row.height === null) throw new RolledBack('unread')
    const { txId, outputIndex } = await nameOutput(tx, network, address, row)
    const [state, seq] = row.isSettled ? ['final', 2] : ['seen', 1]
    await recordOperation(tx, network, 'attribute', by, { address, amount: row.amount })
    const { rowCount } = await tx.query(sql.type(NOTHING)`
      with made as (
        insert into chain_output
          (network, tx_id, output_index, asset, address, amount, state, seq, block_height, block_hash, is_attributed, counted_height, first_seen_at)
        select b.network, ${txId}, ${outputIndex}, ${row.asset}, b.address, b.unexplained, ${state}, ${seq}, k.height, k.hash, true, b.height,
          least(b.found_at, ${by.seenAt === undefined ? null : sql.timestamp(by.seenAt)}, case when ${by.height !== undefined} then k.chain_time end)
        from chain_balance b join chain_block k on k.network = b.network and k.height = ${row.height}
        where b.network = ${network} and b.address = ${address}
        on conflict do nothing
        returning *
      )
      insert into chain_report (network, tx_id, output_index, seq, state, block_height, block_hash, first_seen_at)
      select m.network, m.tx_id, m.output_index, s.seq, s.state, m.block_height, m.block_hash, m.first_seen_at
      from made m join (values (1, 'seen'), (2, 'final')) s (seq, state) on s.seq <= m.seq order by s.seq`)
    // Attributed before, and not delivered yet.
    if (rowCount === 0) throw new RolledBack('unknown')
    await dropLost(tx, network, address)
    return 'done'
  })

/** The output of another source that is this money, or a new name. */
async function nameOutput(
  tx: DatabaseTransactionConnection,
  network: string,
  address: string,
  { amount, asset, balanceHash }: Pick<z.output<typeof ATTRIBUTABLE>, 'amount' | 'asset' | 'balanceHash'>,
): Promise<OutputName> {
  const [told, ...others] = await tx.any(sql.type(
    z.object({ txId: z.string(), outputIndex: z.number(), amount: z.string() }),
  )`
    select tx_id as "txId", output_index as "outputIndex", amount
    from reported_elsewhere(${network}, ${sql.array([address], 'text')}) where not is_explained`)
  if (told === undefined) {
    const digest = createHash('sha256').update(`${balanceHash}\n${address}`).digest('hex')
    return { txId: asset === 'ETH' ? `0x${digest}` : digest, outputIndex: 0 }
  }
  if (others.length > 0 || told.amount !== amount) throw new RolledBack('elsewhere')
  return told
}

/** Drops the address's lost outputs. If their money is there, the attributed balance includes it: it is reported once. */
async function dropLost(tx: DatabaseTransactionConnection, network: string, address: string): Promise<void> {
  await tx.query(sql.type(NOTHING)`
    with changed as (
      update chain_output set state = 'dropped', seq = seq + 1
      where network = ${network} and address = ${address} and state = 'reorged'
      returning *
    ) ${reportChanges}`)
}

/** Decides that the unexplained money of an address is no payment: it then delays no expiry and raises no alarm. */
export const setAside = (
  database: Database,
  network: string,
  address: string,
  by: OperatorDecision,
): Promise<'done' | 'unknown'> =>
  operate(database, by, async (tx) => {
    await lockNetwork(tx, network)
    const row = await tx.maybeOne(sql.type(z.object({ amount: z.string() }))`
      select unexplained as amount from chain_balance
      where network = ${network} and address = ${address} and unexplained > 0`)
    if (row === null) throw new RolledBack('unknown')
    await recordOperation(tx, network, 'set_aside', by, { address, amount: row.amount })
    await tx.query(sql.type(NOTHING)`
      update chain_balance set set_aside = set_aside + unexplained, unexplained = 0, found_at = null, attributed_at = clock_timestamp()
      where network = ${network} and address = ${address}`)
    return 'done'
  })

/** An output, as `chain list` shows it. */
export type OutputName = { txId: string; outputIndex: number }

/**
 * Settles an output whose report the shop refused, or whose last word in the shop is wrong. `report_again` reports its
 * present state under a sequence number that is free in the inbox. `discard` deletes its refused reports and drops it
 * until its block is read again.
 */
export const settleReport = (
  database: Database,
  network: string,
  decision: 'report_again' | 'discard',
  { txId, outputIndex }: OutputName,
  by: OperatorDecision,
): Promise<'done' | 'unknown'> =>
  operate(database, by, async (tx) => {
    const output = await tx.maybeOne(sql.type(z.object({ address: z.string(), amount: z.string() }))`
      select address, amount from chain_output where (network, tx_id, output_index) = (${network}, ${txId}, ${outputIndex})`)
    if (output === null) throw new RolledBack('unknown')
    await recordOperation(tx, network, decision, by, { ...output, txId, outputIndex })
    const { outcome } = await tx.one(sql.type(z.object({ outcome: z.enum(['done', 'unknown']) }))`
      select settle_report(${network}, ${txId}, ${outputIndex}, ${decision}) as outcome`)
    if (outcome === 'unknown') throw new RolledBack('unknown')
    return outcome
  })

const findAttributable = (
  tx: DatabaseTransactionConnection,
  network: string,
  address: string,
  height: number | undefined,
): Promise<z.output<typeof ATTRIBUTABLE> | null> =>
  tx.maybeOne(sql.type(ATTRIBUTABLE)`
    select b.unexplained as amount, b.block_hash as "balanceHash", i.asset, k.height,
      coalesce(k.height <= c.settled_height, false) as "isSettled",
      b.checked_at is not null and (${height !== undefined} or b.height > c.settled_height)
        and exists (select from chain_block o where o.network = b.network and o.hash = b.block_hash) as "isFresh"
    from chain_balance b join chain_status c on c.network = b.network
    join invoice i on i.network = b.network and i.address = b.address
    left join chain_block k on k.network = b.network and k.height <= b.height
      and k.height = coalesce(${height ?? null}::bigint, b.height)
    where b.network = ${network} and b.address = ${address} and b.unexplained > 0`)

/** Rolls the transaction back; the operation returns `why`. */
class RolledBack<Why extends string> extends Error {
  readonly why: Why

  constructor(why: Why) {
    super(why)
    this.why = why
  }
}

type Work<Result> = (tx: DatabaseTransactionConnection) => Promise<Result>

async function operate<Result extends string>(
  database: Database,
  { operator, reason }: OperatorDecision,
  work: Work<Result>,
): Promise<Result> {
  const by: Actor = { actor: `operator:${operator}`, role: 'admin', reason }
  try {
    return await database.sql.transaction(async (tx) => {
      await tx.query(sql.type(NOTHING)`select set_config('holdfast.actor', ${actorText(by)}, true)`)
      return work(tx)
    })
  } catch (error) {
    if (error instanceof RolledBack) return (error as RolledBack<Result>).why
    throw error
  }
}

type OperationTarget = { height: number } | ({ address: string; amount: string } & Partial<OutputName>)

async function recordOperation(
  tx: DatabaseTransactionConnection,
  network: string,
  operation: 'start' | 'rewind' | 'attribute' | 'set_aside' | 'report_again' | 'discard',
  { reason }: OperatorDecision,
  target: OperationTarget,
): Promise<void> {
  const none = { height: null, address: null, amount: null, txId: null, outputIndex: null }
  const { height, address, amount, txId, outputIndex } = { ...none, ...target }
  await tx.query(sql.type(NOTHING)`
    insert into chain_operation (network, operation, height, address, amount, tx_id, output_index, reason)
    values (${network}, ${operation}, ${height}, ${address}, ${amount}::numeric, ${txId}, ${outputIndex}, ${reason})`)
}
