// Circuit breaker per chain: what the watcher suspends, and which networks and outputs are in doubt now. An operator
// closes a suspension (operation.ts); a doubt between sources ends by itself when they agree.

import { sql } from 'slonik'
import { z } from 'zod'
import { actorText } from '../audit/actor.ts'
import type { Database } from '../connection/pool.ts'

const NOTHING = z.unknown()

/** A reorganisation below final blocks, or two nodes of a watcher with different final blocks. */
export const SUSPENSION_CAUSES = ['deep_reorg', 'nodes_differ'] as const
export type SuspensionCause = (typeof SUSPENSION_CAUSES)[number]

/** Suspends a network until an operator resumes it. A network that is suspended stays so, with its first cause. */
export async function suspendChain(
  database: Database,
  network: string,
  source: string,
  cause: SuspensionCause = 'deep_reorg',
): Promise<void> {
  await database.sql.transaction(async (tx) => {
    const by = actorText({ actor: `watcher:${source}`, role: 'watcher' })
    await tx.query(sql.type(NOTHING)`select set_config('holdfast.actor', ${by}, true)`)
    await tx.query(sql.type(NOTHING)`
      insert into chain_suspension (network, cause) values (${network}, ${cause})
      on conflict (network, source) where closed_at is null do nothing`)
  })
}

const DOUBTS = z.object({ lone: z.number(), differing: z.number() })
const SHORT = z.object({ short: z.number() })
const SILENT_SOURCE = z.object({ network: z.string(), source: z.string() })
/** More orders than that are not counted. */
const MAX_SHORT = 1_000
const SUSPENSION = z.object({ network: z.string(), cause: z.string() })

/**
 * Outputs on which sources do not agree, and the networks that are suspended. `short`: orders that are ten minutes past
 * their end and wait for another source, because fewer have read so far than their money needs. `silent`: active sources
 * that asked their node nothing for ten minutes while another source of the network did.
 */
export async function findDoubts(database: Pick<Database, 'sql'>): Promise<
  z.output<typeof DOUBTS> &
    z.output<typeof SHORT> & {
      suspended: readonly z.output<typeof SUSPENSION>[]
      silent: readonly z.output<typeof SILENT_SOURCE>[]
    }
> {
  const suspended = await database.sql.any(sql.type(SUSPENSION)`select network, cause from suspended_network`)
  const counts = await database.sql.one(sql.type(DOUBTS)`
    select (count(*) filter (where kind = 'lone'))::int as lone,
      (count(*) filter (where kind = 'differing'))::int as differing
    from source_doubt where kind = 'differing' or since < clock_timestamp() - interval '10 minutes'`)
  const { short } = await database.sql.one(sql.type(SHORT)`
    select count(*)::int as short from (
      select r.order_id from reservation r join orders o using (order_id) join invoice i using (order_id)
      where r.state = 'held' and r.expires_at < clock_timestamp() - interval '10 minutes' and o.status = 'pending'
        and required_sources(r.order_id, 0) > greatest(1, (
          select count(*) from active_source a where a.network = i.network and a.caught_up_at > r.expires_at))
      limit ${MAX_SHORT}) waiting`)
  const silent = await database.sql.any(sql.type(SILENT_SOURCE)`
    select a.network, a.source from active_source a
    where a.tip_asked_at < clock_timestamp() - interval '10 minutes'
      and exists (
        select from active_source b
        where b.network = a.network and b.tip_asked_at > clock_timestamp() - interval '10 minutes')`)
  return { ...counts, short, silent, suspended }
}
