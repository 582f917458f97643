// The outbox of status changes. A trigger on orders writes it, whoever moves one; here it is claimed by lease, settled
// by the holder alone, and shown to operators where it could not be delivered.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import type { ChannelName, StatusChange } from '../domain/notification.ts'
import type { Attempt } from './idempotency.ts'
import { answerOnce } from './idempotency.ts'
import { statement, type Database } from './connection/pool.ts'

/** Longer than any call a channel makes; after it another process takes the row over. */
const LEASE = "interval '15 seconds'"

const ENABLE_CHANNELS = statement(
  'notification_enable_channels',
  'update notification_channel set is_enabled = (channel = any ($1)) where is_enabled <> (channel = any ($1))',
)
/** From now on a change writes a row for each of these channels and no other. */
export const enableChannels = async (
  database: Pick<Database, 'run'>,
  channels: readonly ChannelName[],
): Promise<void> => void (await database.run(ENABLE_CHANNELS, [channels]))

export type NotificationRow = StatusChange & { notificationId: bigint; attempts: number }

// In order per order and channel: only the oldest row that is neither delivered nor dead may be claimed. A dead one has
// stepped aside for good; revived, it comes after what was told meanwhile, and its version says so.
// What is due is asked by statement_timestamp(), which an index can be searched by.
const CLAIM = statement(
  'notification_claim',
  `with due as (
     select n.notification_id from notification n
     where n.channel = $3 and n.delivered_at is null and n.dead_at is null and n.next_at <= statement_timestamp()
       and (n.claimed_until is null or n.claimed_until < statement_timestamp())
       and not exists (
         select from notification e where e.order_id = n.order_id and e.channel = n.channel
           and e.delivered_at is null and e.dead_at is null and e.notification_id < n.notification_id)
     order by n.next_at limit $2 for update of n skip locked
   )
   update notification n
   set claimed_by = $1, claimed_until = clock_timestamp() + ${LEASE}, attempts = n.attempts + 1
   from due where n.notification_id = due.notification_id
   returning n.notification_id as "notificationId", n.order_id as "orderId", n.order_version as version, n.status,
     n.payment_state as "paymentState", n.cancel_reason as "cancelReason", n.changed_at as "changedAt", n.attempts`,
)
export const claimNotifications = async (
  database: Pick<Database, 'run'>,
  holder: string,
  limit: number,
  channel: ChannelName,
): Promise<NotificationRow[]> => {
  const rows = await database.run<Omit<NotificationRow, 'changedAt'> & { changedAt: Date }>(CLAIM, [
    holder,
    limit,
    channel,
  ])
  return rows.map((row) => ({ ...row, changedAt: row.changedAt.toISOString() }))
}

const DELIVERED = statement(
  'notification_delivered',
  `update notification set delivered_at = clock_timestamp(), claimed_by = null, claimed_until = null
   where notification_id = any ($2) and claimed_by = $1`,
)
export const notificationsDelivered = async (
  database: Pick<Database, 'run'>,
  holder: string,
  ids: readonly bigint[],
): Promise<void> => void (await database.run(DELIVERED, [holder, ids.map(String)]))

export type Deferral = {
  notificationId: bigint
  delayMs: number
  /** Set to stop trying until a person asks for it. */
  deadReason: string | null
}

const DEFER = statement(
  'notification_defer',
  `update notification n
   set claimed_by = null, claimed_until = null, next_at = clock_timestamp() + make_interval(secs => d.delay_s),
     dead_reason = d.dead_reason, dead_at = case when d.dead_reason is not null then clock_timestamp() end
   from unnest($2::bigint[], $3::float8[], $4::text[]) d (notification_id, delay_s, dead_reason)
   where n.notification_id = d.notification_id and n.claimed_by = $1`,
)
export const deferNotifications = async (
  database: Pick<Database, 'run'>,
  holder: string,
  deferrals: readonly Deferral[],
): Promise<void> => {
  const ids = deferrals.map(({ notificationId }) => String(notificationId))
  const delays = deferrals.map(({ delayMs }) => delayMs / 1_000)
  await database.run(DEFER, [holder, ids, delays, deferrals.map(({ deadReason }) => deadReason)])
}

/** A few hundredths of a second: nobody waits for a row like these. */
const FORGET_BATCH = 2_000
const FORGET = statement('notification_forget', 'select forget_notifications($1) as count')

/** Removes news that was delivered more than 30 days ago; what is dead or still to be told stays. */
export async function forgetNotifications(
  database: Pick<Database, 'run'>,
): Promise<{ count: number; isDone: boolean }> {
  const [{ count } = { count: 0 }] = await database.run<{ count: number }>(FORGET, [FORGET_BATCH])
  return { count, isDone: count < FORGET_BATCH }
}

const DEAD = z.object({
  notificationId: z.bigint(),
  orderId: z.string(),
  version: z.bigint(),
  channel: z.enum(['log', 'webhook']),
  status: z.enum(['pending', 'processing', 'shipped', 'delivered', 'cancelled']),
  attempts: z.number(),
  reason: z.string(),
  deadAt: z.date(),
})
export type DeadNotification = z.output<typeof DEAD>

/** What could not be delivered, in the order it was written; a page at a time, after `afterId`. */
export const listDeadNotifications = (
  database: Pick<Database, 'sql'>,
  page: { afterId: bigint; limit: number },
): Promise<readonly DeadNotification[]> =>
  database.sql.any(sql.type(DEAD)`
    select notification_id as "notificationId", order_id as "orderId", order_version as version, channel, status, attempts,
      dead_reason as reason, dead_at as "deadAt"
    from notification where dead_at is not null and notification_id > ${String(page.afterId)}::bigint
    order by notification_id limit ${page.limit}`)

/** A revival is one statement inside the role's two seconds. */
const MAX_REVIVED = 1_000
const REVIVED = z.object({ notificationId: z.string() })
const REVIVED_IDS = z.array(z.string())

/**
 * Lets dead notifications be tried again as if never before, once per attempt.
 * @param ids which ones; undefined for the oldest MAX_REVIVED
 * @returns ids of those that were dead
 */
export async function replayNotifications(
  database: Pick<Database, 'sql'>,
  attempt: Attempt,
  ids: readonly bigint[] | undefined,
  deadline: number,
): Promise<{ replayed: bigint[]; isReplay: boolean }> {
  const revive = async (tx: DatabaseTransactionConnection): Promise<string[]> => {
    const wanted =
      ids === undefined
        ? sql.fragment`dead_at is not null`
        : sql.fragment`dead_at is not null and notification_id = any (${sql.array(ids.map(String), 'int8')})`
    // Locked in order, so that two operators wait for each other instead of deadlocking.
    const rows = await tx.any(sql.type(REVIVED)`
      with dead as (
        select notification_id from notification where ${wanted} order by notification_id limit ${MAX_REVIVED} for update
      )
      update notification n set dead_at = null, dead_reason = null, attempts = 0, next_at = clock_timestamp()
      from dead where n.notification_id = dead.notification_id
      returning n.notification_id::text as "notificationId"`)
    return rows.map(({ notificationId }) => notificationId)
  }
  const { answer, isReplay } = await answerOnce(database, attempt, REVIVED_IDS, revive, deadline)
  const replayed = answer.map(BigInt).toSorted((a, b) => (a < b ? -1 : 1))
  return { replayed, isReplay }
}
