// The size and age of the queues to Temporal and to notification channels, and the age of refunds that are not paid.

import { sql } from 'slonik'
import { z } from 'zod'
import type { Database } from './connection/pool.ts'

const BACKLOG = z.object({
  starts: z.bigint(),
  oldestStartS: z.number(),
  deadStarts: z.bigint(),
  wakes: z.bigint(),
  oldestWakeS: z.number(),
  deadWakes: z.bigint(),
  notifications: z.bigint(),
  oldestNotificationS: z.number(),
  deadNotifications: z.bigint(),
})
export type Backlog = z.output<typeof BACKLOG>

/** The backlog of each queue and its age, for metrics and for the cap on new orders. */
export const findBacklog = (database: Pick<Database, 'sql'>): Promise<Backlog> =>
  database.sql.one(sql.type(BACKLOG)`
    select
      (select count(*) from workflow_start) as starts,
      (select coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 from workflow_start) as "oldestStartS",
      (select count(*) from workflow_start where dead_reason is not null) as "deadStarts",
      (select count(*) from order_wake) as wakes,
      (select coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 from order_wake) as "oldestWakeS",
      (select count(*) from order_wake where dead_reason is not null) as "deadWakes",
      n.rows as notifications, n.oldest_s as "oldestNotificationS",
      (select count(*) from notification where dead_at is not null) as "deadNotifications"
    from (
      select count(*) as rows, coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as oldest_s
      from notification where delivered_at is null and dead_at is null
    ) n`)

/** Approved refunds, and those whose payout began: how long the oldest has been so. */
export const UNPAID_STATUSES = ['approved', 'paying'] as const
const UNPAID = z.object({ status: z.enum(UNPAID_STATUSES), oldestS: z.number() })

/** Of the statuses that some refund has. */
export const findUnpaidRefunds = (database: Pick<Database, 'sql'>): Promise<readonly z.output<typeof UNPAID>[]> =>
  database.sql.any(sql.type(UNPAID)`
    select r.status, extract(epoch from clock_timestamp() - min(r.updated_at))::float8 as "oldestS"
    from refund r where r.status = any (${sql.array([...UNPAID_STATUSES], 'text')}) group by r.status`)
