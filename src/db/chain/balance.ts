// Balances of the shop's addresses, compared with the reported outputs. A row is written at the scanned tip and only
// while the outbox is empty, so that `told` is what the api has stored, by this source or by another one. The difference is
// unexplained money: money that no reported output explains. What has left an address again is added, because a shop moves the money of old orders.

import { sql } from 'slonik'
import { z } from 'zod'
import type { ChainOutput, Header } from '../../domain/chain.ts'
import { lockNetwork } from './cursor.ts'
import type { Database } from '../connection/pool.ts'

const ADDRESS = z.object({ address: z.string() })

/**
 * Addresses whose orders may expire by this chain time, and whose balances were not read since the order's end. The end
 * is that of the quote and its grace, or that of the hold where a payment extended it. One row per hold: an address may
 * come twice.
 */
export async function findDueAddresses(
  database: Database,
  network: string,
  at: Date,
  limit: number,
): Promise<string[]> {
  const rows = await database.sql.any(sql.type(ADDRESS)`
    select i.address
    from open_invoice i
    left join lateral (
      select checked_at from chain_balance c where c.network = i.network and c.address = i.address limit 1) b on true
    where i.network = ${network} and i.held_until < ${sql.timestamp(at)} and i.ends_at < ${sql.timestamp(at)}
      and (b.checked_at is null or b.checked_at <= greatest(i.ends_at, i.held_until))
    order by i.held_until limit ${limit}`)
  return rows.map(({ address }) => address)
}

/**
 * The next pending orders from `from` on, the oldest first. `isDue`: the order holds no stock and is due as in
 * findDueAddresses. Such an order is an exception without an index: it is found by reading all pending orders in turn.
 */
export async function findUnheldOrders(
  database: Database,
  network: string,
  at: Date,
  { from, limit }: { from: Date; limit: number },
): Promise<readonly { address: string; createdAt: Date; isDue: boolean }[]> {
  return database.sql.any(sql.type(z.object({ address: z.string(), createdAt: z.date(), isDue: z.boolean() }))`
    select i.address, i.created_at as "createdAt",
      not i.is_held and i.network = ${network} and i.ends_at < ${sql.timestamp(at)}
        and (b.checked_at is null or b.checked_at <= i.ends_at) as "isDue"
    from (select * from pending_invoice where created_at >= ${sql.timestamp(from)} order by created_at limit ${limit}) i
    left join lateral (
      select checked_at from chain_balance c where c.network = i.network and c.address = i.address limit 1) b on true
    order by i.created_at`)
}

/**
 * Addresses whose balance was not read at this chain time, the longest waiting first: those with unexplained money, then
 * those whose balance was read in a block that is lost. With that block, money may be lost that an operator attributed,
 * or that a trace showed once and shows no more. Orders that have ended are otherwise only swept (sweep.ts).
 */
export async function findAddressesToReread(
  database: Database,
  network: string,
  at: Date,
  limit: number,
): Promise<string[]> {
  const rows = await database.sql.any(sql.type(ADDRESS)`
    select address from chain_balance
    where network = ${network} and (unexplained > 0 or checked_at is null) and (checked_at is null or checked_at < ${sql.timestamp(at)})
    order by unexplained = 0, checked_at nulls first limit ${limit}`)
  return rows.map(({ address }) => address)
}

/** Addresses of open orders whose holds end at `from` or later, the first to end first; one row per hold. */
export async function findHeldAddresses(
  database: Database,
  network: string,
  from: Date,
  limit: number,
): Promise<readonly { address: string; heldUntil: Date }[]> {
  return database.sql.any(sql.type(z.object({ heldUntil: z.date(), address: z.string() }))`
    select held_until as "heldUntil", address from open_invoice
    where network = ${network} and held_until >= ${sql.timestamp(from)}
    order by held_until limit ${limit}`)
}

/**
 * Stores balances as they are at the end of the tip's block. Race closed: the network's row is locked, so that no other
 * watcher moves the cursor meanwhile. Where one moved it before, or a report waits, nothing is stored.
 * @returns whether they were stored, and which addresses hold more unexplained money than before
 */
export async function saveBalances(
  database: Database,
  network: string,
  { height, hash, chainTime }: Pick<Header, 'height' | 'hash' | 'chainTime'>,
  balances: ReadonlyMap<string, bigint>,
): Promise<{ isSaved: boolean; found: readonly Pick<ChainOutput, 'address' | 'amount'>[] }> {
  const rows = [...balances].map(([address, balance]) => ({ address, balance: balance.toString() }))
  return database.sql.transaction(async (tx) => {
    await lockNetwork(tx, network)
    const current = await tx.maybeOne(sql.type(z.object({ network: z.string() }))`
      select network from chain_status c
      where network = ${network} and scanned_height = ${height}
        and exists (select from chain_block b where b.network = c.network and b.height = ${height} and b.hash = ${hash})
        and not exists (select from chain_report r where r.network = c.network)`)
    if (current === null) return { isSaved: false, found: [] }
    const found = await tx.any(sql.type(
      z.object({ address: z.string(), amount: z.string().transform(BigInt), isMore: z.boolean() }),
    )`
      with looked as (
        select r.address, r.balance, w.told, w.withdrawn, a.set_aside,
          greatest(0, r.balance - (w.told - w.withdrawn) - a.set_aside) as unexplained, b.unexplained as before
        from jsonb_to_recordset(${sql.jsonb(rows)}) as r (address text, balance numeric)
        left join chain_balance b on b.network = ${network} and b.address = r.address
        left join lateral (
          select sum(k.amount) as own from (
            select o.amount from chain_output o
            where o.network = ${network} and o.address = r.address and o.state in ('seen', 'final')
            union all
            select g.amount from ignored_transfer g
            where g.network = ${network} and g.address = r.address and g.kind = 'own_transfer') k) t on true
        left join (
          select e.address, sum(e.amount) as others
          from reported_elsewhere(${network}, ${sql.array([...balances.keys()], 'text')}) e where e.is_explained
          group by e.address) e on e.address = r.address
        cross join lateral (select coalesce(t.own, 0) + coalesce(e.others, 0) as told) s
        -- Money that is gone, with its block or by a withdrawal, explains no later money: neither what transfers brought,
        -- nor what was set aside.
        cross join lateral (
          select s.told, least(s.told, greatest(coalesce(b.withdrawn, 0), s.told - r.balance)) as withdrawn) w
        cross join lateral (
          select least(coalesce(b.set_aside, 0), greatest(0, r.balance - (w.told - w.withdrawn))) as set_aside) a
      ), saved as (
        insert into chain_balance as c
          (network, address, height, block_hash, balance, told, withdrawn, set_aside, unexplained, checked_at, found_at)
        select ${network}, l.address, ${height}, ${hash}, l.balance, l.told, l.withdrawn, l.set_aside, l.unexplained,
          -- A chain may be ahead of our clock; no time further ahead is stored.
          least(${sql.timestamp(chainTime)}, clock_timestamp() + interval '1 day'),
          case when l.unexplained > 0 then ${sql.timestamp(chainTime)} end
        from looked l
        on conflict on constraint chain_balance_pk do update
          set height = excluded.height, block_hash = excluded.block_hash, balance = excluded.balance, told = excluded.told,
            withdrawn = excluded.withdrawn, set_aside = excluded.set_aside, unexplained = excluded.unexplained, checked_at = excluded.checked_at,
            -- The time of a sum is that of its latest part: what came late is not in time for what came before it.
            found_at = case when excluded.unexplained > c.unexplained then excluded.found_at
              when excluded.unexplained > 0 then c.found_at end,
            attributed_at = case when excluded.unexplained > 0 then null
              when c.unexplained > 0 then clock_timestamp() else c.attributed_at end
      )
      select address, unexplained as amount, unexplained > coalesce(before, 0) as "isMore" from looked where unexplained > 0`)
    return {
      isSaved: true,
      found: found.filter(({ isMore }) => isMore).map(({ address, amount }) => ({ address, amount })),
    }
  })
}

/** How many addresses hold unexplained money. */
export async function countUnexplained(database: Database, network: string): Promise<number> {
  const { found } = await database.sql.one(sql.type(z.object({ found: z.number() }))`
    select count(*)::int as found from chain_balance where network = ${network} and unexplained > 0`)
  return found
}
