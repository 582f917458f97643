// Circuit breaker per chain: no quotes are given while payments on a network would not be seen. An order whose payment
// cannot be seen cannot expire either.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Database } from '../connection/pool.ts'
import { SUSPENSION_CAUSES, type SuspensionCause } from './suspension.ts'

/** Why payments on a network would not be seen now. */
export type Blindness = 'never_watched' | 'watcher_silent' | 'behind' | Suspension

/** Why payments on a network are not relied on now, although they are seen. */
export type Suspension = SuspensionCause | 'sources_differ'

export type SightLimits = {
  /** How long ago the watcher may have called its node. */
  silenceMs: number
  /** How far the scanned chain time may be behind the database's clock. */
  lagMs: number
}

const SIGHT = z.object({
  silentMs: z.number(),
  behindMs: z.number().nullable(),
  suspension: z.enum([...SUSPENSION_CAUSES, 'sources_differ']).nullable(),
})

/** Undefined while at least one active source sees payments on the network within the limits. */
export async function findBlindness(
  database: Pick<Database, 'sql'>,
  network: string,
  limits: SightLimits,
): Promise<Blindness | undefined> {
  const rows = await database.sql.any(sql.type(SIGHT)`
    select extract(epoch from clock_timestamp() - tip_asked_at)::float8 * 1000 as "silentMs",
      extract(epoch from clock_timestamp() - caught_up_at)::float8 * 1000 as "behindMs",
      (select min(s.cause) from suspended_network s where s.network = ${network}) as suspension
    from active_source where network = ${network}`)
  const [first] = rows
  if (first === undefined) return 'never_watched'
  if (first.suspension !== null) return first.suspension
  const heard = rows.filter(({ silentMs }) => silentMs <= limits.silenceMs)
  if (heard.length === 0) return 'watcher_silent'
  const isSeen = heard.some(({ behindMs }) => behindMs !== null && behindMs <= limits.lagMs)
  return isSeen ? undefined : 'behind'
}
