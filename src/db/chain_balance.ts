// What watched addresses hold, against what was reported of them. A row is written at the scanned tip and only while no
// report waits, so that `told` is what the shop really knows: the difference is money that no transfer explains.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Database } from './pool.ts'

export type CheckedTip = { height: number; hash: string; chainTime: Date }

/** `isDue`: the order's time is over by chain time, and its balance was not looked at since. */
export type Unchecked = { address: string; isDue: boolean }

export type Unexplained = { address: string; amount: bigint }

/**
 * Addresses to compare at this tip: first those of orders that may expire by it, then the ones that were compared the
 * longest ago, among them all that hold unexplained money.
 */
export async function findUnchecked(
  database: Database,
  network: string,
  at: Date,
  limit: number,
): Promise<readonly Unchecked[]> {
  return database.sql.any(sql.type(z.object({ address: z.string(), isDue: z.boolean() }))`
    with watched (address, ends_at) as (
      select address, ends_at from open_invoice where network = ${network}
      union all
      select b.address, null from chain_balance b
      where b.network = ${network} and b.unexplained > 0
        and not exists (select from open_invoice i where i.network = b.network and i.address = b.address)
    )
    select w.address,
      coalesce(w.ends_at <= ${sql.timestamp(at)} and (b.checked_at is null or b.checked_at <= w.ends_at), false) as "isDue"
    from watched w left join chain_balance b on b.network = ${network} and b.address = w.address
    where b.checked_at is null or b.checked_at < ${sql.timestamp(at)}
    order by "isDue" desc, b.checked_at nulls first, w.address limit ${limit}`)
}

/**
 * Stores balances as they are at the end of the tip's block. Race closed: the network's row is locked, so no other
 * watcher goes on or back meanwhile; where one did before, or a report waits, nothing is stored.
 * @returns whether they were stored, and which addresses hold money that was not unexplained before
 */
export async function saveBalances(
  database: Database,
  network: string,
  { height, hash, chainTime }: CheckedTip,
  balances: ReadonlyMap<string, bigint>,
): Promise<{ isSaved: boolean; found: readonly Unexplained[] }> {
  const rows = [...balances].map(([address, balance]) => ({ address, balance: balance.toString() }))
  return database.sql.transaction(async (tx) => {
    const current = await tx.maybeOne(sql.type(z.object({ network: z.string() }))`
      select network from chain_status c
      where network = ${network} and scanned_height = ${height}
        and exists (select from chain_block b where b.network = c.network and b.height = ${height} and b.hash = ${hash})
        and not exists (select from chain_report r where r.network = c.network)
      for no key update`)
    if (current === null) return { isSaved: false, found: [] }
    const found = await tx.any(sql.type(
      z.object({ address: z.string(), amount: z.string().transform(BigInt), isNew: z.boolean() }),
    )`
      with looked as (
        select r.address, r.balance, coalesce(t.told, 0) as told, coalesce(b.set_aside, 0) as set_aside,
          greatest(0, r.balance - coalesce(t.told, 0) - coalesce(b.set_aside, 0)) as unexplained, b.unexplained as before
        from jsonb_to_recordset(${sql.jsonb(rows)}) as r (address text, balance numeric)
        left join chain_balance b on b.network = ${network} and b.address = r.address
        left join lateral (
          select sum(o.amount) as told from chain_output o
          where o.network = ${network} and o.address = r.address and o.state in ('seen', 'final')) t on true
      ), saved as (
        insert into chain_balance as c
          (network, address, height, block_hash, balance, told, set_aside, unexplained, checked_at, found_at)
        select ${network}, l.address, ${height}, ${hash}, l.balance, l.told, l.set_aside, l.unexplained, ${sql.timestamp(chainTime)},
          case when l.unexplained > 0 then ${sql.timestamp(chainTime)} end
        from looked l
        on conflict on constraint chain_balance_pk do update
          set height = excluded.height, block_hash = excluded.block_hash, balance = excluded.balance, told = excluded.told,
            unexplained = excluded.unexplained, checked_at = excluded.checked_at,
            found_at = case when excluded.unexplained > 0 then coalesce(c.found_at, excluded.found_at) end,
            attributed_at = case when excluded.unexplained > 0 then null
              when c.unexplained > 0 then clock_timestamp() else c.attributed_at end
      )
      select address, unexplained as amount, coalesce(before, 0) = 0 as "isNew" from looked where unexplained > 0`)
    return {
      isSaved: true,
      found: found.filter(({ isNew }) => isNew).map(({ address, amount }) => ({ address, amount })),
    }
  })
}

/** How many addresses hold money that nothing explains. */
export async function countUnexplained(database: Database, network: string): Promise<number> {
  const { found } = await database.sql.one(sql.type(z.object({ found: z.number() }))`
    select count(*)::int as found from chain_balance where network = ${network} and unexplained > 0`)
  return found
}
