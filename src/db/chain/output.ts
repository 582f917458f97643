// The shop's outputs on a chain, and how blocks and reorganisations change their state. Each change of state is put into
// the outbox by the same statement. The callers hold the network's row locked.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import type { Block, BlockRef } from '../../domain/chain.ts'
import type { Database } from '../connection/pool.ts'
import { reportChanges } from './outbox.ts'

const NOTHING = z.unknown()

/** Which of these addresses are the shop's: those that an invoice ever showed to a customer. */
export async function findShopAddresses(
  database: Database,
  network: string,
  addresses: readonly string[],
): Promise<ReadonlySet<string>> {
  const rows = await database.sql.any(sql.type(z.object({ address: z.string() }))`
    select address from invoice where network = ${network} and address = any (${sql.array([...addresses], 'text')})`)
  return new Set(rows.map(({ address }) => address))
}

/**
 * Records the block's outputs to addresses of the shop as seen, with one indexed lookup for all of its recipients. An
 * output that was lost and is mined again keeps its earliest sighting, but not its amount: what a contract sends may
 * depend on the block. An output counts as seen at the block's own time where that is before now, in the customer's favour.
 */
export async function recordOutputs(tx: DatabaseTransactionConnection, network: string, block: Block): Promise<void> {
  const outputs = block.outputs.map(({ amount, ...rest }) => ({ ...rest, amount: amount.toString() }))
  // Money that was attributed by a balance may be one of these outputs, read only now. The attributed output is dropped,
  // so that the money is reported once. A balance covers everything up to its own block, which may be later than the block
  // an operator named. An output that was reported at that time, even one that waits to be seen again, was not part of the
  // attributed money.
  await tx.query(sql.type(NOTHING)`
    with changed as (
      update chain_output a set state = 'dropped', seq = a.seq + 1
      where a.network = ${network} and coalesce(a.counted_height, a.block_height) >= ${block.height} and a.is_attributed and a.state <> 'dropped'
        and exists (
          select from jsonb_to_recordset(${sql.jsonb(outputs)}) as t ("txId" text, "outputIndex" integer, address text)
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
      from jsonb_to_recordset(${sql.jsonb(outputs)})
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
 * Marks lost outputs as seen again where their very block, known by its hash, is back: outputs sent by contracts whose
 * node no longer shows them, and outputs that an operator attributed. Dropped outputs stay dropped: the balance of their
 * address was compared since, and the money may be reported already as an attributed output.
 */
export async function restoreOutputs(tx: DatabaseTransactionConnection, network: string, block: Block): Promise<void> {
  await tx.query(sql.type(NOTHING)`
    with changed as (
      update chain_output set state = 'seen', seq = seq + 1
      where network = ${network} and block_height = ${block.height} and block_hash = ${block.hash}
        and state = 'reorged' and (is_attributed or tx_id = any (${sql.array([...(block.untracedTxIds ?? [])], 'text')}))
      returning *
    ) ${reportChanges}`)
}

/** Makes the outputs of the blocks in `settled` final, or dropped where they have lost their block. `tip` is the last block. */
export async function settleOutputs(
  tx: DatabaseTransactionConnection,
  network: string,
  tip: BlockRef,
  settled: { above: number; upTo: number },
): Promise<void> {
  await tx.query(sql.type(NOTHING)`
    with changed as (
      update chain_output set state = case state when 'seen' then 'final' else 'dropped' end, seq = seq + 1
      where network = ${network} and block_height > ${settled.above} and block_height <= ${settled.upTo}
        and state in ('seen', 'reorged')
      returning *
    ), unread as (
      -- A dropped output was not read again. Whether the money is there after all, the balance tells.
      insert into chain_balance as b (network, address, height, block_hash, balance, told, unexplained)
      select distinct network, address, ${tip.height}::bigint, ${tip.hash}, 0, 0, 0 from changed
      where state = 'dropped' and exists (select from chain_status where network = ${network} and compares_balances)
      on conflict on constraint chain_balance_pk do update set checked_at = null
    ) ${reportChanges}`)
}

/** Marks the outputs above a height as lost with their block, until they are seen again. */
export async function loseOutputs(tx: DatabaseTransactionConnection, network: string, height: number): Promise<void> {
  await tx.query(sql.type(NOTHING)`
    with changed as (
      update chain_output set state = 'reorged', seq = seq + 1
      where network = ${network} and block_height > ${height} and state in ('seen', 'final')
      returning *
    ) ${reportChanges}`)
}
