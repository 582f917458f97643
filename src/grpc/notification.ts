// NotificationAdminService: lists and replays dead-letter notifications.

import { listDeadNotifications, replayNotifications, type DeadNotification } from '../db/notification.ts'
import type { Database } from '../db/connection/pool.ts'
import { attemptOf } from './command.ts'
import { cutPage, NUMBER_PATTERN, pageOf } from './convert.ts'
import type {
  DeadNotification as DeadNotificationMessage,
  NotificationAdminServiceService,
} from './gen/holdfast/v1/notification_admin.ts'
import type { Handlers } from './handle.ts'
import { orderStatus } from './enum.ts'

const FILTER = 'dead notifications'

export const createNotificationAdminHandlers = ({
  database,
}: {
  database: Database
}): Handlers<typeof NotificationAdminServiceService> => ({
  listDeadNotifications: async ({ limit, cursor }) => {
    const asked = pageOf({ limit, offset: 0, cursor }, FILTER, NUMBER_PATTERN)
    const rows = await listDeadNotifications(database, { afterId: BigInt(asked.after ?? 0), limit: asked.limit })
    const { page, nextCursor } = cutPage(rows, limit, FILTER, ({ notificationId }) => String(notificationId))
    return { notifications: page.map(deadNotificationMessage), nextCursor }
  },

  replayNotifications: async ({ idempotencyKey, notificationIds, all }, call) => {
    const wanted = all ? undefined : notificationIds
    const attempt = attemptOf(idempotencyKey, call, 'admin')
    const { replayed, isReplay } = await replayNotifications(database, attempt, wanted, call.deadline)
    call.record.isReplay = isReplay
    return { notificationIds: replayed }
  },
})

const deadNotificationMessage = (row: DeadNotification): DeadNotificationMessage => ({
  ...row,
  status: orderStatus.codeOf(row.status),
})
