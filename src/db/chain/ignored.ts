// Transfers to the shop's addresses that are no income: tokens (`wrong_asset`), and coins from accounts of our own
// (`own_transfer`). They are recorded for people, and never reported. The rows are those of the scanned branch: a
// reorganisation deletes them, and they are recorded again with the block that has them then.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import type { Block } from '../../domain/chain.ts'

const NOTHING = z.unknown()
/** Anyone may send worthless tokens to an address. Past this many, further ones are not recorded. */
export const MAX_TOKEN_TRANSFERS = 100

/**
 * Records what came from accounts of our own: those of payouts, those that own_account names, and addresses of orders,
 * whose keys are ours alone.
 * @returns the block with its other outputs
 */
export async function recordOwnTransfers(
  tx: DatabaseTransactionConnection,
  network: string,
  block: Block,
): Promise<Block> {
  const senders = [...new Set(block.outputs.flatMap(({ sender }) => sender ?? []))]
  if (senders.length === 0) return block
  const found = await tx.any(sql.type(z.object({ sender: z.string() }))`
    select s.sender from unnest(${sql.array(senders, 'text')}) s (sender)
    where exists (select from payout_sender p where p.network = ${network} and p.sender = s.sender)
      or exists (select from own_account a where a.network = ${network} and a.address = s.sender)
      or exists (select from invoice i where i.network = ${network} and i.address = s.sender)`)
  if (found.length === 0) return block
  const own = new Set<string | undefined>(found.map(({ sender }) => sender))
  const transfers = block.outputs
    .filter(({ sender }) => own.has(sender))
    .map(({ amount, ...rest }) => ({ ...rest, amount: amount.toString() }))
  await tx.query(sql.type(NOTHING)`
    insert into ignored_transfer
      (network, address, tx_id, output_index, kind, sender, amount, block_height, block_hash, first_seen_at)
    select ${network}, t.address, t."txId", t."outputIndex", 'own_transfer', t.sender, t.amount, ${block.height},
      ${block.hash}, least(clock_timestamp(), ${sql.timestamp(block.minedAt)})
    from jsonb_to_recordset(${sql.jsonb(transfers)})
      as t ("txId" text, "outputIndex" integer, address text, sender text, amount numeric)
    on conflict do nothing`)
  return { ...block, outputs: block.outputs.filter(({ sender }) => !own.has(sender)) }
}

/** Records the block's transfers of tokens, up to MAX_TOKEN_TRANSFERS for each address. */
export async function recordTokenTransfers(
  tx: DatabaseTransactionConnection,
  network: string,
  block: Block,
): Promise<void> {
  const transfers = (block.tokenTransfers ?? []).map(({ amount, ...rest }) => ({ ...rest, amount: amount.toString() }))
  await tx.query(sql.type(NOTHING)`
    insert into ignored_transfer
      (network, address, tx_id, output_index, kind, token, sender, amount, block_height, block_hash, first_seen_at)
    select ${network}, t.address, t."txId", t."logIndex", 'wrong_asset', t.token, t.sender, t.amount, ${block.height},
      ${block.hash}, least(clock_timestamp(), ${sql.timestamp(block.minedAt)})
    from (
      select r.*, row_number() over (partition by r.address order by r."logIndex") as place
      from jsonb_to_recordset(${sql.jsonb(transfers)})
        as r ("txId" text, "logIndex" integer, token text, address text, sender text, amount numeric)
      where exists (select from invoice i where i.network = ${network} and i.address = r.address)) t
    where t.place <= ${MAX_TOKEN_TRANSFERS} and t.place + (
      select count(*) from ignored_transfer g
      where g.network = ${network} and g.address = t.address and g.kind = 'wrong_asset') <= ${MAX_TOKEN_TRANSFERS}
    on conflict do nothing`)
}

/** Deletes what the blocks above a height held, which have lost their place. */
export async function forgetIgnored(tx: DatabaseTransactionConnection, network: string, height: number): Promise<void> {
  await tx.query(sql.type(NOTHING)`
    delete from ignored_transfer where network = ${network} and block_height > ${height}`)
}
