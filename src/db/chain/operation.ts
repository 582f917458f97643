// What an operator does to a chain by hand, with the watcher's rights. Each is one transaction with its reason; the
// audit says who. The database takes the change only behind its note. The watcher may run meanwhile: it looks where it
// stands before each step.

import { createHash } from 'node:crypto'
import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import type { Actor } from '../../domain/audit.ts'
import { actorText } from '../audit/actor.ts'
import { lockNetwork, loseOutputs, reportChanges } from './cursor.ts'
import type { Database } from '../connection/pool.ts'

/** Who acts, and why. */
export type Order = { operator: string; reason: string }

const NOTHING = z.unknown()

export type ChainView = z.output<typeof CHAIN>
const CHAIN = z.object({
  network: z.string(),
  start: z.bigint().transform(Number),
  scanned: z.bigint().transform(Number),
  settled: z.bigint().transform(Number),
  tip: z.bigint().transform(Number),
  rewindTo: z.bigint().transform(Number).nullable(),
  caughtUpAt: z.date().nullable(),
  waiting: z.number(),
})
export type Evidence = z.output<typeof EVIDENCE>
const EVIDENCE = z.object({
  network: z.string(),
  address: z.string(),
  balance: z.string().transform(BigInt),
  unexplained: z.string().transform(BigInt),
  height: z.bigint().transform(Number),
  foundAt: z.date(),
})

/** Where each chain stands, and the money nothing explains. */
export async function listChains(
  database: Database,
): Promise<{ chains: readonly ChainView[]; evidence: readonly Evidence[] }> {
  const chains = await database.sql.any(sql.type(CHAIN)`
    select network, start_height as start, scanned_height as scanned, settled_height as settled, tip_height as tip,
      rewind_to as "rewindTo", caught_up_at as "caughtUpAt",
      (select count(*)::int from chain_report r where r.network = c.network) as waiting
    from chain_status c order by network`)
  const evidence = await database.sql.any(sql.type(EVIDENCE)`
    select network, address, balance, unexplained, height, found_at as "foundAt"
    from chain_balance where unexplained > 0 order by found_at limit 100`)
  return { chains, evidence }
}

/**
 * Has a chain read again from `height`. Our outputs there count as lost until they are met again: what was read of the
 * chain is forgotten, so that nothing else would tell that their block is gone. `unsettled`: transfers below that
 * height are not final yet, and would never be. `above_tip`: it is above the next block of the watcher's node.
 */
export const setStart = (
  database: Database,
  network: string,
  height: number,
  by: Order,
): Promise<'done' | 'unsettled' | 'above_tip'> =>
  operate(database, by, async (tx) => {
    // Before its first watcher a chain's tip is not known.
    await lockNetwork(tx, network)
    const tip = await tx.maybeOne(sql.type(z.object({ height: z.bigint().transform(Number) }))`
      select tip_height as height from chain_status where network = ${network} and source is not null`)
    if (tip !== null && height > tip.height + 1) throw new Undone('above_tip')
    await note(tx, network, 'start', by, { height })
    await tx.query(sql.type(NOTHING)`
      insert into chain_status (network, start_height, scanned_height, settled_height, tip_height)
      values (${network}, ${height}, ${height - 1}, ${height - 1}, ${height})
      on conflict (network) do update set start_height = excluded.start_height, scanned_height = excluded.scanned_height,
        settled_height = excluded.settled_height, rewind_to = null, rewind_given_at = null, caught_up_at = null`)
    const { isUnsettled } = await tx.one(sql.type(z.object({ isUnsettled: z.boolean() }))`
      select exists (
        select from chain_output
        where network = ${network} and block_height < ${height} and state in ('seen', 'reorged')) as "isUnsettled"`)
    if (isUnsettled) throw new Undone('unsettled')
    await tx.query(sql.type(NOTHING)`delete from chain_block where network = ${network}`)
    await loseOutputs(tx, network, height - 1)
    await tx.query(sql.type(NOTHING)`update chain_balance set checked_at = null where network = ${network}`)
    return 'done'
  })

/** Lets one reorganisation reach down to `height`, below what was final, for as long as the chain does not go on as it was. */
export const allowRewind = (
  database: Database,
  network: string,
  height: number,
  by: Order,
): Promise<'done' | 'unknown'> =>
  operate(database, by, async (tx) => {
    await note(tx, network, 'rewind', by, { height })
    const changed = await tx.query(sql.type(NOTHING)`
      update chain_status set rewind_to = ${height}, rewind_given_at = scanned_height
      where network = ${network} and start_height - 1 <= ${height}`)
    if (changed.rowCount === 0) throw new Undone('unknown')
    return 'done'
  })

/** When and where unexplained money came, as far as it is known better than by the balance. */
export type Coming = { seenAt?: Date | undefined; height?: number | undefined }

const FOUND = z.object({
  amount: z.string(),
  balanceHash: z.string(),
  asset: z.string(),
  isFresh: z.boolean(),
  blockHeight: z.bigint().nullable(),
  isSettled: z.boolean(),
})

/**
 * Reports the unexplained money of an address as a transfer: the watcher tells of it as of any other, and it is final
 * when it is deep enough. Its id is made of the block at which the balance was read, and its block is that one too, or
 * the one at `height`: then it came at the time of that block, and is lost with that block alone.
 * `stale`: the balance is that of an older block; a running watcher reads it again within a few blocks. `unread`: there
 * is no block of that height up to the balance's, or it is not kept any more.
 */
export const attributeBalance = (
  database: Database,
  network: string,
  address: string,
  by: Order & Coming,
): Promise<'done' | 'unknown' | 'stale' | 'unread'> =>
  operate(database, by, async (tx) => {
    await lockNetwork(tx, network)
    const row = await findAttributable(tx, network, address, by.height)
    if (row === null) throw new Undone('unknown')
    if (!row.isFresh) throw new Undone('stale')
    if (row.blockHeight === null) throw new Undone('unread')
    const digest = createHash('sha256').update(`${row.balanceHash}\n${address}`).digest('hex')
    const txId = row.asset === 'ETH' ? `0x${digest}` : digest
    const [state, seq] = row.isSettled ? ['final', 2] : ['seen', 1]
    await note(tx, network, 'attribute', by, { address, amount: row.amount })
    const { rowCount } = await tx.query(sql.type(NOTHING)`
      with made as (
        insert into chain_output
          (network, tx_id, output_index, asset, address, amount, state, seq, block_height, block_hash, is_attributed, counted_height, first_seen_at)
        select b.network, ${txId}, 0, ${row.asset}, b.address, b.unexplained, ${state}, ${seq}, k.height, k.hash, true, b.height,
          least(b.found_at, ${by.seenAt === undefined ? null : sql.timestamp(by.seenAt)}, case when ${by.height !== undefined} then k.chain_time end)
        from chain_balance b join chain_block k on k.network = b.network and k.height = ${row.blockHeight}
        where b.network = ${network} and b.address = ${address}
        on conflict do nothing
        returning *
      )
      insert into chain_report (network, tx_id, output_index, seq, state, block_height, block_hash, first_seen_at)
      select m.network, m.tx_id, m.output_index, s.seq, s.state, m.block_height, m.block_hash, m.first_seen_at
      from made m join (values (1, 'seen'), (2, 'final')) s (seq, state) on s.seq <= m.seq order by s.seq`)
    // Done before, and not told yet.
    if (rowCount === 0) throw new Undone('unknown')
    await dropLost(tx, network, address)
    return 'done'
  })

/** The balance that was attributed holds what waited to be met again, if it is there at all: it is told of once. */
async function dropLost(tx: DatabaseTransactionConnection, network: string, address: string): Promise<void> {
  await tx.query(sql.type(NOTHING)`
    with changed as (
      update chain_output set state = 'dropped', seq = seq + 1
      where network = ${network} and address = ${address} and state = 'reorged'
      returning *
    ) ${reportChanges}`)
}

/** Decides that the unexplained money of an address is no payment: it holds no expiry up, and no alarm. */
export const setAside = (
  database: Database,
  network: string,
  address: string,
  by: Order,
): Promise<'done' | 'unknown'> =>
  operate(database, by, async (tx) => {
    await lockNetwork(tx, network)
    const row = await tx.maybeOne(sql.type(z.object({ amount: z.string() }))`
      select unexplained as amount from chain_balance
      where network = ${network} and address = ${address} and unexplained > 0`)
    if (row === null) throw new Undone('unknown')
    await note(tx, network, 'set_aside', by, { address, amount: row.amount })
    await tx.query(sql.type(NOTHING)`
      update chain_balance set set_aside = set_aside + unexplained, unexplained = 0, found_at = null, attributed_at = clock_timestamp()
      where network = ${network} and address = ${address}`)
    return 'done'
  })

const findAttributable = (
  tx: DatabaseTransactionConnection,
  network: string,
  address: string,
  height: number | undefined,
): Promise<z.output<typeof FOUND> | null> =>
  tx.maybeOne(sql.type(FOUND)`
    select b.unexplained as amount, b.block_hash as "balanceHash", i.asset, k.height as "blockHeight",
      coalesce(k.height <= c.settled_height, false) as "isSettled",
      b.checked_at is not null and (${height !== undefined} or b.height > c.settled_height)
        and exists (select from chain_block o where o.network = b.network and o.hash = b.block_hash) as "isFresh"
    from chain_balance b join chain_status c on c.network = b.network
    join invoice i on i.network = b.network and i.address = b.address
    left join chain_block k on k.network = b.network and k.height <= b.height
      and k.height = coalesce(${height ?? null}::bigint, b.height)
    where b.network = ${network} and b.address = ${address} and b.unexplained > 0`)

/** Ends a transaction without an effect. */
class Undone<Why extends string> extends Error {
  readonly why: Why

  constructor(why: Why) {
    super(why)
    this.why = why
  }
}

type Work<Result> = (tx: DatabaseTransactionConnection) => Promise<Result>

async function operate<Result extends string>(
  database: Database,
  { operator, reason }: Order,
  work: Work<Result>,
): Promise<Result> {
  const by: Actor = { actor: `operator:${operator}`, role: 'admin', reason }
  try {
    return await database.sql.transaction(async (tx) => {
      await tx.query(sql.type(NOTHING)`select set_config('holdfast.actor', ${actorText(by)}, true)`)
      return work(tx)
    })
  } catch (error) {
    if (error instanceof Undone) return (error as Undone<Result>).why
    throw error
  }
}

type About = { height: number } | { address: string; amount: string }

async function note(
  tx: DatabaseTransactionConnection,
  network: string,
  operation: 'start' | 'rewind' | 'attribute' | 'set_aside',
  { reason }: Order,
  about: About,
): Promise<void> {
  const { height, address, amount } = { height: null, address: null, amount: null, ...about }
  await tx.query(sql.type(NOTHING)`
    insert into chain_operation (network, operation, height, address, amount, reason)
    values (${network}, ${operation}, ${height}, ${address}, ${amount}::numeric, ${reason})`)
}
