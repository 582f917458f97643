// The sources of a network: which one a session writes for, which ones there are, and how one is retired.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Actor, OperatorDecision } from '../../domain/audit.ts'
import { actorText } from '../audit/actor.ts'
import { violatedConstraintOf, type Database } from '../connection/pool.ts'

/** The source whose rows these sessions write; undefined: none, since they name none, or their login is another's. */
export async function findOwnSource(database: Pick<Database, 'sql'>): Promise<string | undefined> {
  const { source } = await database.sql.one(sql.type(z.object({ source: z.string().nullable() }))`
    select own_source() as source`)
  return source ?? undefined
}

/** The sources that have read a network; of all of them only where the sessions name no source of their own. */
export async function findSources(database: Pick<Database, 'sql'>, network: string): Promise<readonly string[]> {
  const rows = await database.sql.any(sql.type(z.object({ source: z.string() }))`
    select source from chain_status where network = ${network} order by source`)
  return rows.map(({ source }) => source)
}

/**
 * Retires a source, as the owner of the tables: its word no longer stands against others, no expiry waits for it, and it
 * suspends nothing. Orders about which it did not agree with the others are assessed again.
 * `retired`: it was retired before.
 * @returns how many orders those are
 */
export async function retireSource(
  database: Pick<Database, 'sql'>,
  source: string,
  { operator, reason }: OperatorDecision,
): Promise<number | 'retired'> {
  const by: Actor = { actor: `operator:${operator}`, role: 'admin', reason }
  try {
    const { orders } = await database.sql.one(sql.type(z.object({ orders: z.number() }))`
      -- In this order, for this statement: the actor, and where names are looked up, which a login of the owner lacks.
      select case when set_config('holdfast.actor', ${actorText(by)}, true) <> ''
        and set_config('search_path', 'holdfast, pg_catalog', true) <> '' then holdfast.retire_source(${source}, ${reason}) end as orders`)
    return orders
  } catch (error) {
    if (violatedConstraintOf(error) === 'retired_source_pk') return 'retired'
    throw error
  }
}
