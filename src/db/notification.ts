// Transactional outbox of status changes. A trigger on orders writes it for every change of status. This file claims
// rows by lease, lets only the lease holder settle them, and lists dead letters for operators.

import { sql, type DatabaseTransactionConnection } from 'slonik'
import { z } from 'zod'
import { CHANNELS, type ChannelName, type StatusChange } from '../domain/notification.ts'
import { ORDER_STATUSES } from '../domain/order.ts'
import type { Attempt } from './idempotency.ts'
import { answerOnce } from './idempotency.ts'
import { statement, type Database } from './connection/pool.ts'

/** Longer than any call to a channel; after it another process may claim the row. */
const LEASE = "interval '15 seconds'"

const ENABLE_CHANNELS = statement(
  'notification_enable_channels',
  'update notification_channel set is_enabled = (channel = any ($1)) where is_enabled <> (channel = any ($1))',
)
/** Enables these channels and disables all others: later changes write one row per enabled channel. */
export const enableChannels = async (
  database: Pick<Database, 'run'>,
  channels: readonly ChannelName[],
): Promise<void> => void (await database.run(ENABLE_CHANNELS, [channels]))

export type NotificationRow = StatusChange & { notificationId: bigint; attempts: number }

// In version order per order and channel: only the oldest row that is neither delivered nor dead may be claimed. A dead
// row no longer blocks newer ones; after a replay it may arrive late, which its version shows. Due rows are found with
// statement_timestamp(), which an index can be searched by.
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
export const markNotificationsDelivered = async (
  database: Pick<Database, 'run'>,
  holder: string,
  ids: readonly bigint[],
): Promise<void> => void (await database.run(DELIVERED, [holder, ids.map(String)]))

export type Deferral = {
  notificationId: bigint
  delayMs: number
  /** Set to stop retries until an operator replays the notification. */
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

/** A batch takes some hundredths of a second, and no other statement waits for these rows. */
const FORGET_BATCH = 2_000
const FORGET = statement('notification_forget', 'select forget_notifications($1) as count')

/** Deletes notifications that were delivered more than 30 days ago; dead and undelivered ones stay. */
export async function deleteExpiredNotifications(
  database: Pick<Database, 'run'>,
): Promise<{ count: number; isDone: boolean }> {
  const [{ count } = { count: 0 }] = await database.run<{ count: number }>(FORGET, [FORGET_BATCH])
  return { count, isDone: count < FORGET_BATCH }
}

const DEAD = z.object({
  notificationId: z.bigint(),
  orderId: z.string(),
  version: z.bigint(),
  channel: z.enum(CHANNELS),
  status: z.enum(ORDER_STATUSES),
  attempts: z.number(),
  reason: z.string(),
  deadAt: z.date(),
})
export type DeadNotification = z.output<typeof DEAD>

/** Dead notifications by id; a page at a time, after `afterId`. */
export const listDeadNotifications = (
  database: Pick<Database, 'sql'>,
  page: { afterId: bigint; limit: number },
): Promise<readonly DeadNotification[]> =>
  database.sql.any(sql.type(DEAD)`
    select notification_id as "notificationId", order_id as "orderId", order_version as version, channel, status, attempts,
      dead_reason as reason, dead_at as "deadAt"
    from notification where dead_at is not null and notification_id > ${String(page.afterId)}::bigint
    order by notification_id limit ${page.limit}`)

/** So many can be replayed by one statement within the role's timeout of two seconds. */
const MAX_REVIVED = 1_000
const REVIVED = z.object({ notificationId: z.string() })
const REVIVED_IDS = z.array(z.string())

/**
 * Schedules dead notifications again with all their retries, once per attempt.
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
    // Locked in id order, so that two operators wait for each other instead of deadlocking.
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
