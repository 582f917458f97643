// Sweeps: rounds over all addresses that were ever shown to a customer, in two tiers by the age of their orders. The
// place of a round is stored, so that a restart goes on with it. Two watchers under one name may repeat a part; neither
// skips one.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Database } from '../connection/pool.ts'

/** A row of chain_sweep. */
export type SweepName = { network: string; source: string; tier: 'recent' | 'retired' }

/** Where a round is. `place` is an order: null before the first part. */
export type SweepPlace = { round: number; place: string | null }

const NOTHING = z.unknown()
const FIRST_ORDER = '00000000-0000-0000-0000-000000000000'
const SWEEP = z.object({
  tier: z.enum(['recent', 'retired']),
  round: z.bigint().transform(Number),
  place: z.string().nullable(),
  isOver: z.boolean(),
  sinceBeganMs: z.number(),
  sinceSweptMs: z.number().nullable(),
})

/** A round, how long ago it began, and how long ago the last complete one began; null: none is complete. */
export type Sweep = z.output<typeof SWEEP>

/** The rounds of a watcher; a tier without one was never swept. */
export const readSweeps = (database: Database, network: string, source: string): Promise<readonly Sweep[]> =>
  database.sql.any(sql.type(SWEEP)`
    select tier, round, place, is_over as "isOver",
      (extract(epoch from clock_timestamp() - began_at) * 1000)::float8 as "sinceBeganMs",
      (extract(epoch from clock_timestamp() - swept_at) * 1000)::float8 as "sinceSweptMs"
    from chain_sweep where network = ${network} and source = ${source}`)

/** Begins the first round of a tier, or the next where the last one is over. */
export async function startSweep(database: Database, { network, source, tier }: SweepName): Promise<SweepPlace> {
  await database.sql.query(sql.type(NOTHING)`
    insert into chain_sweep as s (network, source, tier) values (${network}, ${source}, ${tier})
    on conflict on constraint chain_sweep_pk do update
      set round = s.round + 1, began_at = clock_timestamp(), place = null, is_over = false
      where s.is_over`)
  return database.sql.one(sql.type(SWEEP.pick({ round: true, place: true }))`
    select round, place from chain_sweep where network = ${network} and source = ${source} and tier = ${tier}`)
}

/**
 * The addresses after a place, the oldest order first. `isOurs`: on this network. Orders of other networks are read too,
 * so that the statement costs the same wherever the place is.
 */
export async function findIssuedAddresses(
  database: Database,
  { network, tier }: SweepName,
  place: string | null,
  { recentMs, limit }: { recentMs: number; limit: number },
): Promise<readonly { orderId: string; address: string; isOurs: boolean }[]> {
  const border = sql.fragment`clock_timestamp() - ${recentMs} * interval '1 millisecond'`
  const first = tier === 'recent' ? border : sql.fragment`'-infinity'::timestamptz`
  const end = tier === 'recent' ? sql.fragment`'infinity'::timestamptz` : border
  return database.sql.any(sql.type(z.object({ orderId: z.string(), address: z.string(), isOurs: z.boolean() }))`
    with place as materialized (
      select coalesce((select a.created_at from issued_address a where a.order_id = ${place}::uuid), ${first}) as at,
        ${end} as ends_at
    )
    select order_id as "orderId", address, network = ${network} as "isOurs"
    from issued_address
    where (created_at, order_id) > ((select at from place), ${place ?? FIRST_ORDER}::uuid)
      and created_at < (select ends_at from place)
    order by created_at, order_id limit ${limit}`)
}

/**
 * Stores that a round has come from one place to the next; without one, it is over. A round that another watcher has
 * moved meanwhile stays where it is.
 */
export async function moveSweep(
  database: Database,
  { network, source, tier }: SweepName,
  from: SweepPlace,
  to: string | undefined,
): Promise<void> {
  await database.sql.query(sql.type(NOTHING)`
    update chain_sweep
    set place = ${to ?? from.place}, is_over = ${to === undefined},
      swept_at = case when ${to === undefined} then began_at else swept_at end
    where network = ${network} and source = ${source} and tier = ${tier} and not is_over
      and round = ${from.round} and place is not distinct from ${from.place}::uuid`)
}
